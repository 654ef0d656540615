import type { LunaSec } from '../client.js';
import { LunaSecError } from '../errors.js';
import type { OnUnavailable } from '../policy.js';
import type { SessionOf } from './caller.js';
import { type MethodPlans, plansOf, type Role } from './plan.js';
import type { Protos } from './protos.js';
import { FieldError } from './status.js';

/** What both interceptors are told. */
export interface InterceptorOptions {
  /** The process' client. */
  readonly lunasec: LunaSec<OnUnavailable>;
  /** What the .proto files say. */
  readonly protos: Protos;
  /**
   * Whose session a call is: the key of its metadata that says so, or a function of the call. Asked once for each call,
   * and the same for all that is granted, verified and revealed in it. Needed where fields say `grant` or `verify`.
   */
  readonly session?: string | SessionOf | undefined;
  /** What responses show when nobody can answer, instead of what the client says. */
  readonly onUnavailable?: OnUnavailable | undefined;
  /**
   * Calls of methods that are in none of the .proto files: `refuse`, unless given, since nobody knows what their fields ask
   * for; `pass`. Those of `grpc.` (health, reflection) always pass.
   */
  readonly otherMethods?: 'refuse' | 'pass' | undefined;
}

const NOTHING: MethodPlans = { request: undefined, response: undefined };

/**
 * Finds what is to be done with a method's messages; made once, so that mistakes are said at the start.
 *
 * @internal
 */
export function methodsOf(options: InterceptorOptions, role: Role): (path: string) => MethodPlans {
  const plans = plansOf(options.protos.shapes, role, options.session !== undefined);
  return (path) => {
    const known = plans.get(path);
    if (known !== undefined) {
      return known;
    }
    if (options.otherMethods === 'pass' || path.startsWith('/grpc.')) {
      return NOTHING;
    }
    const words = "the method is in no .proto file that the interceptor knows; load it, or say otherMethods: 'pass'";
    throw new FieldError(path, new LunaSecError('unknown_method', words));
  };
}
