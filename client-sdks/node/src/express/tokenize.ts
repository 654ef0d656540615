import { BadRequest, PayloadTooLarge } from '../errors.js';
import type { TokenizeItem } from '../operations.js';
import { type Names, onlyKnown } from '../options.js';
import { type NonValue, nonValue } from '../values.js';
import { inBatches } from './bulk.js';
import { Draft, FieldRefused, REQUEST, type Slot, UNPARSED } from './draft.js';
import { type Fields, parse } from './fields.js';
import { misused } from './grant.js';
import type { RequestLunaSec } from './request.js';
import { callOf, ROUTE_OPTIONS, type RouteOptions, route } from './route.js';
import type { Handler } from './types.js';
import { mayUse } from './verify.js';

/** What {@link tokenize} may be told. */
export interface TokenizeRoute extends RouteOptions, Pick<TokenizeItem, 'metadata' | 'expiresIn'> {
  /**
   * What becomes of a field that holds a token already. `'refuse'` unless given: a token is no value, and may be somebody
   * else's. `'granted'`: it stays as it is if it was granted to the request's session, as in a form that is sent
   * back unchanged; 403 otherwise.
   */
  readonly tokens?: 'refuse' | 'granted' | undefined;
}

const ROUTE: Names<TokenizeRoute> = { ...ROUTE_OPTIONS, expiresIn: true, metadata: true, tokens: true };

/**
 * Puts tokens in the place of the values in these fields of `req.body`, as text, before the route sees them. All fields
 * are one call; if one fails, all do, and the route does not run.
 *
 * ```ts
 * app.post('/orders', lunasec.tokenize(['card', 'address.street', 'items[].note?']), (req, res) => …);
 * ```
 */
export function tokenize(fields: Fields, options: TokenizeRoute = {}): Handler {
  onlyKnown('lunasec.tokenize()', options, ROUTE);
  const parsed = parse(fields);
  return route(async (req, _res, here) => {
    const draft = new Draft(req.body ?? {}, req.body === undefined ? UNPARSED : REQUEST);
    const { values, tokens } = sorted(draft.find(parsed), options.tokens === 'granted');
    await mayUse(here, tokens, options);
    if (values.length > 0) {
      await replace(here, values, options);
      req.body = draft.data;
    }
  });
}

function sorted(slots: readonly Slot[], tokensToo: boolean): { values: Slot[]; tokens: Slot[] } {
  const values: Slot[] = [];
  const tokens: Slot[] = [];
  for (const slot of slots) {
    const wrong = wrongIn(slot);
    if (wrong === undefined) {
      values.push(slot);
    } else if (wrong.token && tokensToo) {
      tokens.push(slot);
    } else {
      throw new FieldRefused(slot.field, wrong.words);
    }
  }
  return { values, tokens };
}

function wrongIn({ field, value }: Slot): NonValue | undefined {
  if (typeof value !== 'string') {
    throw new FieldRefused(field, 'is not text');
  }
  if (!value.isWellFormed()) {
    throw new FieldRefused(field, 'holds half of a surrogate pair, which is no text');
  }
  return nonValue(value);
}

async function replace(here: RequestLunaSec, slots: readonly Slot[], options: TokenizeRoute): Promise<void> {
  const caller = await here.caller();
  const { metadata, expiresIn } = options;
  const beside = metadata === undefined ? 0 : Buffer.byteLength(JSON.stringify(metadata));
  const items = slots.map((slot) => ({ value: slot.value as string, metadata, expiresIn }));
  const outcomes = await inBatches(
    items,
    (batch) => caller.tokenizeBatch(batch, callOf(here, options)),
    ({ value }) => Buffer.byteLength(JSON.stringify(value)) + beside,
  );
  const failed = outcomes.find((outcome) => outcome.kind === 'failed');
  if (failed !== undefined) {
    const { error } = failed;
    throw error instanceof BadRequest && !(error instanceof PayloadTooLarge) ? misused(error) : error;
  }
  for (const [index, outcome] of outcomes.entries()) {
    if (outcome.kind === 'tokenized') {
      here.noted.written(outcome.durability);
      slots[index]?.write(outcome.token.expose());
    }
  }
}
