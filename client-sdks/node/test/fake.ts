// A sidecar and a clock that do what a test says, when it says so.
import { EventEmitter, once } from 'node:events';

import { LunaSec } from '../src/client.js';
import type { ClientOptions, OnUnavailable } from '../src/index.js';
import type { Runtime } from '../src/runtime.js';
import type { Stop } from '../src/stop.js';
import type { Answer, Wanted } from '../src/transport.js';

type Body = Record<string, unknown>;

/** One request that came, and its answer to be. */
export class Came {
  readonly path: string;
  readonly headers: Wanted['headers'];
  readonly body: Body;
  readonly bytes: number;
  answered = false;
  readonly #resolve: (answer: Answer) => void;
  readonly #reject: (error: Error) => void;

  constructor(
    wanted: Wanted,
    readonly stop: Stop,
    resolve: (answer: Answer) => void,
    reject: (error: Error) => void,
  ) {
    this.path = wanted.path;
    this.headers = wanted.headers;
    this.body = JSON.parse(wanted.body ?? '{}') as Body;
    this.bytes = Buffer.byteLength(wanted.body ?? '');
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** The tokens that it lists. */
  get tokens(): string[] {
    return this.body['tokens'] as string[];
  }

  answer(body: unknown, headers: Record<string, string> = {}): void {
    this.#answer(200, 'application/json', body, headers);
  }

  /** Every token's value is `value of` it. */
  reveal(): void {
    if (this.path === '/v1/detokenize') {
      this.answer({ value: `value of ${this.body['token'] as string}`, encoding: 'utf8' });
    } else {
      this.answer({ items: this.tokens.map(revealed) });
    }
  }

  problem(code: string, status: number, retryable: boolean, retryAfterMs?: number): void {
    const body = { code, status, detail: 'words', retryable, retry_after_ms: retryAfterMs };
    this.#answer(status, 'application/problem+json', body, {});
  }

  fail(error: Error): void {
    this.answered = true;
    this.#reject(error);
  }

  #answer(status: number, kind: string, body: unknown, headers: Record<string, string>): void {
    this.answered = true;
    this.#resolve({ status, headers: { 'content-type': kind, ...headers }, body: Buffer.from(JSON.stringify(body)) });
  }
}

export function revealed(token: string): Body {
  return { token, value: `value of ${token}`, encoding: 'utf8' };
}

export function failed(token: string, code: string, retryable: boolean): Body {
  return { token, error: { code, detail: 'words', retryable } };
}

/** Takes requests, and answers none by itself. */
export class FakeSidecar {
  readonly came: Came[] = [];
  closed = false;
  readonly #events = new EventEmitter();
  #taken = 0;

  exchange(wanted: Wanted, stop: Stop): Promise<Answer> {
    return new Promise((resolve, reject) => {
      stop.listen(() => reject(stop.reason));
      this.came.push(new Came(wanted, stop, resolve, reject));
      this.#events.emit('came');
    });
  }

  /** The next request, once it comes. */
  async next(): Promise<Came> {
    while (this.came.length === this.#taken) {
      await once(this.#events, 'came');
    }
    this.#taken += 1;
    return this.came[this.#taken - 1] as Came;
  }

  /** Answers each that comes, to the end of the test. */
  async answerEach(answer: (came: Came) => void): Promise<never> {
    for (;;) {
      answer(await this.next());
    }
  }

  async close(): Promise<void> {
    this.closed = true;
  }
}

interface Timer {
  readonly at: number;
  readonly then: () => void;
}

/** A clock that stands still until it is told otherwise, and dice that always show the same. */
export class FakeRuntime implements Runtime {
  time = 1_000;
  dice = 1;
  readonly #pauses: number[] = [];
  #keys = 0;
  readonly #timers = new Set<Timer>();
  readonly #events = new EventEmitter();

  now = (): number => this.time;
  random = (): number => this.dice;
  endOfTurn = (then: () => void): void => void setImmediate(then);

  key = (): string => {
    this.#keys += 1;
    return `key-${this.#keys}`;
  };

  after = (ms: number, then: () => void): (() => void) => {
    const timer = { at: this.time + ms, then };
    this.#timers.add(timer);
    this.#pauses.push(ms);
    this.#events.emit('timer');
    return () => this.#timers.delete(timer);
  };

  /** Waits until something waits for that long, that was not asked for before. */
  async waitedFor(ms: number): Promise<void> {
    for (;;) {
      const next = this.#pauses.shift();
      if (next === ms) {
        return;
      }
      if (next === undefined) {
        await once(this.#events, 'timer');
      }
    }
  }

  advance(ms: number): void {
    this.time += ms;
    for (const timer of [...this.#timers].sort((a, b) => a.at - b.at)) {
      if (timer.at <= this.time) {
        this.#timers.delete(timer);
        timer.then();
      }
    }
  }

  get waiting(): number {
    return this.#timers.size;
  }
}

export interface Scene<P extends OnUnavailable> {
  readonly client: LunaSec<P>;
  readonly sidecar: FakeSidecar;
  readonly runtime: FakeRuntime;
}

/** A client before a sidecar of a test's own. */
export function scene<P extends OnUnavailable = 'fail'>(options: ClientOptions<P> = {}): Scene<P> {
  const sidecar = new FakeSidecar();
  const runtime = new FakeRuntime();
  const client = new LunaSec<P>({ telemetry: false, ...options, runtime, exchanges: sidecar } as ClientOptions<P>);
  return { client, sidecar, runtime };
}

/** A well-formed token. */
export function token(number: number): string {
  return `lunasec-00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;
}

export function tokens(count: number): string[] {
  return Array.from({ length: count }, (_, number) => token(number));
}

/** All that runs now has run. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** A promise that somebody else settles. */
export function deferred<T = void>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
