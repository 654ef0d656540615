import type { Batcher } from './batcher.js';
import { type Context, contextOf, headerValue, type Said } from './context.js';
import type { Engine, Limits } from './engine.js';
import { InvalidRequest, LunaSecError, Unavailable } from './errors.js';
import { ATTEMPTS, DEADLINE_MS, DISPLAY_DEADLINE_MS } from './limits.js';
import type { ListOperation, Outcome, Route, Unit } from './operation.js';
import {
  DELETE,
  DETOKENIZE,
  metadataGet,
  metadataSet,
  TOKENIZE,
  TOKENIZE_ITEM,
  type TokenizeItem,
  tokenizeUnit,
  tokenUnit,
} from './operations.js';
import { list, type Names, onlyKnown } from './options.js';
import type { Holder } from './places.js';
import { type OnUnavailable, policyOf, type Revealed, standIn, stands, standsInFor } from './policy.js';
import { type PlaintextLike, Token, type TokenLike } from './redacted.js';
import type {
  Deleted,
  Failed,
  Fallback,
  JsonObject,
  Masked,
  Metadata,
  MetadataWritten,
  Tokenized,
  Value,
} from './results.js';
import { milliseconds } from './times.js';

/** What any call may say of itself. */
export interface CallOptions {
  /** Gives the call up: it rejects with the signal's reason. Others that share its request are not touched. */
  readonly signal?: AbortSignal | undefined;
  /** For the whole call, its retries included: 15,000, and 2,000 where a policy stands in for an answer. */
  readonly deadlineMs?: number | undefined;
  /** Instead of the client's: another namespace. */
  readonly namespace?: string | undefined;
  /** Instead of the client's: what it is for, for the audit record. */
  readonly purpose?: string | undefined;
  /**
   * See {@link Limits}.
   *
   * @internal
   */
  readonly share?: object | undefined;
}

/** @internal */
export const CALL: Names<CallOptions> = { signal: true, deadlineMs: true, namespace: true, purpose: true, share: true };

/** What a call that reveals values may say of itself. */
export interface ReadOptions<P extends OnUnavailable> extends CallOptions {
  /** What it resolves to when nobody can answer, instead of what the client says. */
  readonly onUnavailable?: P;
}

/** What a tokenize may say of itself. */
export interface TokenizeOptions extends CallOptions, Omit<TokenizeItem, 'value'> {
  /**
   * 1 to 255 visible ASCII characters that name this value for 24 hours: the same key with the same value gives the same
   * token, also from another process beside the same sidecar. Unless given, the client makes one for each call, so that
   * its own retries give one token.
   */
  readonly idempotencyKey?: string | undefined;
}

/** What a batch of tokenizes may say of itself. */
export interface TokenizeBatchOptions extends CallOptions {
  /** As for a single one; the values and their order belong to it. */
  readonly idempotencyKey?: string | undefined;
}

/** What a metadata/set may say of itself. */
export interface MetadataSetOptions extends CallOptions {
  /** Only if this is still the version; {@link Conflict} otherwise. Not tried again where it may have been done. */
  readonly ifVersion?: number | undefined;
}

const READ: Names<ReadOptions<OnUnavailable>> = { ...CALL, onUnavailable: true };
const TOKENIZE_ONE: Names<TokenizeOptions> = {
  expiresIn: true,
  metadata: true,
  encoding: true,
  idempotencyKey: true,
  ...CALL,
};
const TOKENIZE_BATCH: Names<TokenizeBatchOptions> = { idempotencyKey: true, ...CALL };
const METADATA_SET: Names<MetadataSetOptions> = { ifVersion: true, ...CALL };

/**
 * What a view of a client has of its own.
 *
 * @internal
 */
export interface View {
  readonly engine: Engine;
  readonly batcher: Batcher;
  readonly said: Said;
  readonly onUnavailable: OnUnavailable;
  readonly deadlineMs: number | undefined;
  readonly attempts: number | undefined;
}

/** What clients and sessions have in common: values, metadata, deletion. */
export abstract class Tokenizer<P extends OnUnavailable> {
  /** Where nothing prints it: it knows the session and the JWT. */
  readonly #view: View;
  readonly #context: Context;

  /** @internal */
  protected constructor(view: View) {
    this.#view = view;
    this.#context = contextOf(view.said);
  }

  /** @internal */
  protected get view(): View {
    return this.#view;
  }

  /**
   * What its reads resolve to when nobody can answer. It also tells types apart: who asks for a client that fails is not
   * given one that masks; `LunaSec<OnUnavailable>` is any.
   */
  get onUnavailable(): P {
    return this.view.onUnavailable as P;
  }

  /**
   * Tokenizes one value. Calls of the same turn of the event loop share one request.
   *
   * ```ts
   * const { token, durability } = await lunasec.tokenize('4111 1111 1111 1111');
   * ```
   *
   * No policy stands in for it: where nobody can take the value, it rejects with {@link Unavailable}.
   */
  async tokenize(value: PlaintextLike, options: TokenizeOptions = {}): Promise<Tokenized> {
    onlyKnown('tokenize', options, TOKENIZE_ONE);
    const unit = tokenizeUnit({ ...options, value });
    const { idempotencyKey } = options;
    const outcomes =
      idempotencyKey === undefined
        ? await this.together(TOKENIZE, [unit], options)
        : await this.apart(TOKENIZE, [unit], options, false, idempotencyKey);
    return only(outcomes);
  }

  /**
   * Tokenizes 1 to 1,000 values in one request of at most 16 MiB. Items fail each by itself; the call rejects only if
   * there was no answer for any.
   */
  async tokenizeBatch(
    items: readonly (TokenizeItem | PlaintextLike)[],
    options: TokenizeBatchOptions = {},
  ): Promise<(Tokenized | Failed)[]> {
    onlyKnown('tokenizeBatch', options, TOKENIZE_BATCH);
    const units = list('tokenizeBatch', items).map((item) =>
      isItem(item) ? itemUnit(item) : tokenizeUnit({ value: item }),
    );
    const outcomes = await this.apart(TOKENIZE, units, options, true, options.idempotencyKey);
    return outcomes.map((outcome) => ('error' in outcome ? { kind: 'failed', error: outcome.error } : outcome.value));
  }

  /**
   * Reveals one value. Calls of the same turn of the event loop share one request.
   *
   * ```ts
   * const { value } = await lunasec.detokenize(token);             // rejects when nobody can answer
   * const shown = await lunasec.detokenize(token, { onUnavailable: 'mask' });
   * render(shown.kind === 'value' ? shown.value.reveal() : shown.text);
   * ```
   */
  async detokenize<C extends OnUnavailable = P>(token: TokenLike, options: ReadOptions<C> = {}): Promise<Revealed<C>> {
    onlyKnown('detokenize', options, READ);
    const policy = policyOf(options.onUnavailable ?? this.view.onUnavailable);
    try {
      return only(await this.together(DETOKENIZE, [tokenUnit(token)], options, policy)) as Revealed<C>;
    } catch (error) {
      return (await this.#standIn(policy, token, error, options)) as Revealed<C>;
    }
  }

  /**
   * Reveals 1 to 1,000 values in one request. Items fail each by itself. Under a policy that stands in for an answer, it
   * does so for each item that nobody can answer; otherwise the call rejects if there was no answer for any.
   */
  async detokenizeBatch<C extends OnUnavailable = P>(
    tokens: readonly TokenLike[],
    options: ReadOptions<C> = {},
  ): Promise<(Revealed<C> | Failed)[]> {
    onlyKnown('detokenizeBatch', options, READ);
    const policy = policyOf(options.onUnavailable ?? this.view.onUnavailable);
    const units = list('detokenizeBatch', tokens).map(tokenUnit);
    let outcomes: readonly Outcome<Value>[];
    try {
      outcomes = await this.apart(DETOKENIZE, units, options, true, undefined, policy);
    } catch (error) {
      const stood = standing(policy, error);
      outcomes = units.map(() => ({ error: stood }));
    }
    const revealed = outcomes.map((outcome, index) => this.#revealOr(policy, outcome, tokens[index] ?? '', options));
    return (await Promise.all(revealed)) as (Revealed<C> | Failed)[];
  }

  async #revealOr(
    policy: OnUnavailable,
    outcome: Outcome<Value>,
    token: TokenLike,
    options: CallOptions,
  ): Promise<Value | Masked | Fallback<unknown> | Failed> {
    if (!('error' in outcome)) {
      return outcome.value;
    }
    try {
      return await this.#standIn(policy, token, outcome.error, options);
    } catch (error) {
      const { signal } = options;
      if (signal?.aborted && error === signal.reason) {
        throw error;
      }
      return valueOrFailed({ error: ofItem(error, outcome.error) }, token);
    }
  }

  #standIn(
    policy: OnUnavailable,
    token: TokenLike,
    error: unknown,
    options: CallOptions,
  ): Promise<Masked | Fallback<unknown>> {
    const { runtime } = this.view.engine;
    return standIn(policy, Token.from(token), error, runtime, this.#limits(options, policy));
  }

  /** Reads what is kept beside a value. */
  async getMetadata(token: TokenLike, options: CallOptions = {}): Promise<Metadata> {
    onlyKnown('getMetadata', options, CALL);
    return this.#metadata(metadataGet(token), options);
  }

  /** Replaces the whole of what is kept beside a value: a JSON object of at most 16 KiB. */
  async setMetadata(
    token: TokenLike,
    metadata: JsonObject,
    options: MetadataSetOptions = {},
  ): Promise<MetadataWritten> {
    onlyKnown('setMetadata', options, METADATA_SET);
    return this.#metadata(metadataSet(token, metadata, options.ifVersion), options);
  }

  /**
   * Deletes 1 to 1,000 values. A token that never had one is deleted too. Items fail each by itself.
   */
  async delete(tokens: readonly TokenLike[], options: CallOptions = {}): Promise<(Deleted | Failed)[]> {
    onlyKnown('delete', options, CALL);
    return this.items(DELETE, list('delete', tokens), options);
  }

  /** @internal */
  protected async items<T>(
    operation: ListOperation<T>,
    tokens: readonly TokenLike[],
    options: CallOptions,
  ): Promise<(T | Failed)[]> {
    const outcomes = await this.together(operation, tokens.map(tokenUnit), options);
    return outcomes.map((outcome, index) => valueOrFailed(outcome, tokens[index] ?? ''));
  }

  /** A user may have an application ask for many of these, of which none shares its request. */
  #metadata<T>(route: Route<T>, options: CallOptions): Promise<T> {
    return this.request(route, options, { session: this.view.said.session, alone: true });
  }

  /**
   * Bounded by the process alone unless a holder is named: what takes grants back is not refused because of what the session
   * does beside it.
   *
   * @internal
   */
  protected async request<T>(route: Route<T>, options: CallOptions, holder: Holder = {}): Promise<T> {
    await this.view.engine.telemetry.loading;
    const limits = { ...this.#limits(options, 'fail'), session: undefined, ...holder };
    return this.view.engine.send(route, this.#contextOf(options), limits);
  }

  /** @internal */
  protected async together<T>(
    operation: ListOperation<T>,
    units: readonly Unit[],
    options: CallOptions,
    policy: OnUnavailable = 'fail',
  ): Promise<readonly Outcome<T>[]> {
    const { batcher, engine } = this.view;
    if (engine.telemetry.loading !== undefined) {
      await engine.telemetry.loading;
    }
    const limits = this.#limits(options, policy);
    const common = { operation, context: this.#contextOf(options), attempts: limits.attempts };
    return batcher.submit(common, units, limits);
  }

  /** @internal */
  protected async apart<T>(
    operation: ListOperation<T>,
    units: readonly Unit[],
    options: CallOptions,
    asBatch: boolean,
    key?: string,
    policy: OnUnavailable = 'fail',
  ): Promise<readonly Outcome<T>[]> {
    const { batcher, engine } = this.view;
    await engine.telemetry.loading;
    const limits = this.#limits(options, policy);
    const idempotencyKey = key === undefined ? undefined : headerValue('idempotency key', key);
    const context = this.#contextOf(options);
    return batcher.alone({ operation, context, attempts: limits.attempts, asBatch, idempotencyKey }, units, limits);
  }

  #contextOf({ namespace, purpose }: CallOptions): Context {
    if (namespace === undefined && purpose === undefined) {
      return this.#context;
    }
    const { said } = this.view;
    return contextOf({ ...said, namespace: namespace ?? said.namespace, purpose: purpose ?? said.purpose });
  }

  #limits(options: CallOptions, policy: OnUnavailable): Limits {
    const standing = stands(policy);
    if (options.signal !== undefined && typeof options.signal?.addEventListener !== 'function') {
      throw new InvalidRequest('signal is no AbortSignal: give the signal of an AbortController');
    }
    const deadlineMs = options.deadlineMs ?? this.view.deadlineMs ?? (standing ? DISPLAY_DEADLINE_MS : DEADLINE_MS);
    return {
      deadlineMs: milliseconds('deadlineMs', deadlineMs),
      attempts: this.view.attempts ?? (standing ? 1 : ATTEMPTS),
      signal: options.signal,
      share: options.share,
      session: this.view.said.session,
    };
  }
}

function isItem(item: TokenizeItem | PlaintextLike): item is TokenizeItem {
  return typeof item === 'object' && item !== null && 'value' in item;
}

function itemUnit(item: TokenizeItem): Unit {
  onlyKnown('an item of tokenizeBatch', item, TOKENIZE_ITEM);
  return tokenizeUnit(item);
}

function only<T>(outcomes: readonly Outcome<T>[]): T {
  const [outcome] = outcomes;
  if (outcome === undefined || 'error' in outcome) {
    throw outcome?.error;
  }
  return outcome.value;
}

function valueOrFailed<T>(outcome: Outcome<T>, token: TokenLike): T | Failed {
  return 'error' in outcome ? { kind: 'failed', token: Token.from(token), error: outcome.error } : outcome.value;
}

/** The error of a whole batch, where the policy stands in for each of its items. */
function standing(policy: OnUnavailable, error: unknown): Unavailable {
  if (!standsInFor(policy, error)) {
    throw error;
  }
  return error;
}

/** What an item failed with. What a fallback threw is its cause: whoever reads items finds errors of this client only. */
function ofItem(error: unknown, away: LunaSecError): LunaSecError {
  if (error instanceof LunaSecError) {
    return error;
  }
  const { code, retryable } = away;
  const detail = `${away.detail}; and the fallback of onUnavailable threw: see cause, and mend the fallback`;
  return new Unavailable(code, detail, { retryable, cause: error });
}
