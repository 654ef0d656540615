/**
 * Of all nodes, those from which one of the targets is reached, over any number of steps; the targets among them. Loops
 * do no harm.
 *
 * @internal
 */
export function leading<T>(targets: Iterable<T>, all: readonly T[], steps: (node: T) => readonly unknown[]): Set<T> {
  const before = new Map<unknown, T[]>();
  for (const node of all) {
    for (const next of steps(node)) {
      const known = before.get(next);
      if (known === undefined) {
        before.set(next, [node]);
      } else {
        known.push(node);
      }
    }
  }
  const found = new Set<T>(targets);
  // A set that grows while it is walked is walked to its end.
  for (const node of found) {
    for (const previous of before.get(node) ?? []) {
      found.add(previous);
    }
  }
  return found;
}
