/**
 * What is noted of objects in this process, by whichever copies of this package there are: an application may have both builds,
 * or two that are installed, at work on one request. Not on the objects themselves, which may be frozen.
 *
 * @internal
 */
export function sharedNotes<K extends object, V>(name: string): WeakMap<K, V> {
  const key = Symbol.for(`@lunasec/node/${name}`);
  const all = globalThis as { [key: symbol]: WeakMap<K, V> | undefined };
  const known = all[key] ?? new WeakMap<K, V>();
  Object.defineProperty(all, key, { value: known, configurable: true });
  return known;
}
