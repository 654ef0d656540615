import { Batcher } from './batcher.js';
import { headerValue } from './context.js';
import { counted } from './counts.js';
import { Engine, type Exchanges } from './engine.js';
import {
  BATCH_ITEMS,
  CONNECTION_RETRY_BUDGET,
  CONNECTIONS,
  DEFAULT_SOCKET,
  PAUSE_MOST_MS,
  PAUSE_MS,
  PENDING_CALLS,
  RESTART_GRACE_MS,
  RETRY_BUDGET,
  START_DEADLINE_MS,
} from './limits.js';
import { STATUS } from './operations.js';
import { type Names, onlyKnown } from './options.js';
import { type OnUnavailable, policyOf } from './policy.js';
import type { Status } from './results.js';
import { Budget, RETRY, Reachability, type RetryOptions } from './retry.js';
import { type Runtime, SYSTEM } from './runtime.js';
import { LunaSecSession } from './session.js';
import { type OpenTelemetry, OpenTelemetryOrNone } from './telemetry.js';
import { milliseconds } from './times.js';
import { CALL, type CallOptions, Tokenizer, type View } from './tokenizer.js';
import { socketPath, Transport } from './transport.js';

/** What a view of a client can have otherwise. */
export interface ViewOptions<P extends OnUnavailable> {
  /** Instead of the caller's default. */
  readonly namespace?: string | undefined;
  /** What values are for, for the audit record; the policy may ask for it. */
  readonly purpose?: string | undefined;
  /** What reads resolve to when nobody can answer: `fail` unless given. */
  readonly onUnavailable?: P;
  /** For each whole call: 15,000, and 2,000 where a policy stands in for an answer. */
  readonly deadlineMs?: number | undefined;
  /** @internal For integrations: the trace of who called, where no OpenTelemetry says its own. */
  readonly traceparent?: string | undefined;
}

/** How a client is made. All of it has a default. */
export interface ClientOptions<P extends OnUnavailable = 'fail'> extends ViewOptions<P> {
  /** The socket: `LUNASEC_SOCKET`, else `/run/lunasec/lunasec.sock`. */
  readonly socket?: string | undefined;
  /** Speaks for whom this JWT proves; see also {@link LunaSec.forSession}. */
  readonly jwt?: string | undefined;
  /** How calls are tried again. */
  readonly retry?: RetryOptions | undefined;
  /** How long the first calls wait for the socket to be there, within their deadlines: 10,000. */
  readonly startDeadlineMs?: number | undefined;
  /** How long calls wait for the socket to come back, within their deadlines: 2,000. */
  readonly restartGraceMs?: number | undefined;
  /** Connections to the socket: 16. */
  readonly connections?: number | undefined;
  /** Calls under way in this process; more are refused as `overloaded`: 10,000. */
  readonly pendingCalls?: number | undefined;
  /**
   * Where spans and `traceparent` come from: the module `@opentelemetry/api`. Unless given, it is found by itself where
   * it is installed; `false`: nothing is traced.
   */
  readonly telemetry?: OpenTelemetry | false | undefined;
  /** Items of the requests that calls of one turn share: 1,000, which is also the most. 1: each call is a request. */
  readonly batchItems?: number | undefined;
  /** @internal For tests: another clock, other dice. */
  readonly runtime?: Runtime | undefined;
  /** @internal For tests: another way to the sidecar. */
  readonly exchanges?: Exchanges | undefined;
}

/** What {@link LunaSec.forSession} may be told. */
export interface SessionOptions {
  /** The user's JWT, which proves the session where the sidecar has issuers. */
  readonly jwt?: string | undefined;
}

const VIEW: Names<ViewOptions<OnUnavailable>> = {
  namespace: true,
  purpose: true,
  onUnavailable: true,
  deadlineMs: true,
  traceparent: true,
};
const CLIENT: Names<ClientOptions<OnUnavailable>> = {
  socket: true,
  jwt: true,
  retry: true,
  startDeadlineMs: true,
  restartGraceMs: true,
  connections: true,
  pendingCalls: true,
  telemetry: true,
  batchItems: true,
  runtime: true,
  exchanges: true,
  ...VIEW,
};
const SESSION: Names<SessionOptions> = { jwt: true };

/**
 * The sidecar, from Node.js.
 *
 * ```ts
 * const lunasec = new LunaSec();
 * const { token } = await lunasec.tokenize('4111 1111 1111 1111');
 * const { value } = await lunasec.detokenize(token);
 * value.reveal();
 * ```
 *
 * Make one for each process: its connections, retries and batches are shared by all of its views
 * ({@link LunaSec.with}, {@link LunaSec.forSession}), which cost next to nothing. It connects with the first call.
 *
 * `P` is its policy for reads when nobody can answer. With another than `fail`, the compiler asks for a look at `kind`
 * before there is a value.
 */
export class LunaSec<P extends OnUnavailable = 'fail'> extends Tokenizer<P> {
  constructor(options: ClientOptions<P> = {}) {
    super(viewOf(options));
  }

  /** The same client, with something otherwise: another namespace, purpose, policy or deadline. */
  with<C extends OnUnavailable = P>(options: ViewOptions<C>): LunaSec<C> {
    onlyKnown('with', options, VIEW);
    const { view } = this;
    return LunaSec.#of<C>({
      ...view,
      said: {
        ...view.said,
        namespace: options.namespace ?? view.said.namespace,
        purpose: options.purpose ?? view.said.purpose,
        traceparent: options.traceparent ?? view.said.traceparent,
      },
      onUnavailable: policyOf(options.onUnavailable ?? view.onUnavailable),
      deadlineMs: milliseconds('deadlineMs', options.deadlineMs ?? view.deadlineMs),
    });
  }

  /**
   * The same client, for one session of one of your users: any text of 1 to 1,024 bytes that the application knows the
   * user's session by, without control characters and without a space at either end.
   *
   * ```ts
   * const user = lunasec.forSession(request.session.id);
   * await user.grant([token]);
   * await user.detokenize(token);
   * ```
   */
  forSession(session: string, options: SessionOptions = {}): LunaSecSession<P> {
    onlyKnown('forSession', options, SESSION);
    const { view } = this;
    // Also where the type was not looked at: a session that is missing by mistake would be nobody's.
    headerValue('session', session);
    const said = { ...view.said, session, jwt: options.jwt ?? view.said.jwt };
    return new LunaSecSession<P>({ ...view, said }, session);
  }

  /** Waits until the sidecar answers. Rejects with {@link SidecarUnreachable} if it does not in time. */
  async ready(options: CallOptions = {}): Promise<void> {
    await this.status(options);
  }

  /** What the sidecar says of itself and of what it needs. */
  async status(options: CallOptions = {}): Promise<Status> {
    onlyKnown('status', options, CALL);
    return this.request(STATUS, options);
  }

  /** Closes the connections, of all views. Calls under way reject. */
  async close(): Promise<void> {
    await this.view.engine.close();
  }

  static #of<C extends OnUnavailable>(view: View): LunaSec<C> {
    return new LunaSec<C>(new Made(view) as unknown as ClientOptions<C>);
  }
}

/** Options that are a view already. */
class Made {
  constructor(readonly view: View) {}
}

function viewOf<P extends OnUnavailable>(options: ClientOptions<P> | Made): View {
  if (options instanceof Made) {
    return options.view;
  }
  onlyKnown('LunaSec', options, CLIENT as Names<ClientOptions<P>>);
  const engine = engineOf(options);
  return {
    engine,
    batcher: new Batcher(engine, counted('batchItems', options.batchItems ?? BATCH_ITEMS, 1)),
    said: { namespace: options.namespace, purpose: options.purpose, jwt: options.jwt },
    onUnavailable: policyOf(options.onUnavailable ?? 'fail'),
    deadlineMs: milliseconds('deadlineMs', options.deadlineMs ?? undefined),
    attempts: counted('retry.attempts', options.retry?.attempts, 1),
  };
}

function engineOf(options: ClientOptions<OnUnavailable>): Engine {
  const retry = options.retry ?? {};
  onlyKnown('retry', retry, RETRY);
  const connections = counted('connections', options.connections ?? CONNECTIONS, 1);
  // A variable that is there and empty says nothing.
  const socket = options.socket ?? (process.env['LUNASEC_SOCKET'] || DEFAULT_SOCKET);
  return new Engine({
    runtime: options.runtime ?? SYSTEM,
    exchanges: options.exchanges ?? new Transport(socketPath(socket), connections),
    telemetry: new OpenTelemetryOrNone(options.telemetry),
    pauses: {
      first: milliseconds('retry.pauseMs', retry.pauseMs ?? PAUSE_MS),
      most: milliseconds('retry.pauseMostMs', retry.pauseMostMs ?? PAUSE_MOST_MS),
    },
    budgets: {
      answers: new Budget(counted('retry.budget', retry.budget ?? RETRY_BUDGET, 0)),
      breaks: new Budget(Math.max(CONNECTION_RETRY_BUDGET, 2 * connections)),
    },
    reachability: new Reachability(
      milliseconds('startDeadlineMs', options.startDeadlineMs ?? START_DEADLINE_MS),
      milliseconds('restartGraceMs', options.restartGraceMs ?? RESTART_GRACE_MS),
    ),
    pending: counted('pendingCalls', options.pendingCalls ?? PENDING_CALLS, 0),
  });
}
