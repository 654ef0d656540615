import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  DeadlineExceeded,
  GrantDenied,
  InvalidRequest,
  type LunaSec,
  LunaSecError,
  type OnUnavailable,
  Overloaded,
  SidecarUnreachable,
  StorageUnavailable,
  type Token,
  Unavailable,
  type Value,
} from '../src/index.js';
import { deferred, failed, revealed, scene, token } from './fake.js';

test('with `fail`, the compiler gives the value at once; with another policy it asks for a look at `kind`', () => {
  // Checked by the compiler: each line below an expected error must be one.
  async function types(client: LunaSec, masking: LunaSec<'mask'>): Promise<unknown[]> {
    const plain: Value = await client.detokenize(token(1));
    const masked = await client.detokenize(token(1), { onUnavailable: 'mask' });
    // @ts-expect-error it may be masked
    masked.value;
    const text: string = masked.kind === 'value' ? masked.value.reveal() : masked.text;
    const other = await masking.detokenize(token(1));
    // @ts-expect-error the client's own policy counts
    other.value;
    const strict: Value = await masking.detokenize(token(1), { onUnavailable: 'fail' });
    const fallback = await client.detokenize(token(1), { onUnavailable: { fallback: () => 7 } });
    const seven: number | undefined = fallback.kind === 'fallback' ? fallback.value : undefined;
    const late = await client.detokenize(token(1), { onUnavailable: { fallback: async () => 'late' } });
    const awaited: string | undefined = late.kind === 'fallback' ? late.value : undefined;
    // @ts-expect-error nothing falls back here
    const never = masked.kind === 'fallback';
    const session = await masking.forSession('alice').detokenize(token(1));
    // @ts-expect-error a session has its client's policy
    session.value;
    const view = await client.with({ onUnavailable: 'mask' }).detokenize(token(1));
    // @ts-expect-error a view has its own
    view.value;
    const [item] = await client.detokenizeBatch([token(1)]);
    // @ts-expect-error an item may have failed
    item?.value;
    // @ts-expect-error no policy stands in for a write
    await client.tokenize('v', { onUnavailable: 'mask' });
    // @ts-expect-error who counts on values is not given a client that masks
    const failing: LunaSec = masking;
    const any: LunaSec<OnUnavailable> = client;
    const own: Value = await client.detokenize(token(1), { signal: undefined });
    return [failing, any, own, plain, text, strict, seven, awaited, never];
  }
  assert.equal(typeof types, 'function');
});

test('what stands in says why, and for which token', async () => {
  const { client, sidecar } = scene({ onUnavailable: 'mask' });
  const call = client.detokenize(token(1));
  (await sidecar.next()).problem('storage_unavailable', 503, true, 1_000);
  const shown = await call;
  assert.ok(shown.kind === 'masked');
  assert.deepEqual([shown.text, shown.reason, shown.token.expose()], ['••••', 'storage_unavailable', token(1)]);
  assert.ok(shown.error instanceof StorageUnavailable);
});

test('a fallback is asked once, with the token and the error, and only then', async () => {
  const { client, sidecar } = scene();
  const asked: [Token, Unavailable][] = [];
  const policy = {
    fallback: (about: Token, error: Unavailable) => {
      asked.push([about, error]);
      return 'someone';
    },
  };
  const good = client.detokenize(token(1), { onUnavailable: policy });
  (await sidecar.next()).reveal();
  assert.equal((await good).kind, 'value');
  assert.equal(asked.length, 0);
  const away = client.detokenize(token(2), { onUnavailable: policy });
  (await sidecar.next()).fail(new SidecarUnreachable('gone', { retryable: false }));
  const shown = await away;
  assert.ok(shown.kind === 'fallback' && shown.value === 'someone');
  assert.deepEqual([asked.length, asked[0]?.[0].expose(), asked[0]?.[1].code], [1, token(2), 'sidecar_unreachable']);
});

test("a fallback's own error is the caller's", async () => {
  const { client, sidecar } = scene();
  const fallback = (): never => {
    throw new Error('mine');
  };
  const call = client.detokenize(token(1), { onUnavailable: { fallback } });
  (await sidecar.next()).problem('overloaded', 503, true);
  await assert.rejects(call, /mine/);
});

test('what is no policy is refused when a client, a view or a call is made, not in the outage', async () => {
  const { client, sidecar } = scene();
  for (const bad of [
    'masked',
    {},
    { mask: 7 },
    { fallback: 'text' },
    { mask: 'n/a', fallback: () => 1 },
    true,
    () => 1,
  ]) {
    const onUnavailable = bad as unknown as 'mask';
    const words = (error: unknown): boolean => error instanceof InvalidRequest && /'fail', 'mask'/.test(error.detail);
    assert.throws(() => scene({ onUnavailable }), words);
    assert.throws(() => client.with({ onUnavailable }), words);
    await assert.rejects(client.detokenize(token(1), { onUnavailable }), words);
    await assert.rejects(client.detokenizeBatch([token(1)], { onUnavailable }), words);
  }
  assert.equal(sidecar.came.length, 0);
});

test('of a policy, what is undefined is not there', async () => {
  const { client, sidecar } = scene();
  for (const [policy, kind] of [
    [{ mask: 'n/a', fallback: undefined }, 'masked'],
    [{ mask: undefined, fallback: () => 'someone' }, 'fallback'],
  ] as const) {
    const call = client.detokenize(token(1), { onUnavailable: policy as unknown as OnUnavailable });
    (await sidecar.next()).problem('overloaded', 503, true);
    assert.equal((await call).kind, kind);
  }
});

test('a fallback that gives nothing ends with a deadline of its own', async () => {
  const { client, sidecar, runtime } = scene({ deadlineMs: 700, retry: { attempts: 1 } });
  const policy = { fallback: () => new Promise<string>(() => undefined) };
  const one = client.detokenize(token(1), { onUnavailable: policy });
  (await sidecar.next()).problem('overloaded', 503, true);
  const many = client.detokenizeBatch([token(1)], { onUnavailable: policy });
  (await sidecar.next()).problem('overloaded', 503, true);
  for (let count = 0; count < 4; count += 1) {
    await runtime.waitedFor(700);
  }
  runtime.advance(700);
  const late = (error: unknown): boolean =>
    error instanceof DeadlineExceeded && /fallback/.test(error.detail) && error.cause instanceof Overloaded;
  await assert.rejects(one, late);
  const [item] = await many;
  assert.ok(item?.kind === 'failed' && late(item.error));
  assert.equal(runtime.waiting, 0);
});

test('a fallback has its time also where the sidecar used up that of the call', async () => {
  const { client, sidecar, runtime } = scene({ deadlineMs: 700 });
  const asked = deferred<Unavailable>();
  const given = deferred<string>();
  const fallback = (_token: Token, error: Unavailable): Promise<string> => {
    asked.resolve(error);
    return given.promise;
  };
  const call = client.detokenize(token(1), { onUnavailable: { fallback } });
  await sidecar.next();
  runtime.advance(700);
  assert.ok((await asked.promise) instanceof DeadlineExceeded);
  runtime.advance(699);
  given.resolve('someone');
  const shown = await call;
  assert.ok(shown.kind === 'fallback' && shown.value === 'someone');
});

test('who gives a call up waits for no fallback, also in a batch', async () => {
  const { client, sidecar } = scene();
  for (const read of [client.detokenize.bind(client, token(1)), client.detokenizeBatch.bind(client, [token(1)])]) {
    const leave = new AbortController();
    const asked = deferred();
    const fallback = (): Promise<string> => {
      asked.resolve();
      return new Promise(() => undefined);
    };
    const call = read({ onUnavailable: { fallback }, signal: leave.signal });
    (await sidecar.next()).problem('overloaded', 503, true);
    await asked.promise;
    leave.abort(new Error('enough'));
    await assert.rejects(call, /enough/);
  }
});

test('an item whose fallback throws has an error of this client, with what was thrown as its cause', async () => {
  const { client, sidecar } = scene();
  const mine = new Error('mine');
  const fallback = (about: Token): string => {
    if (about.equals(token(1))) {
      throw mine;
    }
    return 'someone';
  };
  const call = client.detokenizeBatch([token(1), token(2)], { onUnavailable: { fallback } });
  (await sidecar.next()).problem('overloaded', 503, true);
  const [threw, other] = await call;
  assert.ok(threw?.kind === 'failed' && threw.error instanceof Unavailable);
  assert.deepEqual([threw.error.code, threw.error.cause, other?.kind], ['overloaded', mine, 'fallback']);
  assert.match(threw.error.detail, /fallback of onUnavailable threw/);
});

test('an answer of no is never masked, also in a batch', async () => {
  const { client, sidecar } = scene({ onUnavailable: 'mask' });
  const call = client.detokenizeBatch([token(1), token(2), token(3)]);
  const items = [
    revealed(token(1)),
    failed(token(2), 'grant_denied', false),
    failed(token(3), 'keys_unavailable', true),
  ];
  (await sidecar.next()).answer({ items });
  const [value, denied, masked] = await call;
  assert.deepEqual([value?.kind, denied?.kind, masked?.kind], ['value', 'failed', 'masked']);
  assert.ok(denied?.kind === 'failed' && denied.error instanceof GrantDenied);
});

test('what a newer sidecar refuses is not masked, also where it may be asked again; what it cannot answer is', async () => {
  const { client, sidecar } = scene({ onUnavailable: 'mask' });
  const refused = client.detokenize(token(1));
  (await sidecar.next()).problem('brand_new_denied', 403, true);
  await assert.rejects(refused, (error: unknown) => error instanceof LunaSecError && error.code === 'brand_new_denied');
  const batch = client.detokenizeBatch([token(1)]);
  (await sidecar.next()).answer({ items: [failed(token(1), 'brand_new_denied', true)] });
  assert.equal((await batch)[0]?.kind, 'failed');
  const away = client.detokenize(token(1));
  (await sidecar.next()).problem('brand_new_unavailable', 503, true);
  assert.equal((await away).kind, 'masked');
});

test('an abort is no outage: it rejects under any policy', async () => {
  const { client, sidecar } = scene({ onUnavailable: 'mask' });
  const leave = new AbortController();
  const call = client.detokenize(token(1), { signal: leave.signal });
  await sidecar.next();
  leave.abort(new Error('enough'));
  await assert.rejects(call, /enough/);
});

test('a page does not wait as long as a write does', async () => {
  const { client, sidecar, runtime } = scene();
  const calls = [client.detokenize(token(1), { onUnavailable: 'mask' }), client.detokenize(token(2))];
  await sidecar.next();
  await sidecar.next();
  runtime.advance(2_000);
  assert.equal((await calls[0])?.kind, 'masked');
  runtime.advance(13_000);
  await assert.rejects(calls[1] as Promise<unknown>, /15000 ms/);
});
