import { type LunaSecError, Unavailable } from './errors.js';
import { MASK } from './limits.js';
import type { Token } from './redacted.js';
import type { Fallback, Masked, Value } from './results.js';

/**
 * What a read does when nobody can answer it: the sidecar, its storage or its keys are away. Never when the answer is
 * no: `grant_denied`, `forbidden`, `not_found`, `rate_limited` and all other codes reject whatever is chosen.
 *
 * - `'fail'`: reject with {@link Unavailable}. The default.
 * - `'mask'`, `{ mask: text }`: resolve to `{ kind: 'masked', text: '••••', … }`.
 * - `{ fallback: (token, error) => … }`: resolve to `{ kind: 'fallback', value: … }` with what the function gives.
 */
export type OnUnavailable = 'fail' | 'mask' | MaskWith | FallbackTo<unknown>;

/** Shows this text instead of the value. */
export interface MaskWith {
  readonly mask: string;
}

/** Shows what a function gives instead of the value. */
export interface FallbackTo<F> {
  readonly fallback: (token: Token, error: Unavailable) => F;
}

/** What a read resolves to under a policy: whoever may get no value has to look at `kind` first. */
export type Revealed<P extends OnUnavailable> = P extends 'fail'
  ? Value
  : P extends 'mask' | MaskWith
    ? Value | Masked
    : P extends FallbackTo<infer F>
      ? Value | Fallback<Awaited<F>>
      : never;

/**
 * Whether a call under this policy waits for better times.
 *
 * @internal
 */
export function stands(policy: OnUnavailable): boolean {
  return policy !== 'fail';
}

/**
 * What stands in for the value; throws the error where nothing may.
 *
 * @internal
 */
export async function standIn(
  policy: OnUnavailable,
  token: Token,
  error: unknown,
): Promise<Masked | Fallback<unknown>> {
  if (policy === 'fail' || !(error instanceof Unavailable)) {
    throw error;
  }
  const reason = (error as LunaSecError).code;
  if (policy === 'mask' || 'mask' in policy) {
    return { kind: 'masked', token, text: policy === 'mask' ? MASK : policy.mask, reason, error };
  }
  return { kind: 'fallback', token, value: await policy.fallback(token, error), reason, error };
}
