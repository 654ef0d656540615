import { Metadata, type StatusObject, status } from '@grpc/grpc-js';

import { BadRequest, LunaSecError } from '../errors.js';
import { FAILED, wordsOf } from '../words.js';

/** The sidecar's own gRPC interface says the same of each code. */
const BY_CODE: Readonly<Record<string, status>> = {
  invalid_request: status.INVALID_ARGUMENT,
  invalid_token: status.INVALID_ARGUMENT,
  invalid_namespace: status.INVALID_ARGUMENT,
  unauthenticated: status.UNAUTHENTICATED,
  forbidden: status.PERMISSION_DENIED,
  grant_denied: status.PERMISSION_DENIED,
  grant_expired: status.PERMISSION_DENIED,
  not_found: status.NOT_FOUND,
  expired: status.NOT_FOUND,
  method_not_allowed: status.UNIMPLEMENTED,
  unsupported_media_type: status.UNIMPLEMENTED,
  conflict: status.ABORTED,
  payload_too_large: status.RESOURCE_EXHAUSTED,
  rate_limited: status.RESOURCE_EXHAUSTED,
  deadline_exceeded: status.DEADLINE_EXCEEDED,
  corrupted: status.DATA_LOSS,
};

const DETAILS = 'grpc-status-details-bin';

/**
 * An error, and the field that it is about.
 *
 * @internal
 */
export class FieldError extends Error {
  constructor(
    readonly where: string,
    override readonly cause: LunaSecError,
  ) {
    super(`${where}: ${cause.message}`);
  }
}

/**
 * What a call ends with, for its client elsewhere. `ours`: whoever called is not to blame for what was wrong with a
 * message.
 *
 * @internal
 */
export function statusOf(error: unknown, ours: boolean): StatusObject {
  return made(error, ours, (cause) => (ours && cause instanceof BadRequest ? FAILED : wordsOf(cause)));
}

/**
 * … for the application that calls, which runs the client that failed, and is told all of it.
 *
 * @internal
 */
export function statusHere(error: unknown, ours: boolean): StatusObject {
  return made(error, ours, ({ detail }) => detail);
}

function made(error: unknown, ours: boolean, words: (cause: LunaSecError) => string): StatusObject {
  const cause = error instanceof FieldError ? error.cause : error;
  if (!(cause instanceof LunaSecError)) {
    return foreign(cause);
  }
  const code = ours && cause instanceof BadRequest ? status.INTERNAL : codeOf(cause);
  const details = `${error instanceof FieldError ? `${error.where}: ` : ''}${cause.code}: ${words(cause)}`;
  const metadata = new Metadata();
  metadata.set(DETAILS, richStatus(code, details, cause));
  return { code, details, metadata };
}

function codeOf({ code, retryable }: LunaSecError): status {
  return BY_CODE[code] ?? (retryable ? status.UNAVAILABLE : status.INTERNAL);
}

/** What an application's own function threw: its status, if it says one; its words may say anything, so that they stay here. */
function foreign(error: unknown): StatusObject {
  const { code, details, metadata } = (error ?? {}) as Partial<StatusObject>;
  if (typeof code === 'number' && status[code] !== undefined && typeof details === 'string') {
    return { code, details, metadata: metadata instanceof Metadata ? metadata : new Metadata() };
  }
  return { code: status.INTERNAL, details: 'a function of the interceptor failed', metadata: new Metadata() };
}

/** A `google.rpc.Status` with an ErrorInfo, and a RetryInfo where that is known. */
function richStatus(code: number, message: string, error: LunaSecError): Buffer {
  const info = [
    bytes(1, error.code),
    bytes(2, 'lunasec'),
    bytes(3, Buffer.concat([bytes(1, 'retryable'), bytes(2, String(error.retryable))])),
  ];
  const parts = [number(1, code), bytes(2, message), bytes(3, any('ErrorInfo', Buffer.concat(info)))];
  if (error.retryAfterMs !== undefined) {
    const seconds = Math.floor(error.retryAfterMs / 1_000);
    const nanos = Math.floor((error.retryAfterMs % 1_000) * 1_000_000);
    const duration = Buffer.concat([number(1, seconds), number(2, nanos)]);
    parts.push(bytes(3, any('RetryInfo', bytes(1, duration))));
  }
  return Buffer.concat(parts);
}

function any(type: string, value: Buffer): Buffer {
  return Buffer.concat([bytes(1, `type.googleapis.com/google.rpc.${type}`), bytes(2, value)]);
}

function number(field: number, value: number): Buffer {
  return Buffer.from([field << 3, ...varint(value)]);
}

function bytes(field: number, value: string | Buffer): Buffer {
  const content = Buffer.from(value);
  return Buffer.concat([Buffer.from([(field << 3) | 2, ...varint(content.length)]), content]);
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value % 0x80) | 0x80, ...varint(Math.floor(value / 0x80))];
}
