import { LunaSecError, Overloaded, RateLimited, SidecarUnreachable } from './errors.js';
import { CONNECTION_ATTEMPTS, SUCCESSES_FOR_A_RETRY } from './limits.js';
import type { Names } from './options.js';
import { type Runtime, sleep } from './runtime.js';
import type { Stop } from './stop.js';

/** How a call is tried again. All are optional; see each for its default. */
export interface RetryOptions {
  /** Attempts of a call, the first included: 3; where a policy stands in for an answer, 1. */
  readonly attempts?: number | undefined;
  /** The longest pause before the second attempt, in milliseconds: 50. Each next one may be twice as long. */
  readonly pauseMs?: number | undefined;
  /** The longest pause of all, in milliseconds: 1,000. The sidecar's own `retry_after_ms` comes on top. */
  readonly pauseMostMs?: number | undefined;
  /**
   * Retries after answers that may have been saved up, for all calls of a client together: 100. Ten successes save up one
   * more. Connections that break have their own.
   */
  readonly budget?: number | undefined;
}

/** @internal */
export const RETRY: Names<RetryOptions> = { attempts: true, pauseMs: true, pauseMostMs: true, budget: true };

/**
 * What may be sent twice. `always`: another time changes nothing. `undone`: only what certainly had no effect.
 *
 * @internal
 */
export type Repeatable = 'always' | 'undone';

/**
 * A bucket of retries that all calls of a client share: when most calls fail, few are tried again. Answers and broken
 * connections have one each: who was told `overloaded` a hundred times must not notice a restart.
 *
 * @internal
 */
export class Budget {
  /** Counted in successes: tenths of a retry are not what ten of them sum up to. */
  #left: number;
  readonly #most: number;

  constructor(retries: number) {
    this.#most = retries * SUCCESSES_FOR_A_RETRY;
    this.#left = this.#most;
  }

  take(): boolean {
    if (this.#left < SUCCESSES_FOR_A_RETRY) {
      return false;
    }
    this.#left -= SUCCESSES_FOR_A_RETRY;
    return true;
  }

  succeeded(): void {
    this.#left = Math.min(this.#most, this.#left + 1);
  }
}

/**
 * What a client may try again: after answers, and after connections that broke.
 *
 * @internal
 */
export interface Budgets {
  readonly answers: Budget;
  readonly breaks: Budget;
}

/**
 * Since when nobody answers at the socket, and how long calls still wait for that to change. Afterwards a call asks
 * once, which costs next to nothing on a Unix socket, and fails at once: so it is noticed when the sidecar is back.
 *
 * @internal
 */
export class Reachability {
  #since: number | undefined;
  #everReached = false;

  constructor(
    readonly startMs: number,
    readonly restartMs: number,
  ) {}

  reached(): void {
    this.#since = undefined;
    this.#everReached = true;
  }

  /** Milliseconds that a call may still wait; 0 or less: none. */
  missed(now: number): number {
    this.#since ??= now;
    return this.#since + (this.#everReached ? this.restartMs : this.startMs) - now;
  }
}

/** @internal */
export interface Pauses {
  readonly first: number;
  readonly most: number;
}

/**
 * Whether another attempt may do better. Not where a rate is used up and nobody says until when, as of an item of a batch:
 * a call's pauses are shorter than rates are, and more attempts would only use up more.
 *
 * @internal
 */
export function mayHelp(error: LunaSecError): boolean {
  return error.retryable && !(error instanceof RateLimited && error.retryAfterMs === undefined);
}

/** Full jitter: anything from nothing to twice the last one's most. */
function jitter(runtime: Runtime, pauses: Pauses, attempt: number): number {
  return runtime.random() * Math.min(pauses.most, pauses.first * 2 ** (attempt - 1));
}

/**
 * Decides, for one call, whether and when it is tried again.
 *
 * @internal
 */
export class Retries {
  #answers = 0;
  #breaks = 0;
  #misses = 0;

  constructor(
    readonly runtime: Runtime,
    readonly budgets: Budgets,
    readonly reachability: Reachability,
    readonly pauses: Pauses,
    readonly attempts: number,
    readonly repeatable: Repeatable,
  ) {}

  /** How often it was tried. */
  get tried(): number {
    return this.#answers + this.#breaks + this.#misses;
  }

  succeeded(): void {
    this.reachability.reached();
    this.budgets.answers.succeeded();
    this.budgets.breaks.succeeded();
  }

  /** Milliseconds until the next attempt, or undefined if there is none. */
  after(error: unknown): number | undefined {
    if (!(error instanceof LunaSecError)) {
      return undefined;
    }
    if (error instanceof SidecarUnreachable) {
      return error.sent && error.retryable ? this.#broken() : this.#missed(error);
    }
    return this.#answered(error);
  }

  #missed(error: LunaSecError): number | undefined {
    this.#misses += 1;
    const left = this.reachability.missed(this.runtime.now());
    if (!error.retryable || left <= 0) {
      return undefined;
    }
    return Math.min(left, Math.max(1, jitter(this.runtime, this.pauses, Math.min(this.#misses, 3))));
  }

  #broken(): number | undefined {
    this.#breaks += 1;
    const allowed = Math.max(this.attempts, CONNECTION_ATTEMPTS);
    if (this.repeatable === 'undone' || this.#breaks >= allowed || !this.budgets.breaks.take()) {
      return undefined;
    }
    return jitter(this.runtime, this.pauses, this.#breaks);
  }

  #answered(error: LunaSecError): number | undefined {
    this.reachability.reached();
    this.#answers += 1;
    const undone = error instanceof RateLimited || error instanceof Overloaded;
    if (!mayHelp(error) || (this.repeatable === 'undone' && !undone)) {
      return undefined;
    }
    if (this.#answers >= this.attempts || !this.budgets.answers.take()) {
      return undefined;
    }
    return (error.retryAfterMs ?? 0) + jitter(this.runtime, this.pauses, this.#answers);
  }
}

/**
 * One request on its way, however many wait for it.
 *
 * @internal
 */
export interface Journey {
  readonly retries: Retries;
  readonly stop: Stop;
  /** When the last who waits is gone. */
  until(): number;
  /** It did not work, and will be tried again. */
  again(error: LunaSecError): void;
}

/**
 * Tries until it works, or until no other attempt would be right.
 *
 * @internal
 */
export async function persist<T>(journey: Journey, attempt: () => Promise<T>): Promise<T> {
  const { retries, stop } = journey;
  for (;;) {
    try {
      const result = await attempt();
      retries.succeeded();
      return result;
    } catch (error) {
      const pause = stop.reason !== undefined ? undefined : retries.after(error);
      if (pause === undefined || retries.runtime.now() + pause >= journey.until()) {
        throw error;
      }
      journey.again(error as LunaSecError);
      await sleep(retries.runtime, pause, stop);
    }
  }
}
