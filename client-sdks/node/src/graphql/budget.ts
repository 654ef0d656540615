import type { GraphQLResolveInfo } from 'graphql';

/**
 * Counts what one execution asks for, of all its fields: so that one request cannot take all the calls of a process from
 * everybody else.
 *
 * @internal
 */
export class Budget {
  readonly #most: number;
  readonly #used = new WeakMap<object, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Whether there is room for so many more; they count if there is. */
  takes({ variableValues }: GraphQLResolveInfo, count: number): boolean {
    const used = (this.#used.get(variableValues) ?? 0) + count;
    if (used > this.#most) {
      return false;
    }
    this.#used.set(variableValues, used);
    return true;
  }
}
