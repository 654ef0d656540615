import {
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLInputField,
  type GraphQLInputObjectType,
  type GraphQLInputType,
  type GraphQLInterfaceType,
  type GraphQLObjectType,
  type GraphQLSchema,
  type GraphQLType,
  getNamedType,
  isInputObjectType,
  isInterfaceType,
  isObjectType,
  isScalarType,
} from 'graphql';

import { type Applied, inputDirective, outputDirective } from './applied.js';
import { inherited } from './inheritance.js';
import type { Problems } from './problems.js';
import { leading } from './reach.js';

/**
 * What is to be done with one member of the arguments, or of an input object: itself, or something below it.
 *
 * @internal
 */
export interface Slot {
  readonly name: string;
  readonly type: GraphQLInputType;
  readonly directive: Applied | undefined;
}

/**
 * What is to be done with one field of an object type.
 *
 * @internal
 */
export interface FieldPlan {
  readonly type: GraphQLObjectType;
  readonly field: GraphQLField<unknown, unknown>;
  readonly slots: readonly Slot[];
  readonly output: Applied | undefined;
}

/**
 * Everything that a schema's directives ask for.
 *
 * @internal
 */
export interface Plan {
  readonly fields: readonly FieldPlan[];
  /** Of the input types that have a directive at any depth, the members that lead there. */
  readonly inputs: ReadonlyMap<GraphQLInputObjectType, readonly Slot[]>;
}

/** @internal */
export function planOf(schema: GraphQLSchema, scalars: ReadonlySet<string>, problems: Problems): Plan {
  return new Planner(schema, scalars, problems).plan();
}

class Planner {
  readonly #schema: GraphQLSchema;
  readonly #scalars: ReadonlySet<string>;
  readonly #problems: Problems;
  readonly #written = new Map<object, Applied | undefined>();

  constructor(schema: GraphQLSchema, scalars: ReadonlySet<string>, problems: Problems) {
    this.#schema = schema;
    this.#scalars = scalars;
    this.#problems = problems;
  }

  plan(): Plan {
    const types = Object.values(this.#schema.getTypeMap()).filter(({ name }) => !name.startsWith('__'));
    const inputs = this.#inputs(types.filter(isInputObjectType));
    for (const type of types.filter(isInterfaceType)) {
      this.#readFields(type);
    }
    const fields = types.filter(isObjectType).flatMap((type) => {
      this.#readFields(type);
      return Object.values(type.getFields()).map((field) => this.#field(type, field, inputs));
    });
    return { fields, inputs };
  }

  #inputs(types: readonly GraphQLInputObjectType[]): Map<GraphQLInputObjectType, readonly Slot[]> {
    const all = new Map(types.map((type) => [type, this.#slotsOf(type)]));
    const direct = types.filter((type) => all.get(type)?.some(({ directive }) => directive !== undefined));
    const reaching = leading(direct, types, (type) => (all.get(type) ?? []).map((slot) => getNamedType(slot.type)));
    return new Map([...reaching].map((type) => [type, onlyLeading(all.get(type) ?? [], reaching)]));
  }

  #slotsOf(type: GraphQLInputObjectType): Slot[] {
    return Object.values(type.getFields()).map((field) => this.#slot(field, `${type.name}.${field.name}`));
  }

  #slot(carrier: GraphQLInputField | GraphQLArgument, where: string): Slot {
    const directive = inputDirective(carrier, where, this.#problems);
    this.#checkType(directive, carrier.type, where);
    return { name: carrier.name, type: carrier.type, directive };
  }

  /** What is written at the fields of a type, and at their arguments. */
  #readFields(type: GraphQLObjectType | GraphQLInterfaceType): void {
    for (const field of Object.values(type.getFields())) {
      const where = `${type.name}.${field.name}`;
      const directive = outputDirective(field, where, this.#problems);
      this.#checkType(directive, field.type, where);
      this.#written.set(field, directive);
      for (const arg of field.args) {
        this.#written.set(arg, this.#slot(arg, `${where}(${arg.name}:)`).directive);
      }
    }
  }

  /** What is written at a field of an object, or at the same field of one of its interfaces. */
  #field(
    type: GraphQLObjectType,
    field: GraphQLField<unknown, unknown>,
    inputs: ReadonlyMap<GraphQLInputObjectType, unknown>,
  ): FieldPlan {
    const where = `${type.name}.${field.name}`;
    const above = type.getInterfaces().flatMap((each) => each.getFields()[field.name] ?? []);
    const effective = (own: object, others: readonly object[], place: string) => {
      const told = others.map((other) => this.#written.get(other));
      return inherited(this.#written.get(own), told, place, this.#problems);
    };
    const slots = field.args.map((arg) => {
      const others = above.flatMap((each) => each.args.find(({ name }) => name === arg.name) ?? []);
      return { name: arg.name, type: arg.type, directive: effective(arg, others, `${where}(${arg.name}:)`) };
    });
    return { type, field, slots: onlyLeading(slots, inputs), output: effective(field, above, where) };
  }

  #checkType(directive: Applied | undefined, type: GraphQLType, where: string): void {
    const named = getNamedType(type);
    if (directive === undefined || named.name === 'String' || named.name === 'ID' || this.#scalars.has(named.name)) {
      return;
    }
    const what = isScalarType(named)
      ? 'if it is a scalar of your own whose values are strings, name it in the option scalars'
      : `put it on the fields of ${named.name} that hold text`;
    this.#problems.at(where, `@${directive.name} works on String and ID, not on ${named.name}; ${what}`);
  }
}

function onlyLeading(slots: readonly Slot[], inputs: { has(type: GraphQLInputObjectType): boolean }): readonly Slot[] {
  return slots.filter(({ type, directive }) => {
    const named = getNamedType(type);
    return directive !== undefined || (isInputObjectType(named) && inputs.has(named));
  });
}
