import { BadRequest, type LunaSecError, Unavailable } from '../errors.js';
import { type Names, onlyKnown } from '../options.js';
import { Token } from '../redacted.js';
import type { Failed, Invalid } from '../results.js';
import type { VerifyOptions } from '../session.js';
import { refusalOf } from '../verdict.js';
import { byToken } from './bulk.js';
import { Draft, FieldRefused, QUERY, REQUEST, type Rules, type Slot, UNPARSED } from './draft.js';
import { type Fields, parse } from './fields.js';
import type { RequestLunaSec } from './request.js';
import { callOf, ROUTE_OPTIONS, type RouteOptions, route } from './route.js';
import type { Handler, RequestLike } from './types.js';

/** Where the tokens are that a request hands in. */
export interface VerifyFields {
  readonly body?: Fields | undefined;
  readonly params?: Fields | undefined;
  readonly query?: Fields | undefined;
}

/** What {@link verify} may be told. */
export interface VerifyRoute extends RouteOptions, Pick<VerifyOptions, 'action'> {}

const ROUTE: Names<VerifyRoute> = { ...ROUTE_OPTIONS, action: true };

const PLACES = [
  ['body', REQUEST],
  ['params', REQUEST],
  ['query', QUERY],
] as const;

/**
 * Lets a request pass only if every token in these fields was granted to its session; 403 otherwise, before the route
 * has done anything. All fields are one call. Where nobody knows, nobody passes: 503.
 *
 * ```ts
 * app.delete('/cards/:token', lunasec.verify({ params: 'token' }, { action: 'delete' }), (req, res) => …);
 * ```
 */
export function verify(fields: VerifyFields, options: VerifyRoute = {}): Handler {
  onlyKnown('lunasec.verify()', options, ROUTE);
  const parsed = PLACES.flatMap(([place, rules]) => {
    const paths = fields[place];
    return paths === undefined ? [] : [{ place, rules, paths: parse(paths, `${place}.`) }];
  });
  if (parsed.length === 0) {
    throw new TypeError("lunasec.verify() needs fields of body, params or query: { body: ['card'] }");
  }
  return route(async (req, _res, here) => {
    const slots = parsed.flatMap(({ place, rules, paths }) => draftOf(req, place, rules).find(paths));
    await mayUse(here, slots, options);
  });
}

function draftOf(req: RequestLike, place: 'body' | 'params' | 'query', rules: Rules): Draft {
  // Nothing was parsed: every field is missing.
  return new Draft(req[place] ?? {}, place === 'body' && req.body === undefined ? UNPARSED : rules);
}

/**
 * Rejects unless the session was granted the tokens of all of these fields.
 *
 * @internal
 */
export async function mayUse(here: RequestLunaSec, slots: readonly Slot[], options: VerifyRoute): Promise<void> {
  const tokens = slots.map(tokenIn);
  if (tokens.length === 0) {
    return;
  }
  const session = await here.session();
  const call = { ...callOf(here, options), action: options.action };
  const outcomes = await byToken(tokens, (batch) => session.verify(batch, call));
  const refusals = slots.flatMap((slot, index) => {
    const outcome = outcomes.get(tokens[index]?.expose() ?? '');
    if (outcome?.kind === 'valid') {
      here.noted.stale(outcome);
      return [];
    }
    return [refusal(slot.field, outcome)];
  });
  // A no is a no, whatever else there is; what is wrong comes before what nobody knows.
  const [first] = refusals.sort((a, b) => rank(a) - rank(b));
  if (first !== undefined) {
    throw first;
  }
}

function tokenIn(slot: Slot): Token {
  const { value } = slot;
  if (typeof value !== 'string') {
    throw new FieldRefused(slot.field, 'is not text: a token is expected');
  }
  try {
    return Token.from(value);
  } catch {
    throw new FieldRefused(slot.field, 'holds no token');
  }
}

function refusal(field: string, outcome: Invalid | Failed | undefined): LunaSecError {
  const error = refusalOf(outcome, {
    denied: `${field} was not granted to this session`,
    expired: `${field} was granted to this session, and is not any more`,
  });
  return error instanceof BadRequest ? new FieldRefused(field, 'holds no token') : error;
}

function rank(error: LunaSecError): number {
  if (error instanceof FieldRefused) {
    return 1;
  }
  return error instanceof Unavailable ? 2 : 0;
}
