// A user's service: real servers and clients of grpc-js over loopback.
import { fileURLToPath } from 'node:url';

import {
  type ChannelOptions,
  type Client,
  credentials,
  type GrpcObject,
  loadPackageDefinition,
  Metadata,
  Server,
  ServerCredentials,
  type ServerInterceptor,
  type ServiceClientConstructor,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { loadSync, type Options } from '@grpc/proto-loader';

import { PROTO_DIR, Protos } from '../../src/grpc/index.js';

export const PLACE = fileURLToPath(new URL('../../../test/grpc/protos/', import.meta.url));
export const LOADED: Options = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };

export type Fields = Record<string, unknown>;

export function protos(): Protos {
  return Protos.loadSync('shop.proto', { includeDirs: [PLACE] });
}

export function constructors(options: Options = LOADED): Record<string, ServiceClientConstructor> {
  const definition = loadSync('shop.proto', { ...options, includeDirs: [PLACE, PROTO_DIR] });
  const { v1 } = (loadPackageDefinition(definition) as { shop: { v1: GrpcObject } }).shop;
  return v1 as Record<string, ServiceClientConstructor>;
}

export interface Shop {
  readonly address: string;
  readonly server: Server;
  client(service: string, options?: ChannelOptions & object): Client & Record<string, Method>;
}

export interface Cleanup {
  after(then: () => unknown): void;
}

/** Services that listen until the test is over. */
export async function shop(
  context: Cleanup,
  interceptors: ServerInterceptor[],
  services: Record<string, UntypedServiceImplementation>,
  options: Options = LOADED,
): Promise<Shop> {
  const made = constructors(options);
  const server = new Server({ interceptors });
  for (const [name, handlers] of Object.entries(services)) {
    server.addService((made[name] as ServiceClientConstructor).service, handlers);
  }
  const port = await new Promise<number>((resolve, reject) => {
    const done = (error: Error | null, bound: number) => (error ? reject(error) : resolve(bound));
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), done);
  });
  const clients: Client[] = [];
  context.after(() => {
    for (const client of clients) {
      client.close();
    }
    server.forceShutdown();
  });
  const address = `127.0.0.1:${port}`;
  return {
    address,
    server,
    client(service, more = {}) {
      const client = new (made[service] as ServiceClientConstructor)(address, credentials.createInsecure(), more);
      clients.push(client);
      return client as unknown as Client & Record<string, Method>;
    },
  };
}

export function of(session: string): Metadata {
  const metadata = new Metadata();
  metadata.set('session', session);
  return metadata;
}

/** A method of a client that was made at run time. */
// biome-ignore lint/suspicious/noExplicitAny: whatever it gives
export type Method = (...all: unknown[]) => any;

type Orders = Client & Record<string, Method>;

export function unary(client: Orders, method: string, message: Fields, metadata = new Metadata(), options = {}) {
  return new Promise<Fields>((resolve, reject) => {
    const done = (error: Error | null, answer: Fields) => (error ? reject(error) : resolve(answer));
    client[method]?.(message, metadata, { deadline: soon(), ...options }, done);
  });
}

export function soon(): number {
  return Date.now() + 20_000;
}
