// What the interceptors add to a unary call over loopback: the middle of the times of calls one after another, and calls
// per second of 64 callers; client, server and interceptors are in this process. Rounds are interleaved, medians are taken.
//
//     LUNASEC_BIN=path/to/lunasec node bench/grpc.mjs
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { credentials, loadPackageDefinition, Metadata, Server, ServerCredentials } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { LunaSec } from '@lunasec/node';
import { PROTO_DIR, Protos, serverInterceptor } from '@lunasec/node/grpc';

const ROUNDS = 3;
const ONE_BY_ONE = 200;
const CALLERS = 64;
const AT_ONCE = 1_000;

const directory = mkdtempSync(join(tmpdir(), 'lunasec-bench-'));
const socket = join(directory, 'lunasec.sock');
const binary = process.env.LUNASEC_BIN ?? 'lunasec';
const sidecar = spawn(binary, ['dev', '--dir', directory, '--socket', socket, '--admin', '127.0.0.1:0']);
const lunasec = new LunaSec({ socket });
await lunasec.ready();

const includeDirs = [fileURLToPath(new URL('../test/grpc/protos/', import.meta.url)), PROTO_DIR];
const { Orders, Shapes, Open } = loadPackageDefinition(loadSync('shop.proto', { includeDirs, keepCase: true })).shop.v1;
const tokens = await Promise.all(Array.from({ length: 100 }, async (_, n) => (await lunasec.tokenize(`${n}`)).token));
const texts = tokens.map((token) => token.expose());

async function serve(interceptors) {
  const server = new Server({ interceptors });
  server.addService(Open.service, { Ping: (call, done) => done(null, call.request) });
  server.addService(Orders.service, { Place: (_, done) => done(null, { card_number: texts[0] }) });
  server.addService(Shapes.service, { Echo: (_, done) => done(null, { address_lines: texts }) });
  const port = await new Promise((resolve, reject) => {
    const bound = (error, at) => (error ? reject(error) : resolve(at));
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), bound);
  });
  const made = [Open, Orders, Shapes].map((Kind) => new Kind(`127.0.0.1:${port}`, credentials.createInsecure()));
  return { server, made };
}

const protos = Protos.loadSync('shop.proto', { includeDirs });
const bare = await serve([]);
const with_ = await serve([serverInterceptor({ lunasec, protos, session: 'session' })]);
const metadata = new Metadata();
metadata.set('session', 'alice');

function caller(client, method, message) {
  return () =>
    new Promise((resolve, reject) => {
      client[method](message, metadata, (error, answer) => (error ? reject(error) : resolve(answer)));
    });
}

const contenders = {
  'no interceptor': caller(bare.made[0], 'Ping', {}),
  'no rules': caller(with_.made[0], 'Ping', {}),
  '1 field revealed': caller(with_.made[1], 'Place', {}),
  '1 field tokenized, 1 revealed': caller(with_.made[1], 'Place', { card_number: '4111' }),
  'no interceptor, 100 fields': caller(bare.made[2], 'Echo', {}),
  '100 fields revealed': caller(with_.made[2], 'Echo', {}),
};

const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];

async function oneByOne(call) {
  const times = [];
  for (let count = 0; count < ONE_BY_ONE; count += 1) {
    const start = performance.now();
    await call();
    times.push((performance.now() - start) * 1_000);
  }
  return median(times);
}

async function atOnce(call) {
  let left = AT_ONCE;
  const start = performance.now();
  const one = async () => {
    while (left > 0) {
      left -= 1;
      await call();
    }
  };
  await Promise.all(Array.from({ length: CALLERS }, one));
  return AT_ONCE / ((performance.now() - start) / 1_000);
}

const figures = Object.fromEntries(Object.keys(contenders).map((name) => [name, { times: [], rates: [] }]));
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [name, call] of Object.entries(contenders)) {
    figures[name].times.push(await oneByOne(call));
    figures[name].rates.push(await atOnce(call));
  }
}
for (const [name, { times, rates }] of Object.entries(figures)) {
  process.stdout.write(
    `${name.padEnd(30)} ${median(times).toFixed(0).padStart(6)} µs   ${median(rates).toFixed(0).padStart(6)}/s\n`,
  );
}

for (const { server, made } of [bare, with_]) {
  for (const client of made) {
    client.close();
  }
  server.forceShutdown();
}
await lunasec.close();
sidecar.kill();
rmSync(directory, { recursive: true });
