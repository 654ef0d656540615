import assert from 'node:assert/strict';
import { test } from 'node:test';

import { InvalidRequest, InvalidToken, type JsonObject, LunaSec, Plaintext, Token } from '../src/index.js';
import { scene, token } from './fake.js';

/** A call that must be refused before anything is sent. */
async function refused(call: (client: LunaSec) => Promise<unknown>, kind = InvalidRequest): Promise<void> {
  const { client, sidecar, runtime } = scene();
  await assert.rejects(
    call(client),
    (error: unknown) => error instanceof kind && !error.retryable && !/marker/.test(`${error.stack}`),
  );
  assert.deepEqual([sidecar.came.length, runtime.waiting], [0, 0]);
}

test('what is no value is refused, and not shown', async () => {
  for (const value of [
    undefined,
    null,
    4111,
    { marker: 1 },
    ['marker'],
    new Date(),
    Symbol('marker'),
    () => 'marker',
  ]) {
    await refused((client) => client.tokenize(value as unknown as string));
    await refused((client) => client.tokenizeBatch(['good', { value: value as unknown as string }]));
  }
});

test('text that UTF-8 cannot say is refused: it would come back as another', async () => {
  await refused((client) => client.tokenize('marker \ud800'));
});

test('metadata that JSON cannot say is refused', async () => {
  const cycle: Record<string, unknown> = { marker: 1 };
  cycle['self'] = cycle;
  for (const metadata of [cycle, { marker: 1n }]) {
    await refused((client) => client.tokenize('v', { metadata: metadata as unknown as JsonObject }));
    await refused((client) => client.setMetadata(token(1), metadata as unknown as JsonObject));
  }
});

test('what a token or a plaintext prints as is no value, nor metadata of one: what it held would be lost', async () => {
  for (const it of [Token.from(token(1)), Plaintext.from('marker')]) {
    const metadata = { holder: it as unknown as string };
    for (const value of [
      `${it}`,
      `card: ${it}`,
      JSON.stringify({ it }),
      Buffer.from(`${it}`),
      Plaintext.from(`${it}`),
    ]) {
      await refused((client) => client.tokenize(value));
      await refused((client) => client.tokenizeBatch(['good', value]));
    }
    await refused((client) => client.tokenize('v', { metadata }));
    await refused((client) => client.tokenizeBatch([{ value: 'v', metadata }]));
    await refused((client) => client.setMetadata(token(1), metadata));
    await refused((client) => client.detokenize(`${it}`), InvalidToken);
  }
});

test('what is no token is refused, and so is how a token prints', async () => {
  for (const bad of [undefined, null, 7, {}, `${Token.from(token(1))}`]) {
    await refused((client) => client.detokenize(bad as string), InvalidToken);
    await refused((client) => client.delete([token(1), bad as string]), InvalidToken);
    await refused((client) => client.forSession('alice').verify([bad as string]), InvalidToken);
  }
});

test('an option that there is not is refused by its name, with the one that was meant', async () => {
  const { client, sidecar } = scene();
  const user = client.forSession('alice');
  // As a program without a compiler calls it.
  const [any, they] = [client, user] as unknown as Record<string, (...given: unknown[]) => Promise<unknown>>[];
  const calls: [() => unknown, RegExp][] = [
    [() => any?.['tokenize']?.('marker', { expires_in: '1h' }), /^tokenize has no option expires_in: write expiresIn$/],
    [() => any?.['tokenizeBatch']?.([{ value: 'marker', Metadata: {} }]), /item of tokenizeBatch .* write metadata$/],
    [() => any?.['tokenizeBatch']?.(['marker'], { expiresIn: '1h' }), /tokenizeBatch has no option expiresIn: leave/],
    [() => any?.['detokenize']?.(token(1), { on_unavailable: 'mask' }), /write onUnavailable$/],
    [() => any?.['detokenizeBatch']?.([token(1)], { deadline: 5 }), /no option deadline: leave it out/],
    [() => any?.['setMetadata']?.(token(1), {}, { if_version: 1 }), /write ifVersion$/],
    [() => any?.['getMetadata']?.(token(1), { name_space: 'x' }), /write namespace$/],
    [() => any?.['delete']?.([token(1)], { [token(1)]: 1 }), /no option of such a name: leave it out/],
    [() => any?.['status']?.({ signals: 1 }), /no option signals/],
    [() => they?.['grant']?.([token(1)], { expires_in: '1h' }), /^grant has no option expires_in: write expiresIn$/],
    [() => they?.['verify']?.([token(1)], { actions: ['update'] }), /^verify has no option actions/],
    [() => they?.['revoke']?.([token(1)], { all: true }), /^revoke has no option all/],
    [() => they?.['revokeAll']?.(null), /the options of revokeAll are an object/],
    [async () => any?.['with']?.({ session: 'alice' }), /^with has no option session/],
    [async () => any?.['forSession']?.('alice', { JWT: 'x' }), /write jwt$/],
    [async () => new LunaSec({ pending_calls: 1 } as object), /write pendingCalls$/],
    [async () => new LunaSec({ retry: { attempt: 1 } as object }), /^retry has no option attempt/],
  ];
  for (const [call, words] of calls) {
    await assert.rejects(
      async () => call(),
      (error) => error instanceof TypeError && words.test(error.message) && !/marker|lunasec-0/.test(error.message),
      String(words),
    );
  }
  assert.equal(sidecar.came.length, 0);
  // One that says nothing is left out, and all that there are may be said.
  const all = { signal: undefined, deadlineMs: 5_000, namespace: 'n', purpose: 'p', metadata: {}, expiresIn: '1h' };
  const call = client.tokenize('v', { ...all, idempotencyKey: 'k', expires_in: undefined } as object);
  (await sidecar.next()).answer({ token: token(1), durability: 'stored' });
  await call;
});

test('one token instead of a list of them is refused with words', async () => {
  const { client, sidecar } = scene();
  const user = client.forSession('alice');
  const one = token(1) as unknown as string[];
  for (const call of [
    () => user.grant(one),
    () => user.verify(one),
    () => user.revoke(one),
    () => client.delete(one),
    () => client.detokenizeBatch(one),
    () => client.tokenizeBatch(one),
    () => user.grant(Token.from(token(1)) as unknown as string[]),
  ]) {
    await assert.rejects(
      call,
      (error) => error instanceof TypeError && /takes a list: write \[ \]/.test(error.message),
    );
  }
  assert.equal(sidecar.came.length, 0);
});

test('the mask is no value: what it stood for would be lost', async () => {
  for (const mask of ['••••', ' ••••\n', Buffer.from('••••'), Plaintext.from('••••')]) {
    await refused((client) => client.tokenize(mask));
    await refused((client) => client.tokenizeBatch(['good', mask]));
  }
});

test('a count that is none is refused where it is said', () => {
  for (const count of [-1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '2' as unknown as number]) {
    for (const options of [
      { connections: count },
      { pendingCalls: count },
      { batchItems: count },
      { retry: { attempts: count } },
      { retry: { budget: count } },
    ]) {
      const made = (): unknown => new LunaSec({ ...options, telemetry: false });
      assert.throws(
        made,
        (error) => error instanceof InvalidRequest && /is no count: .* from [01] on/.test(error.detail),
      );
    }
  }
  for (const none of [{ connections: 0 }, { batchItems: 0 }, { retry: { attempts: 0 } }]) {
    assert.throws(() => new LunaSec({ ...none, telemetry: false }), InvalidRequest);
  }
  assert.ok(new LunaSec({ pendingCalls: 0, retry: { budget: 0 }, telemetry: false }));
});

test('a path that is too long for a socket is said to be, and not looked for', () => {
  const socket = `/tmp/${'s'.repeat(110)}`;
  const long = (error: unknown) =>
    error instanceof InvalidRequest && /is 115 bytes long, and Unix takes/.test(error.detail);
  assert.throws(() => new LunaSec({ socket, telemetry: false }), long);
  assert.ok(new LunaSec({ socket: `/tmp/${'s'.repeat(90)}`, telemetry: false }));
});

test('a revoke without its list does not revoke everything', async () => {
  const { client, sidecar } = scene();
  await assert.rejects(client.forSession('alice').revoke(undefined as unknown as string[]), TypeError);
  assert.equal(sidecar.came.length, 0);
});

test('what no header can hold is refused where it is said', () => {
  const { client } = scene();
  for (const bad of ['', ' alice', 'alice\n', 'ali\0ce', '\ud800', 'x'.repeat(15_000), undefined, 7]) {
    assert.throws(() => client.forSession(bad as string), InvalidRequest, JSON.stringify(bad)?.slice(0, 20));
  }
  assert.throws(() => new LunaSec({ namespace: 'a\r\nb', telemetry: false }), InvalidRequest);
  assert.throws(() => client.with({ purpose: '' }), InvalidRequest);
});

test('an idempotency key that no header can hold is refused', async () => {
  await refused((client) => client.tokenize('v', { idempotencyKey: 'a\nb' }));
});

test('any Uint8Array is bytes, also a part of a larger buffer; a Plaintext is what it holds', async () => {
  const { client, sidecar } = scene({ batchItems: 1 });
  const values = [
    new Uint8Array([9, 1, 2, 9]).subarray(1, 3),
    Plaintext.from(Buffer.from([1, 2])),
    Plaintext.from('text'),
  ];
  const expected = [{ value: 'AQI=', encoding: 'base64' }, { value: 'AQI=', encoding: 'base64' }, { value: 'text' }];
  for (const [index, value] of values.entries()) {
    const call = client.tokenize(value);
    const came = await sidecar.next();
    assert.deepEqual(came.body, expected[index]);
    came.answer({ token: token(1), durability: 'stored' });
    await call;
  }
});

test('a session is bound once: what is granted, verified, revoked and revealed is the same', async () => {
  const { client, sidecar } = scene();
  const user = client.forSession('Zoë €');
  const calls: Promise<unknown>[] = [
    user.grant([token(1)]),
    user.verify([token(1)]),
    user.revoke([token(1)]),
    user.revokeAll(),
    user.detokenize(token(1)),
    user.getMetadata(token(1)),
  ];
  const settled = Promise.allSettled(calls);
  for (let count = 0; count < calls.length; count += 1) {
    const came = await sidecar.next();
    const said = Buffer.from(came.headers['lunasec-session'] ?? '', 'latin1').toString('utf8');
    assert.equal(said, 'Zoë €');
    assert.equal(came.path.startsWith('/v1/grants/') ? came.body['session'] : 'Zoë €', 'Zoë €');
    came.problem('internal', 500, false);
  }
  await settled;
});

test('a time that no timer can keep is refused where it is said, with what is allowed', async () => {
  for (const ms of [Number.POSITIVE_INFINITY, 2 ** 31, -1, Number.NaN, '50', 50n]) {
    const time = ms as number;
    const words = /is no time that can be waited for: .* from 0 to 2147483647/;
    const options = [
      { deadlineMs: time },
      { startDeadlineMs: time },
      { restartGraceMs: time },
      { retry: { pauseMs: time } },
      { retry: { pauseMostMs: time } },
    ];
    for (const each of options) {
      const made = (): unknown => new LunaSec({ ...each, telemetry: false });
      assert.throws(made, (error) => error instanceof InvalidRequest && words.test(error.detail));
    }
    assert.throws(() => scene().client.with({ deadlineMs: time }), InvalidRequest);
    await refused((client) => client.detokenize(token(1), { deadlineMs: time }));
    await refused((client) => client.tokenizeBatch(['v'], { deadlineMs: time }));
    await refused((client) => client.status({ deadlineMs: time }));
  }
});

test('the longest time that a timer keeps is kept', async () => {
  const { client, sidecar, runtime } = scene({ deadlineMs: 2 ** 31 - 1 });
  const call = client.detokenize(token(1));
  const came = await sidecar.next();
  runtime.advance(2 ** 31 - 2);
  came.reveal();
  assert.equal((await call).kind, 'value');
});
