import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  Conflict,
  DeadlineExceeded,
  NotFound,
  Overloaded,
  RateLimited,
  SidecarUnreachable,
  StorageUnavailable,
} from '../src/index.js';
import { type Came, type FakeRuntime, type FakeSidecar, scene, token, tokens, turn } from './fake.js';

const away = (): Error => new SidecarUnreachable('nobody');
const broken = (): Error => new SidecarUnreachable('broke', { sent: true });

/** The next attempt, once the pause before it is over. */
async function after(runtime: FakeRuntime, sidecar: FakeSidecar, ms: number): Promise<Came> {
  await runtime.waitedFor(ms);
  runtime.advance(ms);
  return sidecar.next();
}

test('pauses double up to a bound, and the dice decide how much of one is waited', async () => {
  for (const [dice, pauses] of [
    [1, [50, 100, 150, 150]],
    [0.5, [25, 50, 75, 75]],
  ] as const) {
    const { client, sidecar, runtime } = scene({ retry: { attempts: 5, pauseMostMs: 150 } });
    runtime.dice = dice;
    const call = client.status();
    (await sidecar.next()).problem('overloaded', 503, true);
    for (const [index, pause] of pauses.entries()) {
      const came = await after(runtime, sidecar, pause);
      index === pauses.length - 1
        ? came.answer({ version: '1', dependencies: {} })
        : came.problem('overloaded', 503, true);
    }
    await call;
  }
});

test('the sidecar says when: the pause comes on top', async () => {
  const { client, sidecar, runtime } = scene();
  const call = client.detokenize(token(1));
  (await sidecar.next()).problem('rate_limited', 429, true, 700);
  (await after(runtime, sidecar, 750)).reveal();
  assert.equal((await call).kind, 'value');
});

test('a rate that is used up for nobody knows how long is not asked again within the call', async () => {
  const { client, sidecar, runtime } = scene();
  const call = client.detokenize(token(1));
  (await sidecar.next()).problem('rate_limited', 429, true);
  await assert.rejects(call, (error: unknown) => error instanceof RateLimited && error.retryable);
  assert.deepEqual([sidecar.came.length, runtime.waiting], [1, 0]);
});

test('all attempts of a tokenize have the same key, and the next call has another', async () => {
  const { client, sidecar, runtime } = scene();
  const call = client.tokenize('v');
  const first = await sidecar.next();
  first.fail(broken());
  const second = await after(runtime, sidecar, 50);
  second.answer({ token: token(1), durability: 'stored' });
  await call;
  const next = client.tokenize('v');
  const third = await sidecar.next();
  third.answer({ token: token(2), durability: 'stored' });
  await next;
  const keys = [first, second, third].map(({ headers }) => headers['idempotency-key']);
  assert.deepEqual([keys[0] === keys[1], keys[1] === keys[2]], [true, false]);
});

test('the budget is shared by all views of a client', async () => {
  const { client, sidecar, runtime } = scene({ retry: { budget: 1 } });
  const first = client.detokenize(token(1));
  (await sidecar.next()).problem('storage_unavailable', 503, true);
  (await after(runtime, sidecar, 50)).problem('storage_unavailable', 503, true);
  await assert.rejects(first, StorageUnavailable);
  const second = client.forSession('alice').detokenize(token(1));
  (await sidecar.next()).problem('storage_unavailable', 503, true);
  await assert.rejects(second, StorageUnavailable);
  assert.equal(sidecar.came.length, 3);
});

test('a restart does not surface where answers have used the budget up', async () => {
  const { client, sidecar, runtime } = scene({ retry: { budget: 0 } });
  const refused = client.getMetadata(token(1));
  (await sidecar.next()).problem('overloaded', 503, true);
  await assert.rejects(refused, Overloaded);
  const call = client.getMetadata(token(1));
  (await sidecar.next()).fail(broken());
  (await after(runtime, sidecar, 50)).fail(broken());
  (await after(runtime, sidecar, 100)).problem('not_found', 404, false);
  await assert.rejects(call, NotFound);
});

test('connections that break again and again are not tried again without end, whatever their number', async () => {
  const { client, sidecar, runtime } = scene({ connections: 150, batchItems: 1 });
  const calls = tokens(400).map((each) => client.detokenize(each));
  const settled = Promise.allSettled(calls);
  for (const ms of [0, 50, 100]) {
    runtime.advance(ms);
    await turn();
    for (const came of sidecar.came) {
      came.answered || came.fail(broken());
    }
    await turn();
  }
  await settled;
  assert.equal(sidecar.came.length, 400 + 300);
});

test('at start, calls wait for the socket until a deadline, and afterwards not at all', async () => {
  const { client, sidecar, runtime } = scene({ startDeadlineMs: 100 });
  const waits = client.detokenize(token(1));
  (await sidecar.next()).fail(away());
  (await after(runtime, sidecar, 50)).fail(away());
  const last = after(runtime, sidecar, 50);
  (await last).fail(away());
  await assert.rejects(waits, SidecarUnreachable);
  const asks = client.detokenize(token(1));
  (await sidecar.next()).fail(away());
  await assert.rejects(asks, SidecarUnreachable);
});

test('once it was there, calls wait for its restart; and whoever asks while it is away finds out when it is back', async () => {
  const { client, sidecar, runtime } = scene({ startDeadlineMs: 0, restartGraceMs: 60 });
  const there = client.detokenize(token(1));
  (await sidecar.next()).reveal();
  await there;
  const waits = client.detokenize(token(1));
  (await sidecar.next()).fail(away());
  (await after(runtime, sidecar, 50)).fail(away());
  (await after(runtime, sidecar, 10)).fail(away());
  await assert.rejects(waits, SidecarUnreachable);
  const gone = client.detokenize(token(1));
  (await sidecar.next()).fail(away());
  await assert.rejects(gone, SidecarUnreachable);
  const back = client.detokenize(token(1));
  (await sidecar.next()).reveal();
  await back;
});

test('waiting for the socket uses no budget and no attempts', async () => {
  const { client, sidecar, runtime } = scene({ retry: { attempts: 1, budget: 0, pauseMs: 10 } });
  const call = client.detokenize(token(1));
  (await sidecar.next()).fail(away());
  for (const pause of [10, 20, 40]) {
    (await after(runtime, sidecar, pause)).fail(away());
  }
  (await after(runtime, sidecar, 40)).reveal();
  assert.equal((await call).kind, 'value');
});

test('a socket that may not be used is not waited for', async () => {
  const { client, sidecar } = scene();
  const call = client.detokenize(token(1));
  (await sidecar.next()).fail(new SidecarUnreachable('EACCES', { retryable: false }));
  await assert.rejects(call, (error: unknown) => error instanceof SidecarUnreachable && !error.retryable);
});

test('metadata/set with a version is tried again only where nothing was done', async () => {
  const { client, sidecar, runtime } = scene();
  const sure = client.setMetadata(token(1), {}, { ifVersion: 1 });
  (await sidecar.next()).fail(away());
  (await after(runtime, sidecar, 50)).answer({ durability: 'stored', version: 2 });
  assert.equal((await sure).version, 2);
  const unsure = client.setMetadata(token(1), {}, { ifVersion: 2 });
  (await sidecar.next()).fail(broken());
  await assert.rejects(unsure, (error: unknown) => error instanceof SidecarUnreachable && error.sent);
});

test('a conflict is the answer, not a reason to try again', async () => {
  const { client, sidecar } = scene();
  const call = client.setMetadata(token(1), {}, { ifVersion: 1 });
  (await sidecar.next()).problem('conflict', 409, false);
  await assert.rejects(call, Conflict);
});

test('a deadline ends a call while it waits, and gives the request up', async () => {
  const { client, sidecar, runtime } = scene({ deadlineMs: 500 });
  const call = client.getMetadata(token(1));
  const came = await sidecar.next();
  runtime.advance(500);
  await assert.rejects(call, (error: unknown) => error instanceof DeadlineExceeded && error.retryable);
  assert.ok(came.stop.reason);
});

test('a signal ends a pause, too', async () => {
  const { client, sidecar, runtime } = scene();
  const leave = new AbortController();
  const call = client.getMetadata(token(1), { signal: leave.signal });
  (await sidecar.next()).problem('storage_unavailable', 503, true, 1_000);
  await runtime.waitedFor(1_050);
  leave.abort(new Error('enough'));
  await assert.rejects(call, /enough/);
  assert.equal(runtime.waiting, 0);
});

test('of a batch of tokenizes that is sent again, what was given stays given', async () => {
  const { client, sidecar, runtime } = scene();
  const call = client.tokenizeBatch(['a', 'b']);
  const error = { code: 'storage_unavailable', detail: 'words', retryable: true };
  (await sidecar.next()).answer({ items: [{ token: token(1), durability: 'stored' }, { error }] });
  const again = await after(runtime, sidecar, 50);
  again.answer({ items: [{ error }, { token: token(2), durability: 'journaled' }] });
  const given = (await call).map((item) => item.kind === 'tokenized' && [item.token.expose(), item.durability]);
  assert.deepEqual(given, [
    [token(1), 'stored'],
    [token(2), 'journaled'],
  ]);
});
