import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import * as api from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-base';

import type { LunaSecError } from '../src/index.js';
import { scene, token, tokens } from './fake.js';

const exporter = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });

before(() => {
  api.trace.setGlobalTracerProvider(provider);
  api.context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  api.propagation.setGlobalPropagator(new W3CTraceContextPropagator());
});
beforeEach(() => exporter.reset());
after(() => {
  api.trace.disable();
  api.context.disable();
  api.propagation.disable();
});

function inSpan<T>(name: string, run: () => T): { span: api.Span; result: T } {
  const span = provider.getTracer('app').startSpan(name);
  const result = api.context.with(api.trace.setSpan(api.context.active(), span), run);
  span.end();
  return { span, result };
}

function ours(): ReadableSpan[] {
  return exporter.getFinishedSpans().filter(({ name }) => name.startsWith('lunasec '));
}

test('a call is a client span below the active one, and its traceparent is the span', async () => {
  const { client, sidecar } = scene({ telemetry: api });
  const { span, result } = inSpan('page', () => client.detokenize(token(1)));
  const came = await sidecar.next();
  came.reveal();
  await result;
  const [found] = ours();
  assert.equal(found?.name, 'lunasec detokenize');
  assert.equal(found?.kind, api.SpanKind.CLIENT);
  assert.equal(found?.parentSpanContext?.spanId, span.spanContext().spanId);
  const context = found?.spanContext();
  assert.equal(came.headers['traceparent'], `00-${context?.traceId}-${context?.spanId}-01`);
});

test('calls that share a request share its span: the first is its parent, the others are linked', async () => {
  const { client, sidecar } = scene({ telemetry: api });
  const pages = tokens(3).map((each, index) => inSpan(`page ${index}`, () => client.detokenize(each)));
  (await sidecar.next()).reveal();
  await Promise.all(pages.map(({ result }) => result));
  const [found, ...others] = ours();
  assert.equal(others.length, 0);
  assert.equal(found?.attributes['lunasec.items'], 3);
  assert.equal(found?.parentSpanContext?.spanId, pages[0]?.span.spanContext().spanId);
  const linked = found?.links.map(({ context }) => context.spanId);
  assert.deepEqual(
    linked,
    pages.slice(1).map(({ span }) => span.spanContext().spanId),
  );
});

test('a span says operation, items, retries and code', async () => {
  const { client, sidecar, runtime } = scene({ telemetry: api, retry: { attempts: 2 } });
  const call = client.getMetadata(token(1));
  (await sidecar.next()).problem('storage_unavailable', 503, true);
  await runtime.waitedFor(50);
  runtime.advance(50);
  (await sidecar.next()).problem('grant_denied', 403, false);
  await assert.rejects(call);
  const [found] = ours();
  assert.deepEqual(found?.attributes, {
    'lunasec.operation': 'metadata/get',
    'lunasec.items': 1,
    'lunasec.code': 'grant_denied',
    'lunasec.retries': 1,
  });
  assert.deepEqual(found?.status, { code: api.SpanStatusCode.ERROR, message: 'grant_denied' });
});

test('nothing of a value, a token or a session is in any span', async () => {
  const { client, sidecar } = scene({ telemetry: api, purpose: 'purpose-marker' });
  const user = client.forSession('session-marker', { jwt: 'jwt-marker' });
  const calls = [user.tokenize('value-marker'), user.detokenize(token(0xabcdef)), user.verify([token(0xabcdef)])];
  const settled = Promise.allSettled(calls);
  for (let count = 0; count < 3; count += 1) {
    const came = await sidecar.next();
    came.path === '/v1/tokenize'
      ? came.problem('internal', 500, false)
      : came.answer({ value: 'value-marker', encoding: 'utf8', items: 'value-marker' });
  }
  await settled;
  assert.equal(ours().length, 3);
  const told = JSON.stringify(
    ours().map(({ name, attributes, events, status, links, resource }) => [
      name,
      attributes,
      events,
      status,
      links,
      resource.attributes,
    ]),
  );
  assert.doesNotMatch(told, /marker|abcdef/);
});

test('OpenTelemetry is found by itself where it is, also by the very first call', async () => {
  const { client, sidecar } = scene({ telemetry: undefined as never });
  const call = client.detokenize(token(1));
  const came = await sidecar.next();
  came.reveal();
  await call;
  assert.match(came.headers['traceparent'] ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
});

test('nothing is traced where the application says so', async () => {
  const { client, sidecar } = scene({ telemetry: false });
  const { result } = inSpan('page', () => client.detokenize(token(1)));
  const came = await sidecar.next();
  came.reveal();
  await result;
  assert.deepEqual([ours().length, came.headers['traceparent']], [0, undefined]);
});

test('a tracer that fails fails no call', async () => {
  const broken = (): never => {
    throw new Error('the tracer');
  };
  for (const part of [
    { trace: { ...api.trace, getTracer: () => ({ startSpan: broken }) } },
    { propagation: { inject: broken } },
  ]) {
    const { client, sidecar } = scene({ telemetry: { ...api, ...part } as unknown as typeof api });
    const call = client.detokenize(token(1));
    (await sidecar.next()).reveal();
    assert.equal((await call).kind, 'value');
  }
});

test('of what a propagator writes, the trace alone is sent', async () => {
  const inject = (_: unknown, carrier: Record<string, string>): void => {
    Object.assign(carrier, {
      traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
      tracestate: 'bad\nstate',
      baggage: `user=${'x'.repeat(8_192)}`,
      'content-length': '1',
      'lunasec-session': 'bob',
    });
  };
  const telemetry = { ...api, propagation: { inject } } as unknown as typeof api;
  const { client, sidecar } = scene({ telemetry });
  const call = client.forSession('alice').detokenize(token(1));
  const came = await sidecar.next();
  came.reveal();
  await call;
  const { traceparent, tracestate, baggage, 'content-length': length, 'lunasec-session': session } = came.headers;
  assert.match(traceparent ?? '', /^00-0af7/);
  assert.deepEqual([tracestate, baggage, length, session], [undefined, undefined, undefined, 'alice']);
});

test('a span that cannot be ended, or a context that cannot be told, fails no call', async () => {
  const broken = (): never => {
    throw new Error('the span processor');
  };
  const processor = { onStart: () => undefined, onEnd: broken, forceFlush: async () => {}, shutdown: async () => {} };
  const failing = new BasicTracerProvider({ spanProcessors: [processor] });
  for (const part of [
    { trace: { ...api.trace, getTracer: () => failing.getTracer('app'), setSpan: api.trace.setSpan } },
    { context: { active: broken } },
  ]) {
    const { client, sidecar } = scene({ telemetry: { ...api, ...part } as unknown as typeof api });
    const calls = [client.getMetadata(token(1)), client.detokenize(token(1)), client.delete([token(1)])];
    const [alone, value, deleted] = calls.map((call) => call.then(String, (error: LunaSecError) => error.code));
    for (const came of [await sidecar.next(), await sidecar.next(), await sidecar.next()]) {
      came.path === '/v1/detokenize' ? came.reveal() : came.problem('forbidden', 403, false);
    }
    assert.deepEqual([await alone, await value, await deleted], ['forbidden', '[object Object]', 'forbidden']);
  }
});
