import type { GraphQLFieldResolver } from 'graphql';

import { type Gatherings, isPromise } from './gather.js';
import type { Inputs } from './inputs.js';
import type { Outputs } from './outputs.js';
import type { FieldPlan } from './plan.js';

/**
 * What stands around resolvers.
 *
 * @internal
 */
export interface WrapperOptions<C> {
  readonly inputs: Inputs<C>;
  readonly outputs: Outputs<C>;
  readonly gatherings: Gatherings;
  readonly fieldResolver: GraphQLFieldResolver<unknown, C>;
}

type Resolver<C> = GraphQLFieldResolver<unknown, C>;

/**
 * Puts what a plan asks for around the resolvers of a schema.
 *
 * @internal
 */
export class Wrapper<C> {
  readonly #options: WrapperOptions<C>;

  constructor(options: WrapperOptions<C>) {
    this.#options = options;
  }

  wrap(plan: FieldPlan, leadsOn: boolean, subscribes: boolean): void {
    const { slots, output, field } = plan;
    if (slots.length > 0 || output !== undefined || leadsOn) {
      const own = (field.resolve as Resolver<C> | undefined) ?? this.#options.fieldResolver;
      const prepared = this.#withInputs(plan, own);
      const tracked = leadsOn ? this.#tracked(prepared) : prepared;
      field.resolve = this.#withOutput(plan, tracked) as GraphQLFieldResolver<unknown, unknown>;
    }
    if (subscribes && slots.length > 0) {
      // Before the stream begins; its events go through `resolve`.
      const own = (field.subscribe as Resolver<C> | undefined) ?? this.#options.fieldResolver;
      field.subscribe = this.#withInputs(plan, own) as GraphQLFieldResolver<unknown, unknown>;
    }
  }

  #withInputs({ slots }: FieldPlan, inner: Resolver<C>): Resolver<C> {
    if (slots.length === 0) {
      return inner;
    }
    return (source, args, context, info) => {
      const prepared = this.#options.inputs.of(slots, args, context, info);
      return isPromise(prepared)
        ? prepared.then((ready) => inner(source, ready, context, info))
        : inner(source, prepared, context, info);
    };
  }

  #tracked(inner: Resolver<C>): Resolver<C> {
    return (source, args, context, info) => {
      const result = inner(source, args, context, info);
      this.#options.gatherings.track(info, result);
      return result;
    };
  }

  #withOutput({ output }: FieldPlan, inner: Resolver<C>): Resolver<C> {
    if (output === undefined) {
      return inner;
    }
    return (source, args, context, info) =>
      this.#options.outputs.of(inner(source, args, context, info), output, context, info);
  }
}
