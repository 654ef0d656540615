import {
  type GraphQLInputObjectType,
  type GraphQLInputType,
  type GraphQLResolveInfo,
  isInputObjectType,
  isListType,
  isNonNullType,
} from 'graphql';

import type { LunaSec } from '../client.js';
import { InvalidRequest, InvalidToken, PayloadTooLarge, Unauthenticated } from '../errors.js';
import { ITEMS_IN } from '../limits.js';
import type { TokenizeItem } from '../operations.js';
import type { OnUnavailable } from '../policy.js';
import type { LunaSecSession } from '../session.js';
import { nonValue } from '../values.js';
import { refusalOf } from '../verdict.js';
import { told } from '../words.js';
import { Budget } from './budget.js';
import { graphQLError } from './errors.js';
import { ITEMS_OF_A_FIELD } from './limits.js';
import type { Slot } from './plan.js';
import { noteJournaled, noteStale } from './report.js';
import type { Sessions } from './sessions.js';

type Members = Record<string, unknown>;

/** One text in the arguments, and how to put another in its place. */
interface Leaf {
  readonly action: 'tokenize' | 'verify';
  readonly value: unknown;
  /** Where it is, in the schema's names and in indexes of lists. */
  readonly path: string;
  put(text: string): void;
}

/** Where a value comes in. */
export interface TokenizePlace<C> {
  /** `Mutation.signUp` */
  readonly field: string;
  /** Below the field, in the schema's names and in indexes of lists: `customer.cards[0]`. */
  readonly argument: string;
  readonly context: C;
}

/** What goes with a value, as in {@link LunaSec.tokenize}. */
export type Beside = Pick<TokenizeItem, 'metadata' | 'expiresIn'>;

/** Says what goes with a value. What it throws is the field's error, and nothing of the field is stored. */
export type BesideFunction<C> = (
  value: string,
  place: TokenizePlace<C>,
) => Beside | undefined | Promise<Beside | undefined>;

/**
 * What the arguments of a schema need.
 *
 * @internal
 */
export interface InputOptions<C> {
  readonly beside: BesideFunction<C> | undefined;
  readonly client: LunaSec<OnUnavailable>;
  readonly sessions: Sessions<C> | undefined;
  readonly inputs: ReadonlyMap<GraphQLInputObjectType, readonly Slot[]>;
  readonly tokensAsValues: 'refuse' | 'tokenize';
}

/**
 * Verifies and tokenizes what is in the arguments of fields: as graphql-js coerced them, so that it is the same
 * whether they came as literals, as variables or by default.
 *
 * @internal
 */
export class Inputs<C> {
  readonly #options: InputOptions<C>;
  readonly #budget = new Budget(ITEMS_IN);

  constructor(options: InputOptions<C>) {
    this.#options = options;
  }

  /**
   * The arguments for the resolver. Nothing is tokenized unless all tokens are verified; the resolver is not to run if
   * this rejects. What was given is not touched: the variables of an operation belong to all of its fields.
   */
  of(slots: readonly Slot[], given: Members, context: C, info: GraphQLResolveInfo): Members | Promise<Members> {
    const leaves: Leaf[] = [];
    const args = this.#members(given, slots, '', leaves);
    return leaves.length === 0 ? given : this.#settle(leaves, context, info).then(() => args);
  }

  async #settle(leaves: readonly Leaf[], context: C, info: GraphQLResolveInfo): Promise<void> {
    if (leaves.length > ITEMS_OF_A_FIELD) {
      throw tooMany(`one field takes at most ${ITEMS_OF_A_FIELD} values and tokens`);
    }
    if (!this.#budget.takes(info, leaves.length)) {
      throw tooMany(`all fields of one operation take at most ${ITEMS_IN} values and tokens`);
    }
    const verify = leaves.filter(({ action }) => action === 'verify');
    const tokenize = leaves.filter(({ action }) => action === 'tokenize');
    await all(tokenize, async (leaf) => this.#check(leaf));
    if (verify.length > 0) {
      const session = await this.#session(context);
      await all(verify, (leaf) => verified(session, leaf, context, info));
    }
    const beside = await this.#besideAll(tokenize, context, info);
    await all(tokenize, (leaf) => this.#tokenize(leaf, beside.get(leaf), context, info));
  }

  async #session(context: C): Promise<LunaSecSession<OnUnavailable>> {
    try {
      const session = await this.#options.sessions?.of(context);
      if (session === undefined) {
        throw new Unauthenticated('@verify needs the option session');
      }
      return session;
    } catch (error) {
      throw graphQLError(error);
    }
  }

  #check({ value }: Leaf): void {
    if (typeof value !== 'string') {
      throw new InvalidRequest('the value of a scalar that is tokenized is a string; this one is not');
    }
    const wrong = nonValue(value);
    if (wrong !== undefined && !(wrong.token && this.#options.tokensAsValues === 'tokenize')) {
      throw told(new InvalidRequest(`it ${wrong.words}`));
    }
  }

  async #besideAll(leaves: readonly Leaf[], context: C, info: GraphQLResolveInfo): Promise<Map<Leaf, Beside>> {
    const found = new Map<Leaf, Beside>();
    const { beside } = this.#options;
    if (beside !== undefined) {
      const field = `${info.parentType.name}.${info.fieldName}`;
      await all(leaves, async (leaf) => {
        const { metadata, expiresIn } =
          (await beside(leaf.value as string, { field, argument: leaf.path, context })) ?? {};
        found.set(leaf, { metadata, expiresIn });
      });
    }
    return found;
  }

  async #tokenize(
    { value, put }: Leaf,
    beside: Beside | undefined,
    context: C,
    { variableValues }: GraphQLResolveInfo,
  ): Promise<void> {
    const options = { ...beside, share: variableValues };
    const { token, durability } = await this.#options.client.tokenize(value as string, options);
    if (durability === 'journaled') {
      noteJournaled(context);
    }
    put(token.expose());
  }

  /** A copy in which texts can be put, as deep as a directive is. */
  #members(given: Members, slots: readonly Slot[], path: string, leaves: Leaf[]): Members {
    const copy = Object.setPrototypeOf({ ...given }, Object.getPrototypeOf(given) as object | null) as Members;
    for (const slot of slots) {
      if (Object.hasOwn(given, slot.name)) {
        const at = path === '' ? slot.name : `${path}.${slot.name}`;
        const put = (value: unknown) => {
          copy[slot.name] = value;
        };
        put(this.#value(given[slot.name], slot.type, slot, at, put, leaves));
      }
    }
    return copy;
  }

  #value(
    value: unknown,
    type: GraphQLInputType,
    slot: Slot,
    path: string,
    put: (value: unknown) => void,
    leaves: Leaf[],
  ): unknown {
    if (value === null || value === undefined) {
      return value;
    }
    if (isNonNullType(type)) {
      return this.#value(value, type.ofType, slot, path, put, leaves);
    }
    if (isListType(type)) {
      return this.#items(value, type.ofType, slot, path, leaves);
    }
    if (isInputObjectType(type)) {
      return this.#members(value as Members, this.#options.inputs.get(type) ?? [], path, leaves);
    }
    const action = slot.directive?.name === 'verify' ? 'verify' : 'tokenize';
    leaves.push({ action, value, path, put });
    return value;
  }

  /** A default that was written by code may be an item instead of a list. */
  #items(value: unknown, type: GraphQLInputType, slot: Slot, path: string, leaves: Leaf[]): unknown[] {
    const copy: unknown[] = Array.isArray(value) ? [...value] : [value];
    for (const [index, item] of copy.entries()) {
      const put = (text: unknown) => {
        copy[index] = text;
      };
      put(this.#value(item, type, slot, `${path}[${index}]`, put, leaves));
    }
    return copy;
  }
}

function tooMany(words: string): unknown {
  return graphQLError(told(new PayloadTooLarge(`${words}; send them in several operations`)));
}

async function verified(
  session: LunaSecSession<OnUnavailable>,
  { value }: Leaf,
  context: unknown,
  { variableValues }: GraphQLResolveInfo,
): Promise<void> {
  if (typeof value !== 'string') {
    throw new InvalidToken('a token is a string');
  }
  const [item] = await session.verify([value], { share: variableValues });
  const refusal = refusalOf(item);
  if (refusal !== undefined) {
    throw refusal;
  }
  if (item?.kind === 'valid') {
    noteStale(context, item.degraded, item.ageSeconds);
  }
}

/** All at once, to the end of each; then the first error, with the argument that it is about. */
async function all(leaves: readonly Leaf[], each: (leaf: Leaf) => Promise<void>): Promise<void> {
  const ended = await Promise.allSettled(leaves.map(each));
  for (const [index, end] of ended.entries()) {
    if (end.status === 'rejected') {
      throw graphQLError(end.reason, leaves[index]?.path);
    }
  }
}
