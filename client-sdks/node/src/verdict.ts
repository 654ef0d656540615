import { Gone, GrantDenied, GrantExpired, type LunaSecError } from './errors.js';
import type { Failed, Invalid, Valid } from './results.js';

const WORDS = {
  denied: 'the session was not granted this token',
  expired: 'the session was granted this token, and not any more',
};

/**
 * Why a session may not use a token, by what a verify said of it; undefined where it may. A token that never was, or is
 * gone, is refused as somebody else's is: whoever tries tokens learns nothing.
 *
 * @internal
 */
export function refusalOf(outcome: Invalid | Failed | undefined, words?: typeof WORDS): LunaSecError;
export function refusalOf(
  outcome: Valid | Invalid | Failed | undefined,
  words?: typeof WORDS,
): LunaSecError | undefined;
export function refusalOf(outcome: Valid | Invalid | Failed | undefined, words = WORDS): LunaSecError | undefined {
  if (outcome?.kind === 'valid') {
    return undefined;
  }
  if (outcome?.kind === 'failed' && !(outcome.error instanceof Gone)) {
    return outcome.error;
  }
  const expired = outcome?.kind === 'invalid' && outcome.reason === 'expired';
  return expired ? new GrantExpired(words.expired) : new GrantDenied(words.denied);
}
