import { BadRequest, PayloadTooLarge } from '../errors.js';
import { MASK } from '../limits.js';
import type { TokenizeItem } from '../operations.js';
import { Token } from '../redacted.js';
import { inBatches } from './bulk.js';
import { Draft, FieldRefused, REQUEST, type Slot } from './draft.js';
import { type Fields, parse } from './fields.js';
import { misused } from './grant.js';
import type { RequestLunaSec } from './request.js';
import { callOf, type RouteOptions, route } from './route.js';
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

/**
 * Puts tokens in the place of the values in these fields of `req.body`, as text, before the route sees them. All fields
 * are one call; if one fails, all do, and the route does not run.
 *
 * ```ts
 * app.post('/orders', lunasec.tokenize(['card', 'address.street', 'items[].note?']), (req, res) => …);
 * ```
 */
export function tokenize(fields: Fields, options: TokenizeRoute = {}): Handler {
  const parsed = parse(fields);
  return route(async (req, _res, here) => {
    const draft = new Draft(req.body ?? {}, REQUEST);
    const { values, tokens } = sorted(draft.find(parsed), options.tokens === 'granted');
    await mayUse(here, tokens, options);
    if (values.length > 0) {
      await replace(here, values, options);
      req.body = draft.data;
    }
  });
}

/** A token, or what was meant as one. */
const TOKEN = /^\s*lunasec-[\da-f-]{36}\s*$/i;

function sorted(slots: readonly Slot[], tokensToo: boolean): { values: Slot[]; tokens: Slot[] } {
  const values: Slot[] = [];
  const tokens: Slot[] = [];
  for (const slot of slots) {
    if (!TOKEN.test(textIn(slot))) {
      values.push(slot);
    } else if (tokensToo) {
      tokens.push(slot);
    } else {
      throw new FieldRefused(slot.field, 'holds a token where a value is expected');
    }
  }
  return { values, tokens };
}

/** Refuses also what is shown instead of a value: a form that was sent back must not put that in its place. */
function textIn(slot: Slot): string {
  const { value } = slot;
  if (typeof value !== 'string') {
    throw new FieldRefused(slot.field, 'is not text');
  }
  if (value === MASK) {
    throw new FieldRefused(slot.field, 'holds the mask that is shown when a value is not available, not a value');
  }
  try {
    Token.from(value);
  } catch {
    throw new FieldRefused(slot.field, 'holds what a token prints as, not a value');
  }
  if (!value.isWellFormed()) {
    throw new FieldRefused(slot.field, 'holds half of a surrogate pair, which is no text');
  }
  return value;
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
