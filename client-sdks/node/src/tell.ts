/**
 * Tells an application's `onError`. Whatever becomes of that, thrown at once or rejected later, ends neither what the error was
 * of nor the process, which has others: it is a warning of the process.
 *
 * @internal
 */
export function tell<A extends readonly unknown[]>(onError: ((...of: A) => void) | undefined, ...of: A): void {
  try {
    const told: unknown = onError?.(...of);
    // Whatever has a `then`; what has none is resolved to, and nobody looks.
    Promise.resolve(told).catch(warn);
  } catch (thrown) {
    warn(thrown);
  }
}

function warn(thrown: unknown): void {
  const warning = thrown instanceof Error || typeof thrown === 'string' ? thrown : 'it threw what is no error';
  process.emitWarning(warning, { type: 'LunaSecOnErrorThrew' });
}
