import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Request, RequestHandler, Response } from 'express';

import type { Database } from './database.js';
import { Refused } from './forms.js';
import type { Person, Role } from './people.js';
import { keyed } from './settings.js';

/** Who a request is from. */
export interface Visitor {
  /** What each form of this visitor carries. */
  readonly csrf: string;
  /** Who is logged in. */
  readonly person?: Person;
  /** The session, also LunaSec's: what is granted is granted to it, and to no later one. */
  readonly session?: string;
  /** Whether the session was granted what is the person's own. */
  readonly granted?: boolean;
}

declare global {
  namespace Express {
    interface Request {
      visitor: Visitor;
    }
  }
}

const NAME = '__Host-shop';
const COOKIE = new RegExp(`(?:^|; )${NAME}=([\\w-]{43})(?:;|$)`);

/** Sessions in the database, by a cookie of which the database knows only a hash. */
export class Visitors {
  readonly #database: Database;
  readonly #secret: Buffer;

  constructor(database: Database, secret: Buffer) {
    this.#database = database;
    this.#secret = secret;
  }

  /** Finds `req.visitor`. Everybody has a cookie, so that the forms of a login and a sign-up are protected, too. */
  find(): RequestHandler {
    return async (req, res, next) => {
      const cookie = COOKIE.exec(req.headers.cookie ?? '')?.[1] ?? this.#newCookie(res);
      req.visitor = { csrf: keyed(this.#secret, 'csrf', cookie), ...(await this.#session(hashOf(cookie))) };
      next();
    };
  }

  /** Another cookie: one that was there before the login is nobody's. */
  async logIn(req: Request, res: Response, person: Person): Promise<void> {
    const cookie = this.#newCookie(res);
    const session = hashOf(cookie);
    await this.#database.query('insert into sessions (id, person) values ($1, $2)', [session, person.id]);
    req.visitor = { csrf: keyed(this.#secret, 'csrf', cookie), session, person, granted: false };
  }

  async logOut(req: Request, res: Response): Promise<void> {
    await this.#database.query('delete from sessions where id = $1', [req.visitor.session]);
    this.#newCookie(res);
  }

  /** Notes whether the session has its grants, or is to get them with its next page. */
  async setGranted({ visitor }: Request, granted: boolean): Promise<void> {
    await this.#database.query('update sessions set granted = $2 where id = $1', [visitor.session, granted]);
  }

  async #session(id: string): Promise<Omit<Visitor, 'csrf'>> {
    const [row] = await this.#database.query<Person & { granted: boolean }>(
      `select people.id, role, granted from sessions join people on people.id = person
       where sessions.id = $1 and since > now() - interval '12 hours'`,
      [id],
    );
    return row === undefined ? {} : { session: id, granted: row.granted, person: { id: row.id, role: row.role } };
  }

  #newCookie(res: Response): string {
    const cookie = randomBytes(32).toString('base64url');
    res.cookie(NAME, cookie, { secure: true, httpOnly: true, sameSite: 'strict', path: '/' });
    return cookie;
  }
}

function hashOf(cookie: string): string {
  return createHash('sha256').update(cookie).digest('hex');
}

/** Whatever changes something carries what only this shop's own pages know: in the form, or in a header. */
export const fromOwnPages: RequestHandler = (req, _res, next) => {
  const given = Buffer.from(String(req.get('x-csrf') ?? (req.body as { csrf?: unknown } | undefined)?.csrf ?? ''));
  const right = Buffer.from(req.visitor.csrf);
  const same = given.length === right.length && timingSafeEqual(given, right);
  if (req.method !== 'GET' && req.method !== 'HEAD' && !same) {
    throw new Refused(403, 'This form is not from here, or too old. Please load the page again.');
  }
  next();
};

/** For those with one of these roles; whoever is not logged in is asked to. */
export function only(...roles: Role[]): RequestHandler {
  return (req, res, next) => {
    const { person } = req.visitor;
    if (person === undefined) {
      res.redirect(303, '/login');
    } else if (!roles.includes(person.role)) {
      throw new Refused(403, 'This page is not for you.');
    } else {
      next();
    }
  };
}

/** Behind {@link only}: who is logged in. */
export function personOf(req: Request): Person {
  return req.visitor.person as Person;
}
