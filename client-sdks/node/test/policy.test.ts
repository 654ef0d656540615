import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  GrantDenied,
  type LunaSec,
  type OnUnavailable,
  SidecarUnreachable,
  StorageUnavailable,
  type Token,
  type Unavailable,
  type Value,
} from '../src/index.js';
import { failed, revealed, scene, token } from './fake.js';

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
