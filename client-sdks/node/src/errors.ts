/**
 * What can go wrong. A class for each code of the contract, under what an application does about it:
 *
 * ```text
 * LunaSecError                        code, detail, retryable, status?, retryAfterMs?, requestId?
 * ├── BadRequest                      mend the call; trying again changes nothing
 * │   ├── InvalidRequest              invalid_request
 * │   ├── InvalidToken                invalid_token
 * │   ├── InvalidNamespace            invalid_namespace
 * │   ├── PayloadTooLarge             payload_too_large
 * │   ├── MethodNotAllowed            method_not_allowed
 * │   └── UnsupportedMediaType        unsupported_media_type
 * ├── AccessDenied                    the caller, or its user, may not
 * │   ├── Unauthenticated             unauthenticated
 * │   ├── Forbidden                   forbidden
 * │   ├── GrantDenied                 grant_denied
 * │   └── GrantExpired                grant_expired
 * ├── Gone                            there is no value, and there will be none
 * │   ├── NotFound                    not_found
 * │   └── Expired                     expired
 * ├── Conflict                        conflict: read again, then decide
 * ├── RateLimited                     rate_limited: the same again, after retryAfterMs
 * ├── Unavailable                     the same again, later; what `mask` and `fallback` stand in for
 * │   ├── SidecarUnreachable          sidecar_unreachable: nobody at the socket, or the connection broke
 * │   ├── Overloaded                  overloaded
 * │   ├── StorageUnavailable          storage_unavailable
 * │   ├── KeysUnavailable             keys_unavailable
 * │   ├── JournalFull                 journal_full
 * │   └── DeadlineExceeded            deadline_exceeded, also of the call's own deadline
 * ├── SidecarFailed                   the operator finds the cause in the log, under requestId
 * │   ├── Corrupted                   corrupted
 * │   └── Internal                    internal
 * └── ProtocolError                   protocol_error: the answer is not this contract's
 * ```
 *
 * A code that this version does not know is a plain `LunaSecError`: it may be a refusal, which no policy may hide. It is
 * `Unavailable` only where the answer's status says so (5xx) and the sidecar that it is retryable. A call that was given up through its `AbortSignal` rejects with that signal's reason.
 *
 * No message holds a token, a value or a session.
 */

const LINEAGE = Symbol.for('@lunasec/node/lineage');

/** What is known of an error beside its code and detail. */
export interface ErrorFacts {
  /** The HTTP status of the answer; absent where there was no answer. */
  readonly status?: number;
  /** Whether the same call may succeed later. */
  readonly retryable?: boolean;
  /** When to try again, where that is known. */
  readonly retryAfterMs?: number;
  /** Names the request in the sidecar's log. */
  readonly requestId?: string;
  /** What caused it. */
  readonly cause?: unknown;
}

/** The names of this class and of those above it; a class of the application has none. */
function lineageOf(start: object): string[] {
  const names: string[] = [];
  for (let at = start; at !== Error.prototype; at = Object.getPrototypeOf(at) as object) {
    const name = NAMES.get(at);
    if (name !== undefined) {
      names.push(name);
    }
  }
  return names;
}

/** The root of the tree; see the module. */
export class LunaSecError extends Error {
  /** For programs: the contract's code, or `sidecar_unreachable`, or `protocol_error`. */
  readonly code: string;
  /** For people: what happened and what to do. */
  readonly detail: string;
  /** Whether the same call may succeed later. The client has tried already, as far as its policy goes. */
  readonly retryable: boolean;
  /** The HTTP status of the answer; undefined where there was no answer, and for an item of a batch. */
  readonly status: number | undefined;
  /** When to try again, where the sidecar said so. */
  readonly retryAfterMs: number | undefined;
  /** Names the request in the sidecar's log, where there was an answer. */
  readonly requestId: string | undefined;

  constructor(code: string, detail: string, facts: ErrorFacts = {}) {
    super(`${code}: ${detail}`, facts.cause === undefined ? undefined : { cause: facts.cause });
    this.code = code;
    this.detail = detail;
    this.retryable = facts.retryable ?? false;
    this.status = facts.status;
    this.retryAfterMs = facts.retryAfterMs;
    this.requestId = facts.requestId;
    const name = NAMES.get(new.target.prototype) ?? new.target.name;
    Object.defineProperty(this, 'name', { value: name, configurable: true });
    Object.defineProperty(this, LINEAGE, { value: lineageOf(new.target.prototype) });
  }

  /** What an application may show of it: neither its cause nor its stack. */
  toJSON(): { name: string; code: string; detail: string; retryable: boolean } {
    return { name: this.name, code: this.code, detail: this.detail, retryable: this.retryable };
  }

  /** By name, so that errors of another copy of this package (ESM beside CommonJS) are known too. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    const name = NAMES.get(this.prototype);
    if (name === undefined) {
      return Function.prototype[Symbol.hasInstance].call(this, value);
    }
    const lineage: unknown = typeof value === 'object' && value !== null ? Reflect.get(value, LINEAGE) : undefined;
    return Array.isArray(lineage) && lineage.includes(name);
  }
}

/** Mend the call; trying again changes nothing. */
export class BadRequest extends LunaSecError {}
/** The caller, or its user, may not. */
export class AccessDenied extends LunaSecError {}
/** There is no value under this token, and there will be none. */
export class Gone extends LunaSecError {}
/** Nobody can answer just now. */
export class Unavailable extends LunaSecError {}
/** The sidecar failed; its log says why, under {@link LunaSecError.requestId}. */
export class SidecarFailed extends LunaSecError {}

/** `invalid_request` */
export class InvalidRequest extends BadRequest {
  constructor(detail: string, facts?: ErrorFacts) {
    super('invalid_request', detail, facts);
  }
}
/** `invalid_token` */
export class InvalidToken extends BadRequest {
  constructor(detail: string, facts?: ErrorFacts) {
    super('invalid_token', detail, facts);
  }
}
/** `invalid_namespace` */
export class InvalidNamespace extends BadRequest {
  constructor(detail: string, facts?: ErrorFacts) {
    super('invalid_namespace', detail, facts);
  }
}
/** `payload_too_large` */
export class PayloadTooLarge extends BadRequest {
  constructor(detail: string, facts?: ErrorFacts) {
    super('payload_too_large', detail, facts);
  }
}
/** `method_not_allowed`: client and sidecar are of different versions. */
export class MethodNotAllowed extends BadRequest {
  constructor(detail: string, facts?: ErrorFacts) {
    super('method_not_allowed', detail, facts);
  }
}
/** `unsupported_media_type`: client and sidecar are of different versions. */
export class UnsupportedMediaType extends BadRequest {
  constructor(detail: string, facts?: ErrorFacts) {
    super('unsupported_media_type', detail, facts);
  }
}
/** `unauthenticated`: the policy asks for a session, or its JWT proves none. */
export class Unauthenticated extends AccessDenied {
  constructor(detail: string, facts?: ErrorFacts) {
    super('unauthenticated', detail, facts);
  }
}
/** `forbidden`: the policy does not allow it; the detail names the rule. */
export class Forbidden extends AccessDenied {
  constructor(detail: string, facts?: ErrorFacts) {
    super('forbidden', detail, facts);
  }
}
/** `grant_denied`: the session was not granted this. */
export class GrantDenied extends AccessDenied {
  constructor(detail: string, facts?: ErrorFacts) {
    super('grant_denied', detail, facts);
  }
}
/** `grant_expired`: the session was granted this, and not any more. */
export class GrantExpired extends AccessDenied {
  constructor(detail: string, facts?: ErrorFacts) {
    super('grant_expired', detail, facts);
  }
}
/** `not_found`: no such token in this namespace, or it was deleted. */
export class NotFound extends Gone {
  constructor(detail: string, facts?: ErrorFacts) {
    super('not_found', detail, facts);
  }
}
/** `expired`: the value's `expiresIn` is over. */
export class Expired extends Gone {
  constructor(detail: string, facts?: ErrorFacts) {
    super('expired', detail, facts);
  }
}
/** `conflict`: the metadata has another version, or an idempotency key came with another value. */
export class Conflict extends LunaSecError {
  constructor(detail: string, facts?: ErrorFacts) {
    super('conflict', detail, facts);
  }
}
/** `rate_limited`: this application asks too often; see {@link LunaSecError.retryAfterMs}. */
export class RateLimited extends LunaSecError {
  constructor(detail: string, facts?: ErrorFacts) {
    super('rate_limited', detail, facts);
  }
}
/** `sidecar_unreachable`: nobody at the socket, or the connection broke. */
export class SidecarUnreachable extends Unavailable {
  /** Whether the request had left: a write may have been done. */
  readonly sent: boolean;
  /** Whether it is because this client was closed. That is the application's own doing, and no policy stands in for it. */
  readonly closed: boolean;

  constructor(detail: string, facts?: ErrorFacts & { readonly sent?: boolean; readonly closed?: boolean }) {
    super('sidecar_unreachable', detail, { retryable: true, ...facts });
    this.sent = facts?.sent ?? false;
    this.closed = facts?.closed ?? false;
  }
}
/** `overloaded`: the sidecar has too much to do, or this process has too many calls under way. */
export class Overloaded extends Unavailable {
  constructor(detail: string, facts?: ErrorFacts) {
    super('overloaded', detail, facts);
  }
}
/** `storage_unavailable` */
export class StorageUnavailable extends Unavailable {
  constructor(detail: string, facts?: ErrorFacts) {
    super('storage_unavailable', detail, facts);
  }
}
/** `keys_unavailable` */
export class KeysUnavailable extends Unavailable {
  constructor(detail: string, facts?: ErrorFacts) {
    super('keys_unavailable', detail, facts);
  }
}
/** `journal_full`: storage is away, and no more writes can wait for it. */
export class JournalFull extends Unavailable {
  constructor(detail: string, facts?: ErrorFacts) {
    super('journal_full', detail, facts);
  }
}
/** `deadline_exceeded`: the sidecar's deadline, or the call's own. A write may have been done. */
export class DeadlineExceeded extends Unavailable {
  constructor(detail: string, facts?: ErrorFacts) {
    super('deadline_exceeded', detail, facts);
  }
}
/** `corrupted`: the stored record fails its integrity check. */
export class Corrupted extends SidecarFailed {
  constructor(detail: string, facts?: ErrorFacts) {
    super('corrupted', detail, facts);
  }
}
/** `internal`: a defect of the sidecar. */
export class Internal extends SidecarFailed {
  constructor(detail: string, facts?: ErrorFacts) {
    super('internal', detail, facts);
  }
}
/** `protocol_error`: what came back is not this contract; something else listens there, or another version. */
export class ProtocolError extends LunaSecError {
  constructor(detail: string, facts?: ErrorFacts) {
    super('protocol_error', detail, facts);
  }
}

/** The names as they are written here: a bundler gives classes others, and may do so in each copy of this package. */
const NAMES = new Map<object, string>(
  Object.entries({
    LunaSecError,
    BadRequest,
    AccessDenied,
    Gone,
    Unavailable,
    SidecarFailed,
    InvalidRequest,
    InvalidToken,
    InvalidNamespace,
    PayloadTooLarge,
    MethodNotAllowed,
    UnsupportedMediaType,
    Unauthenticated,
    Forbidden,
    GrantDenied,
    GrantExpired,
    NotFound,
    Expired,
    Conflict,
    RateLimited,
    SidecarUnreachable,
    Overloaded,
    StorageUnavailable,
    KeysUnavailable,
    JournalFull,
    DeadlineExceeded,
    Corrupted,
    Internal,
    ProtocolError,
  }).map(([name, { prototype }]) => [prototype, name]),
);

/**
 * Makes a class of an integration one of these: known by its name, whichever copy of this package it is of.
 *
 * @internal
 */
export function named({ prototype }: { readonly prototype: LunaSecError }, name: string): void {
  NAMES.set(prototype, name);
}

type Coded = new (detail: string, facts?: ErrorFacts) => LunaSecError;

const BY_CODE: Readonly<Record<string, Coded>> = {
  invalid_request: InvalidRequest,
  invalid_token: InvalidToken,
  invalid_namespace: InvalidNamespace,
  payload_too_large: PayloadTooLarge,
  method_not_allowed: MethodNotAllowed,
  unsupported_media_type: UnsupportedMediaType,
  unauthenticated: Unauthenticated,
  forbidden: Forbidden,
  grant_denied: GrantDenied,
  grant_expired: GrantExpired,
  not_found: NotFound,
  expired: Expired,
  conflict: Conflict,
  rate_limited: RateLimited,
  overloaded: Overloaded,
  storage_unavailable: StorageUnavailable,
  keys_unavailable: KeysUnavailable,
  journal_full: JournalFull,
  deadline_exceeded: DeadlineExceeded,
  corrupted: Corrupted,
  internal: Internal,
};

/**
 * The error of a code that the sidecar gave.
 *
 * @internal
 */
export function errorOf(code: string, detail: string, facts: ErrorFacts): LunaSecError {
  const known = Object.hasOwn(BY_CODE, code) ? BY_CODE[code] : undefined;
  if (known !== undefined) {
    return new known(detail, facts);
  }
  const { retryable = false, status = 0 } = facts;
  return retryable && status >= 500 ? new Unavailable(code, detail, facts) : new LunaSecError(code, detail, facts);
}
