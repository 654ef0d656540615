import { Gone } from '../errors.js';
import { type Names, onlyKnown } from '../options.js';
import type { OnUnavailable } from '../policy.js';
import type { Plaintext } from '../redacted.js';
import type { Failed, Fallback, Masked, Value } from '../results.js';
import { beforeAnswer } from './answer.js';
import { byToken } from './bulk.js';
import { DATA, Draft, type Slot } from './draft.js';
import { type Field, type Fields, parse } from './fields.js';
import { failure, tokenAt } from './grant.js';
import type { RequestLunaSec } from './request.js';
import { callOf, ROUTE_OPTIONS, type RouteOptions, route } from './route.js';
import type { Handler, ResponseLike } from './types.js';

/** What {@link RequestLunaSec.revealIn} may be told. */
export interface RevealIn extends RouteOptions {
  /** What is shown when nobody can answer: `'mask'`, `{ mask: text }`, `{ fallback }`; `'fail'` unless given. */
  readonly onUnavailable?: OnUnavailable | undefined;
  /** `'null'`: what was deleted or has expired is shown as null. `'fail'` unless given. */
  readonly onGone?: 'fail' | 'null' | undefined;
}

/** What {@link reveal} may be told. */
export type RevealRoute = RevealIn;

const ROUTE: Names<RevealIn> = { ...ROUTE_OPTIONS, onUnavailable: true, onGone: true };

type Shown = Value | Masked | Fallback<unknown> | Failed;

/**
 * Puts the values in the place of the tokens in these fields of the answer: as text, or as base64 what was tokenized as
 * bytes. All fields are one call. Fields that are missing or null are passed over.
 *
 * ```ts
 * app.get('/me', lunasec.reveal(['name', 'address.street'], { onUnavailable: 'mask' }), (req, res) => res.json(me));
 * ```
 *
 * The answer is `cache-control: no-store`, unless the route says otherwise.
 */
export function reveal(fields: Fields, options: RevealRoute = {}): Handler {
  onlyKnown('lunasec.reveal()', options, ROUTE);
  const parsed = parse(fields);
  return route((_req, res, here, next) => {
    const step = async (draft: Draft): Promise<void> => {
      if (await revealed(draft, here, parsed, options)) {
        unstored(res);
      }
    };
    beforeAnswer('reveals', step, res, next);
  });
}

/** @internal */
export async function revealIn<T>(here: RequestLunaSec, data: T, fields: Fields, options: RevealIn): Promise<T> {
  onlyKnown('revealIn', options, ROUTE);
  const draft = new Draft(data, DATA);
  await revealed(draft, here, parse(fields), options);
  return draft.data as T;
}

/** Whether anything was. */
async function revealed(
  draft: Draft,
  here: RequestLunaSec,
  fields: readonly Field[],
  options: RevealIn,
): Promise<boolean> {
  const slots = draft.find(fields);
  const tokens = slots.map(tokenAt);
  if (slots.length === 0) {
    return false;
  }
  const caller = await here.caller();
  const { onUnavailable = 'fail', deadlineMs } = options;
  const attempt = onUnavailable !== 'fail' && deadlineMs === undefined ? here.patience.begin(caller) : undefined;
  const call = { ...callOf(here, options), onUnavailable, deadlineMs: attempt?.deadlineMs ?? deadlineMs };
  const outcomes = await byToken<Shown>(tokens, (batch) => caller.detokenizeBatch(batch, call));
  attempt?.end([...outcomes.values()].every(({ kind }) => kind === 'value' || kind === 'failed'));
  for (const [index, slot] of slots.entries()) {
    slot.write(shown(here, slot, outcomes.get(tokens[index]?.expose() ?? ''), options));
  }
  return true;
}

function shown(here: RequestLunaSec, slot: Slot, outcome: Shown | undefined, { onGone }: RevealIn): unknown {
  switch (outcome?.kind) {
    case 'value':
      here.noted.stale(outcome);
      return textOf(outcome.value);
    case 'masked':
      here.noted.standsIn(outcome.reason);
      return outcome.text;
    case 'fallback':
      here.noted.standsIn(outcome.reason);
      return outcome.value;
    default:
      if (onGone === 'null' && outcome?.error instanceof Gone) {
        return null;
      }
      throw failure(slot, outcome);
  }
}

function textOf(value: Plaintext): string {
  return value.isText ? value.reveal() : value.revealBytes().toString('base64');
}

function unstored(res: ResponseLike): void {
  if (!res.headersSent && !res.hasHeader('cache-control')) {
    res.setHeader('cache-control', 'no-store');
  }
}
