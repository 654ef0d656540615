import {
  type GraphQLOutputType,
  type GraphQLResolveInfo,
  isListType,
  isNonNullType,
  responsePathAsArray,
} from 'graphql';

import type { LunaSec } from '../client.js';
import { InvalidRequest, InvalidToken, PayloadTooLarge, Unauthenticated } from '../errors.js';
import { ITEMS_OUT } from '../limits.js';
import type { OnUnavailable } from '../policy.js';
import { Token, type TokenLike } from '../redacted.js';
import type { Fallback, Masked, Value } from '../results.js';
import type { LunaSecSession } from '../session.js';
import type { Tokenizer } from '../tokenizer.js';
import { told } from '../words.js';
import type { Applied } from './applied.js';
import { Budget } from './budget.js';
import { graphQLError } from './errors.js';
import { type Gatherings, isPromise } from './gather.js';
import { type FieldPath, noteMasked, noteStale } from './report.js';
import type { Sessions } from './sessions.js';

/**
 * What the answers of a schema need.
 *
 * @internal
 */
export interface OutputOptions<C> {
  readonly client: LunaSec<OnUnavailable>;
  readonly sessions: Sessions<C> | undefined;
  readonly gatherings: Gatherings;
}

/** One field of one response. */
interface Place<C> {
  readonly directive: Applied;
  readonly context: C;
  readonly info: GraphQLResolveInfo;
}

/**
 * Reveals or grants the tokens that resolvers gave. Each token of a list fails by itself: it is a promise of its own,
 * which graphql-js gives its own path.
 *
 * @internal
 */
export class Outputs<C> {
  readonly #options: OutputOptions<C>;
  readonly #budget = new Budget(ITEMS_OUT);

  constructor(options: OutputOptions<C>) {
    this.#options = options;
  }

  of(result: unknown, directive: Applied, context: C, info: GraphQLResolveInfo): unknown {
    return this.#value(result, info.returnType, { directive, context, info }, []);
  }

  #value(value: unknown, type: GraphQLOutputType, place: Place<C>, below: FieldPath): unknown {
    if (isPromise(value)) {
      this.#options.gatherings.track(place.info, value);
      return handled(value.then((settled) => this.#value(settled, type, place, below)));
    }
    // An error that was returned instead of thrown is graphql-js's to report.
    if (value === null || value === undefined || value instanceof Error) {
      return value;
    }
    if (isNonNullType(type)) {
      return this.#value(value, type.ofType, place, below);
    }
    if (isListType(type)) {
      return this.#items(value, type.ofType, place, below);
    }
    return handled(this.#leaf(value, place, below));
  }

  /** What is no list is graphql-js's to refuse. */
  #items(value: unknown, type: GraphQLOutputType, place: Place<C>, below: FieldPath): unknown {
    if (isAsyncIterable(value)) {
      const items = collected(value);
      this.#options.gatherings.track(place.info, items);
      return handled(items.then((all) => this.#items(all, type, place, below)));
    }
    if (!isIterable(value)) {
      return value;
    }
    const items = Array.from(value);
    return isNonNullType(type) && items.some((item) => item === null || item === undefined)
      ? dropped(items)
      : items.map((item, index) => this.#value(item, type, place, [...below, index]));
  }

  async #leaf(value: unknown, place: Place<C>, below: FieldPath): Promise<unknown> {
    const { gatherings } = this.#options;
    try {
      const token = tokenOf(value);
      if (!this.#budget.takes(place.info, 1)) {
        throw told(new PayloadTooLarge(`one answer has at most ${ITEMS_OUT} values and granted tokens; ask for less`));
      }
      const session = await gatherings.together(place.info, this.#session(place.context));
      if (place.directive.name === 'detokenize') {
        return await this.#reveal(session ?? this.#options.client, token, place, below);
      }
      return await grant(session, token, place);
    } catch (error) {
      throw graphQLError(error);
    }
  }

  async #session(context: C): Promise<LunaSecSession<OnUnavailable> | undefined> {
    return this.#options.sessions?.of(context);
  }

  async #reveal(
    speaker: Tokenizer<OnUnavailable>,
    token: TokenLike,
    { directive, context, info }: Place<C>,
    below: FieldPath,
  ): Promise<unknown> {
    const onUnavailable = policyOf(directive, this.#options.client.onUnavailable);
    const shown: Value | Masked | Fallback<unknown> = await speaker.detokenize<OnUnavailable>(token, {
      onUnavailable,
      share: info.variableValues,
    });
    if (shown.kind === 'value') {
      noteStale(context, shown.degraded, shown.ageSeconds);
      if (!shown.value.isText) {
        throw new InvalidRequest('the value was tokenized as bytes, and a field of GraphQL is text');
      }
      return shown.value.reveal();
    }
    noteMasked(context, [...responsePathAsArray(info.path), ...below], shown.reason);
    return shown.kind === 'masked' ? shown.text : shown.value;
  }
}

async function grant(
  session: LunaSecSession<OnUnavailable> | undefined,
  token: TokenLike,
  { directive, info }: Place<unknown>,
): Promise<string> {
  const { expiresIn } = directive;
  const [item] = (await session?.grant([token], { expiresIn, share: info.variableValues })) ?? [];
  if (item?.kind !== 'granted') {
    throw item?.error ?? new Unauthenticated('@grant needs the option session');
  }
  return Token.from(token).expose();
}

/** `MASK`: with the client's own mask or fallback, if it has one. */
function policyOf({ onUnavailable }: Applied, configured: OnUnavailable): OnUnavailable {
  if (onUnavailable === undefined) {
    return configured;
  }
  const mask = configured === 'fail' ? 'mask' : configured;
  return onUnavailable === 'FAIL' ? 'fail' : mask;
}

function tokenOf(value: unknown): TokenLike {
  if (typeof value === 'string' || value instanceof Token) {
    return value;
  }
  throw new InvalidToken('the resolver gave something else than a token');
}

/** A list that graphql-js fails as a whole, for a null where none may be: nothing of it is granted or revealed. */
function dropped(items: readonly unknown[]): readonly unknown[] {
  return items.map((item) => (isPromise(item) ? handled(item) : item));
}

/** graphql-js drops the promises of a list as soon as an item fails at once; each would end the process when it rejects. */
function handled<T>(promise: PromiseLike<T>): PromiseLike<T> {
  promise.then(undefined, () => undefined);
  return promise;
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value;
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

async function collected(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const item of items) {
    all.push(item);
  }
  return all;
}
