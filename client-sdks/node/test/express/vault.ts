// A sidecar in memory that knows grants, counts what is asked of it, and fails as a test says.
import { randomUUID } from 'node:crypto';

import { type ClientOptions, LunaSec, SidecarUnreachable } from '../../src/index.js';
import type { Stop } from '../../src/stop.js';
import type { Answer, Wanted } from '../../src/transport.js';
import { deferred } from '../fake.js';

type Body = Record<string, unknown>;
interface Trouble {
  readonly code: string;
  readonly status: number;
  readonly retryable?: boolean;
  readonly retryAfterMs?: number;
}

/** A request as it came. */
export interface Asked {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Body;
}

export class Vault {
  readonly asked: Asked[] = [];
  readonly values = new Map<string, Body>();
  readonly grants = new Map<string, Set<string>>();
  /** What happens to a request instead of its answer. */
  trouble: (path: string) => Trouble | 'gone' | 'hangs' | undefined = () => undefined;
  /** What happens to one token of a list, or one value. */
  itemTrouble: (item: string) => string | undefined = () => undefined;
  headers: Record<string, string> = {};
  durability = 'stored';
  /** Settles when a caller that hangs has left. */
  readonly left = deferred<void>();
  readonly hanging = deferred<void>();

  async exchange(wanted: Wanted, stop: Stop): Promise<Answer> {
    const body = JSON.parse(wanted.body ?? '{}') as Body;
    this.asked.push({ path: wanted.path, headers: wanted.headers as Record<string, string>, body });
    const trouble = this.trouble(wanted.path);
    if (trouble === 'gone') {
      throw new SidecarUnreachable('nobody is there', { retryable: false });
    }
    if (trouble === 'hangs') {
      return this.#hang(stop);
    }
    if (trouble !== undefined) {
      const { code, status, retryable = false, retryAfterMs } = trouble;
      const problem = { code, status, retryable, detail: 'INTERNAL words', retry_after_ms: retryAfterMs };
      return answer(status, 'application/problem+json', problem);
    }
    return answer(200, 'application/json', this.#answer(wanted, body), this.headers);
  }

  async close(): Promise<void> {}

  /** The token of a value that is there already. */
  keep(value: string): string {
    const token = `lunasec-${randomUUID()}`;
    this.values.set(token, { value, encoding: 'utf8' });
    return token;
  }

  /** Also granted. */
  keepFor(session: string, value: string): string {
    const token = this.keep(value);
    this.#grantsOf(session).add(token);
    return token;
  }

  value(token: unknown): unknown {
    return this.values.get(token as string)?.['value'];
  }

  count(path: string): number {
    return this.asked.filter((asked) => asked.path === path).length;
  }

  #hang(stop: Stop): Promise<Answer> {
    this.hanging.resolve();
    return new Promise((_resolve, reject) => {
      stop.listen(() => {
        this.left.resolve();
        reject(stop.reason);
      });
    });
  }

  #grantsOf(session: string): Set<string> {
    const grants = this.grants.get(session) ?? new Set();
    this.grants.set(session, grants);
    return grants;
  }

  #answer({ path }: Wanted, body: Body): Body {
    const expires_at = '2030-01-02T03:04:05.678Z';
    const grants = this.#grantsOf(body['session'] as string);
    switch (path) {
      case '/v1/tokenize':
        return this.#tokenized(body);
      case '/v1/tokenize:batch':
        return { items: (body['items'] as Body[]).map((item) => this.#tokenized(item)) };
      case '/v1/detokenize':
        return this.values.get(body['token'] as string) ?? {};
      case '/v1/detokenize:batch':
        return this.#each(body, (token) => this.values.get(token));
      case '/v1/grants/create':
        return this.#each(body, (token) => {
          grants.add(token);
          return { expires_at, durability: this.durability };
        });
      case '/v1/grants/verify':
        return this.#each(body, (token) =>
          grants.has(token) ? { valid: true, expires_at } : { valid: false, reason: 'denied' },
        );
      case '/v1/grants/revoke':
        grants.clear();
        return { durability: this.durability };
      default:
        throw new Error(`nothing answers ${path}`);
    }
  }

  #tokenized(item: Body): Body {
    const code = this.itemTrouble(item['value'] as string);
    if (code !== undefined) {
      return { error: { code, detail: 'INTERNAL words', retryable: false } };
    }
    const token = `lunasec-${randomUUID()}`;
    this.values.set(token, { value: item['value'], encoding: item['encoding'] ?? 'utf8' });
    return { token, durability: this.durability };
  }

  #each(body: Body, of: (token: string) => Body | undefined): Body {
    const item = (token: string): Body => {
      const known = this.values.has(token) ? undefined : 'not_found';
      const code = this.itemTrouble(token) ?? (token.startsWith('lunasec-') ? known : 'invalid_token');
      return code === undefined
        ? { token, ...of(token) }
        : { token, error: { code, detail: 'INTERNAL words', retryable: false } };
    };
    return { items: (body['tokens'] as string[]).map(item) };
  }
}

function answer(status: number, kind: string, body: Body, headers: Record<string, string> = {}): Answer {
  return { status, headers: { 'content-type': kind, ...headers }, body: Buffer.from(JSON.stringify(body)) };
}

/** A client before it, that does not try again. */
export function clientOf(vault: Vault, options: ClientOptions = {}): LunaSec {
  return new LunaSec({ telemetry: false, retry: { attempts: 1 }, ...options, exchanges: vault });
}
