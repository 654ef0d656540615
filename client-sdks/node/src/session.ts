import { type Action, grantsCreate, grantsRevoke, grantsVerify } from './operations.js';
import { list, type Names, onlyKnown } from './options.js';
import type { OnUnavailable } from './policy.js';
import type { TokenLike } from './redacted.js';
import type { Failed, Granted, Invalid, Revoked, Valid } from './results.js';
import { CALL, type CallOptions, Tokenizer, type View } from './tokenizer.js';

/** What a grant may say of itself. */
export interface GrantOptions extends CallOptions {
  /** For how long, such as `15m`, which is the default; the operator sets the most. */
  readonly expiresIn?: string | undefined;
  /** What is allowed: `detokenize` and `metadata` unless given. */
  readonly actions?: readonly Action[] | undefined;
}

/** What a verify may say of itself. */
export interface VerifyOptions extends CallOptions {
  /** What for; `detokenize` unless given. */
  readonly action?: Action | undefined;
}

const GRANT: Names<GrantOptions> = { expiresIn: true, actions: true, ...CALL };
const VERIFY: Names<VerifyOptions> = { action: true, ...CALL };

/**
 * A client that speaks for one session of one end user: what it grants, verifies and reveals is that session's, so that
 * no two ids can be mixed up. Made by {@link LunaSec.forSession}.
 */
export class LunaSecSession<P extends OnUnavailable = 'fail'> extends Tokenizer<P> {
  readonly #session: string;

  /** @internal */
  constructor(view: View, session: string) {
    super(view);
    this.#session = session;
  }

  /**
   * Lets the session do something with 1 to 1,000 tokens, for a time. Calls of the same turn share one request.
   *
   * No policy stands in for it.
   */
  async grant(tokens: readonly TokenLike[], options: GrantOptions = {}): Promise<(Granted | Failed)[]> {
    onlyKnown('grant', options, GRANT);
    const operation = grantsCreate(this.#session, options.expiresIn, options.actions);
    return this.items(operation, list('grant', tokens), options);
  }

  /**
   * Asks whether the session may do something with 1 to 1,000 tokens. Calls of the same turn share one request.
   *
   * No policy stands in for it: where nobody knows, items are `failed` or the call rejects, and neither is a yes.
   */
  async verify(tokens: readonly TokenLike[], options: VerifyOptions = {}): Promise<(Valid | Invalid | Failed)[]> {
    onlyKnown('verify', options, VERIFY);
    return this.items(grantsVerify(this.#session, options.action), list('verify', tokens), options);
  }

  /** Takes back all that the session was granted for 1 to 1,000 tokens. */
  async revoke(tokens: readonly TokenLike[], options: CallOptions = {}): Promise<Revoked> {
    onlyKnown('revoke', options, CALL);
    return this.request(grantsRevoke(this.#session, list('revoke', tokens)), options);
  }

  /** Takes back all that the session was granted: for a logout. */
  async revokeAll(options: CallOptions = {}): Promise<Revoked> {
    onlyKnown('revokeAll', options, CALL);
    return this.request(grantsRevoke(this.#session, undefined), options);
  }
}
