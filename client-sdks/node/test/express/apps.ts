// Applications of both versions of Express, over HTTP.
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';

import express4 from 'express4';
import express5, { type ErrorRequestHandler } from 'express5';

import * as lunasec from '../../src/express/index.js';
import type { LunaSec } from '../../src/index.js';
import { clientOf, Vault } from './vault.js';

type Express = typeof express5;
export type App = ReturnType<Express>;

export const VERSIONS: readonly (readonly [string, Express])[] = [
  ['Express 4', express4 as unknown as Express],
  ['Express 5', express5],
];

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Parsed. */
  // biome-ignore lint/suspicious/noExplicitAny: whatever came
  readonly json: any;
}

export interface Asking {
  readonly session?: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
}

/** An application that answers, and how to ask it. */
export interface Place {
  readonly app: App;
  readonly url: string;
  readonly server: Server;
  ask(method: string, path: string, asking?: Asking): Promise<Reply>;
  /** What the application's own error handler was given. */
  readonly errors: unknown[];
}

/** The session is said by the header `x-session`. Routes are made by the test; problems are answered behind them. */
export async function place(
  context: TestContext,
  express: Express,
  client: LunaSec,
  routes: (app: App, express: Express) => void,
  session: lunasec.ExpressOptions['session'] = (req) => req.get('x-session'),
): Promise<Place> {
  const app = express().set('env', 'test');
  app.use(express.json({ limit: '20mb' }));
  app.use(lunasec.express({ client, session }));
  routes(app, express);
  app.use(lunasec.problems());
  const errors: unknown[] = [];
  const own: ErrorRequestHandler = (error, _req, res, next) => {
    errors.push(error);
    res.headersSent ? next(error) : res.status(500).json({ own: 'handler' });
  };
  app.use(own);
  return { app, errors, ...(await listen(context, app)) };
}

export async function listen(context: TestContext, app: App): Promise<Pick<Place, 'ask' | 'url' | 'server'>> {
  const server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { ask: (method, path, asking = {}) => ask(method, `${url}${path}`, asking), url, server };
}

async function ask(method: string, url: string, { session, body, headers, signal }: Asking): Promise<Reply> {
  const reply = await fetch(url, {
    method,
    headers: {
      ...(session === undefined ? {} : { 'x-session': session }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    ...(signal === undefined ? {} : { signal }),
  });
  const text = await reply.text();
  return { status: reply.status, headers: reply.headers, text, json: parsed(text) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A scene with a sidecar in memory. */
export interface Scene extends Place {
  readonly vault: Vault;
}

/** The same test for both versions. */
export function both(
  name: string,
  routes: (app: App, express: Express) => void,
  run: (scene: Scene) => Promise<void>,
  session?: lunasec.ExpressOptions['session'],
): void {
  for (const [version, express] of VERSIONS) {
    test(`${version}: ${name}`, async (context) => {
      const vault = new Vault();
      await run({ vault, ...(await place(context, express, clientOf(vault), routes, session)) });
    });
  }
}

/** Sends the body back as the route saw it. */
export function echo(app: App, path: string, ...before: lunasec.Handler[]): void {
  app.post(path, ...before, (req, res) => {
    res.json(req.body);
  });
}
