import type { RequestHandler } from 'express';

import { Refused } from './forms.js';

const MINUTE_MS = 60_000;

/**
 * What one person may ask for in a minute. The sidecar reveals so many values a minute to the shop as a whole: who reloads a
 * page without end must not use them up for everybody.
 */
export function inTurn(most: number): RequestHandler {
  let minute = 0;
  const asked = new Map<number, number>();
  return (req, res, next) => {
    const { person } = req.visitor;
    if (person === undefined) {
      next();
      return;
    }
    const now = Math.floor(Date.now() / MINUTE_MS);
    if (now !== minute) {
      minute = now;
      asked.clear();
    }
    const count = (asked.get(person.id) ?? 0) + 1;
    asked.set(person.id, count);
    if (count > most) {
      res.set('retry-after', String(Math.ceil(((now + 1) * MINUTE_MS - Date.now()) / 1_000)));
      throw new Refused(429, 'This was too often. Please wait for a minute.');
    }
    next();
  };
}
