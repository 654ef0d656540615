import type { Request, RequestHandler } from 'express';

/** Why something was not done, in words for whoever asked. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** A text of a form, trimmed; empty where there is none. */
export function text(req: Request, field: string): string {
  const value = (req.body as Record<string, unknown> | undefined)?.[field];
  return typeof value === 'string' ? value.trim() : '';
}

/** Before anything is tokenized. */
export const checkSignUp: RequestHandler = (req, _res, next) => {
  const wrong = [
    !/^[^\s@]{1,64}@[^\s@]{1,190}$/.test(text(req, 'email')) && 'the e-mail address',
    !isBetween(text(req, 'name'), 1, 200) && 'your name',
    !isBetween(text(req, 'address'), 5, 500) && 'the address',
    !isCard(text(req, 'card')) && 'the card number',
    !isBetween(text(req, 'password'), 10, 200) && 'the password (ten characters or more)',
  ].filter((what) => what !== false);
  if (wrong.length > 0) {
    throw new Refused(400, `Please go back and look at ${wrong.join(', ')}.`);
  }
  next();
};

export function isBetween(value: string, least: number, most: number): boolean {
  return value.length >= least && value.length <= most;
}

/** Of a card number, as people write it. */
export function digitsOf(card: string): string {
  return card.replace(/[ -]/g, '');
}

/** 13 to 19 digits, the last of which is the check digit of the others (Luhn). */
function isCard(value: string): boolean {
  const digits = digitsOf(value);
  const sum = [...digits].reverse().reduce((total, digit, index) => {
    const doubled = Number(digit) * (index % 2 === 0 ? 1 : 2);
    return total + (doubled > 9 ? doubled - 9 : doubled);
  }, 0);
  return /^\d{13,19}$/.test(digits) && sum % 10 === 0;
}
