import {
  type InterceptorOptions as CallOptions,
  InterceptingCall,
  type Interceptor,
  Metadata,
  type StatusObject,
  status,
} from '@grpc/grpc-js';

import { Caller } from './caller.js';
import { Lane } from './lane.js';
import { type InterceptorOptions, methodsOf } from './options.js';
import type { MethodPlans } from './plan.js';
import { statusHere } from './status.js';
import { Work } from './work.js';

type Next = ConstructorParameters<typeof InterceptingCall>[0];
type Listener = NonNullable<Parameters<InterceptingCall['start']>[1]>;
type Context = Parameters<InterceptingCall['sendMessageWithContext']>[0];

/** What a client's interceptor is told. */
export interface ClientInterceptorOptions extends InterceptorOptions {}

/**
 * Tokenizes what leaves a client and detokenizes what comes back, so that no value crosses the network. The server's
 * interceptor is then told `edge: 'client'`.
 *
 * ```ts
 * const protos = Protos.loadSync('shop.proto');
 * const orders = new Orders(address, credentials, { interceptors: [clientInterceptor({ lunasec, protos })] });
 * ```
 *
 * @throws {@link FieldRuleError} where a rule cannot be carried out.
 */
export function clientInterceptor(options: ClientInterceptorOptions): Interceptor {
  const methods = methodsOf(options, 'client');
  return (call, nextCall) => {
    const next = nextCall(call);
    const { path } = call.method_definition;
    let plans: MethodPlans;
    try {
      plans = methods(path);
    } catch (error) {
      return new Refused(next, statusHere(error, true));
    }
    const nothing = plans.request === undefined && plans.response === undefined;
    return nothing ? new InterceptingCall(next) : new ClientCall(next, call, plans, options);
  };
}

/** Without a stack of its own: there is one for each call. */
const OVER = new Error('the call is over');

/** A call that does not leave. */
class Refused extends InterceptingCall {
  readonly #next: Next;
  readonly #status: StatusObject;

  constructor(next: Next, status: StatusObject) {
    super(next);
    this.#next = next;
    this.#status = status;
  }

  override start(_metadata: Metadata, listener?: Listener): void {
    this.#next.cancelWithStatus(this.#status.code, this.#status.details);
    // When whoever called has what it calls it by.
    process.nextTick(() => listener?.onReceiveStatus?.(this.#status));
  }

  override sendMessageWithContext(): void {}

  override halfClose(): void {}

  override startRead(): void {}
}

/**
 * Not made of a requester, as interceptors mostly are: that one sends a message as it was before it was worked on, where the
 * call's metadata is being worked on at the same time.
 */
class ClientCall extends InterceptingCall {
  readonly #next: Next;
  readonly #call: CallOptions;
  readonly #plans: MethodPlans;
  readonly #options: InterceptorOptions;
  readonly #incoming = new Lane();
  readonly #outgoing = new Lane();
  readonly #leave = new AbortController();
  #metadata = new Metadata();
  #work: Work | undefined;
  #listener: Listener | undefined;
  #over = false;
  /** Nothing leaves or comes any more, and what came before that is still worked on. */
  #ended = false;
  #late: NodeJS.Timeout | undefined;

  constructor(next: Next, call: CallOptions, plans: MethodPlans, options: InterceptorOptions) {
    super(next);
    this.#next = next;
    this.#call = call;
    this.#plans = plans;
    this.#options = options;
  }

  override start(metadata: Metadata, listener?: Listener): void {
    this.#metadata = metadata.clone();
    this.#listener = listener;
    this.#next.start(metadata, {
      onReceiveMetadata: (received) => this.#over || listener?.onReceiveMetadata?.(received),
      onReceiveMessage: (message: unknown) => this.#received(message),
      onReceiveStatus: (received) => this.#ended || this.#receivedStatus(received),
    });
  }

  override sendMessageWithContext(context: Context, message: unknown): void {
    const plan = this.#plans.request;
    const send = (done: unknown) => {
      if (this.#ended) {
        context.callback?.();
      } else {
        this.#next.sendMessageWithContext(context, done);
      }
    };
    if (plan === undefined) {
      this.#outgoing.after(() => send(message));
      return;
    }
    const failed = (error: unknown) => {
      this.#failAfterAnswers(statusHere(error, false));
      context.callback?.();
    };
    this.#outgoing.message(async () => this.#ended || this.#working().request(plan, message), send, failed);
  }

  override halfClose(): void {
    this.#outgoing.after(() => this.#ended || this.#next.halfClose());
  }

  override cancelWithStatus(code: status, details: string): void {
    this.#next.cancelWithStatus(code, details);
    if (this.#ended) {
      this.#finish({ code, details, metadata: new Metadata() });
    } else {
      this.#leave.abort(OVER);
    }
  }

  #received(message: unknown): void {
    const plan = this.#plans.response;
    const receive = (done: unknown) => this.#over || this.#listener?.onReceiveMessage?.(done);
    // grpc-js says null where a call without a stream ends without a message.
    if (plan === undefined || message === null) {
      this.#incoming.after(() => receive(message));
    } else {
      this.#incoming.message(
        () => this.#working().response(plan, message),
        receive,
        (error) => this.#fail(statusHere(error, true)),
      );
    }
  }

  #receivedStatus(received: StatusObject): void {
    this.#ended = true;
    if (received.code === status.CANCELLED || received.code === status.DEADLINE_EXCEEDED) {
      this.#finish(received);
      return;
    }
    this.#incoming.after(() => this.#finish(received));
    if (this.#incoming.busy) {
      this.#keepDeadline();
    }
  }

  /** The call is over for grpc-js, which does not look at the time any more. */
  #keepDeadline(): void {
    const { deadline } = this.#call;
    const left = deadline === undefined ? Number.POSITIVE_INFINITY : Number(deadline) - Date.now();
    if (left < 2 ** 31) {
      const status_ = { code: status.DEADLINE_EXCEEDED, details: 'Deadline exceeded', metadata: new Metadata() };
      this.#late = setTimeout(() => this.#finish(status_), left);
    }
  }

  #working(): Work {
    if (this.#work === undefined) {
      const { lunasec, session, onUnavailable } = this.#options;
      const call = { path: this.#call.method_definition.path, metadata: this.#metadata, peer: this.#next.getPeer() };
      const caller = new Caller(lunasec, session, call);
      this.#work = new Work(caller, 'client', onUnavailable ?? lunasec.onUnavailable, this.#leave.signal);
    }
    return this.#work;
  }

  /** A call that was cancelled ends with the status that it was cancelled with. */
  #fail(failure: StatusObject): void {
    if (!this.#over && !this.#leave.signal.aborted) {
      this.#next.cancelWithStatus(status.CANCELLED, 'a message could not be worked on');
      this.#finish(failure);
    }
  }

  /** A message cannot leave: what came back before that is still worked on. */
  #failAfterAnswers(failure: StatusObject): void {
    if (!this.#ended && !this.#leave.signal.aborted) {
      this.#receivedStatus(failure);
      this.#next.cancelWithStatus(status.CANCELLED, 'a message could not be worked on');
    }
  }

  #finish(last: StatusObject): void {
    if (!this.#over) {
      this.#over = true;
      this.#ended = true;
      clearTimeout(this.#late);
      this.#leave.abort(OVER);
      this.#listener?.onReceiveStatus?.(last);
    }
  }
}
