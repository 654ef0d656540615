import { InvalidRequest } from './errors.js';
import { LONGEST_MS } from './limits.js';

/**
 * A time that an application gives. A timer makes 1 ms of what it cannot keep: a deadline that was to be endless would be
 * none.
 *
 * @internal
 */
export function milliseconds<T extends number | undefined>(what: string, ms: T): T {
  if (ms !== undefined && !(typeof ms === 'number' && ms >= 0 && ms <= LONGEST_MS)) {
    throw new InvalidRequest(
      `${what} is no time that can be waited for: it is a number of milliseconds from 0 to ${LONGEST_MS}, which is more than 24 days`,
    );
  }
  return ms;
}
