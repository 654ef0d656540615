import {
  type ASTNode,
  type ConstDirectiveNode,
  type DirectiveNode,
  type GraphQLNamedType,
  type GraphQLSchema,
  isEnumType,
  Kind,
  visit,
} from 'graphql';

import { byCode, type Carrier } from './applied.js';
import { isOurs, misplaced } from './definitions.js';
import type { Problems } from './problems.js';

/**
 * Directives where nothing would read them: on types, values, unions. Also in schemas that were not validated.
 *
 * @internal
 */
export function checkPlaces(schema: GraphQLSchema, problems: Problems): void {
  for (const node of nodesOf(schema)) {
    checkNode(node, '', problems);
  }
  for (const directive of schema.getDirectives()) {
    if (directive.astNode) {
      checkNode(directive.astNode, `@${directive.name}`, problems);
    }
  }
  for (const type of Object.values(schema.getTypeMap())) {
    for (const node of [type.astNode, ...type.extensionASTNodes]) {
      if (node) {
        checkNode(node, type.name, problems);
      }
    }
    checkCode(type, problems);
  }
}

function nodesOf(schema: GraphQLSchema): ASTNode[] {
  return [...(schema.astNode ? [schema.astNode] : []), ...schema.extensionASTNodes];
}

function checkNode(root: ASTNode, where: string, problems: Problems): void {
  visit(root, {
    Directive(node: DirectiveNode | ConstDirectiveNode, _key, _parent, _path, ancestors) {
      const owner = ancestors.filter((each): each is ASTNode => !Array.isArray(each)).at(-1);
      const name = node.name.value;
      if (isOurs(name) && (owner === undefined || !isPlanned(owner, root))) {
        problems.at(placeOf(where, owner), misplaced(name));
      }
    },
  });
}

/** Fields, arguments and input fields have plans, which read what is written there. */
function isPlanned(owner: ASTNode, root: ASTNode): boolean {
  return (
    owner.kind === Kind.FIELD_DEFINITION ||
    (owner.kind === Kind.INPUT_VALUE_DEFINITION && root.kind !== Kind.DIRECTIVE_DEFINITION)
  );
}

function placeOf(where: string, owner: ASTNode | undefined): string {
  const name = owner !== undefined && 'name' in owner && owner.name ? owner.name.value : undefined;
  return [where, name === where ? undefined : name].filter(Boolean).join('.') || 'schema';
}

function checkCode(type: GraphQLNamedType, problems: Problems): void {
  const values: [string, Carrier][] = isEnumType(type)
    ? type.getValues().map((value) => [`${type.name}.${value.name}`, value])
    : [];
  for (const [where, carrier] of [[type.name, type] as [string, Carrier], ...values]) {
    for (const name of byCode(carrier)) {
      problems.at(where, misplaced(name));
    }
  }
}
