import type { Metadata } from '@grpc/grpc-js';

import type { LunaSec } from '../client.js';
import { InvalidRequest, Unauthenticated } from '../errors.js';
import type { OnUnavailable } from '../policy.js';
import type { LunaSecSession } from '../session.js';
import { told } from '../words.js';

/** What is known of a call where its session is asked for. */
export interface GrpcCall {
  /** `/shop.v1.Orders/Place` */
  readonly path: string;
  /** The call's metadata; from a client, that is the caller's word. */
  readonly metadata: Metadata;
  /** The other end, as grpc-js has it. */
  readonly peer: string;
}

/** A session, and the JWT that proves it where the sidecar has issuers. */
export interface SessionWithJwt {
  readonly session: string;
  readonly jwt?: string | undefined;
}

/** Says whose session a call is: undefined if it has none. What it throws with a gRPC `code` and `details` ends the call. */
export type SessionOf = (
  call: GrpcCall,
) => string | SessionWithJwt | undefined | Promise<string | SessionWithJwt | undefined>;

/** @internal */
export type Reader = LunaSec<OnUnavailable> | LunaSecSession<OnUnavailable>;

/**
 * The client of one call: that of its session, which is asked for once, so that it is the same for all that is done.
 *
 * @internal
 */
export class Caller {
  readonly #lunasec: LunaSec<OnUnavailable>;
  readonly #session: string | SessionOf | undefined;
  readonly #call: GrpcCall;
  #made: Promise<LunaSecSession<OnUnavailable> | undefined> | undefined;

  constructor(lunasec: LunaSec<OnUnavailable>, session: string | SessionOf | undefined, call: GrpcCall) {
    this.#lunasec = lunasec;
    this.#session = session;
    this.#call = call;
  }

  /** For what needs no session; it is said all the same where there is one. */
  async any(): Promise<Reader> {
    return (await this.#ofSession()) ?? this.#lunasec;
  }

  /** For what is a session's own. */
  async session(): Promise<LunaSecSession<OnUnavailable>> {
    const session = await this.#ofSession();
    if (session === undefined) {
      throw new Unauthenticated('the call has no session, which is asked for here');
    }
    return session;
  }

  #ofSession(): Promise<LunaSecSession<OnUnavailable> | undefined> {
    this.#made ??= this.#make();
    return this.#made;
  }

  async #make(): Promise<LunaSecSession<OnUnavailable> | undefined> {
    const said =
      typeof this.#session === 'function' ? await this.#session(this.#call) : fromMetadata(this.#call, this.#session);
    if (said === undefined || said === null) {
      return undefined;
    }
    return typeof said === 'string'
      ? this.#lunasec.forSession(said)
      : this.#lunasec.forSession(said.session, { jwt: said.jwt });
  }
}

function fromMetadata({ metadata }: GrpcCall, key: string | undefined): string | undefined {
  const values = key === undefined ? [] : metadata.get(key);
  if (values.length > 1) {
    throw told(new InvalidRequest('the call has more than one session; send one, without a comma'));
  }
  return values[0]?.toString();
}
