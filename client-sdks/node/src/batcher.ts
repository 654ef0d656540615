import type { Engine, Limits } from './engine.js';
import { type Common, type Entry, Flight, sharedUnit } from './flight.js';
import { BATCH_ITEMS } from './limits.js';
import type { ListOperation, Outcome, Unit } from './operation.js';

/** Calls of this turn that go together, whatever they are of. */
interface Group {
  readonly entries: Entry<unknown>[];
  readonly common: Common<unknown>;
  readonly links: unknown[];
}

/** What becomes one request. */
interface Batch {
  readonly entries: Entry<unknown>[];
  readonly links: unknown[];
  /** What is sent: of the same token of several callers, one. */
  items: number;
  bytes: number;
}

/**
 * Makes one request of the calls of one turn of the event loop that say the same of themselves: operation, namespace,
 * session, purpose and policy. A call that is alone in its turn is sent as it is.
 *
 * @internal
 */
export class Batcher {
  readonly #engine: Engine;
  readonly #items: number;
  #groups: Map<string, Group> | undefined;

  constructor(engine: Engine, items: number) {
    this.#engine = engine;
    this.#items = Math.min(items, BATCH_ITEMS);
  }

  /** One caller's items, together with those of others. */
  submit<T>(
    common: Omit<Common<T>, 'asBatch' | 'idempotencyKey'>,
    units: readonly Unit[],
    limits: Limits,
  ): Promise<readonly Outcome<T>[]> {
    if (units.length > this.#items) {
      return this.alone({ ...common, asBatch: false, idempotencyKey: undefined }, units, limits);
    }
    const call = this.#engine.call<readonly Outcome<T>[]>(limits);
    const group = this.#group(common as Common<unknown>);
    group.entries.push({ units, call } as Entry<unknown>);
    group.links.push(this.#engine.telemetry.here());
    return call.promise;
  }

  /** One caller's items, by themselves. */
  alone<T>(common: Common<T>, units: readonly Unit[], limits: Limits): Promise<readonly Outcome<T>[]> {
    const call = this.#engine.call<readonly Outcome<T>[]>(limits);
    this.#fly(common as Common<unknown>, [{ units, call } as Entry<unknown>], [this.#engine.telemetry.here()]);
    return call.promise;
  }

  #group(common: Common<unknown>): Group {
    const { operation, context, attempts } = common;
    const key = `${operation.path} ${attempts} ${context.key} ${operation.frame[0]}`;
    if (this.#groups === undefined) {
      this.#groups = new Map();
      this.#engine.runtime.endOfTurn(() => this.#flush());
    }
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { entries: [], common: { ...common, asBatch: false, idempotencyKey: undefined }, links: [] };
      this.#groups.set(key, group);
    }
    return group;
  }

  #flush(): void {
    const groups = this.#groups ?? new Map<string, Group>();
    this.#groups = undefined;
    for (const group of groups.values()) {
      this.#take(group);
    }
  }

  /** Cuts a group into batches that are small enough. Whoever asks for what a batch asks for already goes along with it. */
  #take({ common, entries, links }: Group): void {
    const batches: Batch[] = [];
    const asked = new Map<string, Batch>();
    for (const [index, entry] of entries.entries()) {
      if (entry.call.over) {
        continue;
      }
      // Where each call is to be a request, it is one.
      const shared = this.#items === 1 ? undefined : sharedUnit(common, entry);
      const known = shared && asked.get(shared.json);
      const batch = known ?? this.#batchFor(common.operation, entry, batches);
      batch.entries.push(entry);
      batch.links.push(links[index]);
      if (shared !== undefined) {
        asked.set(shared.json, batch);
      }
    }
    for (const batch of batches) {
      this.#fly(common, batch.entries, batch.links);
    }
  }

  /** The last batch if there is room for so much more, else another one. */
  #batchFor(operation: ListOperation<unknown>, { units }: Entry<unknown>, batches: Batch[]): Batch {
    const more = units.reduce((sum, { json }) => sum + Buffer.byteLength(json) + 1, 0);
    let batch = batches.at(-1);
    if (batch === undefined || batch.items + units.length > this.#items || batch.bytes + more > operation.bytes) {
      batch = { entries: [], links: [], items: 0, bytes: overhead(operation) };
      batches.push(batch);
    }
    batch.items += units.length;
    batch.bytes += more;
    return batch;
  }

  #fly(common: Common<unknown>, entries: Entry<unknown>[], links: unknown[]): void {
    const items = entries.reduce((sum, { units }) => sum + units.length, 0);
    const span = this.#engine.telemetry.start(common.operation.operation, items, links);
    void new Flight(this.#engine, common, entries).run(span);
  }
}

function overhead(operation: ListOperation<unknown>): number {
  return Buffer.byteLength(operation.frame[0]) + Buffer.byteLength(operation.frame[1]);
}
