import { Overloaded } from './errors.js';
import { ALONE_SHARE, BATCH_ITEMS, SESSION_SHARE } from './limits.js';

/**
 * Who takes a place.
 *
 * @internal
 */
export interface Holder {
  /** What the call is a part of. A thousand calls of the same take one place: they go together anyway. */
  readonly share?: object | undefined;
  /** Whose call it is: one session leaves places to the others. */
  readonly session?: string | undefined;
  /** Whether it can share its request with nobody, so that each call of it is a request. */
  readonly alone?: boolean | undefined;
}

/**
 * The calls under way in a process: so many, and no more. What one session has of them is bounded, too, for what one user
 * may have an application ask is often more than it looks like.
 *
 * @internal
 */
export class Places {
  readonly #most: number;
  #taken = 0;
  /** The calls under way of each share. */
  readonly #shares = new WeakMap<object, number>();
  /** The places of each session, and those of its calls that are requests of their own. */
  readonly #sessions = new Map<string, number>();
  readonly #alone = new Map<string, number>();

  constructor(most: number) {
    this.#most = most;
  }

  /** A place for one caller to wait, until it says that it has left; refused where too many do. */
  take(holder: Holder): () => void {
    const { share } = holder;
    const calls = share === undefined ? 0 : (this.#shares.get(share) ?? 0);
    if (calls % BATCH_ITEMS === 0) {
      this.#takeFor(holder);
    }
    if (share !== undefined) {
      this.#shares.set(share, calls + 1);
    }
    return () => this.#leave(holder);
  }

  #takeFor({ session, alone = false }: Holder): void {
    if (this.#taken >= this.#most) {
      throw tooMany(`${this.#taken} calls are under way in this process`);
    }
    if (session !== undefined) {
      this.#takeOf(session, alone);
    }
    this.#taken += 1;
  }

  #takeOf(session: string, alone: boolean): void {
    const held = this.#sessions.get(session) ?? 0;
    if (held >= shareOf(this.#most, SESSION_SHARE)) {
      throw tooMany(`${held} calls of one session are under way`);
    }
    const requests = this.#alone.get(session) ?? 0;
    if (alone && requests >= shareOf(this.#most, ALONE_SHARE)) {
      throw tooMany(`${requests} requests for metadata of one session are under way`);
    }
    this.#sessions.set(session, held + 1);
    if (alone) {
      this.#alone.set(session, requests + 1);
    }
  }

  #leave({ share, session, alone = false }: Holder): void {
    const calls = share === undefined ? 0 : (this.#shares.get(share) ?? 1) - 1;
    if (share !== undefined) {
      this.#shares.set(share, calls);
    }
    if (calls % BATCH_ITEMS !== 0) {
      return;
    }
    this.#taken -= 1;
    if (session !== undefined) {
      oneLess(this.#sessions, session);
      if (alone) {
        oneLess(this.#alone, session);
      }
    }
  }
}

function shareOf(most: number, part: number): number {
  return Math.max(1, Math.floor(most * part));
}

function oneLess(counts: Map<string, number>, key: string): void {
  const left = (counts.get(key) ?? 1) - 1;
  left > 0 ? counts.set(key, left) : counts.delete(key);
}

function tooMany(what: string): Overloaded {
  return new Overloaded(`${what}, which is all that may be: make fewer at once, or raise pendingCalls`, {
    retryable: true,
  });
}
