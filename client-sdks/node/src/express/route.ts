import type { Names } from '../options.js';
import type { CallOptions } from '../tokenizer.js';
import type { RequestLunaSec } from './request.js';
import { type Handler, handler, type Next, type RequestLike, type ResponseLike } from './types.js';

/** What routes may say of the calls that they make: `namespace`, `purpose` and `deadlineMs`. */
export type RouteOptions = Omit<CallOptions, 'signal'>;

/** @internal */
export const ROUTE_OPTIONS: Names<RouteOptions> = { namespace: true, purpose: true, deadlineMs: true, share: true };

/**
 * A middleware that goes on when it is done, and not at all where it fails.
 *
 * @internal
 */
export function route(
  run: (req: RequestLike, res: ResponseLike, here: RequestLunaSec, next: Next) => Promise<void> | void,
): Handler {
  return handler((req, res, next) => {
    const done = async (): Promise<void> => run(req, res, bindingOf(req), next);
    done().then(() => next(), next);
  });
}

function bindingOf(req: { readonly lunasec?: RequestLunaSec }): RequestLunaSec {
  if (req.lunasec === undefined) {
    throw new Error('req.lunasec is not there: app.use(lunasec.express({ session: … })) has to come before this route');
  }
  return req.lunasec;
}

/**
 * For calls that are of no use to anybody when whoever asked is gone.
 *
 * @internal
 */
export function callOf(here: RequestLunaSec, { namespace, purpose, deadlineMs }: RouteOptions): CallOptions {
  return { namespace, purpose, deadlineMs, signal: here.signal };
}
