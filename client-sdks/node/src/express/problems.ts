import { LunaSecError, Unavailable } from '../errors.js';
import { tell } from '../tell.js';
import { FieldRefused } from './draft.js';
import type { ErrorHandler, RequestLike } from './types.js';

/** An error as `application/problem+json` says it (RFC 9457). */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly retryable: boolean;
  readonly retry_after_ms?: number;
  /** The field of the request that is to be mended, as the route names it. */
  readonly field?: string;
  /** Names the call in the sidecar's log. */
  readonly request_id?: string;
}

/** What {@link problems} may be told. */
export interface ProblemsOptions {
  /**
   * Is told of each error that is answered, for the application's log. The error holds no token and no value. What it throws,
   * or rejects with, is a warning of the process: the answer goes out.
   */
  readonly onError?: ((error: LunaSecError, req: RequestLike) => void) | undefined;
}

type Words = readonly [status: number, title: string, detail: string];

const AWAY: Words = [503, 'Unavailable', 'Protected data cannot be read or written just now. Please try again.'];
const DENIED: Words = [403, 'Forbidden', 'You may not use this.'];
const FAILED: Words = [500, 'Internal error', 'Something went wrong, and it was not the request.'];

/** In words for whoever made the request. What the sidecar says is for the application: it names rules and places. */
const WORDS: Readonly<Record<string, Words>> = {
  invalid_request: [400, 'Invalid request', 'The request was not understood.'],
  invalid_token: [400, 'Invalid token', 'This is not a token.'],
  unauthenticated: [401, 'Unauthenticated', 'Please sign in.'],
  forbidden: DENIED,
  grant_denied: DENIED,
  grant_expired: [403, 'Grant expired', 'You may not use this any more. Please load the page again.'],
  not_found: [404, 'Not found', 'There is nothing here.'],
  conflict: [409, 'Conflict', 'It was changed meanwhile. Please look again.'],
  expired: [410, 'Expired', 'There is nothing here any more.'],
  payload_too_large: [413, 'Too large', 'The request is too large.'],
  rate_limited: [429, 'Too many requests', 'This was too often. Please try again later.'],
};

/** What an HTTP answer may say of an error; undefined if it is none of LunaSec's. */
export function problemOf(error: unknown): Problem | undefined {
  if (!(error instanceof LunaSecError)) {
    return undefined;
  }
  const [status, title, detail] = wordsOf(error);
  const known = status < 500 || error instanceof Unavailable;
  const code = known ? error.code : 'internal';
  const again = status === 429 || status === 503;
  return {
    type: `urn:lunasec:error:${code}`,
    title,
    status,
    detail: error instanceof FieldRefused ? error.detail : detail,
    code,
    retryable: again,
    ...(again ? { retry_after_ms: error.retryAfterMs ?? 1_000 } : {}),
    ...(error instanceof FieldRefused ? { field: error.field } : {}),
    ...(error.requestId === undefined ? {} : { request_id: error.requestId }),
  };
}

function wordsOf(error: LunaSecError): Words {
  if (error instanceof Unavailable) {
    return AWAY;
  }
  // What the application or its operator has to mend is nothing that the user could.
  return (Object.hasOwn(WORDS, error.code) ? WORDS[error.code] : undefined) ?? FAILED;
}

/**
 * Answers LunaSec's errors as `application/problem+json`, and hands on all others. Put it behind the routes, before your
 * own error handler.
 *
 * ```ts
 * app.use(lunasec.problems());
 * ```
 */
export function problems(options: ProblemsOptions = {}): ErrorHandler {
  return (error, req, res, next) => {
    if (res.closed && error === req.lunasec?.signal.reason) {
      return; // Nobody waits for an answer any more.
    }
    const problem = problemOf(error);
    if (problem === undefined || res.headersSent) {
      next(error);
      return;
    }
    tell(options.onError, error as LunaSecError, req as RequestLike);
    res.statusCode = problem.status;
    res.setHeader('content-type', 'application/problem+json');
    res.setHeader('cache-control', 'no-store');
    if (problem.retry_after_ms !== undefined) {
      res.setHeader('retry-after', Math.max(1, Math.ceil(problem.retry_after_ms / 1_000)));
    }
    res.end(JSON.stringify(problem));
  };
}
