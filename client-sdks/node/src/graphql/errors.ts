import { GraphQLError } from 'graphql';

import {
  AccessDenied,
  BadRequest,
  Conflict,
  Gone,
  GrantExpired,
  LunaSecError,
  RateLimited,
  Unauthenticated,
  Unavailable,
} from '../errors.js';

type Kind = abstract new (...args: never[]) => LunaSecError;

/** What a browser is told. The sidecar's own words are for whoever runs it: they are in `cause`, for logs. */
const WORDS: readonly (readonly [Kind, string])[] = [
  [Unauthenticated, 'this needs a session'],
  [GrantExpired, 'this session may not use it any more'],
  [AccessDenied, 'this session may not use it'],
  [Gone, 'there is no value any more'],
  [RateLimited, 'too many requests; try again later'],
  [Unavailable, 'this cannot be answered just now; try again later'],
  [Conflict, 'it was changed meanwhile'],
];

/**
 * The GraphQL error of what the client rejected with: `extensions.code` is the contract's. No token, no value, no session
 * and no word of the sidecar is in it. What is not the client's is given back as it is.
 *
 * @internal
 */
export function graphQLError(error: unknown, argument?: string): unknown {
  if (!(error instanceof LunaSecError)) {
    return error;
  }
  const { code, retryable, retryAfterMs, requestId } = error;
  const extensions = {
    code,
    retryable,
    ...(argument === undefined ? {} : { argument }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(requestId === undefined ? {} : { requestId }),
  };
  const told = new GraphQLError(wordsOf(error), { extensions });
  // Not as `originalError`: servers mask an error that has another kind of error in it.
  return Object.defineProperty(told, 'cause', { value: error });
}

function wordsOf(error: LunaSecError): string {
  if (error instanceof BadRequest) {
    return BAD[error.code] ?? 'this cannot be taken';
  }
  return WORDS.find(([kind]) => error instanceof kind)?.[1] ?? 'this failed';
}

const BAD: Readonly<Record<string, string>> = {
  invalid_token: 'this is no token',
  payload_too_large: 'this is too large',
};
