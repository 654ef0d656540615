import { BadRequest, InvalidToken, Unavailable } from '../errors.js';
import { type Names, onlyKnown } from '../options.js';
import { Token } from '../redacted.js';
import type { Failed, Granted } from '../results.js';
import type { GrantOptions } from '../session.js';
import { beforeAnswer } from './answer.js';
import { byToken } from './bulk.js';
import { DATA, Draft, type Slot } from './draft.js';
import { type Field, type Fields, parse } from './fields.js';
import type { RequestLunaSec } from './request.js';
import { callOf, ROUTE_OPTIONS, type RouteOptions, route } from './route.js';
import type { Handler } from './types.js';

/** What {@link RequestLunaSec.grantIn} may be told. */
export interface GrantIn extends RouteOptions, Pick<GrantOptions, 'expiresIn' | 'actions'> {
  /** `skip`: where nobody can grant, the answer goes out without, and is marked as degraded. `fail` unless given. */
  readonly onUnavailable?: 'fail' | 'skip' | undefined;
}

/** What {@link grant} may be told. */
export type GrantRoute = GrantIn;

const ROUTE: Names<GrantIn> = { ...ROUTE_OPTIONS, expiresIn: true, actions: true, onUnavailable: true };

/**
 * Grants the tokens in these fields of the answer to the request's session, before it is sent: the user may hand them in
 * again, past {@link verify}. Fields that are missing or null are passed over.
 *
 * ```ts
 * app.get('/orders', lunasec.grant('orders[].card'), (req, res) => res.json({ orders }));
 * ```
 */
export function grant(fields: Fields, options: GrantRoute = {}): Handler {
  onlyKnown('lunasec.grant()', options, ROUTE);
  const parsed = parse(fields);
  return route((_req, res, here, next) => {
    beforeAnswer('grants', (draft) => granted(draft, here, parsed, options), res, next);
  });
}

/** @internal */
export async function grantIn<T>(here: RequestLunaSec, data: T, fields: Fields, options: GrantIn): Promise<T> {
  onlyKnown('grantIn', options, ROUTE);
  const draft = new Draft(data, DATA);
  await granted(draft, here, parse(fields), options);
  return draft.data as T;
}

async function granted(draft: Draft, here: RequestLunaSec, fields: readonly Field[], options: GrantIn): Promise<void> {
  const slots = draft.find(fields);
  const tokens = slots.map(tokenAt);
  for (const [index, slot] of slots.entries()) {
    slot.write(tokens[index]?.expose());
  }
  if (slots.length === 0) {
    return;
  }
  const session = await here.session();
  const { expiresIn, actions } = options;
  const skips = options.onUnavailable === 'skip';
  const attempt = skips && options.deadlineMs === undefined ? here.patience.begin(session) : undefined;
  const call = { ...callOf(here, options), expiresIn, actions, deadlineMs: attempt?.deadlineMs ?? options.deadlineMs };
  try {
    const outcomes = await byToken(tokens, (batch) => session.grant(batch, call));
    for (const slot of slots) {
      note(here, slot, outcomes.get(slot.value as string));
    }
    attempt?.end(true);
  } catch (error) {
    attempt?.end(!(error instanceof Unavailable));
    if (!skips || !(error instanceof Unavailable)) {
      throw error;
    }
    here.noted.because(error.code);
  }
}

function note(here: RequestLunaSec, slot: Slot, outcome: Granted | Failed | undefined): void {
  if (outcome?.kind === 'granted') {
    here.noted.written(outcome.durability);
    return;
  }
  throw failure(slot, outcome);
}

/**
 * The token in a field of the application's own data.
 *
 * @internal
 */
export function tokenAt(slot: Slot): Token {
  const { value } = slot;
  if (typeof value === 'string' || value instanceof Token) {
    try {
      return Token.from(value);
    } catch {
      // It is what a token prints as.
    }
  }
  throw DATA.refuse(slot.field, 'holds no token');
}

/**
 * Why it failed; where the data are no tokens, that is no mistake of whoever made the request.
 *
 * @internal
 */
export function failure(slot: Slot, outcome: Failed | undefined): Error {
  const error = outcome?.error;
  if (error === undefined || error instanceof InvalidToken) {
    return DATA.refuse(slot.field, 'holds no token');
  }
  return error instanceof BadRequest ? misused(error) : error;
}

/**
 * The application's own call was refused: nothing that whoever made the request could mend.
 *
 * @internal
 */
export function misused(error: BadRequest): Error {
  return new TypeError(`the options of a route were refused: ${error.detail}`, { cause: error });
}
