import { createHmac, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** What can be set, all of it by environment variables; the README has them as a table. */
export interface Settings {
  readonly directory: string;
  readonly port: number;
  /** A PostgreSQL server; without it, PostgreSQL is embedded. */
  readonly database: string | undefined;
  /** For how long a customer sees what is theirs before the password is asked for again. */
  readonly grant: string;
  /** For how long an admin sees an address. */
  readonly reveal: string;
  /** What one person may ask for in a minute, in pages. */
  readonly requestsPerMinute: number;
  /** Of the accounts that the shop begins with. */
  readonly staffPassword: string;
  /** 32 bytes that names of logins and form tokens are made with; kept beside the database, not in it. */
  readonly secret: Buffer;
}

export function settingsOf(env: NodeJS.ProcessEnv): Settings {
  const directory = resolve(env['SHOP_DIR'] ?? '.shop');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const secret = kept(join(directory, 'secret'));
  return {
    directory,
    port: Number(env['PORT'] ?? 3000),
    database: env['DATABASE_URL'],
    grant: env['SHOP_GRANT'] ?? '15m',
    reveal: env['SHOP_REVEAL'] ?? '1m',
    requestsPerMinute: Number(env['SHOP_REQUESTS_PER_MINUTE'] ?? 240),
    staffPassword: env['SHOP_STAFF_PASSWORD'] ?? keyed(secret, 'staff password', '').slice(0, 16),
    secret,
  };
}

function kept(file: string): Buffer {
  if (!existsSync(file)) {
    writeFileSync(file, randomBytes(32), { mode: 0o600 });
  }
  return readFileSync(file);
}

/** Something that only who has the secret can make, and nobody can read; `use` keeps one use of it from another. */
export function keyed(secret: Buffer, use: string, text: string): string {
  return createHmac('sha256', secret).update(`${use}\0${text}`).digest('base64url');
}
