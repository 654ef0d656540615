/**
 * Marks an object as one of a class of this package, so that `instanceof` of another copy knows it, too.
 *
 * @internal
 */
export function brand(object: object, name: string): void {
  Object.defineProperty(object, keyOf(name), { value: true });
}

/** @internal */
export function isBranded(value: unknown, name: string): boolean {
  return typeof value === 'object' && value !== null && keyOf(name) in value;
}

function keyOf(name: string): symbol {
  return Symbol.for(`@lunasec/node/${name}`);
}
