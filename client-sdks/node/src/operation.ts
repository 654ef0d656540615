import { type LunaSecError, PayloadTooLarge } from './errors.js';
import type { Repeatable } from './retry.js';
import { about, counted, itemError, list, object, type Said, type Wire } from './wire.js';

/** The operations, as the contract names them. They name spans, too. */
export type OperationName =
  | 'tokenize'
  | 'detokenize'
  | 'metadata/get'
  | 'metadata/set'
  | 'grants/create'
  | 'grants/verify'
  | 'grants/revoke'
  | 'delete'
  | 'status';

/**
 * One route and how its answer is read.
 *
 * @internal
 */
export interface Route<T> {
  readonly operation: OperationName;
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body: string | undefined;
  readonly repeatable: Repeatable;
  /** Whether the client makes an idempotency key for it. */
  readonly keyed?: boolean;
  read(said: Said): T;
}

/**
 * One item of a list, as it goes into the body.
 *
 * @internal
 */
export interface Unit {
  /** Its JSON text. */
  readonly json: string;
  /** The token that its answer has to be about. */
  readonly token?: string;
}

/**
 * An operation on a list of items.
 *
 * @internal
 */
export interface ListOperation<T> {
  readonly operation: OperationName;
  readonly path: string;
  /** Of the body. */
  readonly bytes: number;
  /** The body's text before and after the items. Lists that differ in it are not the same call. */
  readonly frame: readonly [before: string, after: string];
  /** The route of an item that is alone, if there is one. */
  readonly alone?: { readonly path: string; body(unit: Unit): string };
  /**
   * Keyed by the client, and so sent again as a whole: an item is known by its place. Otherwise only what failed is.
   */
  readonly keyed: boolean;
  /** One item's answer. */
  read(said: Said, unit: Unit): T;
}

/**
 * What one item came to.
 *
 * @internal
 */
export type Outcome<T> = { readonly value: T } | { readonly error: LunaSecError };

/** @internal */
export function batchRoute<T>(operation: ListOperation<T>, units: readonly Unit[]): Route<Outcome<T>[]> {
  const [before, after] = operation.frame;
  return {
    operation: operation.operation,
    method: 'POST',
    path: operation.path,
    body: before + units.map((unit) => unit.json).join(',') + after,
    repeatable: 'always',
    keyed: operation.keyed,
    read: (said) => outcomes(operation, units, said),
  };
}

/** @internal */
export function aloneRoute<T>(operation: ListOperation<T>, unit: Unit): Route<Outcome<T>[]> | undefined {
  const { alone } = operation;
  return alone === undefined
    ? undefined
    : {
        operation: operation.operation,
        method: 'POST',
        path: alone.path,
        body: alone.body(unit),
        repeatable: 'always',
        keyed: operation.keyed,
        read: (said) => [{ value: operation.read(said, unit) }],
      };
}

function outcomes<T>(operation: ListOperation<T>, units: readonly Unit[], said: Said): Outcome<T>[] {
  const items = list(said.body, 'items');
  counted(items, units.length);
  return units.map((unit, index) => outcome(operation, unit, object(items[index], 'an item'), said));
}

function outcome<T>(operation: ListOperation<T>, unit: Unit, wire: Wire, said: Said): Outcome<T> {
  if (unit.token !== undefined) {
    about(wire, unit.token);
  }
  if (wire['error'] !== undefined) {
    return { error: itemError(wire['error']) };
  }
  return { value: operation.read({ ...said, body: wire }, unit) };
}

/**
 * Whether an item only found no room in the answer: alone it would.
 *
 * @internal
 */
export function foundNoRoom<T>(operation: ListOperation<T>, outcome: Outcome<T>): boolean {
  return operation.operation === 'detokenize' && 'error' in outcome && outcome.error instanceof PayloadTooLarge;
}
