import type { LunaSec } from '../client.js';
import { Unauthenticated } from '../errors.js';
import type { OnUnavailable } from '../policy.js';
import type { LunaSecSession } from '../session.js';

/** A user's session: its id, or its id and the JWT that proves it. Nothing: there is none. */
export type SessionOfContext = string | { readonly id: string; readonly jwt?: string | undefined } | null | undefined;

/** Whose session a request is of. It is asked for each field: keep the id in the context. */
export type SessionFunction<C> = (context: C) => SessionOfContext | Promise<SessionOfContext>;

/**
 * The one place where a context becomes a session: for grants, verification and values alike.
 *
 * @internal
 */
export class Sessions<C> {
  readonly #client: LunaSec<OnUnavailable>;
  readonly #session: SessionFunction<C>;
  /** The last one of each context: a hundred fields make one. */
  readonly #last = new WeakMap<object, { readonly key: string; readonly session: LunaSecSession<OnUnavailable> }>();

  constructor(client: LunaSec<OnUnavailable>, session: SessionFunction<C>) {
    this.#client = client;
    this.#session = session;
  }

  /** Asked anew each time: a resolver may have logged somebody in. */
  async of(context: C): Promise<LunaSecSession<OnUnavailable>> {
    const said = await this.#session(context);
    const { id, jwt } = typeof said === 'object' && said !== null ? said : { id: said, jwt: undefined };
    if (id === undefined || id === null || id === '') {
      throw new Unauthenticated('the function `session` of lunasecDirectives gave no session for this request');
    }
    const key = JSON.stringify([id, jwt]);
    const at = typeof context === 'object' && context !== null ? context : undefined;
    const last = at && this.#last.get(at);
    if (last?.key === key) {
      return last.session;
    }
    const session = this.#client.forSession(id, { jwt });
    if (at) {
      this.#last.set(at, { key, session });
    }
    return session;
  }
}
