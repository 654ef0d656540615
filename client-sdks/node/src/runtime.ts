import { randomUUID } from 'node:crypto';

import type { Stop } from './stop.js';

/**
 * Time, randomness and turns of the event loop: the only ambient access, so that tests bring their own.
 *
 * @internal
 */
export interface Runtime {
  /** Milliseconds, of a clock that never goes back. */
  now(): number;
  /** From 0 to 1. */
  random(): number;
  /** A new idempotency key. */
  key(): string;
  /** Calls back later; gives what takes that back. */
  after(ms: number, then: () => void): () => void;
  /** Calls back at the end of this turn of the event loop, when all that runs now has made its calls. */
  endOfTurn(then: () => void): void;
}

/** @internal */
export const SYSTEM: Runtime = {
  now: () => performance.now(),
  random: Math.random,
  key: randomUUID,
  after(ms, then) {
    const timer = setTimeout(then, ms);
    return () => clearTimeout(timer);
  },
  endOfTurn: setImmediate,
};

/**
 * Resolves after that time; rejects as soon as it is told to stop.
 *
 * @internal
 */
export function sleep(runtime: Runtime, ms: number, stop: Stop): Promise<void> {
  return new Promise((resolve, reject) => {
    const cancel = runtime.after(ms, () => {
      stop.listen(undefined);
      resolve();
    });
    stop.listen(() => {
      cancel();
      reject(stop.reason);
    });
  });
}
