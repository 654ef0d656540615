import { Call } from './call.js';
import type { Limits } from './engine.js';
import { DeadlineExceeded, InvalidRequest, SidecarUnreachable, Unavailable } from './errors.js';
import { MASK } from './limits.js';
import type { Token } from './redacted.js';
import type { Fallback, Masked, Value } from './results.js';
import type { Runtime } from './runtime.js';

/**
 * What a read does when nobody can answer it: the sidecar, its storage or its keys are away. Never when the answer is
 * no: `grant_denied`, `forbidden`, `not_found`, `rate_limited` and all other codes reject whatever is chosen.
 *
 * - `'fail'`: reject with {@link Unavailable}. The default.
 * - `'mask'`, `{ mask: text }`: resolve to `{ kind: 'masked', text: '••••', … }`.
 * - `{ fallback: (token, error) => … }`: resolve to `{ kind: 'fallback', value: … }` with what the function gives, or
 *   resolves to within the call's `deadlineMs`, which begins anew for it.
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
 * A policy that is one: a mistake in it must not wait for an outage to be found.
 *
 * @internal
 */
export function policyOf(policy: OnUnavailable): OnUnavailable {
  if (policy === 'fail' || policy === 'mask') {
    return policy;
  }
  const { mask, fallback } = Object(policy) as Partial<MaskWith & FallbackTo<unknown>>;
  if (fallback === undefined ? typeof mask === 'string' : mask === undefined && typeof fallback === 'function') {
    return policy;
  }
  throw new InvalidRequest(
    "onUnavailable is no policy: it is 'fail', 'mask', { mask: text } or { fallback: (token, error) => … }",
  );
}

/**
 * Whether a call under this policy waits for better times.
 *
 * @internal
 */
export function stands(policy: OnUnavailable): boolean {
  return policy !== 'fail';
}

/**
 * Whether the policy stands in for what went wrong. Not where the client was closed: that is no outage, but a mistake to be
 * seen.
 *
 * @internal
 */
export function standsInFor(policy: OnUnavailable, error: unknown): error is Unavailable {
  return stands(policy) && error instanceof Unavailable && !(error instanceof SidecarUnreachable && error.closed);
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
  runtime: Runtime,
  limits: Limits,
): Promise<Masked | Fallback<unknown>> {
  if (policy === 'fail' || !standsInFor(policy, error)) {
    throw error;
  }
  const reason = error.code;
  const text = policy === 'mask' ? MASK : (policy as Partial<MaskWith>).mask;
  if (text !== undefined) {
    return { kind: 'masked', token, text, reason, error };
  }
  const given = (policy as FallbackTo<unknown>).fallback(token, error);
  const value = isPromise(given) ? await inTime(given, error, runtime, limits) : given;
  return { kind: 'fallback', token, value, reason, error };
}

function isPromise(given: unknown): given is PromiseLike<unknown> {
  return typeof (given as Partial<PromiseLike<unknown>> | null | undefined)?.then === 'function';
}

/** Its time begins anew: what the call had may have gone by waiting for the sidecar. */
function inTime(
  given: PromiseLike<unknown>,
  error: Unavailable,
  runtime: Runtime,
  { deadlineMs, signal }: Limits,
): Promise<unknown> {
  const call = new Call<unknown>(runtime, deadlineMs, signal, () => undefined);
  call.trouble = new DeadlineExceeded(
    `the fallback of onUnavailable gave nothing within ${deadlineMs} ms: let it give up sooner, or raise deadlineMs; it was asked because of ${error.code}`,
    { retryable: true, cause: error },
  );
  given.then(
    (value) => call.resolve(value),
    (reason: unknown) => call.reject(reason),
  );
  return call.promise;
}
