// What the shop does with what is private, beside the middleware of its routes.
import { GrantDenied, GrantExpired, Unavailable } from '@lunasec/node';
import type { RevealIn } from '@lunasec/node/express';
import type { Request, RequestHandler } from 'express';

import type { People } from './people.js';
import type { Visitors } from './visitors.js';

/** A page waits no longer for the sidecar, from its first question on, whatever it asks. */
const PATIENCE_MS = 2_000;
const ends = new WeakMap<Request, number>();

/** For a call of a page: what is left of its patience. */
export function inTime(req: Request, most = PATIENCE_MS): { deadlineMs: number } {
  const end = ends.get(req) ?? Date.now() + PATIENCE_MS;
  ends.set(req, end);
  return { deadlineMs: Math.max(1, Math.min(most, end - Date.now())) };
}

/** Grants take no more than half of it: what the page shows is to be asked for as well. */
export function grantsInTime(req: Request): { onUnavailable: 'skip'; deadlineMs: number } {
  return { onUnavailable: 'skip', ...inTime(req, PATIENCE_MS / 2) };
}

/**
 * Grants to a new session what is its customer's own, with the first page that may show it. Where nobody can grant, the page
 * is masked, and the next one tries again.
 */
export function grantOwn(people: People, visitors: Visitors, expiresIn: string): RequestHandler {
  return async (req, res, next) => {
    const { person, granted } = req.visitor;
    if (person?.role === 'customer' && granted === false) {
      const tokens = await people.tokensOf(person.id);
      await req.lunasec.grantIn(tokens, '[]', { expiresIn, ...grantsInTime(req) });
      await visitors.setGranted(req, !res.locals.lunasec.degraded);
    }
    next();
  };
}

/** The same data with these fields in the clear, or masked; undefined where the session may not see them any more. */
export async function revealed<T>(
  req: Request,
  data: T,
  fields: readonly string[],
  options: RevealIn = {},
): Promise<T | undefined> {
  try {
    return await req.lunasec.revealIn(data, fields, { onUnavailable: 'mask', ...inTime(req), ...options });
  } catch (error) {
    if (error instanceof GrantExpired || error instanceof GrantDenied) {
      return undefined;
    }
    throw error;
  }
}

const digits = new WeakMap<Request, Map<string, Promise<string>>>();

/**
 * The last four digits of a card, from beside the card: nobody opens it for that. A request asks once for each card, however
 * many orders were paid with it and however often it asks for them.
 */
export function lastFour(req: Request, card: string): Promise<string> {
  const known = digits.get(req) ?? new Map<string, Promise<string>>();
  digits.set(req, known);
  const shown = known.get(card) ?? lastFourOf(req, card);
  known.set(card, shown);
  return shown;
}

async function lastFourOf(req: Request, card: string): Promise<string> {
  try {
    const { metadata } = await req.lunasec.getMetadata(card, inTime(req));
    return `•••• ${String(metadata['lastFour'])}`;
  } catch (error) {
    if (error instanceof Unavailable) {
      req.lunasec.noteMasked(error);
      return '••••';
    }
    if (error instanceof GrantExpired || error instanceof GrantDenied) {
      return '••••';
    }
    throw error;
  }
}

/** After this, the session has nothing any more, whoever has its cookie; nor has it if nobody can be told. */
export async function revokeAll(req: Request): Promise<void> {
  try {
    await req.lunasec.revokeAll(inTime(req));
  } catch (error) {
    if (!(error instanceof Unavailable)) {
      throw error;
    }
  }
}
