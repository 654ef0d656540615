import type { ServerResponse } from 'node:http';

import type { Durability, Staleness } from '../results.js';

/** In `res.locals.lunasec`: how much of an answer is not as it should be. */
export interface Marks {
  /** Whether anything is older than it should be, masked, or was not granted. */
  readonly degraded: boolean;
  /** Why: `storage`, `keys`, or the code of an error such as `sidecar_unreachable`. Also in the header `lunasec-degraded`. */
  readonly reasons: readonly string[];
  /** How old the oldest of it is. */
  readonly ageSeconds: number;
  /** How many fields show something else instead of their value. */
  readonly masked: number;
  /** Whether something that was written waits for storage, and may be `not_found` elsewhere until then. */
  readonly journaled: boolean;
}

/**
 * Notes them, and says in the answer's head that there are any.
 *
 * @internal
 */
export class Noted implements Marks {
  degraded = false;
  readonly reasons: string[] = [];
  ageSeconds = 0;
  masked = 0;
  journaled = false;

  constructor(readonly response: ServerResponse) {
    Object.defineProperty(this, 'response', { enumerable: false });
  }

  /** What came back may be old. */
  stale({ degraded, ageSeconds }: Staleness): void {
    if (degraded !== undefined) {
      this.ageSeconds = Math.max(this.ageSeconds, ageSeconds ?? 0);
      for (const reason of degraded.split(',')) {
        this.because(reason);
      }
    }
  }

  /** Something stands in for a value. */
  standsIn(reason: string): void {
    this.masked += 1;
    this.because(reason);
  }

  because(reason: string): void {
    if (!this.reasons.includes(reason)) {
      this.degraded = true;
      this.reasons.push(reason);
      if (!this.response.headersSent) {
        this.response.setHeader('lunasec-degraded', this.reasons.join(','));
      }
    }
  }

  written(durability: Durability): void {
    this.journaled ||= durability === 'journaled';
  }
}
