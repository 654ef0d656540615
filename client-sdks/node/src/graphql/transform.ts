import {
  defaultFieldResolver,
  type GraphQLFieldResolver,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isCompositeType,
  isObjectType,
  isScalarType,
} from 'graphql';

import type { LunaSec } from '../client.js';
import type { OnUnavailable } from '../policy.js';
import { checkDefinitions, MEND } from './definitions.js';
import { Gatherings } from './gather.js';
import { Inputs } from './inputs.js';
import { GATHER_MOST_MS, GATHER_MS } from './limits.js';
import { Outputs } from './outputs.js';
import { checkPlaces } from './places.js';
import { type FieldPlan, type Plan, planOf, type Slot } from './plan.js';
import { Problems } from './problems.js';
import { leading } from './reach.js';
import { type SessionFunction, Sessions } from './sessions.js';
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

const DONE = new WeakSet<GraphQLSchema>();

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
  const uses = usesOf(plan);
  checkUses(schema, plan, uses, options, problems);
  problems.throwAny();
  DONE.add(schema);
  wrap(schema, plan, options);
  return schema;
}

function scalarsOf(schema: GraphQLSchema, names: readonly string[], problems: Problems): ReadonlySet<string> {
  for (const name of names) {
    const type = schema.getType(name);
    if (!isScalarType(type) || ['Int', 'Float', 'Boolean'].includes(name)) {
      problems.at(`option scalars: ${name}`, 'is no scalar of this schema whose values are strings');
    }
  }
  return new Set(names);
}

/** The directives that do something. */
function usesOf({ fields, inputs }: Plan): ReadonlySet<string> {
  const slots = [...fields.flatMap((field) => field.slots), ...[...inputs.values()].flat()];
  return new Set(
    [...fields.map(({ output }) => output), ...slots.map(({ directive }) => directive)].flatMap((each) =>
      each === undefined ? [] : [each.name],
    ),
  );
}

function checkUses(
  schema: GraphQLSchema,
  plan: Plan,
  uses: ReadonlySet<string>,
  options: LunaSecDirectivesOptions<never>,
  problems: Problems,
): void {
  if (uses.size === 0 && problems.none) {
    const lost = 'was it printed and built again, or made by code? Directives are read from the SDL';
    problems.at('schema', `no directive of LunaSec is in it; ${lost}, or from extensions.directives`);
  }
  for (const name of uses) {
    if (!schema.getDirective(name)) {
      problems.at(`@${name}`, `is not defined; ${MEND}`);
    }
    if (options.session === undefined && (name === 'grant' || name === 'verify')) {
      problems.at(`@${name}`, 'needs the option session: (context) => the id of the session that a request is of');
    }
  }
  for (const { type, field, slots } of plan.fields) {
    if (type === schema.getSubscriptionType() && slots.some((slot) => tokenizes(slot, plan))) {
      problems.at(
        `${type.name}.${field.name}`,
        '@tokenize has no use in the arguments of a subscription: each event would make another token',
      );
    }
  }
}

function tokenizes(slot: Slot, { inputs }: Plan): boolean {
  const direct = [...inputs.keys()].filter((type) => inputs.get(type)?.some(isTokenize));
  const steps = (type: GraphQLNamedType) => (inputs.get(type as never) ?? []).map((each) => getNamedType(each.type));
  const reaching = leading<GraphQLNamedType>(direct, [...inputs.keys()], steps);
  return isTokenize(slot) || reaching.has(getNamedType(slot.type));
}

function isTokenize({ directive }: Slot): boolean {
  return directive?.name === 'tokenize';
}

function wrap<C>(schema: GraphQLSchema, plan: Plan, options: LunaSecDirectivesOptions<C>): void {
  const { client, session, tokensAsValues = 'refuse', gatherMs = GATHER_MS } = options;
  const sessions = session && new Sessions<C>(client, session);
  const gatherings = new Gatherings(Math.max(0, Math.min(gatherMs, GATHER_MOST_MS)));
  const wrapper = new Wrapper<C>({
    inputs: new Inputs<C>({ client, sessions, inputs: plan.inputs, tokensAsValues }),
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
