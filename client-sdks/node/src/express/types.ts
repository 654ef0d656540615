import type { IncomingMessage, ServerResponse } from 'node:http';

import type { Marks } from './marks.js';
import type { RequestLunaSec } from './request.js';

declare global {
  // The namespace that the types of Express 4 and 5 share, and that those of sessions and cookies add to as well.
  namespace Express {
    interface Request {
      /** LunaSec for the session of this request; made by `lunasec.express(…)`. */
      lunasec: RequestLunaSec;
    }
    interface Locals {
      /** What LunaSec could not do as it should for this answer. */
      lunasec: Marks;
    }
  }
}

/**
 * A request of Express 4 or 5, by what is used of it: neither Express nor its types are needed for this package. Where
 * more is wanted, annotate: `session: (req: Request) => …` with the type of your Express.
 */
export interface RequestLike extends IncomingMessage, Express.Request {
  body?: unknown;
  readonly params: unknown;
  readonly query: unknown;
  // biome-ignore lint/suspicious/noExplicitAny: as Express types it
  readonly cookies: any;
  // biome-ignore lint/suspicious/noExplicitAny: as Express types it
  readonly signedCookies: any;
  get(name: string): string | undefined;
}

/** A response of Express 4 or 5, by what is used of it. */
export interface ResponseLike extends ServerResponse {
  readonly locals: Express.Locals;
  json(body?: unknown): unknown;
}

/** Goes on, with an error where there is one. */
export type Next = (error?: unknown) => void;

/**
 * A middleware. It names of a request only what it shares with all: from more, the compiler would conclude what type a
 * route's `req.body`, `req.params` and `res.locals` are.
 */
export type Handler = (req: IncomingMessage & Express.Request, res: ServerResponse, next: Next) => void;

/** A middleware for errors. */
export type ErrorHandler = (
  error: unknown,
  req: IncomingMessage & Express.Request,
  res: ServerResponse,
  next: Next,
) => void;

/**
 * What it is given in truth.
 *
 * @internal
 */
export function handler(run: (req: RequestLike, res: ResponseLike, next: Next) => void): Handler {
  return run as Handler;
}
