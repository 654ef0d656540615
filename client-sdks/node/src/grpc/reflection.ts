import { distinct, type FieldShape, type MethodShape, namesOf, optionsOf, type Shapes } from './shapes.js';

/** As much as is read of a reflected object of protobufjs: any version and any copy of it. */
export interface Reflected {
  /** With a leading dot. */
  readonly fullName: string;
  readonly name: string;
}

/** As much as is read of a `Root` of protobufjs. */
export interface ReflectedRoot extends Reflected {
  readonly nestedArray: readonly Reflected[];
  resolveAll(): unknown;
}

interface Field extends Reflected {
  readonly type: string;
  readonly repeated: boolean;
  readonly map: boolean;
  readonly options?: Readonly<Record<string, unknown>>;
  readonly resolvedType: (Reflected & { readonly values?: unknown }) | null;
  readonly partOf: Reflected | null;
  readonly declaringField?: unknown;
}

interface Method extends Reflected {
  readonly resolvedRequestType: Reflected;
  readonly resolvedResponseType: Reflected;
}

/** A namespace, and with more members a message or a service. */
interface Node extends Reflected {
  readonly nestedArray?: readonly Node[];
  readonly fieldsArray?: readonly Field[];
  readonly methodsArray?: readonly Method[];
}

/**
 * What a root of protobufjs says: it keeps options that it knows nothing of, as they are written.
 *
 * @internal
 */
export function shapesOfRoot(root: ReflectedRoot): Shapes {
  root.resolveAll();
  const messages = new Map<string, readonly FieldShape[]>();
  const methods = new Map<string, MethodShape>();
  const nodes = [root as Node];
  for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
    if (node.fieldsArray !== undefined) {
      messages.set(bare(node), distinct(node.fieldsArray.map((field) => shapeOf(field, bare(node as Node)))));
    }
    for (const method of node.methodsArray ?? []) {
      methods.set(`/${bare(node)}/${method.name}`, {
        request: bare(method.resolvedRequestType),
        response: bare(method.resolvedResponseType),
      });
    }
    nodes.push(...(node.nestedArray ?? []));
  }
  return { messages, methods };
}

function bare({ fullName }: Reflected): string {
  return fullName.replace(/^\./, '');
}

function shapeOf(field: Field, message: string): FieldShape {
  const { resolvedType, options } = field;
  const isEnum = resolvedType?.values !== undefined;
  const isMessage = resolvedType !== null && !isEnum;
  const optional = options?.['proto3_optional'] === true;
  const oneof = field.partOf === null || optional ? [] : namesOf(field.partOf.name, undefined);
  return {
    where: bare(field),
    names: namesOf(field.name, options?.['json_name']),
    type: isMessage ? bare(resolvedType) : isEnum ? 'enum' : field.type,
    message: isMessage,
    many: field.map ? 'map' : field.repeated ? 'list' : 'one',
    oneof,
    presence: field.partOf !== null,
    extension: field.declaringField !== undefined && field.declaringField !== null,
    options: optionsOf(options, message),
  };
}
