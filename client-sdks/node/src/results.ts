import type { LunaSecError, Unavailable } from './errors.js';
import type { Plaintext, Token } from './redacted.js';

/**
 * Where an acknowledged write is safe: `stored` in central storage; `journaled` on this sidecar's volume until storage
 * is back. What is journaled is effective here at once, and may be `not_found` at other sidecars until then.
 */
export type Durability = 'stored' | 'journaled';

/** Which dependency is away or slow where an answer is older than it should be: `storage`, `keys` or `storage,keys`. */
export type Degraded = 'storage' | 'keys' | 'storage,keys' | (string & {});

/** On an answer only where it is older than it should be, or was made while a dependency is away. */
export interface Staleness {
  /** Which dependency is away or slow. */
  readonly degraded?: Degraded;
  /** How old the answer is, in seconds. */
  readonly ageSeconds?: number;
}

/** What a tokenize gave. */
export interface Tokenized {
  readonly kind: 'tokenized';
  /** What to keep instead of the value: store `token.expose()`. */
  readonly token: Token;
  /** Where the value is safe. */
  readonly durability: Durability;
}

/** A value, revealed. */
export interface Value extends Staleness {
  readonly kind: 'value';
  /** The token that it belongs to. */
  readonly token: Token;
  /** The value; `value.reveal()` gives its text. */
  readonly value: Plaintext;
}

/** Nobody could answer: what the policy `mask` shows instead of a value. */
export interface Masked {
  readonly kind: 'masked';
  readonly token: Token;
  /** What to show. */
  readonly text: string;
  /** The code of the error: `storage_unavailable`, `sidecar_unreachable`, … */
  readonly reason: string;
  /** All that is known about it. */
  readonly error: Unavailable;
}

/** Nobody could answer: what the policy `fallback` gives instead of a value. */
export interface Fallback<F> {
  readonly kind: 'fallback';
  readonly token: Token;
  /** What the policy's function gave. */
  readonly value: F;
  /** The code of the error: `storage_unavailable`, `sidecar_unreachable`, … */
  readonly reason: string;
  /** All that is known about it. */
  readonly error: Unavailable;
}

/** An item of a list that failed by itself; the others did not. */
export interface Failed {
  readonly kind: 'failed';
  /** The token that it is about, where the call named one. */
  readonly token?: Token;
  readonly error: LunaSecError;
}

/** A token's metadata. */
export interface Metadata extends Staleness {
  readonly metadata: JsonObject;
  /** 0 until some is set, then one more with every set; see {@link MetadataWritten}. */
  readonly version: number;
  readonly createdAt: Date;
  readonly expiresAt?: Date;
}

/** Metadata was set. */
export interface MetadataWritten {
  readonly durability: Durability;
  readonly version: number;
}

/** A session may now do something with a token. */
export interface Granted {
  readonly kind: 'granted';
  readonly token: Token;
  /** Later than asked for where an earlier grant lasts longer. */
  readonly expiresAt: Date;
  readonly durability: Durability;
}

/** A session may do something with a token. */
export interface Valid extends Staleness {
  readonly kind: 'valid';
  readonly token: Token;
  readonly expiresAt: Date;
}

/** A session may not do something with a token. */
export interface Invalid extends Staleness {
  readonly kind: 'invalid';
  readonly token: Token;
  /** `denied` or `expired`. */
  readonly reason: 'denied' | 'expired' | (string & {});
}

/** Grants were taken back. */
export interface Revoked {
  /** Of how many tokens; absent for a whole session. May be too low where the client had to ask twice. */
  readonly revoked?: number;
  readonly durability: Durability;
}

/** A token has no value any more, whether it had one or not. */
export interface Deleted {
  readonly kind: 'deleted';
  readonly token: Token;
  readonly durability: Durability;
}

/** What `status()` gives: see the contract for what is in it. */
export interface Status {
  readonly version: string;
  readonly uptime_seconds: number;
  readonly dependencies: Readonly<Record<string, DependencyStatus>>;
  readonly caches: JsonObject;
  readonly journal: { readonly pending: number; readonly oldest_seconds: number };
  readonly [more: string]: unknown;
}

/** One dependency of the sidecar. */
export interface DependencyStatus {
  readonly state: 'up' | 'degraded' | 'down' | (string & {});
  readonly since: string;
  readonly reason?: string;
}

/** A JSON value. */
export type Json = string | number | boolean | null | readonly Json[] | JsonObject;
/** A JSON object. */
export interface JsonObject {
  readonly [name: string]: Json;
}
