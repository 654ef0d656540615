import type { RequestHandler } from 'express';

import { Refused } from './forms.js';

const MINUTE_MS = 60_000;

/** Values that one turn reveals at most: the last 20 orders' addresses, and what else is on a page. */
export const VALUES_OF_A_TURN = 25;

/**
 * What one person may ask for in a minute. The sidecar reveals so many values a minute to the shop as a whole: who reloads a
 * page without end, or asks for much at once, must not use them up for everybody. So it is not requests that are counted
 * but turns, and a question to GraphQL takes as many as it has pages in it.
 */
export class Turns {
  readonly #most: number;
  #minute = 0;
  readonly #taken = new Map<number, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Undefined if there were so many left; otherwise the seconds until there are. */
  take(person: number, turns: number): number | undefined {
    const now = Math.floor(Date.now() / MINUTE_MS);
    if (now !== this.#minute) {
      this.#minute = now;
      this.#taken.clear();
    }
    const taken = (this.#taken.get(person) ?? 0) + turns;
    if (taken > this.#most) {
      return Math.ceil(((now + 1) * MINUTE_MS - Date.now()) / 1_000);
    }
    this.#taken.set(person, taken);
    return undefined;
  }
}

export const TOO_OFTEN = 'This was too often. Please wait for a minute.';

/** A turn for each request. */
export function inTurn(turns: Turns): RequestHandler {
  return (req, res, next) => {
    const { person } = req.visitor;
    const wait = person && turns.take(person.id, 1);
    if (wait !== undefined) {
      res.set('retry-after', String(wait));
      throw new Refused(429, TOO_OFTEN);
    }
    next();
  };
}
