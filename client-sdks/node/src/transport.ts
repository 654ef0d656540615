import { type Dispatcher, Pool } from 'undici';

import { InvalidRequest, ProtocolError, SidecarUnreachable } from './errors.js';
import { ANSWER_BYTES, CONNECT_MS, KEEP_ALIVE_MS } from './limits.js';
import type { Stop } from './stop.js';

/** @internal */
export interface Wanted {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
}

/** @internal */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** What no connection was made for: nothing was sent. */
const NOBODY: ReadonlySet<string> = new Set([
  'ENOENT',
  'ECONNREFUSED',
  'EAGAIN',
  'EMFILE',
  'ENFILE',
  'UND_ERR_CONNECT_TIMEOUT',
]);
/** What happened to a connection that there was. */
const BROKEN: ReadonlySet<string> = new Set([
  'UND_ERR_SOCKET',
  'ECONNRESET',
  'EPIPE',
  'ECONNABORTED',
  'ENOTCONN',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
]);
/** Bytes of a socket's path that the kernel takes; of a longer one it would look for the beginning. */
const PATH_BYTES = process.platform === 'linux' ? 107 : 103;

/**
 * A path that a socket can have.
 *
 * @internal
 */
export function socketPath(path: string): string {
  const bytes = Buffer.byteLength(path);
  if (bytes > PATH_BYTES) {
    throw new InvalidRequest(
      `the path of the socket is ${bytes} bytes long, and Unix takes ${PATH_BYTES}: put the socket where its path is shorter`,
    );
  }
  return path;
}

const CLOSED: ReadonlySet<string> = new Set(['UND_ERR_DESTROYED', 'UND_ERR_CLOSED']);
/**
 * HTTP/1.1 over the Unix socket, on a few connections that are kept alive. It tries nothing twice.
 *
 * @internal
 */
export class Transport {
  readonly #socket: string;
  readonly #pool: Pool;

  constructor(socket: string, connections: number) {
    this.#socket = socket;
    this.#pool = new Pool('http://localhost', {
      connections,
      pipelining: 1,
      connect: { socketPath: socket, timeout: CONNECT_MS },
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MS,
      // Deadlines are the call's business.
      headersTimeout: 0,
      bodyTimeout: 0,
      maxResponseSize: ANSWER_BYTES,
    });
  }

  /** One exchange. Rejects with why it was told to stop, {@link SidecarUnreachable} or {@link ProtocolError}. */
  exchange(wanted: Wanted, stop: Stop): Promise<Answer> {
    return new Promise((resolve, reject) => {
      if (stop.reason !== undefined) {
        reject(stop.reason);
        return;
      }
      const exchange = new Exchange(stop, resolve, (error) => {
        reject(error === stop.reason ? error : this.#translated(error, exchange.sent));
      });
      this.#pool.dispatch(
        {
          origin: 'http://localhost',
          method: wanted.method,
          path: wanted.path,
          headers: wanted.headers,
          body: wanted.body ?? null,
        },
        exchange,
      );
    });
  }

  close(): Promise<void> {
    return this.#pool.destroy();
  }

  #translated(error: Error, sent: boolean): Error {
    const { code = '', syscall } = error as NodeJS.ErrnoException;
    if (NOBODY.has(code)) {
      const why = `no sidecar answers at ${this.#socket} (${code}): start one, or set LUNASEC_SOCKET`;
      return new SidecarUnreachable(why, { cause: error });
    }
    if (CLOSED.has(code)) {
      const why = 'this client was closed: make calls before close(), or make another client';
      return new SidecarUnreachable(why, { retryable: false, sent, closed: true });
    }
    if (BROKEN.has(code)) {
      const done = sent ? ', and a write may have been done' : '';
      const why = `the connection to the sidecar broke before its answer${done}: make the call again, and look into the sidecar's log if that goes on`;
      return new SidecarUnreachable(why, { cause: error, sent });
    }
    if (syscall === 'connect') {
      // No waiting helps against it.
      const why = `the socket ${this.#socket} cannot be used (${code}): check its path, mode and group`;
      return new SidecarUnreachable(why, { cause: error, retryable: false });
    }
    if (code === 'UND_ERR_RES_EXCEEDED_MAX_SIZE') {
      return new ProtocolError('the answer is larger than the contract allows');
    }
    if (error.name === 'HTTPParserError') {
      // Its own words quote what came.
      return new ProtocolError('the answer is not HTTP: does something else listen at the socket?');
    }
    return new ProtocolError('the request could not be made', { cause: error });
  }
}

/** One request's side of the pool. */
class Exchange implements Dispatcher.DispatchHandler {
  sent = false;
  readonly #stop: Stop;
  readonly #resolve: (answer: Answer) => void;
  readonly #reject: (error: Error) => void;
  readonly #chunks: Buffer[] = [];
  #status = 0;
  #headers: Answer['headers'] = {};
  #controller: Dispatcher.DispatchController | undefined;

  constructor(stop: Stop, resolve: (answer: Answer) => void, reject: (error: Error) => void) {
    this.#stop = stop;
    this.#resolve = resolve;
    this.#reject = reject;
    stop.listen(() => this.#stopped());
  }

  #stopped(): void {
    const reason = this.#stop.reason as Error;
    // One that waits for a connection has no controller yet: it is stopped when its turn comes.
    this.#controller?.abort(reason);
    this.#reject(reason);
  }

  #end(): void {
    this.#stop.listen(undefined);
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    if (this.#stop.reason !== undefined) {
      // Thrown, it drops the request alone; `controller.abort` would close the connection, which others wait for.
      throw this.#stop.reason;
    }
    this.#controller = controller;
    this.sent = true;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    this.#status = status;
    this.#headers = headers;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.#end();
    const [first] = this.#chunks;
    const body = this.#chunks.length === 1 && first !== undefined ? first : Buffer.concat(this.#chunks);
    this.#resolve({ status: this.#status, headers: this.#headers, body });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#end();
    this.#reject(error);
  }
}
