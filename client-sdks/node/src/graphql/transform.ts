import {
  defaultFieldResolver,
  type GraphQLFieldResolver,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isCompositeType,
  isObjectType,
} from 'graphql';

import type { LunaSec } from '../client.js';
import type { OnUnavailable } from '../policy.js';
import { sharedNotes } from '../shared.js';
import { checkDefinitions } from './definitions.js';
import { Gatherings } from './gather.js';
import { type BesideFunction, Inputs } from './inputs.js';
import { GATHER_MOST_MS, GATHER_MS } from './limits.js';
import { Outputs } from './outputs.js';
import { checkPlaces } from './places.js';
import { type FieldPlan, type Plan, planOf } from './plan.js';
import { Problems } from './problems.js';
import { leading } from './reach.js';
import { type SessionFunction, Sessions } from './sessions.js';
import { checkUses, scalarsOf } from './uses.js';
import { Wrapper } from './wrapper.js';

/** What the directives work with. */
export interface LunaSecDirectivesOptions<C> {
  /** The process's client. What is tokenized is tokenized by it, without a session. */
  readonly client: LunaSec<OnUnavailable>;
  /**
   * Whose session a request is of. What is granted, verified and revealed is that one's; a request without a session is
   * `unauthenticated` there. Needed for `@grant` and `@verify`. Without it, `@detokenize` reveals as the client itself.
   */
  readonly session?: SessionFunction<C> | undefined;
  /** What `@tokenize` does with a value that looks like a token: `refuse`, unless given. */
  readonly tokensAsValues?: 'refuse' | 'tokenize' | undefined;
  /** What goes with a value that `@tokenize` takes: metadata that is kept beside it, and for how long both are. */
  readonly beside?: BesideFunction<C> | undefined;
  /** Scalars of your own whose values are strings, by name: the directives work on them, too. */
  readonly scalars?: readonly string[] | undefined;
  /**
   * How long, in milliseconds, a field waits for the others of its answer, so that they share one request: 50 at most,
   * unless given. 0: only those that are ready in the same turn of the event loop do.
   */
  readonly gatherMs?: number | undefined;
  /** The resolver of fields that have none, if your server has another than graphql-js's. */
  readonly fieldResolver?: GraphQLFieldResolver<unknown, C> | undefined;
}

const DONE = sharedNotes<GraphQLSchema, true>('graphql/done');

/**
 * Makes the directives of a schema work: `@tokenize`, `@verify`, `@detokenize` and `@grant`, which
 * {@link lunasecTypeDefs} defines.
 *
 * ```ts
 * const schema = lunasecDirectives(makeExecutableSchema({ typeDefs: [lunasecTypeDefs, typeDefs], resolvers }), {
 *   client: new LunaSec(),
 *   session: (context) => context.sessionId,
 * });
 * ```
 *
 * It changes the schema that it is given, and gives it back: there is none left in which they do nothing. Call it last,
 * after resolvers are attached and other transformations are done.
 *
 * @throws {@link LunaSecSchemaError} where a directive cannot work. It names every place at once.
 */
export function lunasecDirectives<C = unknown>(
  schema: GraphQLSchema,
  options: LunaSecDirectivesOptions<C>,
): GraphQLSchema {
  const problems = new Problems();
  if (DONE.has(schema)) {
    problems.at('schema', 'its directives work already; call lunasecDirectives once');
    problems.throwAny();
  }
  checkDefinitions(schema, problems);
  checkPlaces(schema, problems);
  const plan = planOf(schema, scalarsOf(schema, options.scalars ?? [], problems), problems);
  checkUses(schema, plan, options.session !== undefined, problems);
  problems.throwAny();
  DONE.set(schema, true);
  wrap(schema, plan, options);
  return schema;
}

function wrap<C>(schema: GraphQLSchema, plan: Plan, options: LunaSecDirectivesOptions<C>): void {
  const { client, session, tokensAsValues = 'refuse', gatherMs = GATHER_MS } = options;
  const sessions = session && new Sessions<C>(client, session);
  const gatherings = new Gatherings(Math.max(0, Math.min(gatherMs, GATHER_MOST_MS)));
  const wrapper = new Wrapper<C>({
    inputs: new Inputs<C>({ client, sessions, inputs: plan.inputs, tokensAsValues, beside: options.beside }),
    outputs: new Outputs<C>({ client, sessions, gatherings }),
    gatherings,
    fieldResolver: options.fieldResolver ?? (defaultFieldResolver as GraphQLFieldResolver<unknown, C>),
  });
  const revealing = revealingTypes(schema, plan.fields);
  for (const field of plan.fields) {
    wrapper.wrap(field, revealing.has(getNamedType(field.field.type)), field.type === schema.getSubscriptionType());
  }
}

/** The types from which a field with `@detokenize` or `@grant` is reached. */
function revealingTypes(schema: GraphQLSchema, fields: readonly FieldPlan[]): ReadonlySet<GraphQLNamedType> {
  const direct = fields.flatMap(({ type, output }) => (output === undefined ? [] : [type]));
  const all = Object.values(schema.getTypeMap()).filter(isCompositeType);
  return leading<GraphQLNamedType>(direct, all, (type) => {
    if (isAbstractType(type)) {
      return schema.getPossibleTypes(type);
    }
    return isObjectType(type) ? Object.values(type.getFields()).map((field) => getNamedType(field.type)) : [];
  });
}
