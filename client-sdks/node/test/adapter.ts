// The adapter of the contract's harness: see tests/contract/README.md for the lines it reads and writes. It uses the
// built package by its name, as an application does.
import { createInterface } from 'node:readline';
import { inspect } from 'node:util';

import { type ClientOptions, LunaSec, LunaSecError, type OnUnavailable } from '@lunasec/node';

import { calls } from './adapter-calls.js';

/** What a message of the harness may say. */
interface Message {
  readonly id: number;
  readonly open?: { readonly socket: string; readonly options: Options };
  readonly call?: string;
  /** Whether it may be given up, and the call that is. */
  readonly abortable?: boolean;
  readonly abort?: number;
  readonly arguments?: Record<string, unknown>;
  readonly options?: Options;
}

/** Options in the words that all SDKs share. */
export interface Options {
  readonly namespace?: string;
  readonly purpose?: string;
  readonly session?: string;
  readonly jwt?: string;
  readonly deadline_ms?: number;
  readonly idempotency_key?: string;
  readonly on_unavailable?: 'fail' | 'mask' | { readonly mask: string } | { readonly fallback: string };
  readonly attempts?: number;
  readonly pause_ms?: number;
  readonly pause_most_ms?: number;
  readonly retry_budget?: number;
  readonly start_deadline_ms?: number;
  readonly restart_grace_ms?: number;
  readonly signal?: AbortSignal;
}

const leaving = new Map<number, AbortController>();
let client: LunaSec<OnUnavailable> | undefined;

/** The members that are there, by their names here. */
export function defined<T extends object>(members: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(members).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}

export function policyOf(policy: Options['on_unavailable']): OnUnavailable | undefined {
  if (typeof policy === 'object' && 'fallback' in policy) {
    return { fallback: () => policy.fallback };
  }
  return policy;
}

async function open(socket: string, options: Options): Promise<object> {
  await client?.close();
  client = new LunaSec<OnUnavailable>({
    socket,
    ...defined({
      namespace: options.namespace,
      purpose: options.purpose,
      jwt: options.jwt,
      deadlineMs: options.deadline_ms,
      onUnavailable: policyOf(options.on_unavailable),
      startDeadlineMs: options.start_deadline_ms,
      restartGraceMs: options.restart_grace_ms,
    }),
    retry: defined({
      attempts: options.attempts,
      pauseMs: options.pause_ms,
      pauseMostMs: options.pause_most_ms,
      budget: options.retry_budget,
    }),
  } as ClientOptions<OnUnavailable>);
  return { ok: {}, printed: inspect(client) };
}

/** How something prints wherever something prints by itself. */
function printed(value: unknown): string {
  const parts = [inspect(value, { depth: 20, showHidden: true }), String(value), JSON.stringify(value)];
  return parts.join('\n');
}

function errorOf(error: unknown): object {
  if (error instanceof DOMException && error.name === 'AbortError') {
    return { class: 'Aborted' };
  }
  if (!(error instanceof LunaSecError)) {
    return { class: error instanceof Error ? error.name : 'thrown', detail: String(error) };
  }
  return defined({
    class: error.name,
    code: error.code,
    status: error.status,
    retryable: error.retryable,
    detail: error.detail,
    retry_after_ms: error.retryAfterMs,
  });
}

function optionsOf({ id, abortable, options = {} }: Message): Options {
  if (abortable !== true) {
    return options;
  }
  const leave = new AbortController();
  leaving.set(id, leave);
  return { ...options, signal: leave.signal };
}

async function reply(message: Message): Promise<object> {
  if (message.open !== undefined) {
    return open(message.open.socket, message.open.options);
  }
  if (message.abort !== undefined) {
    leaving.get(message.abort)?.abort();
    return { ok: {} };
  }
  const call = calls[message.call ?? ''];
  if (call === undefined || client === undefined) {
    return { missing: message.call ?? 'open' };
  }
  try {
    const { result, wire } = await call(client, message.arguments ?? {}, optionsOf(message));
    return { ok: wire, printed: printed(result) };
  } catch (error) {
    return { error: errorOf(error), printed: printed(error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line) as Message;
  void reply(message).then((answer) => process.stdout.write(`${JSON.stringify({ id: message.id, ...answer })}\n`));
}
await client?.close();
