import { InvalidRequest, InvalidToken } from './errors.js';
import { BATCH_BYTES, TOKEN_LIST_BYTES } from './limits.js';
import type { ListOperation, Route, Unit } from './operation.js';
import type { Names } from './options.js';
import { Plaintext, type PlaintextLike, printedAs, Token, type TokenLike } from './redacted.js';
import type {
  Deleted,
  Granted,
  Invalid,
  JsonObject,
  Metadata,
  MetadataWritten,
  Revoked,
  Status,
  Tokenized,
  Valid,
  Value,
} from './results.js';
import { isMask } from './values.js';
import { count, durability, misread, object, type Said, staleness, text, time } from './wire.js';

/** What a grant can allow. */
export type Action = 'detokenize' | 'metadata' | 'update' | 'delete';

/** A value to tokenize, and what goes with it. */
export interface TokenizeItem {
  /** Text, bytes, or a {@link Plaintext}. */
  readonly value: PlaintextLike;
  /** `base64`: the value is bytes, and is given as their base64 text. */
  readonly encoding?: 'base64' | undefined;
  /** A JSON object of at most 16 KiB, kept in the clear beside the value, encrypted at rest. */
  readonly metadata?: JsonObject | undefined;
  /** For how long, such as `720h` or `15m`; for ever unless given. */
  readonly expiresIn?: string | undefined;
}

/** @internal */
export const TOKENIZE_ITEM: Names<TokenizeItem> = { value: true, encoding: true, metadata: true, expiresIn: true };

/** @internal */
export function tokenizeUnit(item: TokenizeItem): Unit {
  const { metadata, expiresIn } = item;
  return { json: jsonOf({ ...wireValue(item), metadata, expires_in: expiresIn }) };
}

function wireValue({ value, encoding }: TokenizeItem): { value: string; encoding?: 'base64' } {
  const plain: unknown = value instanceof Plaintext ? (value.isText ? value.reveal() : value.revealBytes()) : value;
  if (plain instanceof Uint8Array) {
    const bytes = Buffer.from(plain.buffer, plain.byteOffset, plain.byteLength);
    const short = bytes.length > PRINTED_BYTES ? '' : bytes.toString();
    refuseMask(short);
    refusePrints(short);
    return { value: bytes.toString('base64'), encoding: 'base64' };
  }
  if (typeof plain !== 'string') {
    throw new InvalidRequest('a value is a string, a Buffer or a Uint8Array; convert it, or serialize it first');
  }
  if (!plain.isWellFormed()) {
    throw new InvalidRequest(
      'the text has half of a surrogate pair, which UTF-8 cannot say; tokenize its bytes instead',
    );
  }
  refuseMask(plain);
  return encoding === undefined ? { value: plain } : { value: plain, encoding };
}

/** Longer bytes are no text that something printed. */
const PRINTED_BYTES = 256;

/** It would be kept in the place of the value that was not available. */
function refuseMask(text: string): void {
  if (isMask(text)) {
    throw new InvalidRequest(
      'this is the mask that is shown when a value is not available, not a value: tokenize the value',
    );
  }
}

/** The value, and the metadata beside it. */
function jsonOf(value: object): string {
  let json: string;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    throw new InvalidRequest('the metadata is no JSON: it has a cycle or a BigInt', { cause });
  }
  refusePrints(json);
  return json;
}

/** It would be kept in the place of what it was printed for. */
function refusePrints(text: string): void {
  const printed = printedAs(text);
  if (printed !== undefined) {
    throw new InvalidRequest(`this is how a ${printed.what} prints, not what it holds: ${printed.instead}`);
  }
}

/** @internal */
export function tokenUnit(token: TokenLike): Unit {
  const exposed = Token.from(token).expose();
  if (!exposed.isWellFormed()) {
    // The whole request would be refused for it, of whoever shares it.
    throw new InvalidToken('a token is `lunasec-` and a UUID; this one is no text that can be sent');
  }
  return { json: JSON.stringify(exposed), token: exposed };
}

const tokenOf = (unit: Unit): Token => Token.from(unit.token ?? '');

/** @internal */
export const TOKENIZE: ListOperation<Tokenized> = {
  operation: 'tokenize',
  path: '/v1/tokenize:batch',
  bytes: BATCH_BYTES,
  frame: ['{"items":[', ']}'],
  alone: { path: '/v1/tokenize', body: (unit) => unit.json },
  keyed: true,
  read: ({ body }) => ({
    kind: 'tokenized',
    token: Token.from(text(body, 'token')),
    durability: durability(body),
  }),
};

/** @internal */
export const DETOKENIZE: ListOperation<Value> = {
  operation: 'detokenize',
  path: '/v1/detokenize:batch',
  bytes: TOKEN_LIST_BYTES,
  frame: ['{"tokens":[', ']}'],
  alone: { path: '/v1/detokenize', body: (unit) => `{"token":${unit.json}}` },
  keyed: false,
  read: (said, unit) => ({ kind: 'value', token: tokenOf(unit), value: plaintext(said), ...age(said) }),
};

/** @internal */
export const DELETE: ListOperation<Deleted> = {
  operation: 'delete',
  path: '/v1/delete',
  bytes: TOKEN_LIST_BYTES,
  frame: ['{"tokens":[', ']}'],
  keyed: false,
  read: ({ body }, unit) => ({ kind: 'deleted', token: tokenOf(unit), durability: durability(body) }),
};

/** @internal */
export function grantsCreate(
  session: string,
  expiresIn: string | undefined,
  actions: readonly Action[] | undefined,
): ListOperation<Granted> {
  return {
    operation: 'grants/create',
    path: '/v1/grants/create',
    bytes: TOKEN_LIST_BYTES,
    frame: frameOf({ session, expires_in: expiresIn, actions }),
    keyed: false,
    read: ({ body }, unit) => ({
      kind: 'granted',
      token: tokenOf(unit),
      expiresAt: time(body, 'expires_at'),
      durability: durability(body),
    }),
  };
}

/** @internal */
export function grantsVerify(session: string, action: Action | undefined): ListOperation<Valid | Invalid> {
  return {
    operation: 'grants/verify',
    path: '/v1/grants/verify',
    bytes: TOKEN_LIST_BYTES,
    frame: frameOf({ session, action }),
    keyed: false,
    read: verified,
  };
}

function verified(said: Said, unit: Unit): Valid | Invalid {
  const { body } = said;
  const token = tokenOf(unit);
  if (body['valid'] === true) {
    return { kind: 'valid', token, expiresAt: time(body, 'expires_at'), ...age(said) };
  }
  if (body['valid'] === false) {
    return { kind: 'invalid', token, reason: text(body, 'reason'), ...age(said) };
  }
  throw misread('valid is neither true nor false');
}

/** @internal */
export function grantsRevoke(session: string, tokens: readonly TokenLike[] | undefined): Route<Revoked> {
  return {
    operation: 'grants/revoke',
    method: 'POST',
    path: '/v1/grants/revoke',
    body: JSON.stringify({ session, tokens: tokens?.map((token) => Token.from(token).expose()) }),
    repeatable: 'always',
    read: ({ body }) => ({
      ...(body['revoked'] === undefined ? {} : { revoked: count(body, 'revoked') }),
      durability: durability(body),
    }),
  };
}

/** @internal */
export function metadataGet(token: TokenLike): Route<Metadata> {
  return {
    operation: 'metadata/get',
    method: 'POST',
    path: '/v1/metadata/get',
    body: JSON.stringify({ token: Token.from(token).expose() }),
    repeatable: 'always',
    read: (said) => ({
      metadata: object(said.body['metadata'], 'metadata') as JsonObject,
      version: count(said.body, 'version'),
      createdAt: time(said.body, 'created_at'),
      ...(said.body['expires_at'] === undefined ? {} : { expiresAt: time(said.body, 'expires_at') }),
      ...age(said),
    }),
  };
}

/** @internal */
export function metadataSet(
  token: TokenLike,
  metadata: JsonObject,
  ifVersion: number | undefined,
): Route<MetadataWritten> {
  return {
    operation: 'metadata/set',
    method: 'POST',
    path: '/v1/metadata/set',
    body: jsonOf({ token: Token.from(token).expose(), metadata, if_version: ifVersion }),
    // A second attempt would meet the version that the first one wrote.
    repeatable: ifVersion === undefined ? 'always' : 'undone',
    read: ({ body }) => ({ durability: durability(body), version: count(body, 'version') }),
  };
}

/** @internal */
export const STATUS: Route<Status> = {
  operation: 'status',
  method: 'GET',
  path: '/v1/status',
  body: undefined,
  repeatable: 'always',
  read: ({ body }) => {
    text(body, 'version');
    object(body['dependencies'], 'dependencies');
    return body as unknown as Status;
  },
};

/** The members of a body before its list of tokens. */
function frameOf(members: object): readonly [string, string] {
  const others = JSON.stringify(members).slice(0, -1);
  return [`${others},"tokens":[`, ']}'];
}

/** Beside an item, else in the head. */
function age(said: Said): ReturnType<typeof staleness> {
  return said.body['degraded'] === undefined ? said.staleness : staleness(said.body);
}

const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

function plaintext({ body }: Said): Plaintext {
  const value = text(body, 'value');
  switch (body['encoding']) {
    case 'utf8':
      return Plaintext.from(value);
    case 'base64':
      if (value.length % 4 === 0 && BASE64.test(value)) {
        return Plaintext.from(Buffer.from(value, 'base64'));
      }
      throw misread('a value is not base64');
    default:
      throw misread('an encoding is neither utf8 nor base64');
  }
}
