import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';

import { type ClientOptions, LunaSec, SidecarUnreachable } from '../src/index.js';
import { deferred, token, tokens, turn } from './fake.js';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

interface Place {
  readonly client: LunaSec;
  readonly server: Server;
  readonly socket: string;
}

function answer(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

/** A server on a socket of its own, and a client before it. */
async function place(context: TestContext, handler: Handler, options: ClientOptions = {}): Promise<Place> {
  const directory = mkdtempSync(join(tmpdir(), 'lunasec-'));
  const socket = join(directory, 's');
  const server = createServer(handler).listen(socket);
  await once(server, 'listening');
  const client = new LunaSec({ socket, telemetry: false, ...options });
  context.after(async () => {
    await client.close();
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true });
  });
  return { client, server, socket };
}

test('no more connections than were asked for, and all calls are answered', async (context) => {
  let most = 0;
  const waiting: ServerResponse[] = [];
  const { client, server } = await place(
    context,
    (_request, response) => {
      waiting.push(response);
      server.getConnections((_error, count) => {
        most = Math.max(most, count);
        for (const each of waiting.splice(0)) {
          answer(each, { value: 'v', encoding: 'utf8' });
        }
      });
    },
    { connections: 3, batchItems: 1 },
  );
  const calls = Array.from({ length: 200 }, () => client.detokenize(token(1)));
  assert.equal((await Promise.all(calls)).length, 200);
  assert.ok(most >= 1 && most <= 3, `${most} connections`);
});

test('one connection serves calls one after another', async (context) => {
  let connections = 0;
  const { client, server } = await place(context, (_request, response) =>
    answer(response, { value: 'v', encoding: 'utf8' }),
  );
  server.on('connection', () => {
    connections += 1;
  });
  for (let count = 0; count < 20; count += 1) {
    await client.detokenize(token(1));
  }
  assert.equal(connections, 1);
});

test('who gives a call up frees its connection, and the server sees it', async (context) => {
  let gone: Promise<unknown> | undefined;
  const asked = deferred<void>();
  const { client } = await place(
    context,
    (request, response) => {
      if (request.url === '/v1/status') {
        gone = once(response, 'close');
        asked.resolve();
      } else {
        answer(response, { value: 'v', encoding: 'utf8' });
      }
    },
    { connections: 1 },
  );
  const leave = new AbortController();
  const call = client.status({ signal: leave.signal });
  const behind = client.detokenize(token(1));
  await asked.promise;
  leave.abort(new Error('enough'));
  await assert.rejects(call, /enough/);
  await gone;
  assert.equal((await behind).value.reveal(), 'v');
});

test('calls that wait for a connection can be given up: they are never sent, and close none', async (context) => {
  let connections = 0;
  const first = deferred<ServerResponse>();
  const paths: string[] = [];
  const { client, server } = await place(
    context,
    (request, response) => {
      paths.push(request.url ?? '');
      request.url === '/v1/status' ? first.resolve(response) : answer(response, { value: 'v', encoding: 'utf8' });
    },
    { connections: 1 },
  );
  server.on('connection', () => {
    connections += 1;
  });
  const status = client.status();
  const response = await first.promise;
  const leave = new AbortController();
  const waits = tokens(100).map((each) => client.getMetadata(each, { signal: leave.signal }));
  const settled = Promise.allSettled(waits);
  await turn();
  leave.abort(new Error('enough'));
  assert.ok((await settled).every((one) => one.status === 'rejected' && one.reason === leave.signal.reason));
  answer(response, { version: '1', dependencies: {} });
  await status;
  await client.detokenize(token(1));
  assert.deepEqual([...paths, connections], ['/v1/status', '/v1/detokenize', 1]);
});

test('a closed client says so, and does not wait', async (context) => {
  const { client } = await place(context, (_request, response) => answer(response, {}));
  await client.close();
  await assert.rejects(
    client.detokenize(token(1)),
    (error: unknown) => error instanceof SidecarUnreachable && /closed: make calls before/.test(error.detail),
  );
});

test('no policy hides that a client was closed, before a call or under it', async (context) => {
  const asked = deferred<void>();
  const { client } = await place(context, () => asked.resolve());
  const masking = client.with({ onUnavailable: 'mask', deadlineMs: 60_000 });
  const closed = (error: unknown): boolean => error instanceof SidecarUnreachable && error.closed && !error.retryable;
  const under = assert.rejects(masking.detokenize(token(1)), closed);
  await asked.promise;
  await client.close();
  await under;
  await assert.rejects(masking.detokenize(token(1)), closed);
  await assert.rejects(masking.detokenizeBatch([token(1)], { onUnavailable: { fallback: () => 1 } }), closed);
});

test('a connection that breaks under a write says that it may have been done, and what to do', async (context) => {
  const { client } = await place(context, (request) => request.socket.destroy());
  await assert.rejects(
    client.setMetadata(token(1), {}, { ifVersion: 1 }),
    (error: unknown) => error instanceof SidecarUnreachable && /may have been done: make the call/.test(error.detail),
  );
});

test('closing rejects what is under way', async (context) => {
  const asked = deferred<void>();
  const { client } = await place(context, () => asked.resolve());
  const call = client.detokenize(token(1));
  await asked.promise;
  const rejected = assert.rejects(call, SidecarUnreachable);
  await client.close();
  await rejected;
});

test('a path that is no socket is not waited for, and the error says what to look at', async (context) => {
  const { socket } = await place(context, () => undefined);
  const file = `${socket}.file`;
  writeFileSync(file, '');
  const client = new LunaSec({ socket: `${file}/below`, telemetry: false });
  await assert.rejects(
    client.status(),
    (error: unknown) => error instanceof SidecarUnreachable && /check its path/.test(error.detail),
  );
  await client.close();
});

test('the socket is LUNASEC_SOCKET unless another is named', async (context) => {
  const { socket } = await place(context, (_request, response) => answer(response, { value: 'v', encoding: 'utf8' }));
  const before = process.env['LUNASEC_SOCKET'];
  context.after(() => {
    delete process.env['LUNASEC_SOCKET'];
    Object.assign(process.env, before === undefined ? {} : { LUNASEC_SOCKET: before });
  });
  process.env['LUNASEC_SOCKET'] = socket;
  const client = new LunaSec({ telemetry: false });
  assert.equal((await client.detokenize(token(1))).value.reveal(), 'v');
  await client.close();
});
