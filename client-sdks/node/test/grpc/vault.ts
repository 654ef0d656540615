// A sidecar that answers by itself, remembers what it was asked, and fails as a test says.
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import { LunaSec } from '../../src/client.js';
import type { ClientOptions, OnUnavailable } from '../../src/index.js';
import type { Stop } from '../../src/stop.js';
import type { Answer, Wanted } from '../../src/transport.js';

import { turn } from '../fake.js';

type Body = Record<string, unknown>;

export interface Asked {
  readonly path: string;
  readonly session: string | undefined;
  readonly body: Body;
}

type Problem = readonly [code: string, status: number, retryable: boolean];

export class Vault {
  readonly asked: Asked[] = [];
  readonly #values = new Map<string, Body>();
  readonly #grants = new Set<string>();
  /** What goes wrong with a request, if anything. */
  fault: (asked: Asked) => Problem | undefined | Promise<Problem | undefined> = () => undefined;
  /** Tokens that nobody can say anything of. */
  readonly unknown = new Set<string>();
  /** Requests that were given up. */
  stopped = 0;

  client<P extends OnUnavailable = 'fail'>(options: ClientOptions<P> = {}): LunaSec<P> {
    const retry = { attempts: 1 };
    return new LunaSec<P>({ telemetry: false, retry, ...options, exchanges: this } as ClientOptions<P>);
  }

  async close(): Promise<void> {}

  /** How often each operation was asked for. */
  get counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { path } of this.asked) {
      const name = path.replace('/v1/', '').replace(':batch', '');
      counts[name] = (counts[name] ?? 0) + 1;
    }
    return counts;
  }

  token(value: string | Buffer): string {
    const text = typeof value === 'string';
    return this.#keep(text ? { value } : { value: value.toString('base64'), encoding: 'base64' });
  }

  grant(session: string, token: string): string {
    this.#grants.add(`${session} ${token}`);
    return token;
  }

  granted(session: string, token: string): boolean {
    return this.#grants.has(`${session} ${token}`);
  }

  value(token: string): string {
    const { value, encoding } = this.#values.get(token) as { value: string; encoding?: string };
    return encoding === 'base64' ? Buffer.from(value, 'base64').toString() : value;
  }

  async exchange(wanted: Wanted, stop: Stop): Promise<Answer> {
    const session = wanted.headers['lunasec-session'] as string | undefined;
    const asked = { path: wanted.path, session, body: JSON.parse(wanted.body ?? '{}') as Body };
    this.asked.push(asked);
    const left = new Promise<never>((_, reject) => {
      stop.listen(() => {
        this.stopped += 1;
        reject(stop.reason);
      });
    });
    const fault = await Promise.race([this.fault(asked), left]);
    if (fault !== undefined) {
      const [code, status, retryable] = fault;
      return answer(status, 'application/problem+json', { code, status, detail: 'words', retryable });
    }
    return answer(200, 'application/json', this.#answer(asked));
  }

  #answer({ path, session, body }: Asked): Body {
    switch (path) {
      case '/v1/tokenize':
        return { token: this.#keep(body), durability: 'stored' };
      case '/v1/tokenize:batch':
        return { items: (body['items'] as Body[]).map((item) => ({ token: this.#keep(item), durability: 'stored' })) };
      case '/v1/detokenize':
        return this.#reveal(body['token'] as string);
      case '/v1/detokenize:batch':
        return this.#items(body, (token) => this.#reveal(token));
      case '/v1/grants/create':
        return this.#items(body, (token) => {
          this.grant(session ?? '', token);
          return { expires_at: '2036-01-02T03:04:05.678Z', durability: 'stored' };
        });
      default:
        return this.#items(body, (token) => this.#verify(session ?? '', token));
    }
  }

  #verify(session: string, token: string): Body {
    if (this.unknown.has(token)) {
      return { error: { code: 'storage_unavailable', detail: 'words', retryable: true } };
    }
    return this.granted(session, token)
      ? { valid: true, expires_at: '2036-01-02T03:04:05.678Z' }
      : { valid: false, reason: 'denied' };
  }

  /** Waits until a request was given up, and not for long. */
  async gaveUp(): Promise<void> {
    for (let turns = 0; this.stopped === 0; turns += 1) {
      assert.ok(turns < 10_000, 'it still waits for the sidecar');
      await turn();
    }
  }

  #items(body: Body, item: (token: string) => Body): Body {
    return { items: (body['tokens'] as string[]).map((token) => ({ token, ...item(token) })) };
  }

  #keep(item: Body): string {
    const token = `lunasec-${randomUUID()}`;
    this.#values.set(token, item);
    return token;
  }

  #reveal(token: string): Body {
    const item = this.#values.get(token);
    return item === undefined
      ? { error: { code: 'not_found', detail: 'words', retryable: false } }
      : { value: item['value'], encoding: item['encoding'] ?? 'utf8' };
  }
}

function answer(status: number, kind: string, body: Body): Answer {
  return { status, headers: { 'content-type': kind }, body: Buffer.from(JSON.stringify(body)) };
}
