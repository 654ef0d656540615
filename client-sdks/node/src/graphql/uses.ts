import { type GraphQLNamedType, type GraphQLSchema, getNamedType, isScalarType } from 'graphql';

import { MEND } from './definitions.js';
import type { Plan, Slot } from './plan.js';
import type { Problems } from './problems.js';
import { leading } from './reach.js';

/**
 * The scalars that the application says are text.
 *
 * @internal
 */
export function scalarsOf(schema: GraphQLSchema, names: readonly string[], problems: Problems): ReadonlySet<string> {
  for (const name of names) {
    const type = schema.getType(name);
    if (!isScalarType(type) || ['Int', 'Float', 'Boolean'].includes(name)) {
      problems.at(`option scalars: ${name}`, 'is no scalar of this schema whose values are strings');
    }
  }
  return new Set(names);
}

/**
 * Whether what the directives need is there; and that there are any: a schema that lost them would work, and protect
 * nothing.
 *
 * @internal
 */
export function checkUses(schema: GraphQLSchema, plan: Plan, hasSession: boolean, problems: Problems): void {
  const uses = usesOf(plan);
  if (uses.size === 0 && problems.none) {
    const lost = 'was it printed and built again, or made by code? Directives are read from the SDL';
    problems.at('schema', `no directive of LunaSec is in it; ${lost}, or from extensions.directives`);
  }
  for (const name of uses) {
    if (!schema.getDirective(name)) {
      problems.at(`@${name}`, `is not defined; ${MEND}`);
    }
    if (!hasSession && (name === 'grant' || name === 'verify')) {
      problems.at(`@${name}`, 'needs the option session: (context) => the id of the session that a request is of');
    }
  }
  checkSubscriptions(schema, plan, problems);
}

/** The directives that do something. */
function usesOf({ fields, inputs }: Plan): ReadonlySet<string> {
  const slots = [...fields.flatMap((field) => field.slots), ...[...inputs.values()].flat()];
  const directives = [...fields.map(({ output }) => output), ...slots.map(({ directive }) => directive)];
  return new Set(directives.flatMap((each) => (each === undefined ? [] : [each.name])));
}

function checkSubscriptions(schema: GraphQLSchema, plan: Plan, problems: Problems): void {
  const fields = plan.fields.filter(({ type }) => type === schema.getSubscriptionType());
  for (const { type, field, slots } of fields) {
    if (slots.some((slot) => tokenizes(slot, plan))) {
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
