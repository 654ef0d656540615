import {
  Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from '@grpc/grpc-js';

import { tell } from '../tell.js';
import { Caller, type GrpcCall } from './caller.js';
import { Lane } from './lane.js';
import { LAST_MESSAGES } from './limits.js';
import { type InterceptorOptions, methodsOf } from './options.js';
import type { MethodPlans, Role } from './plan.js';
import { statusOf } from './status.js';
import { Work } from './work.js';

type Listener = Parameters<ServerInterceptingCall['start']>[0];
type PartialStatus = Parameters<ServerInterceptingCall['sendStatus']>[0];

/** What a server's interceptor is told. */
export interface ServerInterceptorOptions extends InterceptorOptions {
  /**
   * Where values end and tokens begin. `server`, unless given: here; clients send and get values. `client`: clients have an
   * interceptor, too, which tokenizes and detokenizes; what is not tokenized is refused here.
   */
  readonly edge?: 'server' | 'client' | undefined;
  /**
   * Is told of each error that ends a call, for the server's log: the client is not told what went on inside. Its message
   * says where, what happened and what to do, its `cause` or it itself is the client's error; no token and no value is in it.
   * What it throws, or rejects with, is a warning of the process.
   */
  readonly onError?: ((error: unknown, call: GrpcCall) => void) | undefined;
}

/**
 * Carries out the rules of the .proto files for all services of a server.
 *
 * ```ts
 * const protos = Protos.loadSync('shop.proto');
 * const server = new Server({ interceptors: [serverInterceptor({ lunasec, protos, session: 'session' })] });
 * ```
 *
 * Put interceptors that authenticate before it.
 *
 * @throws {@link FieldRuleError} where a rule cannot be carried out.
 */
export function serverInterceptor(options: ServerInterceptorOptions): ServerInterceptor {
  const role = options.edge === 'client' ? 'behind' : 'server';
  const methods = methodsOf(options, role);
  return ({ path }, next) => {
    let plans: MethodPlans;
    try {
      plans = methods(path);
    } catch (error) {
      return new Refused(next, path, error, options);
    }
    const nothing = plans.request === undefined && plans.response === undefined;
    return nothing ? new ServerInterceptingCall(next) : new ServerCall(next, path, plans, options, role);
  };
}

/** Without a stack of its own: there is one for each call. */
const OVER = new Error('the call is over');

/** A call whose handler does not learn of it. */
class Refused extends ServerInterceptingCall {
  readonly #next: ServerInterceptingCallInterface;
  readonly #path: string;
  readonly #error: unknown;
  readonly #options: ServerInterceptorOptions;

  constructor(next: ServerInterceptingCallInterface, path: string, error: unknown, options: ServerInterceptorOptions) {
    super(next);
    this.#next = next;
    this.#path = path;
    this.#error = error;
    this.#options = options;
  }

  override start(): void {
    const nothing = () => undefined;
    this.#next.start({
      onReceiveMetadata: (metadata) => {
        this.#next.sendStatus(statusOf(this.#error, true));
        tell(this.#options.onError, this.#error, { path: this.#path, metadata, peer: this.#next.getPeer() });
      },
      onReceiveMessage: nothing,
      onReceiveHalfClose: nothing,
      onCancel: nothing,
    });
  }
}

/**
 * Not made of a responder, as interceptors mostly are: that one keeps a status for ever which comes while a message is being
 * worked on, and tells the handler nothing of a message that could not be sent.
 */
class ServerCall extends ServerInterceptingCall {
  readonly #next: ServerInterceptingCallInterface;
  readonly #path: string;
  readonly #plans: MethodPlans;
  readonly #options: ServerInterceptorOptions;
  readonly #role: Role;
  readonly #incoming = new Lane();
  readonly #outgoing = new Lane();
  readonly #leave = new AbortController();
  #metadata = new Metadata();
  #work: Work | undefined;
  /** What it is to end with, when what its handler wrote by then has been sent. */
  #failure: { readonly error: unknown; readonly ours: boolean } | undefined;
  #unsent = 0;
  #lastMessages = 0;
  #over = false;

  constructor(
    next: ServerInterceptingCallInterface,
    path: string,
    plans: MethodPlans,
    options: ServerInterceptorOptions,
    role: Role,
  ) {
    super(next);
    this.#next = next;
    this.#path = path;
    this.#plans = plans;
    this.#options = options;
    this.#role = role;
  }

  override start(listener: Listener): void {
    this.#next.start({
      onReceiveMetadata: (metadata) => {
        // The caller's: a handler may do with its own as it likes.
        this.#metadata = metadata.clone();
        listener.onReceiveMetadata(metadata);
      },
      onReceiveMessage: (message) => this.#received(message, listener),
      onReceiveHalfClose: () => this.#incoming.after(() => this.#deaf || listener.onReceiveHalfClose()),
      onCancel: () => {
        this.#end();
        listener.onCancel();
      },
    });
  }

  override sendMessage(message: unknown, callback: () => void): void {
    const plan = this.#plans.response;
    this.#unsent += 1;
    // From here the handler's stream hands on the next one that it has.
    const sent = () => {
      this.#unsent -= 1;
      callback();
      this.#sentAfterFailure();
    };
    const send = (done: unknown) => this.#over || this.#next.sendMessage(done, sent);
    if (plan === undefined) {
      this.#outgoing.after(() => send(message));
    } else {
      this.#outgoing.message(
        () => this.#working().response(plan, message),
        send,
        (error) => {
          this.#failure ??= { error, ours: true };
          this.#failNow();
        },
      );
    }
  }

  override sendStatus(status: PartialStatus): void {
    this.#outgoing.after(() => {
      if (!this.#over && this.#failure === undefined) {
        this.#end();
        this.#next.sendStatus(status);
      }
    });
  }

  #received(message: unknown, listener: Listener): void {
    const plan = this.#plans.request;
    const receive = (done: unknown) => this.#deaf || listener.onReceiveMessage(done);
    if (plan === undefined) {
      this.#incoming.after(() => receive(message));
    } else {
      this.#incoming.message(
        async () => this.#deaf || this.#working().request(plan, message),
        receive,
        (error) => this.#fail(error),
      );
    }
  }

  get #call(): GrpcCall {
    return { path: this.#path, metadata: this.#metadata, peer: this.#next.getPeer() };
  }

  #working(): Work {
    if (this.#work === undefined) {
      const { lunasec, session, onUnavailable } = this.#options;
      const caller = new Caller(lunasec, session, this.#call);
      this.#work = new Work(caller, this.#role, onUnavailable ?? lunasec.onUnavailable, this.#leave.signal);
    }
    return this.#work;
  }

  /** Nothing that comes reaches the handler any more. */
  get #deaf(): boolean {
    return this.#over || this.#failure !== undefined;
  }

  /** Ends the call after what its handler wrote; its stream hands that on one by one. */
  #fail(error: unknown): void {
    this.#failure ??= { error, ours: false };
    if (this.#unsent === 0) {
      this.#failNow();
    }
  }

  /** A handler that does not stop writing is not waited for. */
  #sentAfterFailure(): void {
    if (this.#failure !== undefined) {
      this.#lastMessages += 1;
      if (this.#unsent === 0 || this.#lastMessages >= LAST_MESSAGES) {
        this.#failNow();
      }
    }
  }

  /** Ends the call; grpc-js then tells the handler that it was cancelled. */
  #failNow(): void {
    if (!this.#over && this.#failure !== undefined) {
      const { error, ours } = this.#failure;
      this.#end();
      this.#next.sendStatus(statusOf(error, ours));
      tell(this.#options.onError, error, this.#call);
    }
  }

  #end(): void {
    this.#over = true;
    this.#leave.abort(OVER);
  }
}
