import type { Applied } from './applied.js';
import type { Problems } from './problems.js';

/**
 * What counts at a place of an object: its own directive, else the one of the same place of its interfaces. What an
 * interface promises holds for each of its objects, so that none is left out by being forgotten; an object may say it in
 * more detail, and not something else.
 *
 * @internal
 */
export function inherited(
  own: Applied | undefined,
  interfaces: readonly (Applied | undefined)[],
  where: string,
  problems: Problems,
): Applied | undefined {
  const above = interfaces.filter((each) => each !== undefined);
  const chosen = own ?? above[0];
  for (const other of above) {
    if (other.name !== chosen?.name) {
      problems.at(where, `is @${chosen?.name} here and @${other.name} by an interface; it can only be one of them`);
    } else if (own === undefined && !same(other, chosen)) {
      problems.at(where, `@${chosen.name} differs between its interfaces; say here which is meant`);
    }
  }
  return chosen;
}

function same(one: Applied, other: Applied): boolean {
  return one.expiresIn === other.expiresIn && one.onUnavailable === other.onUnavailable;
}
