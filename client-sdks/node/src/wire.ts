import { errorOf, type LunaSecError, ProtocolError } from './errors.js';
import type { Durability, Staleness } from './results.js';
import type { Answer } from './transport.js';

/** @internal */
export type Wire = Readonly<Record<string, unknown>>;

/**
 * What an answer says: its body, and what its head says of its age.
 *
 * @internal
 */
export interface Said {
  readonly body: Wire;
  readonly staleness: Staleness;
}

function one(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value;
}

/**
 * A parser's error may quote the body: it is not passed on.
 *
 * @internal
 */
export function misread(what: string, requestId?: string): ProtocolError {
  const facts = requestId === undefined ? {} : { requestId };
  return new ProtocolError(
    `the answer was not understood: ${what}; is something else listening, or are client and sidecar of different versions?`,
    facts,
  );
}

function parsed(body: Buffer, requestId: string | undefined): Wire {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch {
    throw misread('its body is not JSON', requestId);
  }
  return object(value, 'its body', requestId);
}

/** @internal */
export function object(value: unknown, what: string, requestId?: string): Wire {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw misread(`${what} is no object`, requestId);
  }
  return value as Wire;
}

/** @internal */
export function list(wire: Wire, field: string): readonly unknown[] {
  const value = wire[field];
  if (!Array.isArray(value)) {
    throw misread(`${field} is no list`);
  }
  return value;
}

/** @internal */
export function text(wire: Wire, field: string): string {
  const value = wire[field];
  if (typeof value !== 'string') {
    throw misread(`${field} is no text`);
  }
  return value;
}

/** @internal */
export function count(wire: Wire, field: string): number {
  const value = wire[field];
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw misread(`${field} is no count`);
  }
  return value;
}

/** @internal */
export function time(wire: Wire, field: string): Date {
  const at = new Date(text(wire, field));
  if (Number.isNaN(at.getTime())) {
    throw misread(`${field} is no time`);
  }
  return at;
}

/** @internal */
export function durability(wire: Wire): Durability {
  const value = wire['durability'];
  if (value !== 'stored' && value !== 'journaled') {
    throw misread('durability is neither stored nor journaled');
  }
  return value;
}

/**
 * What is beside an item's answer, as `degraded` and `age`.
 *
 * @internal
 */
export function staleness(wire: Wire): Staleness {
  if (wire['degraded'] === undefined) {
    return {};
  }
  const degraded = text(wire, 'degraded');
  return wire['age'] === undefined ? { degraded } : { degraded, ageSeconds: count(wire, 'age') };
}

/**
 * The error of one item.
 *
 * @internal
 */
export function itemError(value: unknown): LunaSecError {
  const wire = object(value, 'an error');
  return errorOf(text(wire, 'code'), text(wire, 'detail'), { retryable: flag(wire, 'retryable') });
}

function flag(wire: Wire, field: string): boolean {
  const value = wire[field];
  if (typeof value !== 'boolean') {
    throw misread(`${field} is neither true nor false`);
  }
  return value;
}

/**
 * What a count of items has to be.
 *
 * @internal
 */
export function counted(items: readonly unknown[], asked: number): void {
  if (items.length !== asked) {
    throw misread('it has another number of items than the request');
  }
}

/**
 * What an item is about: never somebody else's value for a token.
 *
 * @internal
 */
export function about(wire: Wire, token: string): void {
  if (wire['token'] !== token) {
    throw misread('an item is about another token than the request');
  }
}

/**
 * The body of a success; throws what else it is.
 *
 * @internal
 */
export function read(answer: Answer): Said {
  const requestId = one(answer.headers['lunasec-request-id']);
  const kind = one(answer.headers['content-type'])?.split(';')[0]?.trim().toLowerCase();
  if (answer.status >= 400) {
    throw problem(answer, kind, requestId);
  }
  if (answer.status !== 200 || kind !== 'application/json') {
    throw misread('it is not JSON', requestId);
  }
  return { body: parsed(answer.body, requestId), staleness: headStaleness(answer) };
}

function headStaleness(answer: Answer): Staleness {
  const degraded = one(answer.headers['lunasec-degraded']);
  if (degraded === undefined) {
    return {};
  }
  const age = one(answer.headers['age']);
  return age !== undefined && /^\d{1,15}$/.test(age) ? { degraded, ageSeconds: Number(age) } : { degraded };
}

function problem(answer: Answer, kind: string | undefined, requestId: string | undefined): LunaSecError {
  if (kind !== 'application/problem+json') {
    return misread(`its status is ${answer.status} without a problem`, requestId);
  }
  const wire = parsed(answer.body, requestId);
  const after = wire['retry_after_ms'];
  return errorOf(text(wire, 'code'), text(wire, 'detail'), {
    status: answer.status,
    retryable: flag(wire, 'retryable'),
    ...(typeof after === 'number' && after >= 0 && Number.isFinite(after) ? { retryAfterMs: after } : {}),
    ...(requestId === undefined ? {} : { requestId }),
  });
}
