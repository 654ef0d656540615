import { join } from 'node:path';

import { PGlite } from '@electric-sql/pglite';
import pg from 'pg';

/** All that the shop asks of PostgreSQL. */
export interface Database {
  query<Row>(sql: string, parameters?: readonly unknown[]): Promise<Row[]>;
  close(): Promise<void>;
}

/**
 * Whatever is the customers' own is a `token`, and the database refuses anything else there: a card number that gets past
 * a mistake in the code does not get in.
 */
const SCHEMA = [
  `do $$ begin
     create domain token as text check (value ~ '^lunasec-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$');
   exception when duplicate_object then null; end $$`,
  `create table if not exists people (
     id integer generated always as identity primary key,
     role text not null default 'customer' check (role in ('customer', 'support', 'admin')),
     login text not null unique, -- an HMAC of the e-mail address: found by it, not read from it
     password text not null,
     email token, name token, address token, card token,
     check (role <> 'customer' or (email is not null and name is not null and address is not null and card is not null))
   )`,
  `create table if not exists sessions (
     id text primary key, -- a hash of the cookie
     person integer not null references people on delete cascade,
     granted boolean not null default false,
     since timestamptz not null default now()
   )`,
  `create table if not exists orders (
     id integer generated always as identity primary key,
     person integer not null references people,
     product text not null,
     cents integer not null,
     address token not null, card token not null,
     ordered_at timestamptz not null default now()
   )`,
];

/** A PostgreSQL server where there is a URL; otherwise PostgreSQL inside of this process, its files in the directory. */
export async function openDatabase(url: string | undefined, directory: string): Promise<Database> {
  const database = url === undefined ? await embedded(join(directory, 'database')) : server(url);
  for (const statement of SCHEMA) {
    await database.query(statement);
  }
  return database;
}

async function embedded(directory: string): Promise<Database> {
  const engine = await PGlite.create(directory);
  return {
    query: async <Row>(sql: string, parameters: readonly unknown[] = []) =>
      (await engine.query<Row>(sql, [...parameters])).rows,
    close: () => engine.close(),
  };
}

function server(connectionString: string): Database {
  const pool = new pg.Pool({ connectionString });
  return {
    query: async <Row>(sql: string, parameters: readonly unknown[] = []) =>
      (await pool.query(sql, [...parameters])).rows as Row[],
    close: () => pool.end(),
  };
}
