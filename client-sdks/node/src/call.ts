import { DeadlineExceeded, type LunaSecError } from './errors.js';
import type { Runtime } from './runtime.js';
import { onAbort } from './signals.js';

/**
 * A promise to one caller: it ends with its result, its deadline or its caller's signal, whichever is first.
 *
 * @internal
 */
export class Call<T> {
  readonly promise: Promise<T>;
  /** When it ends at the latest. */
  readonly until: number;
  /** What went wrong so far: a better answer than that the time is over. */
  trouble: LunaSecError | undefined;
  #resolve!: (value: T) => void;
  #reject!: (error: unknown) => void;
  #over = false;
  readonly #cancel: () => void;
  readonly #forget: (() => void) | undefined;
  #left: (() => void) | undefined;
  readonly #ended: () => void;

  constructor(runtime: Runtime, deadlineMs: number, signal: AbortSignal | undefined, ended: () => void) {
    this.promise = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.until = runtime.now() + deadlineMs;
    this.#ended = ended;
    this.#cancel = runtime.after(deadlineMs, () => this.#late(deadlineMs));
    if (signal?.aborted) {
      this.#leave(signal.reason);
    } else if (signal !== undefined) {
      this.#forget = onAbort(signal, () => this.#leave(signal.reason));
    }
  }

  /** Whether nobody waits any more. */
  get over(): boolean {
    return this.#over;
  }

  /** Is called if the caller leaves before there is a result, or has left already. */
  whenLeft(then: () => void): void {
    this.#left = then;
    if (this.#over) {
      then();
    }
  }

  resolve(value: T): void {
    if (this.#finish()) {
      this.#resolve(value);
    }
  }

  reject(error: unknown): void {
    if (this.#finish()) {
      this.#reject(error);
    }
  }

  #late(ms: number): void {
    const none = `there was no answer within ${ms} ms; a write may have been done`;
    this.#leave(this.trouble ?? new DeadlineExceeded(none, { retryable: true }));
  }

  #leave(reason: unknown): void {
    if (this.#finish()) {
      this.#reject(reason);
      this.#left?.();
    }
  }

  #finish(): boolean {
    if (this.#over) {
      return false;
    }
    this.#over = true;
    this.#cancel();
    this.#forget?.();
    this.#ended();
    return true;
  }
}
