import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LunaSecError, NotFound, SidecarUnreachable } from '../src/index.js';
import { type Came, failed, revealed, type Scene, scene, token, turn } from './fake.js';

/** Dice that fall the same way for the same seed (mulberry32). */
function dice(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const CALLS = 120;
/** Every seventh token has no value. */
const hasNone = (text: string): boolean => Number.parseInt(text.slice(-6), 16) % 7 === 0;

/** An answer that is right, or one of all that can go wrong on the way. */
function answer(came: Came, roll: (below: number) => number): void {
  const fate = roll(6);
  if (fate === 0) {
    came.fail(new SidecarUnreachable('broke', { sent: true }));
  } else if (fate === 1) {
    came.problem('storage_unavailable', 503, true, roll(100));
  } else if (came.path === '/v1/detokenize') {
    alone(came);
  } else {
    batch(came, roll);
  }
}

function alone(came: Came): void {
  hasNone(came.body['token'] as string) ? came.problem('not_found', 404, false) : came.reveal();
}

function batch(came: Came, roll: (below: number) => number): void {
  const item = (each: string): object => {
    const fault = ['overloaded', 'keys_unavailable', 'payload_too_large'][roll(20)];
    if (fault !== undefined) {
      return failed(each, fault, fault !== 'payload_too_large');
    }
    return hasNone(each) ? failed(each, 'not_found', false) : revealed(each);
  };
  came.answer({ items: came.tokens.map(item) });
}

/** Calls at random moments, some of which are given up; answers at random moments, some of which are faults. */
async function storm({ client, sidecar, runtime }: Scene<'fail'>, roll: (below: number) => number): Promise<string[]> {
  const settled: Promise<string>[] = [];
  let made = 0;
  let answered = 0;
  let over = 0;
  while (over < CALLS) {
    for (let count = roll(20); count > 0 && made < CALLS; count -= 1, made += 1) {
      const leave = new AbortController();
      const each = token(made);
      const call = client.detokenize(each, { signal: leave.signal, deadlineMs: 200 + roll(2_000) });
      settled.push(outcome(call, each).finally(() => over++));
      if (roll(10) === 0) {
        void turn().then(() => leave.abort(new Error('left')));
      }
    }
    await turn();
    while (answered < sidecar.came.length && roll(4) > 0) {
      answer(sidecar.came[answered] as Came, roll);
      answered += 1;
    }
    await turn();
    runtime.advance(roll(60));
  }
  return Promise.all(settled);
}

/** What a call came to; fails if that is somebody else's. */
async function outcome(call: Promise<{ value: { reveal(): string } }>, each: string): Promise<string> {
  try {
    assert.equal((await call).value.reveal(), `value of ${each}`);
    assert.ok(!hasNone(each));
    return 'value';
  } catch (error) {
    if (error instanceof assert.AssertionError) {
      throw error;
    }
    assert.ok(!(error instanceof NotFound) || hasNone(each), 'somebody got the error of another');
    return error instanceof LunaSecError ? error.code : (error as Error).message;
  }
}

test('in any storm, each call ends with what is its own, and nothing is left behind', async () => {
  const seen = new Map<string, number>();
  for (let seed = 0; seed < 100; seed += 1) {
    const roll = dice(seed);
    const here = scene({ retry: { budget: 1_000, attempts: 2 + roll(4) }, pendingCalls: CALLS });
    here.runtime.random = () => roll(1_000) / 1_000;
    for (const came of await storm(here, roll)) {
      seen.set(came, (seen.get(came) ?? 0) + 1);
    }
    await turn();
    assert.equal(here.runtime.waiting, 0, `seed ${seed}`);
    assert.ok(
      here.sidecar.came.every(({ answered, stop }) => answered || stop.reason !== undefined),
      `seed ${seed}`,
    );
  }
  for (const kind of ['value', 'not_found', 'left', 'storage_unavailable', 'sidecar_unreachable', 'overloaded']) {
    assert.ok((seen.get(kind) ?? 0) > 20, `${kind} was seldom seen: ${JSON.stringify([...seen])}`);
  }
  assert.equal(seen.get('payload_too_large'), undefined);
});
