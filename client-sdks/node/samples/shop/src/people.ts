import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

import type { Database } from './database.js';
import { keyed } from './settings.js';

export type Role = 'customer' | 'support' | 'admin';

export interface Person {
  readonly id: number;
  readonly role: Role;
}

/** What of a customer is kept: tokens. */
export interface Customer {
  readonly email: string;
  readonly name: string;
  readonly address: string;
  readonly card: string;
}

const derived = promisify<string, Buffer, number, ScryptOptions, Buffer>(scrypt);
const COST: ScryptOptions = { N: 2 ** 15, r: 8, p: 1, maxmem: 2 ** 26 };

/** Whoever has an account. */
export class People {
  readonly #database: Database;
  readonly #secret: Buffer;

  constructor(database: Database, secret: Buffer) {
    this.#database = database;
    this.#secret = secret;
  }

  /** The name of a login: the same for the same address, and nobody reads the address from it. */
  loginOf(email: string): string {
    return keyed(this.#secret, 'login', email.trim().toLowerCase());
  }

  async isTaken(login: string): Promise<boolean> {
    const rows = await this.#database.query('select from people where login = $1', [login]);
    return rows.length > 0;
  }

  /** One statement, so that there is all of a customer or nothing. Undefined: somebody else was quicker. */
  async add(login: string, password: string, { email, name, address, card }: Customer): Promise<Person | undefined> {
    const [person] = await this.#database.query<Person>(
      `insert into people (login, password, email, name, address, card) values ($1, $2, $3, $4, $5, $6)
       on conflict (login) do nothing returning id, role`,
      [login, await hashed(password), email, name, address, card],
    );
    return person;
  }

  async addStaff(email: string, role: Role, password: string): Promise<void> {
    await this.#database.query(
      'insert into people (login, role, password) values ($1, $2, $3) on conflict (login) do nothing',
      [this.loginOf(email), role, await hashed(password)],
    );
  }

  /** Whose e-mail address and password these are; as slow where there is no such account. */
  async find(email: string, password: string): Promise<Person | undefined> {
    const [row] = await this.#database.query<Person & { password: string }>(
      'select id, role, password from people where login = $1',
      [this.loginOf(email)],
    );
    const right = await matches(password, row?.password ?? NOBODY);
    return right ? row : undefined;
  }

  async confirms(id: number, password: string): Promise<boolean> {
    const [row] = await this.#database.query<{ password: string }>('select password from people where id = $1', [id]);
    return matches(password, row?.password ?? NOBODY);
  }

  async customer(id: number): Promise<Customer | undefined> {
    const [customer] = await this.#database.query<Customer>(
      `select email, name, address, card from people where id = $1 and role = 'customer'`,
      [id],
    );
    return customer;
  }

  async moveTo(id: number, address: string): Promise<void> {
    await this.#database.query('update people set address = $2 where id = $1', [id, address]);
  }

  /** All that is theirs to see. */
  async tokensOf(id: number): Promise<string[]> {
    const rows = await this.#database.query<{ token: string }>(
      `select unnest(array[email, name, address, card]) as token from people where id = $1
       union select address from orders where person = $1`,
      [id],
    );
    return rows.map(({ token }) => token);
  }
}

/** No password's hash. */
const NOBODY = `${'0'.repeat(32)}:${'0'.repeat(64)}`;

async function hashed(password: string): Promise<string> {
  const salt = randomBytes(16);
  return `${salt.toString('hex')}:${(await derived(password, salt, 32, COST)).toString('hex')}`;
}

async function matches(password: string, hash: string): Promise<boolean> {
  const [salt = '', right = ''] = hash.split(':');
  return timingSafeEqual(await derived(password, Buffer.from(salt, 'hex'), 32, COST), Buffer.from(right, 'hex'));
}
