const WORDS = /^(\d{1,12})(ms|s|m|h|d)$/;

/**
 * Whether the sidecar reads it as a time that is not over at once.
 *
 * @internal
 */
export function isDuration(value: unknown): value is string {
  const [, count] = (typeof value === 'string' ? WORDS.exec(value) : null) ?? [];
  return count !== undefined && Number(count) > 0;
}
