// How much one question to GraphQL may ask for, and how many turns it takes. A few hundred bytes can ask for what a thousand
// pages do: each alias is another question, and each spread of a fragment repeats all that is in it.
import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type FragmentSpreadNode,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  getNullableType,
  getOperationAST,
  type InlineFragmentNode,
  isListType,
  isObjectType,
  Kind,
  type SelectionSetNode,
} from 'graphql';

import { ORDERS_SHOWN } from './orders.js';
import { VALUES_OF_A_TURN } from './turns.js';

/** Of a question's text: the rules that validate it compare each field with each, whether or not anything uses them. */
export const TOKENS = 500;
/** Fields of the query or the mutation itself, under as many names: each asks the database, and a mutation grants. */
const ROOTS = 10;
/** Fields and fragments, as often as they are used. */
const FIELDS = 100;

/** Where a selection is: in what, how often, and whether that is the query or the mutation itself. */
interface Level {
  readonly type: GraphQLNamedType | null | undefined;
  readonly times: number;
  readonly isRoot: boolean;
}

/** What an operation asks for. A list counts as long as the shop's longest. */
class Cost {
  roots = 0;
  fields = 0;
  /** Those with `@detokenize`: what the sidecar counts. */
  values = 0;
  readonly #schema: GraphQLSchema;
  readonly #fragments: ReadonlyMap<string, FragmentDefinitionNode>;

  constructor(schema: GraphQLSchema, { definitions }: DocumentNode) {
    this.#schema = schema;
    const fragments = definitions.filter((each) => each.kind === Kind.FRAGMENT_DEFINITION);
    this.#fragments = new Map(fragments.map((each) => [each.name.value, each]));
  }

  get isTooMuch(): boolean {
    return this.roots > ROOTS || this.fields > FIELDS;
  }

  get turns(): number {
    return Math.max(1, this.roots, Math.ceil(this.values / VALUES_OF_A_TURN));
  }

  /** Also of what is not valid, such as a fragment that contains itself: it ends where it is too much. */
  add({ selections }: SelectionSetNode, level: Level): void {
    for (const selection of selections) {
      this.fields += 1;
      if (this.isTooMuch) {
        return;
      }
      if (selection.kind === Kind.FIELD) {
        this.#addField(selection, level);
      } else {
        this.#addFragment(selection, level);
      }
    }
  }

  #addField({ name, selectionSet }: FieldNode, { type, times, isRoot }: Level): void {
    this.roots += isRoot ? 1 : 0;
    const field = isObjectType(type) ? type.getFields()[name.value] : undefined;
    if (field?.astNode?.directives?.some((directive) => directive.name.value === 'detokenize')) {
      this.values += times;
    }
    if (selectionSet !== undefined) {
      const longest = field !== undefined && isListType(getNullableType(field.type)) ? ORDERS_SHOWN : 1;
      this.add(selectionSet, { type: field && getNamedType(field.type), times: times * longest, isRoot: false });
    }
  }

  #addFragment(spread: InlineFragmentNode | FragmentSpreadNode, level: Level): void {
    const fragment = spread.kind === Kind.INLINE_FRAGMENT ? spread : this.#fragments.get(spread.name.value);
    if (fragment !== undefined) {
      const named = fragment.typeCondition && this.#schema.getType(fragment.typeCondition.name.value);
      this.add(fragment.selectionSet, { ...level, type: named ?? level.type });
    }
  }
}

/** The turns that an operation takes; undefined where it is more than anybody may ask for at once. */
export function turnsOf(schema: GraphQLSchema, document: DocumentNode, name?: string | null): number | undefined {
  const operation = getOperationAST(document, name);
  const cost = new Cost(schema, document);
  if (operation) {
    cost.add(operation.selectionSet, { type: schema.getRootType(operation.operation), times: 1, isRoot: true });
  }
  return cost.isTooMuch ? undefined : cost.turns;
}

export const TOO_MUCH = `This asks for too much at once: ${ROOTS} fields of the query itself at most, ${FIELDS} in all.`;
