// Each operation of the contract, from the wire's words to this SDK's and back.
import type {
  Action,
  Deleted,
  Failed,
  Fallback,
  Granted,
  Invalid,
  JsonObject,
  LunaSec,
  LunaSecSession,
  Masked,
  OnUnavailable,
  Tokenized,
  TokenizeItem,
  Valid,
  Value,
} from '@lunasec/node';

import { defined, type Options, policyOf } from './adapter.js';

type Client = LunaSec<OnUnavailable>;
type Arguments = Record<string, unknown>;
type Called = Promise<{ readonly result: unknown; readonly wire: unknown }>;

export const calls: Readonly<Record<string, (client: Client, given: Arguments, options: Options) => Called>> = {
  async tokenize(client, given, options) {
    const { value, ...rest } = item(given);
    const key = defined({ idempotencyKey: options.idempotency_key });
    const result = await speaker(client, options).tokenize(value, { ...rest, ...common(options), ...key });
    return { result, wire: tokenized(result) };
  },
  async tokenize_batch(client, given, options) {
    const key = defined({ idempotencyKey: options.idempotency_key });
    const items = (given['items'] as Arguments[]).map(item);
    const result = await speaker(client, options).tokenizeBatch(items, { ...common(options), ...key });
    return { result, wire: { items: result.map(tokenized) } };
  },
  async detokenize(client, given, options) {
    const result = await speaker(client, options).detokenize(given['token'] as string, reading(options));
    return { result, wire: revealed(result) };
  },
  async detokenize_batch(client, given, options) {
    const result = await speaker(client, options).detokenizeBatch(tokens(given), reading(options));
    return { result, wire: { items: result.map((each) => ({ ...about(each), ...revealed(each) })) } };
  },
  async metadata_get(client, given, options) {
    const result = await speaker(client, options).getMetadata(given['token'] as string, common(options));
    const { metadata, version, degraded, ageSeconds } = result;
    const times = { created_at: result.createdAt.toISOString(), expires_at: result.expiresAt?.toISOString() };
    return { result, wire: defined({ metadata, version, degraded, age: ageSeconds, ...times }) };
  },
  async metadata_set(client, given, options) {
    const version = defined({ ifVersion: given['if_version'] as number | undefined });
    const metadata = given['metadata'] as JsonObject;
    const set = { ...common(options), ...version };
    const result = await speaker(client, options).setMetadata(given['token'] as string, metadata, set);
    return { result, wire: result };
  },
  async grants_create(client, given, options) {
    const more = { expiresIn: given['expires_in'] as string | undefined, actions: given['actions'] as Action[] };
    const result = await session(client, given).grant(tokens(given), { ...common(options), ...defined(more) });
    return { result, wire: { items: result.map(granted) } };
  },
  async grants_verify(client, given, options) {
    const more = defined({ action: given['action'] as Action | undefined });
    const result = await session(client, given).verify(tokens(given), { ...common(options), ...more });
    return { result, wire: { items: result.map(verified) } };
  },
  async grants_revoke(client, given, options) {
    const user = session(client, given);
    const result =
      given['tokens'] === undefined
        ? await user.revokeAll(common(options))
        : await user.revoke(tokens(given), common(options));
    return { result, wire: result };
  },
  async delete(client, given, options) {
    const result = await speaker(client, options).delete(tokens(given), common(options));
    return { result, wire: { items: result.map(deleted) } };
  },
  async status(client, _given, options) {
    const result = await client.status(common(options));
    return { result, wire: result };
  },
};

function speaker(client: Client, { session: id, jwt }: Options): Client | LunaSecSession<OnUnavailable> {
  return id === undefined ? client : client.forSession(id, defined({ jwt }));
}

function session(client: Client, given: Arguments): LunaSecSession<OnUnavailable> {
  return client.forSession(given['session'] as string);
}

function common({ namespace, purpose, deadline_ms, signal }: Options): { namespace: string } {
  return defined({ namespace, purpose, deadlineMs: deadline_ms, signal }) as { namespace: string };
}

function reading(options: Options): { onUnavailable: OnUnavailable } {
  const policy = defined({ onUnavailable: policyOf(options.on_unavailable) });
  return { ...common(options), ...policy } as { onUnavailable: OnUnavailable };
}

function tokens(given: Arguments): string[] {
  return given['tokens'] as string[];
}

/** Bytes as bytes, where the text is the base64 of some. */
function item(given: Arguments): TokenizeItem {
  const { value, encoding, metadata, expires_in } = given as { [name: string]: string };
  const bytes = Buffer.from(value ?? '', 'base64');
  const isBytes = encoding === 'base64' && bytes.toString('base64') === value;
  return {
    ...(isBytes ? { value: bytes } : { value: value as string }),
    ...(encoding === 'base64' && !isBytes ? { encoding } : {}),
    ...defined({ metadata: metadata as JsonObject | undefined, expiresIn: expires_in }),
  } as TokenizeItem;
}

function failed({ error }: Failed): object {
  return { error: { code: error.code, detail: error.detail, retryable: error.retryable } };
}

function about({ token }: { readonly token?: Value['token'] }): object {
  return token === undefined ? {} : { token: token.expose() };
}

function tokenized(result: Tokenized | Failed): object {
  return result.kind === 'failed' ? failed(result) : { ...about(result), durability: result.durability };
}

function aged({ degraded, ageSeconds }: { readonly degraded?: string; readonly ageSeconds?: number }): object {
  return defined({ degraded, age: ageSeconds });
}

function revealed(result: Value | Masked | Fallback<unknown> | Failed): object {
  switch (result.kind) {
    case 'failed':
      return failed(result);
    case 'masked':
      return { masked: result.text, reason: result.reason };
    case 'fallback':
      return { fallback: result.value, reason: result.reason };
    case 'value': {
      const { value } = result;
      const plain = value.isText ? value.reveal() : value.revealBytes().toString('base64');
      return { value: plain, encoding: value.isText ? 'utf8' : 'base64', ...aged(result) };
    }
  }
}

function granted(result: Granted | Failed): object {
  return result.kind === 'failed'
    ? { ...about(result), ...failed(result) }
    : { ...about(result), expires_at: result.expiresAt.toISOString(), durability: result.durability };
}

function verified(result: Valid | Invalid | Failed): object {
  if (result.kind === 'failed') {
    return { ...about(result), ...failed(result) };
  }
  const answer =
    result.kind === 'valid'
      ? { valid: true, expires_at: result.expiresAt.toISOString() }
      : { valid: false, reason: result.reason };
  return { ...about(result), ...answer, ...aged(result) };
}

function deleted(result: Deleted | Failed): object {
  return result.kind === 'failed'
    ? { ...about(result), ...failed(result) }
    : { ...about(result), deleted: true, durability: result.durability };
}
