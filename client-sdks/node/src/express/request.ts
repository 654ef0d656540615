import type { LunaSec } from '../client.js';
import { Unauthenticated, type Unavailable } from '../errors.js';
import type { TokenizeItem } from '../operations.js';
import type { OnUnavailable, Revealed } from '../policy.js';
import type { PlaintextLike, TokenLike } from '../redacted.js';
import type {
  Deleted,
  Failed,
  Granted,
  Invalid,
  JsonObject,
  Metadata,
  MetadataWritten,
  Revoked,
  Tokenized,
  Valid,
} from '../results.js';
import type { GrantOptions, LunaSecSession, VerifyOptions } from '../session.js';
import type {
  CallOptions,
  MetadataSetOptions,
  ReadOptions,
  TokenizeBatchOptions,
  TokenizeOptions,
  Tokenizer,
} from '../tokenizer.js';
import type { Fields } from './fields.js';
import { type GrantIn, grantIn } from './grant.js';
import type { Noted } from './marks.js';
import { Patience } from './patience.js';
import { type RevealIn, revealIn } from './reveal.js';
import type { ResponseLike } from './types.js';

/**
 * LunaSec for one request: everything goes out under the session of that request, which is asked for once, when it is
 * needed first. Where the request has none, what needs one rejects with {@link Unauthenticated}, and the rest goes on
 * without.
 */
export class RequestLunaSec {
  /** @internal */
  readonly patience = new Patience();
  readonly #client: LunaSec;
  readonly #resolve: () => Promise<LunaSecSession | undefined>;
  readonly #response: ResponseLike;
  #session: Promise<LunaSecSession | undefined> | undefined;
  #signal: AbortSignal | undefined;

  /** @internal */
  constructor(
    client: LunaSec,
    resolve: () => Promise<LunaSecSession | undefined>,
    response: ResponseLike,
    /** @internal */
    readonly noted: Noted,
  ) {
    this.#client = client;
    this.#resolve = resolve;
    this.#response = response;
    Object.defineProperties(this, { noted: { enumerable: false }, patience: { enumerable: false } });
  }

  /**
   * The session of this request.
   *
   * @throws {@link Unauthenticated} where it has none.
   */
  async session(): Promise<LunaSecSession> {
    const session = await this.#bound();
    if (session === undefined) {
      throw new Unauthenticated(
        'this needs a session, and the request has none: the function `session` of lunasec.express() gave nothing',
      );
    }
    return session;
  }

  /** Whether the request has a session. */
  async hasSession(): Promise<boolean> {
    return (await this.#bound()) !== undefined;
  }

  /** Asks for the session anew: after a login or a logout gave the user another one. */
  rebind(): void {
    this.#session = undefined;
  }

  /** Aborts when whoever made the request goes away before the answer; for calls that are of no use then. */
  get signal(): AbortSignal {
    this.#signal ??= leaving(this.#response);
    return this.#signal;
  }

  /** As {@link LunaSec.tokenize}. */
  async tokenize(value: PlaintextLike, options?: TokenizeOptions): Promise<Tokenized> {
    return (await this.caller()).tokenize(value, options);
  }

  /** As {@link LunaSec.tokenizeBatch}. */
  async tokenizeBatch(
    items: readonly (TokenizeItem | PlaintextLike)[],
    options?: TokenizeBatchOptions,
  ): Promise<(Tokenized | Failed)[]> {
    return (await this.caller()).tokenizeBatch(items, options);
  }

  /** As {@link LunaSec.detokenize}. */
  async detokenize<C extends OnUnavailable = 'fail'>(token: TokenLike, options?: ReadOptions<C>): Promise<Revealed<C>> {
    return (await this.caller()).detokenize<C>(token, options);
  }

  /** As {@link LunaSec.detokenizeBatch}. */
  async detokenizeBatch<C extends OnUnavailable = 'fail'>(
    tokens: readonly TokenLike[],
    options?: ReadOptions<C>,
  ): Promise<(Revealed<C> | Failed)[]> {
    return (await this.caller()).detokenizeBatch<C>(tokens, options);
  }

  /** As {@link LunaSec.getMetadata}. */
  async getMetadata(token: TokenLike, options?: CallOptions): Promise<Metadata> {
    return (await this.caller()).getMetadata(token, options);
  }

  /** As {@link LunaSec.setMetadata}. */
  async setMetadata(token: TokenLike, metadata: JsonObject, options?: MetadataSetOptions): Promise<MetadataWritten> {
    return (await this.caller()).setMetadata(token, metadata, options);
  }

  /** As {@link LunaSec.delete}. */
  async delete(tokens: readonly TokenLike[], options?: CallOptions): Promise<(Deleted | Failed)[]> {
    return (await this.caller()).delete(tokens, options);
  }

  /** As {@link LunaSecSession.grant}. */
  async grant(tokens: readonly TokenLike[], options?: GrantOptions): Promise<(Granted | Failed)[]> {
    return (await this.session()).grant(tokens, options);
  }

  /** As {@link LunaSecSession.verify}. */
  async verify(tokens: readonly TokenLike[], options?: VerifyOptions): Promise<(Valid | Invalid | Failed)[]> {
    return (await this.session()).verify(tokens, options);
  }

  /** As {@link LunaSecSession.revoke}. */
  async revoke(tokens: readonly TokenLike[], options?: CallOptions): Promise<Revoked> {
    return (await this.session()).revoke(tokens, options);
  }

  /** As {@link LunaSecSession.revokeAll}: for a logout. */
  async revokeAll(options?: CallOptions): Promise<Revoked> {
    return (await this.session()).revokeAll(options);
  }

  /**
   * Says of the answer that your own code shows something else where nobody could answer, as {@link revealIn} does of what it
   * masks: in `res.locals.lunasec`, and in the header `lunasec-degraded`.
   */
  noteMasked(error: Unavailable): void {
    this.noted.standsIn(error.code);
  }

  /** A copy of some data with these fields revealed, as {@link reveal} does it: for what is rendered, not sent as JSON. */
  async revealIn<T>(data: T, fields: Fields, options: RevealIn = {}): Promise<T> {
    return revealIn(this, data, fields, options);
  }

  /** Grants these fields of some data to the session, as {@link grant} does it. Gives a copy with tokens as text. */
  async grantIn<T>(data: T, fields: Fields, options: GrantIn = {}): Promise<T> {
    return grantIn(this, data, fields, options);
  }

  /**
   * The session's client, or the application's own where there is no session.
   *
   * @internal
   */
  async caller(): Promise<Tokenizer<'fail'>> {
    return (await this.#bound()) ?? this.#client;
  }

  #bound(): Promise<LunaSecSession | undefined> {
    if (this.#session === undefined) {
      const session = this.#resolve();
      this.#session = session;
      // Whoever asks next may have more luck.
      session.catch(() => {
        if (this.#session === session) {
          this.#session = undefined;
        }
      });
    }
    return this.#session;
  }
}

function leaving(response: ResponseLike): AbortSignal {
  const leave = new AbortController();
  const left = (): void => {
    if (!response.writableFinished) {
      leave.abort(new DOMException('whoever made the request is gone', 'AbortError'));
    }
  };
  response.closed ? left() : response.once('close', left);
  return leave.signal;
}
