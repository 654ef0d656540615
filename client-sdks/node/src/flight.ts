import type { Call } from './call.js';
import type { Context } from './context.js';
import type { Engine } from './engine.js';
import { InvalidRequest, type LunaSecError, PayloadTooLarge } from './errors.js';
import { SEARCHES } from './limits.js';
import { aloneRoute, batchRoute, foundNoRoom, type ListOperation, type Outcome, type Unit } from './operation.js';
import { mayHelp, persist, type Retries } from './retry.js';
import { Stop } from './stop.js';
import type { Span } from './telemetry.js';
import type { Wanted } from './transport.js';

/**
 * One caller's items of a list, and the caller who waits for what they come to.
 *
 * @internal
 */
export interface Entry<T> {
  readonly units: readonly Unit[];
  readonly call: Call<readonly Outcome<T>[]>;
}

/**
 * What all entries of a flight have in common.
 *
 * @internal
 */
export interface Common<T> {
  readonly operation: ListOperation<T>;
  readonly context: Context;
  readonly attempts: number;
  /** The caller asked for the batch route, also for a single item. */
  readonly asBatch: boolean;
  readonly idempotencyKey: string | undefined;
  /** How many more requests may be made to find out whose fault a refusal of the whole was. */
  readonly searches?: { left: number } | undefined;
}

interface Seat<T> {
  readonly entry: Entry<T>;
  readonly unit: Unit;
  outcome: Outcome<T> | undefined;
}

/**
 * One request that carries the items of several callers, tried again as far as that helps. Each caller gets what its own
 * items came to, as soon as that is known, and none can fail another: what the sidecar refuses as a whole is sent
 * again in halves, until it is known whose fault it was.
 *
 * @internal
 */
export class Flight<T> {
  readonly #engine: Engine;
  readonly #common: Common<T>;
  #entries: readonly Entry<T>[];
  #seats: Seat<T>[];
  readonly #stop = new Stop();
  readonly #retries: Retries;
  readonly #known: [Entry<T>, Outcome<T>[]][] = [];

  constructor(engine: Engine, common: Common<T>, entries: readonly Entry<T>[]) {
    this.#engine = engine;
    this.#common = common;
    this.#entries = entries;
    this.#seats = entries.flatMap((entry) => entry.units.map((unit) => ({ entry, unit, outcome: undefined })));
    this.#retries = engine.retries(common.attempts, 'always');
    for (const { call } of entries) {
      call.whenLeft(() => this.#left());
    }
  }

  /** Ends when every caller has been answered. Never rejects. */
  async run(span: Span): Promise<void> {
    try {
      await this.#attempts(span);
      this.#tell();
      span.end(undefined);
    } catch (error) {
      this.#failed(error);
      span.end(error);
    }
  }

  #left(): void {
    if (this.#entries.every(({ call }) => call.over)) {
      this.#stop.stop(new Error('all callers left'));
    }
  }

  async #attempts(span: Span): Promise<void> {
    const { context, idempotencyKey } = this.#common;
    let headers: Wanted['headers'] | undefined;
    const journey = {
      retries: this.#retries,
      stop: this.#stop,
      until: () => Math.max(...this.#entries.map(({ call }) => (call.over ? 0 : call.until))),
      again: (error: LunaSecError) => this.#again(error, span),
    };
    await persist(journey, async () => {
      const seats = this.#toSend();
      const units = this.#unitsOf(seats);
      const route = this.#route([...units.keys()]);
      headers ??= this.#engine.headers(route, context, idempotencyKey, span);
      this.#take(units, await this.#engine.attempt(route, headers, this.#stop));
      this.#settle();
    });
  }

  #again(error: LunaSecError, span: Span): void {
    span.retried();
    for (const { call } of this.#entries) {
      call.trouble = error;
    }
  }

  /** All items where an item is known by its place, else those that came to nothing yet. */
  #toSend(): Seat<T>[] {
    const open = this.#seats.filter((seat) => !seat.entry.call.over && !final(seat.outcome));
    return this.#common.operation.keyed && open.length > 0 ? this.#seats : open;
  }

  /** What is sent, and whose it is: a token that several callers asked for is asked for once. */
  #unitsOf(seats: readonly Seat<T>[]): Map<Unit, Seat<T>[]> {
    const units = new Map<Unit, Seat<T>[]>();
    const first = new Map<string, Seat<T>[]>();
    for (const seat of seats) {
      const shared = sharedUnit(this.#common, seat.entry) !== undefined;
      const same = shared ? first.get(seat.unit.json) : undefined;
      if (same !== undefined) {
        same.push(seat);
        continue;
      }
      const alone = [seat];
      units.set(seat.unit, alone);
      if (shared) {
        first.set(seat.unit.json, alone);
      }
    }
    return units;
  }

  #route(units: readonly Unit[]): ReturnType<typeof batchRoute<T>> {
    const { operation, asBatch } = this.#common;
    const [first] = this.#seats;
    // Of a request that is sent again, what is left may be one item: it stays a batch.
    const single = this.#seats.length === 1 || (units.length === 1 && this.#unitsOf(this.#seats).size === 1);
    const alone = asBatch || !single || first === undefined ? undefined : aloneRoute(operation, first.unit);
    return alone ?? batchRoute(operation, units);
  }

  #take(units: ReadonlyMap<Unit, readonly Seat<T>[]>, outcomes: readonly Outcome<T>[]): void {
    for (const [index, seats] of [...units.values()].entries()) {
      const outcome = outcomes[index];
      for (const seat of seats) {
        if (!final(seat.outcome)) {
          seat.outcome = outcome;
        }
      }
    }
  }

  /** Answers whoever can be answered; throws what is wrong with the others. */
  #settle(): void {
    let trouble: LunaSecError | undefined;
    const crowded: Entry<T>[] = [];
    for (const [entry, outcomes] of this.#byEntry()) {
      const open = outcomes.find((outcome) => !final(outcome));
      if (open !== undefined && 'error' in open) {
        trouble ??= open.error;
      } else if (this.#isCrowded(outcomes)) {
        crowded.push(entry);
      } else {
        this.#known.push([entry, outcomes]);
      }
    }
    this.#makeRoom(crowded);
    if (trouble !== undefined) {
      this.#tell();
      throw trouble;
    }
  }

  /** Those who are known all about. */
  #tell(): void {
    for (const [entry, outcomes] of this.#known.splice(0)) {
      entry.call.resolve(outcomes);
    }
  }

  /** Who found no room goes again, with fewer. */
  #makeRoom(crowded: readonly Entry<T>[]): void {
    if (crowded.length === 0) {
      return;
    }
    const alone = crowded.length === this.#entries.length;
    this.#entries = this.#entries.filter((entry) => !crowded.includes(entry));
    this.#seats = this.#seats.filter(({ entry }) => !crowded.includes(entry));
    for (const group of alone ? crowded.map((entry) => [entry]) : [crowded]) {
      this.#anew(group);
    }
  }

  /** Whether an item of a caller found no room only because of the items of others. */
  #isCrowded(outcomes: readonly Outcome<T>[]): boolean {
    return this.#entries.length > 1 && outcomes.some((outcome) => foundNoRoom(this.#common.operation, outcome));
  }

  #byEntry(): Map<Entry<T>, Outcome<T>[]> {
    const found = new Map<Entry<T>, Outcome<T>[]>();
    for (const { entry, outcome } of this.#seats) {
      if (!entry.call.over && outcome !== undefined) {
        const outcomes = found.get(entry) ?? [];
        outcomes.push(outcome);
        found.set(entry, outcomes);
      }
    }
    return found;
  }

  /** The last word: what items came to counts; a refusal of the whole is sought in each half. */
  #failed(error: unknown): void {
    const waiting = this.#entries.filter(({ call }) => !call.over);
    const known = this.#byEntry();
    const { searches = { left: SEARCHES } } = this.#common;
    if (refusesWhole(error) && waiting.length > 1 && known.size === 0 && searches.left > 1) {
      searches.left -= 2;
      const half = Math.ceil(waiting.length / 2);
      this.#anew(waiting.slice(0, half), searches);
      this.#anew(waiting.slice(half), searches);
      return;
    }
    for (const entry of waiting) {
      const outcomes = known.get(entry);
      if (outcomes?.length === entry.units.length) {
        entry.call.resolve(outcomes);
      } else {
        entry.call.reject(error);
      }
    }
  }

  #anew(entries: readonly Entry<T>[], searches = this.#common.searches): void {
    const { operation } = this.#common;
    const units = entries.reduce((sum, entry) => sum + entry.units.length, 0);
    const span = this.#engine.telemetry.start(operation.operation, units, []);
    void new Flight(this.#engine, { ...this.#common, searches }, entries).run(span);
  }
}

/**
 * The one item of a caller that is asked for once, however many ask for it. A list is sent as it was given.
 *
 * @internal
 */
export function sharedUnit<T>({ operation, asBatch }: Common<T>, { units }: Entry<T>): Unit | undefined {
  return operation.keyed || asBatch || units.length > 1 ? undefined : units[0];
}

function final<T>(outcome: Outcome<T> | undefined): boolean {
  return outcome !== undefined && !('error' in outcome && mayHelp(outcome.error));
}

/** What one item may have brought upon all. */
function refusesWhole(error: unknown): boolean {
  return error instanceof InvalidRequest || error instanceof PayloadTooLarge;
}
