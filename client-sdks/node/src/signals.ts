const listening = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls back when the signal says so; gives what takes that back. However many calls share a signal, as those of a page
 * do, it has one listener: Node.js warns of more than ten.
 *
 * @internal
 */
export function onAbort(signal: AbortSignal, then: () => void): () => void {
  const all = listening.get(signal) ?? listenTo(signal);
  all.add(then);
  return () => {
    all.delete(then);
  };
}

function listenTo(signal: AbortSignal): Set<() => void> {
  const all = new Set<() => void>();
  listening.set(signal, all);
  signal.addEventListener(
    'abort',
    () => {
      for (const each of all) {
        each();
      }
    },
    { once: true },
  );
  return all;
}
