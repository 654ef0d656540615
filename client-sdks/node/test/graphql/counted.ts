// A sidecar that counts its requests, behind a socket of its own, and does what a test says.
import { randomUUID } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { type ClientOptions, LunaSec, type OnUnavailable } from '@lunasec/node';

type Body = Record<string, unknown>;

export class Counted<P extends OnUnavailable = 'fail'> {
  /** Each request, as its path and how many items it had. */
  readonly came: string[] = [];
  /** Says `came` with each. */
  readonly arrivals = new EventEmitter();
  /** For whom each was. */
  readonly sessions: string[] = [];
  readonly vault = new Map<string, string>();
  /** The code of the error of some tokens. */
  readonly failing = new Map<string, string>();
  /** Beside each item. */
  beside: Body = {};
  durability = 'stored';
  /** The code of the answer to everything. */
  down: string | undefined;
  readonly client: LunaSec<P>;
  readonly #directory = mkdtempSync(join(tmpdir(), 'lunasec-counted-'));
  readonly #server: Server;

  private constructor(options: ClientOptions<P>) {
    this.#server = createServer(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) {
        chunks.push(chunk as Buffer);
      }
      const { 'lunasec-session': session, authorization } = request.headers;
      this.sessions.push([session ?? 'nobody', authorization].filter(Boolean).join(' '));
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Body;
      const answer = this.#answer(request.url ?? '', body);
      const problem = 'code' in answer;
      const kind = problem ? 'application/problem+json' : 'application/json';
      response.writeHead(problem ? 503 : 200, { 'content-type': kind }).end(JSON.stringify(answer));
    });
    this.client = new LunaSec<P>({
      socket: join(this.#directory, 's'),
      telemetry: false,
      retry: { attempts: 1 },
      ...options,
    } as ClientOptions<P>);
  }

  static async start<P extends OnUnavailable = 'fail'>(options: ClientOptions<P> = {}): Promise<Counted<P>> {
    const made = new Counted<P>(options);
    made.#server.listen(join(made.#directory, 's'));
    await once(made.#server, 'listening');
    return made;
  }

  async stop(): Promise<void> {
    await this.client.close();
    this.#server.closeAllConnections();
    this.#server.close();
    rmSync(this.#directory, { recursive: true });
  }

  token(value: string): string {
    const token = `lunasec-${randomUUID()}`;
    this.vault.set(token, value);
    return token;
  }

  tokens(count: number): string[] {
    return Array.from({ length: count }, (_, number) => this.token(`value ${number}`));
  }

  #answer(path: string, body: Body): Body {
    const list = (body['tokens'] ?? body['items']) as unknown[] | undefined;
    this.came.push(`${path.replace('/v1/', '').replace(':batch', '')} ${list?.length ?? 1}`);
    this.arrivals.emit('came');
    if (this.down !== undefined) {
      return { code: this.down, status: 503, detail: 'words', retryable: true };
    }
    if (list !== undefined) {
      return { items: list.map((item) => this.#item(path, item)) };
    }
    const { error, ...item } = this.#item(path, body);
    return error === undefined ? item : { ...(error as Body), status: 503 };
  }

  #item(path: string, item: unknown): Body {
    if (path.startsWith('/v1/tokenize')) {
      return { token: this.token((item as { value: string }).value), durability: this.durability };
    }
    const token = typeof item === 'string' ? item : (item as { token: string }).token;
    const code = this.failing.get(token);
    if (code !== undefined) {
      return { token, error: { code, detail: 'words', retryable: code.endsWith('unavailable') } };
    }
    const later = '2126-01-02T03:04:05.678Z';
    if (path.startsWith('/v1/detokenize')) {
      return { token, value: this.vault.get(token) ?? '', encoding: 'utf8', ...this.beside };
    }
    return path.endsWith('create')
      ? { token, expires_at: later, durability: this.durability }
      : { token, valid: true, expires_at: later, ...this.beside };
  }
}
