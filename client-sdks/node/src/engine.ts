import { Call } from './call.js';
import type { Context } from './context.js';
import type { LunaSecError } from './errors.js';
import type { Route } from './operation.js';
import { type Holder, Places } from './places.js';
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
export interface Limits extends Holder {
  readonly deadlineMs: number;
  readonly attempts: number;
  readonly signal: AbortSignal | undefined;
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
 * Sends requests, again where that helps, and has places for so many calls that wait. All views of a client share one.
 *
 * @internal
 */
export class Engine {
  readonly runtime: Runtime;
  readonly telemetry: Telemetry;
  readonly #options: EngineOptions;
  readonly #places: Places;

  constructor(options: EngineOptions) {
    this.runtime = options.runtime;
    this.telemetry = options.telemetry;
    this.#options = options;
    this.#places = new Places(options.pending);
  }

  /** A place for one caller to wait; refused where too many do. */
  call<T>(limits: Limits): Call<T> {
    return new Call<T>(this.runtime, limits.deadlineMs, limits.signal, this.#places.take(limits));
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
