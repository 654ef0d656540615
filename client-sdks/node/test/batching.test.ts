import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';

import {
  InvalidRequest,
  InvalidToken,
  NotFound,
  Overloaded,
  PayloadTooLarge,
  RateLimited,
  StorageUnavailable,
} from '../src/index.js';
import { type Came, failed, revealed, scene, token, tokens, turn } from './fake.js';

test('a call that is alone in its turn is sent as it is', async () => {
  const { client, sidecar } = scene();
  const call = client.detokenize(token(1));
  const came = await sidecar.next();
  assert.equal(came.path, '/v1/detokenize');
  came.reveal();
  assert.equal((await call).value.reveal(), `value of ${token(1)}`);
});

test('a thousand calls of one turn are one request, and each gets its own', async () => {
  const { client, sidecar } = scene();
  const calls = tokens(1_000).map((each) => client.detokenize(each));
  const came = await sidecar.next();
  assert.equal(came.path, '/v1/detokenize:batch');
  assert.deepEqual(came.tokens, tokens(1_000));
  came.reveal();
  for (const [index, answer] of (await Promise.all(calls)).entries()) {
    assert.equal(answer.value.reveal(), `value of ${token(index)}`);
    assert.equal(answer.token.expose(), token(index));
  }
  assert.equal(sidecar.came.length, 1);
});

test('one more than a thousand is a second request', async () => {
  const { client, sidecar } = scene();
  const calls = tokens(1_001).map((each) => client.detokenize(each));
  const [first, second] = [await sidecar.next(), await sidecar.next()];
  assert.equal(first.tokens.length, 1_000);
  assert.equal(second.path, '/v1/detokenize');
  first.reveal();
  second.reveal();
  assert.equal((await Promise.all(calls)).length, 1_001);
});

test('… unless they are of a thousand tokens: what several ask for is asked for once', async () => {
  const { client, sidecar } = scene();
  const each = tokens(1_000);
  const calls = [...each, ...each, token(0), token(1_000), token(1)].map((one) => client.detokenize(one));
  const [first, second] = [await sidecar.next(), await sidecar.next()];
  assert.deepEqual(first.tokens, each);
  assert.equal(second.body['token'], token(1_000));
  first.reveal();
  second.reveal();
  const answers = await Promise.all(calls);
  assert.equal(answers[1_500]?.value.reveal(), `value of ${token(500)}`);
  assert.equal(answers.at(-1)?.value.reveal(), `value of ${token(1)}`);
  const same = Array.from({ length: 1_001 }, () => client.detokenize(token(7)));
  const alone = await sidecar.next();
  assert.equal(alone.path, '/v1/detokenize');
  alone.reveal();
  await Promise.all(same);
  assert.equal(sidecar.came.length, 3);
});

test('no request is larger than 16 MiB', async () => {
  const { client, sidecar } = scene();
  const value = 'x'.repeat(1024 * 1024);
  const calls = Array.from({ length: 20 }, () => client.tokenize(value));
  const [first, second] = [await sidecar.next(), await sidecar.next()];
  assert.ok(first.bytes <= 16 * 1024 * 1024 && second.bytes <= 16 * 1024 * 1024);
  const counts = [first, second].map(({ body }) => (body['items'] as unknown[]).length);
  assert.deepEqual(counts, [15, 5]);
  for (const came of [first, second]) {
    const items = (came.body['items'] as unknown[]).map((_, n) => ({ token: token(n), durability: 'stored' }));
    came.answer({ items });
  }
  assert.equal((await Promise.all(calls)).length, 20);
});

test('calls that are spread over one turn of the event loop go together; those of the next do not', async () => {
  const { client, sidecar } = scene();
  const first = client.detokenize(token(1));
  const second = Promise.resolve().then(() => client.detokenize(token(2)));
  const third = new Promise<void>((resolve) => process.nextTick(resolve)).then(() => client.detokenize(token(3)));
  const came = await sidecar.next();
  assert.deepEqual(came.tokens, [token(1), token(2), token(3)]);
  const fourth = client.detokenize(token(4));
  const later = await sidecar.next();
  assert.equal(later.path, '/v1/detokenize');
  came.reveal();
  later.reveal();
  await Promise.all([first, second, third, fourth]);
});

test('who says something else of itself does not go along', async () => {
  const { client, sidecar } = scene();
  const calls = [
    client.detokenize(token(1)),
    client.detokenize(token(2), { namespace: 'other' }),
    client.with({ purpose: 'support' }).detokenize(token(3)),
    client.forSession('alice').detokenize(token(4)),
    client.forSession('bob').detokenize(token(5)),
    client.detokenize(token(6), { onUnavailable: 'mask' }),
    client.forSession('alice').detokenize(token(7)),
  ];
  const requests: Came[] = [];
  for (let count = 0; count < 6; count += 1) {
    const came = await sidecar.next();
    requests.push(came);
    came.reveal();
  }
  await Promise.all(calls);
  const alice = requests.find(({ headers }) => headers['lunasec-session'] === 'alice');
  assert.deepEqual(alice?.tokens, [token(4), token(7)]);
  assert.equal(sidecar.came.length, 6);
});

test('grants and verifies of one session go together, whoever asks, and each gets its own', async () => {
  const { client, sidecar } = scene();
  const calls = [
    client.forSession('alice').verify([token(1), token(2)]),
    client.forSession('alice').verify([token(3)]),
    client.forSession('alice').verify([token(4)], { action: 'delete' }),
    client.forSession('bob').verify([token(5)]),
  ];
  for (let count = 0; count < 3; count += 1) {
    const came = await sidecar.next();
    came.answer({ items: came.tokens.map((each) => ({ token: each, valid: false, reason: 'denied' })) });
  }
  const answers = await Promise.all(calls);
  assert.deepEqual(
    answers.map((items) => items.map((item) => item.token?.expose())),
    [[token(1), token(2)], [token(3)], [token(4)], [token(5)]],
  );
  assert.equal(sidecar.came.length, 3);
});

test('an idempotency key of the application stays with its one value', async () => {
  const { client, sidecar } = scene();
  const calls = [client.tokenize('a', { idempotencyKey: 'mine' }), client.tokenize('b')];
  const requests = [await sidecar.next(), await sidecar.next()];
  const mine = requests.find(({ headers }) => headers['idempotency-key'] === 'mine');
  assert.deepEqual(mine?.body, { value: 'a' });
  for (const came of requests) {
    assert.equal(came.path, '/v1/tokenize');
    came.answer({ token: token(1), durability: 'stored' });
  }
  await Promise.all(calls);
});

test("an item's failure is its caller's alone", async () => {
  const { client, sidecar } = scene();
  const [good, bad] = [client.detokenize(token(1)), client.detokenize(token(2))];
  const came = await sidecar.next();
  came.answer({ items: [revealed(token(1)), failed(token(2), 'not_found', false)] });
  assert.equal((await good).value.reveal(), `value of ${token(1)}`);
  await assert.rejects(bad, (error: unknown) => error instanceof NotFound && error.code === 'not_found');
});

test('who has an answer does not wait for the others to be tried again', async () => {
  const { client, sidecar, runtime } = scene();
  const [good, slow] = [client.detokenize(token(1)), client.detokenize(token(2))];
  const first = await sidecar.next();
  first.answer({ items: [revealed(token(1)), failed(token(2), 'storage_unavailable', true)] });
  assert.equal((await good).value.reveal(), `value of ${token(1)}`);
  await runtime.waitedFor(50);
  runtime.advance(50);
  const second = await sidecar.next();
  assert.deepEqual(second.tokens, [token(2)]);
  second.reveal();
  assert.equal((await slow).value.reveal(), `value of ${token(2)}`);
});

test('who leaves does not take the others along', async () => {
  const { client, sidecar } = scene();
  const leave = new AbortController();
  const [stays, leaves] = [client.detokenize(token(1)), client.detokenize(token(2), { signal: leave.signal })];
  const came = await sidecar.next();
  leave.abort(new Error('enough'));
  await assert.rejects(leaves, /enough/);
  assert.equal(came.stop.reason, undefined);
  came.reveal();
  assert.equal((await stays).value.reveal(), `value of ${token(1)}`);
});

test('when all have left, the request is given up', async () => {
  const { client, sidecar } = scene();
  const leave = new AbortController();
  const calls = [1, 2].map((each) => client.detokenize(token(each), { signal: leave.signal }));
  const came = await sidecar.next();
  leave.abort(new Error('enough'));
  for (const call of calls) {
    await assert.rejects(call, /enough/);
  }
  assert.ok(came.stop.reason);
});

test('many calls that share a signal are one listener of it, and all leave', async () => {
  const { client, sidecar } = scene();
  const leave = new AbortController();
  const calls = tokens(100).map((each) => client.detokenize(each, { signal: leave.signal }));
  const settled = Promise.allSettled(calls);
  const came = await sidecar.next();
  assert.equal(getEventListeners(leave.signal, 'abort').length, 1);
  leave.abort(new Error('enough'));
  assert.ok((await settled).every(({ status }) => status === 'rejected'));
  assert.ok(came.stop.reason);
});

test('who leaves before the end of the turn is not sent', async () => {
  const { client, sidecar } = scene();
  const leave = new AbortController();
  const [stays, leaves] = [client.detokenize(token(1)), client.detokenize(token(2), { signal: leave.signal })];
  leave.abort(new Error('enough'));
  const over = client.detokenize(token(3), { signal: AbortSignal.abort(new Error('before')) });
  await assert.rejects(leaves, /enough/);
  await assert.rejects(over, /before/);
  const came = await sidecar.next();
  assert.equal(came.path, '/v1/detokenize');
  came.reveal();
  await stays;
});

test('each keeps its own deadline, and hears what went wrong before it', async () => {
  const { client, sidecar, runtime } = scene();
  const [patient, hasty] = [client.detokenize(token(1)), client.detokenize(token(2), { deadlineMs: 100 })];
  const first = await sidecar.next();
  first.problem('storage_unavailable', 503, true, 40);
  await runtime.waitedFor(90);
  runtime.advance(90);
  const second = await sidecar.next();
  runtime.advance(10);
  await assert.rejects(hasty, StorageUnavailable);
  second.answer({ items: second.tokens.map(revealed) });
  assert.equal((await patient).value.reveal(), `value of ${token(1)}`);
});

test('what is refused as a whole fails only whose fault it is', async () => {
  const { client, sidecar } = scene();
  const calls = tokens(8).map((each) => client.detokenize(each));
  const settled = Promise.allSettled(calls);
  void sidecar.answerEach((came) => {
    const asked = came.tokens ?? [came.body['token']];
    if (asked.includes(token(5))) {
      came.problem('invalid_request', 400, false);
    } else {
      came.reveal();
    }
  });
  const outcomes = await settled;
  const bad = outcomes.flatMap((outcome, index) => (outcome.status === 'rejected' ? [[index, outcome.reason]] : []));
  assert.equal(bad.length, 1);
  assert.equal(bad[0]?.[0], 5);
  assert.ok(bad[0]?.[1] instanceof InvalidRequest);
  assert.equal(sidecar.came.length, 7);
});

test('what is said of all of them is not sought in each', async () => {
  const { client, sidecar } = scene();
  const session = client.forSession('alice');
  const calls = tokens(100).map((each) => session.grant([each], { expiresIn: '9999h' }));
  const settled = Promise.allSettled(calls);
  void sidecar.answerEach((came) => came.problem('invalid_request', 400, false));
  assert.ok((await settled).every(({ status }) => status === 'rejected'));
  assert.ok(sidecar.came.length <= 25, `${sidecar.came.length} requests`);
});

test('a token that cannot be sent fails its own call, and is not sent', async () => {
  const { client, sidecar } = scene();
  const [bad, good] = ['\ud800', token(1)].map((each) => client.detokenize(each));
  await assert.rejects(bad as Promise<unknown>, InvalidToken);
  const came = await sidecar.next();
  assert.equal(came.path, '/v1/detokenize');
  came.reveal();
  await good;
});

test('a token that several ask for is asked for once, and each is answered', async () => {
  const { client, sidecar } = scene();
  const asked = [1, 2, 1, 1, 3, 2];
  const calls = asked.map((each) => client.detokenize(token(each)));
  const came = await sidecar.next();
  assert.deepEqual(came.tokens, [1, 2, 3].map(token));
  came.reveal();
  const values = (await Promise.all(calls)).map(({ value, token: of }) => [value.reveal(), of.expose()]);
  assert.deepEqual(
    values,
    asked.map((each) => [`value of ${token(each)}`, token(each)]),
  );
  const same = [client.detokenize(token(1)), client.detokenize(token(1))];
  const alone = await sidecar.next();
  assert.equal(alone.path, '/v1/detokenize');
  alone.reveal();
  await Promise.all(same);
  const gone = client.delete([token(1), token(1)]);
  const deletes = await sidecar.next();
  assert.deepEqual(deletes.tokens, [token(1), token(1)]);
  deletes.problem('forbidden', 403, false);
  await assert.rejects(gone);
  const listed = client.detokenizeBatch([token(1), token(1)]);
  const batch = await sidecar.next();
  assert.deepEqual(batch.tokens, [token(1), token(1)]);
  batch.reveal();
  assert.equal((await listed).length, 2);
});

test('a value that several tokenize is tokenized for each', async () => {
  const { client, sidecar } = scene();
  const calls = [client.tokenize('same'), client.tokenize('same')];
  const came = await sidecar.next();
  assert.equal((came.body['items'] as unknown[]).length, 2);
  came.problem('forbidden', 403, false);
  await Promise.allSettled(calls);
});

test('calls that are parts of the same take one place for a thousand', async () => {
  const { client, sidecar } = scene({ pendingCalls: 3 });
  const share = {};
  const calls = tokens(1_001).map((each) => client.detokenize(each, { share }));
  const other = client.detokenize(token(2_000));
  await assert.rejects(client.detokenize(token(2_001)), Overloaded);
  for (let answered = 0; answered < 2; answered += 1) {
    (await sidecar.next()).reveal();
  }
  await Promise.all([...calls, other]);
  const again = [1, 2, 3].map((each) => client.detokenize(token(each)));
  (await sidecar.next()).reveal();
  await Promise.all(again);
});

test('one session does not take all the places, and takes few with calls that are a request each', async () => {
  const { client, sidecar } = scene({ pendingCalls: 20 });
  const [storm, other] = [client.forSession('alice'), client.forSession('bob')];
  const words = (error: unknown) => error instanceof Overloaded && error.retryable && !/alice/.test(error.message);
  const alone = [1, 2].map((each) => storm.getMetadata(token(each)));
  await assert.rejects(storm.getMetadata(token(3)), words);
  await assert.rejects(client.forSession('alice').setMetadata(token(3), {}), words);
  const shared = tokens(8).map((each) => storm.detokenize(each));
  await assert.rejects(storm.detokenize(token(9)), words);
  // A logout is nothing that a storm may hold up.
  const logout = storm.revokeAll();
  const others = [other.getMetadata(token(1)), other.detokenize(token(1)), client.getMetadata(token(1))];
  void sidecar.answerEach((came) => {
    if (came.path.endsWith('detokenize') || came.path.endsWith('detokenize:batch')) {
      came.reveal();
    } else {
      came.answer({ metadata: {}, version: 1, created_at: '2026-01-02T03:04:05Z', durability: 'stored' });
    }
  });
  await Promise.all([...alone, ...shared, logout, ...others]);
  // All places are there again.
  await Promise.all([storm.getMetadata(token(1)), ...tokens(9).map((each) => storm.detokenize(each))]);
});

test('who found no room in a full answer asks again with fewer', async () => {
  const { client, sidecar } = scene();
  const calls = tokens(3).map((each) => client.detokenize(each));
  const first = await sidecar.next();
  const full = [1, 2].map((each) => failed(token(each), 'payload_too_large', false));
  first.answer({ items: [revealed(token(0)), ...full] });
  const second = await sidecar.next();
  assert.deepEqual(second.tokens, [token(1), token(2)]);
  second.answer({ items: full });
  for (const came of [await sidecar.next(), await sidecar.next()]) {
    assert.equal(came.path, '/v1/detokenize');
    came.body['token'] === token(1) ? came.reveal() : came.problem('payload_too_large', 413, false);
  }
  assert.equal((await calls[0])?.value.reveal(), `value of ${token(0)}`);
  assert.equal((await calls[1])?.value.reveal(), `value of ${token(1)}`);
  await assert.rejects(calls[2] as Promise<unknown>, PayloadTooLarge);
});

test('a text that is far too long for a token fails nobody else', async () => {
  const { client, sidecar } = scene();
  const [good, other, long] = [token(1), token(2), 'x'.repeat(5_000_000)].map((each) => client.detokenize(each));
  const paths = new Map([await sidecar.next(), await sidecar.next()].map((came) => [came.path, came]));
  paths.get('/v1/detokenize')?.problem('payload_too_large', 413, false);
  paths.get('/v1/detokenize:batch')?.reveal();
  await good;
  await other;
  await assert.rejects(long as Promise<unknown>, PayloadTooLarge);
});

test('too many calls at once are refused at once, and there is room again afterwards', async () => {
  const { client, sidecar } = scene({ pendingCalls: 2 });
  const calls = [client.detokenize(token(1)), client.detokenize(token(2))];
  await assert.rejects(client.detokenize(token(3)), (error: unknown) => error instanceof Overloaded && error.retryable);
  const came = await sidecar.next();
  came.reveal();
  await Promise.all(calls);
  const again = client.detokenize(token(4));
  (await sidecar.next()).reveal();
  await again;
});

test('an explicit batch is one request of its own, also of one item', async () => {
  const { client, sidecar } = scene();
  const calls = [client.detokenizeBatch([token(1)]), client.detokenize(token(2))];
  const paths = [await sidecar.next(), await sidecar.next()];
  assert.deepEqual(paths.map(({ path }) => path).sort(), ['/v1/detokenize', '/v1/detokenize:batch']);
  for (const came of paths) {
    came.reveal();
  }
  await Promise.all(calls);
});

test('with batchItems 1, each call is a request', async () => {
  const { client, sidecar } = scene({ batchItems: 1 });
  const calls = [...tokens(3), token(0)].map((each) => client.detokenize(each));
  for (let count = 0; count < 4; count += 1) {
    const came = await sidecar.next();
    assert.equal(came.path, '/v1/detokenize');
    came.reveal();
  }
  await Promise.all(calls);
});

test('nothing is left behind: no timer, no listener, no call under way', async () => {
  const { client, sidecar, runtime } = scene({ pendingCalls: 10 });
  const { signal } = new AbortController();
  for (let round = 0; round < 5; round += 1) {
    const calls = tokens(10).map((each) => client.detokenize(each, { signal }));
    (await sidecar.next()).reveal();
    await Promise.all(calls);
  }
  await turn();
  assert.equal(runtime.waiting, 0);
  assert.ok(getEventListeners(signal, 'abort').length <= 1);
});

test('of calls that share a request, those over the rate reject at once; the others get their values', async () => {
  const { client, sidecar, runtime } = scene();
  const calls = tokens(3).map((each) => client.detokenize(each));
  const settled = Promise.allSettled(calls);
  const items = [
    revealed(token(0)),
    failed(token(1), 'rate_limited', true),
    failed(token(2), 'storage_unavailable', true),
  ];
  (await sidecar.next()).answer({ items });
  await assert.rejects(calls[1] as Promise<unknown>, RateLimited);
  await runtime.waitedFor(50);
  runtime.advance(50);
  const again = await sidecar.next();
  assert.deepEqual(again.tokens, [token(2)]);
  again.reveal();
  const kinds = (await settled).map(({ status }) => status);
  assert.deepEqual(kinds, ['fulfilled', 'rejected', 'fulfilled']);
});
