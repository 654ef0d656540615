import { LunaSec } from '../client.js';
import type { LunaSecSession } from '../session.js';
import { sharedNotes } from '../shared.js';
import { Noted } from './marks.js';
import { RequestLunaSec } from './request.js';
import { type Handler, handler, type RequestLike } from './types.js';

/** A session's id, with the user's JWT where the sidecar asks for one; nothing where the request has no session. */
export type SessionOf = string | { readonly id: string; readonly jwt?: string | undefined } | undefined | null;

/** What {@link express} is told. */
export interface ExpressOptions {
  /** The session that a request belongs to, such as `req.sessionID`. Asked once for each request that needs it. */
  session(req: RequestLike): SessionOf | Promise<SessionOf>;
  /** The process's client, where there is one already; made with its defaults otherwise. */
  readonly client?: LunaSec | undefined;
}

/** By whom a request was bound. */
const bindings = sharedNotes<RequestLike, ExpressOptions>('express/bindings');

const TRACEPARENT = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}$/;

/**
 * Gives each request its own `req.lunasec`, bound to its session. Put it behind what finds the session, and before routes.
 *
 * ```ts
 * app.use(lunasec.express({ session: (req) => req.sessionID }));
 * ```
 */
export function express(options: ExpressOptions): Handler {
  if (typeof options?.session !== 'function') {
    throw new TypeError(
      'lunasec.express() needs a function that gives the session of a request: { session: (req) => … }',
    );
  }
  const client = options.client ?? new LunaSec();
  return handler((req, res, next) => {
    const before = bindings.get(req);
    if (before !== undefined && before !== options) {
      // It cannot be told where a mounted application is left: what comes behind it would be for its session.
      throw new Error(
        'another lunasec.express() is before this one, and a request has one session: use one, whose function `session` tells the parts of the application apart',
      );
    }
    bindings.set(req, options);
    const noted = new Noted(res);
    const traced = tracing(client, req.headers['traceparent']);
    req.lunasec = new RequestLunaSec(traced, async () => bound(traced, await options.session(req)), res, noted);
    res.locals.lunasec = noted;
    next();
  });
}

/** For who has no OpenTelemetry, which says its own. */
function tracing(client: LunaSec, header: string | string[] | undefined): LunaSec {
  return typeof header === 'string' && TRACEPARENT.test(header) ? client.with({ traceparent: header }) : client;
}

function bound(client: LunaSec, session: SessionOf): LunaSecSession | undefined {
  if (session === undefined || session === null || session === '') {
    return undefined;
  }
  const { id, jwt } = typeof session === 'object' ? session : { id: session, jwt: undefined };
  if (typeof id !== 'string') {
    throw new TypeError('the function `session` of lunasec.express() gave neither text nor nothing: convert it');
  }
  return client.forSession(id, { jwt });
}
