import { InvalidRequest } from './errors.js';

/**
 * A count that an application gives.
 *
 * @internal
 */
export function counted<T extends number | undefined>(what: string, count: T, least: number): T {
  if (count !== undefined && !(Number.isSafeInteger(count) && count >= least)) {
    throw new InvalidRequest(`${what} is no count: it is a whole number from ${least} on`);
  }
  return count;
}
