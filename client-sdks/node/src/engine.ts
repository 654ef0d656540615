import { Call } from './call.js';
import type { Context } from './context.js';
import { type LunaSecError, Overloaded } from './errors.js';
import { BATCH_ITEMS } from './limits.js';
import type { Route } from './operation.js';
import { type Budgets, type Pauses, persist, type Reachability, type Repeatable, Retries } from './retry.js';
import type { Runtime } from './runtime.js';
import { Stop } from './stop.js';
import type { Span, Telemetry } from './telemetry.js';
import type { Answer, Wanted } from './transport.js';
import { read } from './wire.js';

/** @internal */
export interface Exchanges {
  exchange(wanted: Wanted, stop: Stop): Promise<Answer>;
  close(): Promise<void>;
}

/**
 * What bounds one call.
 *
 * @internal
 */
export interface Limits {
  readonly deadlineMs: number;
  readonly attempts: number;
  readonly signal: AbortSignal | undefined;
  /** What the call is a part of. A thousand calls of the same take one place: they go together anyway. */
  readonly share?: object | undefined;
}

/** @internal */
export interface EngineOptions {
  readonly runtime: Runtime;
  readonly exchanges: Exchanges;
  readonly telemetry: Telemetry;
  readonly pauses: Pauses;
  readonly budgets: Budgets;
  readonly reachability: Reachability;
  readonly pending: number;
}

/**
 * Sends requests, again where that helps, and counts the calls that wait. All views of a client share one.
 *
 * @internal
 */
export class Engine {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly #options: EngineOptions;
  #pending = 0;
  /** The calls under way of each share. */
  readonly #shares = new WeakMap<object, number>();

  constructor(options: EngineOptions) {
    this.runtime = options.runtime;
    this.telemetry = options.telemetry;
    this.#options = options;
  }

  /** A place for one caller to wait; refused where too many do. */
  call<T>(limits: Limits): Call<T> {
    const { share } = limits;
    const calls = share === undefined ? 0 : (this.#shares.get(share) ?? 0);
    if (calls % BATCH_ITEMS === 0) {
      this.#takePlace();
    }
    if (share !== undefined) {
      this.#shares.set(share, calls + 1);
    }
    return new Call<T>(this.runtime, limits.deadlineMs, limits.signal, () => this.#leave(share));
  }

  #takePlace(): void {
    if (this.#pending >= this.#options.pending) {
      throw new Overloaded(
        `${this.#pending} calls are under way in this process, which is all that may be: make fewer at once, or raise pendingCalls`,
        { retryable: true },
      );
    }
    this.#pending += 1;
  }

  #leave(share: object | undefined): void {
    const calls = share === undefined ? 0 : (this.#shares.get(share) ?? 1) - 1;
    if (share !== undefined) {
      this.#shares.set(share, calls);
    }
    if (calls % BATCH_ITEMS === 0) {
      this.#pending -= 1;
    }
  }

  retries(attempts: number, repeatable: Repeatable): Retries {
    const { budgets, reachability, pauses } = this.#options;
    return new Retries(this.runtime, budgets, reachability, pauses, attempts, repeatable);
  }

  /** One attempt. */
  async attempt<T>(route: Route<T>, headers: Wanted['headers'], stop: Stop): Promise<T> {
    const wanted = { method: route.method, path: route.path, headers, body: route.body };
    return route.read(read(await this.#options.exchanges.exchange(wanted, stop)));
  }

  /** The headers of all attempts of a request. */
  headers(route: Route<unknown>, context: Context, idempotencyKey: string | undefined, span: Span): Wanted['headers'] {
    const headers: Record<string, string> = { ...context.headers };
    if (route.body !== undefined) {
      headers['content-type'] = 'application/json';
    }
    const key = idempotencyKey ?? (route.keyed === true ? this.runtime.key() : undefined);
    if (key !== undefined) {
      headers['idempotency-key'] = key;
    }
    span.propagate(headers);
    return headers;
  }

  /** A request of one caller, tried again as far as its limits go. */
  send<T>(route: Route<T>, context: Context, limits: Limits): Promise<T> {
    const call = this.call<T>(limits);
    const span = this.telemetry.start(route.operation, 1, [this.telemetry.here()]);
    const stop = new Stop();
    call.whenLeft(() => stop.stop(new Error('the caller left')));
    const headers = this.headers(route, context, undefined, span);
    const journey = {
      retries: this.retries(limits.attempts, route.repeatable),
      stop,
      until: () => call.until,
      again: (error: LunaSecError) => {
        call.trouble = error;
        span.retried();
      },
    };
    persist(journey, () => this.attempt(route, headers, stop)).then(
      (value) => {
        call.resolve(value);
        span.end(undefined);
      },
      (error: unknown) => {
        call.reject(error);
        span.end(error);
      },
    );
    return call.promise;
  }

  close(): Promise<void> {
    return this.#options.exchanges.close();
  }
}
