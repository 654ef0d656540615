/**
 * The names of some options: of each, so that none can be forgotten here.
 *
 * @internal
 */
export type Names<T> = { readonly [K in keyof Required<T>]: true };

/** What can be printed of a name that somebody made up. */
const NAME = /^[A-Za-z_-]{1,32}$/;

/**
 * Refuses options that there are not: one that is spelled otherwise, where no compiler looks, would be left out in silence, and
 * what was to be kept for an hour would be kept for ever.
 *
 * @internal
 */
export function onlyKnown<T extends object>(what: string, options: T, names: Names<T>): void {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError(`the options of ${what} are an object: { ${Object.keys(names).slice(0, 3).join(', ')}, … }`);
  }
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !Object.hasOwn(names, name)) {
      throw new TypeError(`${what} has no option ${NAME.test(name) ? name : 'of such a name'}: ${mend(name, names)}`);
    }
  }
}

function mend(name: string, names: object): string {
  const meant = Object.keys(names).find((each) => plain(each) === plain(name));
  return meant === undefined ? 'leave it out, or look up how it is spelled' : `write ${meant}`;
}

function plain(name: string): string {
  return name.replace(/[_-]/g, '').toLowerCase();
}

/**
 * A list that is one: of a text, each character would be taken for an item.
 *
 * @internal
 */
export function list<T>(what: string, items: readonly T[]): readonly T[] {
  if (!Array.isArray(items)) {
    throw new TypeError(`${what} takes a list: write [ ] around what is one`);
  }
  return items;
}
