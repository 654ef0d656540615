import { DISPLAY_DEADLINE_MS, HOPELESS_DEADLINE_MS } from '../limits.js';
import type { Tokenizer } from '../tokenizer.js';

/** What is asked for a page that can do without. */
export interface Attempt {
  readonly deadlineMs: number;
  /** Whether there was an answer. */
  end(answered: boolean): void;
}

/**
 * How long a page waits for what it can do without: so long for all of it, however many calls that is. Only what was waited
 * for in vain counts, and no more once there is an answer: a page that takes a minute is not a page that waits for one.
 *
 * @internal
 */
export class Patience {
  #leftMs = DISPLAY_DEADLINE_MS;

  /** For a call that says no deadline of its own. */
  begin(caller: Tokenizer<'fail'>): Attempt {
    const { deadlineMs = DISPLAY_DEADLINE_MS, engine } = caller['view'];
    const { runtime } = engine;
    const start = runtime.now();
    return {
      deadlineMs: Math.min(deadlineMs, Math.max(this.#leftMs, HOPELESS_DEADLINE_MS)),
      end: (answered) => {
        this.#leftMs = answered ? DISPLAY_DEADLINE_MS : this.#leftMs - (runtime.now() - start);
      },
    };
  }
}
