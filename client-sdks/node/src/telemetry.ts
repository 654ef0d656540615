import type * as Otel from '@opentelemetry/api';

import { LunaSecError } from './errors.js';
import type { OperationName } from './operation.js';

/** What the package `@opentelemetry/api` exports; named by what is used of it, so that nobody needs it for its types. */
export interface OpenTelemetry {
  readonly trace: object;
  readonly context: object;
  readonly propagation: object;
}

type Api = typeof Otel;

/** @internal */
export interface Span {
  propagate(headers: Record<string, string>): void;
  retried(): void;
  /** After its callers were answered: what an application does with a span is nothing that they wait for. */
  end(error: unknown): void;
}

/** @internal */
export interface Telemetry {
  /** Settles when it is known whether anything is traced; undefined afterwards. */
  readonly loading: Promise<void> | undefined;
  /** The active context, to be handed to `start`. */
  here(): unknown;
  /** A span below the first of these contexts, linked to the others. */
  start(operation: OperationName, items: number, from: readonly unknown[]): Span;
}

/** As W3C Trace Context bounds what is carried on. */
const TRACE_TEXT = /^[\x20-\x7e]{1,512}$/;

const NOTHING: Span = { propagate: () => undefined, retried: () => undefined, end: () => undefined };

/**
 * A span for each request, through OpenTelemetry where the application has it. A span says the operation, how many items
 * it was about, how often it was tried again and the code that it ended with: never a token, a value or a session.
 *
 * @internal
 */
export class OpenTelemetryOrNone implements Telemetry {
  loading: Promise<void> | undefined;
  #api: Api | undefined;
  #tracer: Otel.Tracer | undefined;

  constructor(api: OpenTelemetry | false | undefined) {
    if (api === undefined) {
      this.loading = this.#load();
    } else if (api !== false) {
      this.#use(api as Api);
    }
  }

  async #load(): Promise<void> {
    try {
      this.#use(await import('@opentelemetry/api'));
    } catch {
      // It is not installed: nothing is traced.
    }
    this.loading = undefined;
  }

  #use(api: Api): void {
    this.#api = api;
    this.#tracer = api.trace.getTracer('@lunasec/node');
  }

  here(): unknown {
    try {
      return this.#api?.context.active();
    } catch {
      return undefined;
    }
  }

  start(operation: OperationName, items: number, from: readonly unknown[]): Span {
    const [api, tracer] = [this.#api, this.#tracer];
    if (api === undefined || tracer === undefined) {
      return NOTHING;
    }
    try {
      return started(api, tracer, operation, items, from);
    } catch {
      // Whoever traces may fail: the call must not.
      return NOTHING;
    }
  }
}

function started(
  api: Api,
  tracer: Otel.Tracer,
  operation: OperationName,
  items: number,
  from: readonly unknown[],
): Span {
  const [first, ...others] = from as Otel.Context[];
  const parent = first ?? api.context.active();
  const span = tracer.startSpan(
    `lunasec ${operation}`,
    {
      kind: api.SpanKind.CLIENT,
      attributes: { 'lunasec.operation': operation, 'lunasec.items': items },
      links: linksTo(api, parent, others),
    },
    parent,
  );
  return new Traced(api, span, api.trace.setSpan(parent, span));
}

/** Those who share the request, each of their spans once. */
function linksTo(api: Api, parent: Otel.Context, others: readonly Otel.Context[]): Otel.Link[] {
  const seen = new Set([api.trace.getSpanContext(parent)?.spanId]);
  const links: Otel.Link[] = [];
  for (const other of others) {
    const context = api.trace.getSpanContext(other);
    if (context !== undefined && !seen.has(context.spanId)) {
      seen.add(context.spanId);
      links.push({ context });
    }
  }
  return links;
}

class Traced implements Span {
  #retries = 0;

  constructor(
    readonly api: Api,
    readonly span: Otel.Span,
    readonly context: Otel.Context,
  ) {}

  propagate(headers: Record<string, string>): void {
    const carried: Record<string, unknown> = {};
    try {
      this.api.propagation.inject(this.context, carried);
    } catch {
      // It goes on without.
    }
    // What the sidecar reads, and nothing else that somebody put there: an end user's baggage, say.
    for (const name of ['traceparent', 'tracestate']) {
      const text = carried[name];
      if (typeof text === 'string' && TRACE_TEXT.test(text)) {
        headers[name] = text;
      }
    }
  }

  retried(): void {
    this.#retries += 1;
  }

  end(error: unknown): void {
    try {
      this.#end(error);
    } catch {
      // A span processor is the application's, and may fail: what was answered stays answered.
    }
  }

  #end(error: unknown): void {
    const code = error === undefined ? 'ok' : error instanceof LunaSecError ? error.code : 'aborted';
    this.span.setAttribute('lunasec.code', code);
    this.span.setAttribute('lunasec.retries', this.#retries);
    if (error !== undefined) {
      // Not the error itself: what it holds is not ours to hand on.
      this.span.setStatus({ code: this.api.SpanStatusCode.ERROR, message: code });
    }
    this.span.end();
  }
}
