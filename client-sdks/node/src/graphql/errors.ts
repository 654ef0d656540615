import { GraphQLError } from 'graphql';

import { LunaSecError } from '../errors.js';
import { wordsOf } from '../words.js';

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
