import type { GraphQLResolveInfo } from 'graphql';

/**
 * Brings together the fields of one response: each waits until no resolver of it that is of another such field, or may
 * lead to one, is under way. The client then makes one request of them all, however deep they are and whatever their parents waited
 * for. Nobody waits longer for it than the time that was given, so that one slow list does not hold up the values of
 * the others for long; and nothing is held up that was not waiting anyway, as an answer is sent as a whole.
 */
class Gathering {
  readonly #mostMs: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #checking = false;

  constructor(mostMs: number) {
    this.#mostMs = mostMs;
  }

  /** A resolver gave this; what comes of it counts as under way until it is there. */
  track(result: unknown): void {
    if (isPromise(result)) {
      this.#running += 1;
      result.then(
        (value) => this.#settled(value),
        () => this.#settled(undefined),
      );
    } else if (Array.isArray(result)) {
      for (const item of result) {
        this.track(item);
      }
    }
  }

  /** Resolves when the others are there. */
  together(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#timer ??= setTimeout(() => this.#release(), this.#mostMs);
      this.#check();
    });
  }

  #settled(value: unknown): void {
    this.#running -= 1;
    this.track(value);
    this.#check();
  }

  /** At the end of the turn, when all that follows from what is known has been called. */
  #check(): void {
    if (this.#running > 0 || this.#checking || this.#waiting.length === 0) {
      return;
    }
    this.#checking = true;
    setImmediate(() => {
      this.#checking = false;
      if (this.#running === 0) {
        this.#release();
      }
    });
  }

  #release(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const go of this.#waiting.splice(0)) {
      go();
    }
  }
}

/**
 * The gathering of each execution.
 *
 * @internal
 */
export class Gatherings {
  readonly #mostMs: number;
  readonly #of = new WeakMap<object, Gathering>();

  constructor(mostMs: number) {
    this.#mostMs = mostMs;
  }

  /** Waits for what a field needs beforehand, then for the other fields. */
  async together<T>(info: GraphQLResolveInfo, before: Promise<T>): Promise<T> {
    if (this.#mostMs === 0) {
      return before;
    }
    const gathering = this.#gathering(info);
    gathering.track(before);
    const needed = await before;
    await gathering.together();
    return needed;
  }

  /** A resolver of such a field, or of one that may lead there, gave this. */
  track(info: GraphQLResolveInfo, result: unknown): void {
    if (this.#mostMs > 0) {
      this.#gathering(info).track(result);
    }
  }

  /** The variables, coerced, are an object of one execution: the operation's document may be a cached one. */
  #gathering({ variableValues }: GraphQLResolveInfo): Gathering {
    let gathering = this.#of.get(variableValues);
    if (gathering === undefined) {
      gathering = new Gathering(this.#mostMs);
      this.#of.set(variableValues, gathering);
    }
    return gathering;
  }
}

/** @internal */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && typeof (value as { then?: unknown }).then === 'function';
}
