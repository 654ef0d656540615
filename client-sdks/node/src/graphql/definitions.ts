import {
  type ASTNode,
  buildASTSchema,
  type GraphQLDirective,
  type GraphQLSchema,
  isEnumType,
  parse,
  print,
} from 'graphql';

import type { Problems } from './problems.js';
import { lunasecTypeDefs } from './typeDefs.js';

/** @internal */
export const DIRECTIVES = ['tokenize', 'verify', 'detokenize', 'grant'] as const;
/** @internal */
export type DirectiveName = (typeof DIRECTIVES)[number];

/** @internal */
export function isOurs(name: string): name is DirectiveName {
  return (DIRECTIVES as readonly string[]).includes(name);
}

const INPUT = 'an argument or an input field';
const OUTPUT = 'a field of an object or an interface';

const PLACES: Readonly<Record<DirectiveName, string>> = {
  tokenize: INPUT,
  verify: INPUT,
  detokenize: OUTPUT,
  grant: OUTPUT,
};

/**
 * What to say of a directive where it does nothing.
 *
 * @internal
 */
export function misplaced(name: DirectiveName): string {
  return `@${name} cannot be here: put it on ${PLACES[name]}`;
}

const ENUM = 'LunaSecOnUnavailable';

/**
 * A schema that defines a directive of one of these names must mean ours: another meaning of `@verify` would be taken
 * for it.
 *
 * @internal
 */
export function checkDefinitions(schema: GraphQLSchema, problems: Problems): void {
  const ours = buildASTSchema(parse(lunasecTypeDefs), { assumeValid: true, assumeValidSDL: true });
  for (const name of DIRECTIVES) {
    const theirs = schema.getDirective(name);
    const own = ours.getDirective(name);
    if (theirs && own && signature(theirs) !== signature(own)) {
      problems.at(`@${name}`, `is defined as "${signature(theirs)}", which differs from "${signature(own)}"; ${MEND}`);
    }
  }
  const theirs = enumOf(schema);
  if (schema.getType(ENUM) !== undefined && theirs !== enumOf(ours)) {
    problems.at(ENUM, `has other values than ${enumOf(ours)}; ${MEND}`);
  }
}

/** @internal */
export const MEND = 'take the definitions from lunasecTypeDefs';

function signature(directive: GraphQLDirective): string {
  const args = directive.args.map((arg) => `${arg.name}: ${String(arg.type)}${defaultOf(arg)}`);
  const list = args.length === 0 ? '' : `(${args.sort().join(', ')})`;
  const repeatable = directive.isRepeatable ? ' repeatable' : '';
  return `@${directive.name}${list}${repeatable} on ${[...directive.locations].sort().join(' | ')}`;
}

/** graphql-js 17 has it as `default`, a value or what is written. */
function defaultOf(arg: { readonly defaultValue?: unknown; readonly default?: unknown }): string {
  const { value, literal } = (arg.default ?? { value: arg.defaultValue }) as { value?: unknown; literal?: ASTNode };
  if (literal !== undefined) {
    return ` = ${print(literal)}`;
  }
  return value === undefined ? '' : ` = ${JSON.stringify(value)}`;
}

function enumOf(schema: GraphQLSchema): string {
  const type = schema.getType(ENUM);
  return isEnumType(type)
    ? type
        .getValues()
        .map(({ name, value }) => (name === value ? name : `${name} (with another value)`))
        .sort()
        .join(', ')
    : 'none';
}
