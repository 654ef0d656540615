import {
  AccessDenied,
  BadRequest,
  Conflict,
  Gone,
  GrantExpired,
  type LunaSecError,
  RateLimited,
  Unauthenticated,
  Unavailable,
} from './errors.js';
import { sharedNotes } from './shared.js';

type Kind = abstract new (...args: never[]) => LunaSecError;

const WORDS: readonly (readonly [Kind, string])[] = [
  [BadRequest, 'this cannot be taken; change it'],
  [Unauthenticated, 'this needs a session'],
  [GrantExpired, 'this session may not use it any more'],
  [AccessDenied, 'this session may not use it'],
  [Gone, 'there is no value any more'],
  [RateLimited, 'too many requests; try again later'],
  [Unavailable, 'this cannot be answered just now; try again later'],
  [Conflict, 'it was changed meanwhile; read it again'],
];

const BAD: Readonly<Record<string, string>> = {
  invalid_token: 'this is no token',
  payload_too_large: 'this is too large',
};

/** @internal */
export const FAILED = 'this failed, and not by what was asked for';

/** Errors whose own words are for whoever made the request. */
const TOLD = sharedNotes<LunaSecError, true>('told');

/**
 * An error that only whoever made a request can mend: its detail is said to them.
 *
 * @internal
 */
export function told<E extends LunaSecError>(error: E): E {
  TOLD.set(error, true);
  return error;
}

/**
 * What whoever made a request is told of an error, from elsewhere as they are: other words name rules, sockets and
 * limits of the process, which are for whoever runs it.
 *
 * @internal
 */
export function wordsOf(error: LunaSecError): string {
  if (TOLD.has(error)) {
    return error.detail;
  }
  return (
    (Object.hasOwn(BAD, error.code) ? BAD[error.code] : undefined) ??
    WORDS.find(([kind]) => error instanceof kind)?.[1] ??
    FAILED
  );
}
