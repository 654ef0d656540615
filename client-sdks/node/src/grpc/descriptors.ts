import { distinct, type FieldShape, type MethodShape, namesOf, type Shapes } from './shapes.js';

interface FieldDescriptor {
  readonly name: string;
  readonly jsonName?: string;
  readonly label?: number;
  readonly type?: number;
  readonly typeName?: string;
  readonly oneofIndex?: number;
  readonly proto3Optional?: boolean;
  readonly options?: Readonly<Record<string, unknown>>;
}

interface MessageDescriptor {
  readonly name: string;
  readonly field?: readonly FieldDescriptor[];
  readonly extension?: readonly FieldDescriptor[];
  readonly nestedType?: readonly MessageDescriptor[];
  readonly oneofDecl?: readonly { readonly name: string }[];
  readonly options?: { readonly mapEntry?: boolean };
}

interface ServiceDescriptor {
  readonly name: string;
  readonly method?: readonly { readonly name: string; readonly inputType: string; readonly outputType: string }[];
}

interface FileDescriptor {
  readonly package?: string;
  readonly messageType?: readonly MessageDescriptor[];
  readonly extension?: readonly FieldDescriptor[];
  readonly service?: readonly ServiceDescriptor[];
}

/**
 * A decoded `google.protobuf.FileDescriptorSet`, in protobufjs' plain objects.
 *
 * @internal
 */
export interface DescriptorSet {
  readonly file?: readonly FileDescriptor[];
}

/** Numbers of google.protobuf.FieldDescriptorProto. */
const STRING = 9;
const GROUP = 10;
const MESSAGE = 11;
const BYTES = 12;
const ENUM = 14;
const REPEATED = 3;
const NAMES = new Map([
  [STRING, 'string'],
  [BYTES, 'bytes'],
  [ENUM, 'enum'],
]);

/** Where protobufjs puts the option. */
const OPTION = '.lunasec.field';

/**
 * What a descriptor set says.
 *
 * @internal
 */
export function shapesOfDescriptors({ file: files = [] }: DescriptorSet): Shapes {
  const described = new Map<string, MessageDescriptor>();
  const methods = new Map<string, MethodShape>();
  const messages = new Map<string, readonly FieldShape[]>();
  for (const [index, file] of files.entries()) {
    const within = prefixOf(file);
    gather(described, within, file.messageType ?? []);
    for (const service of file.service ?? []) {
      addMethods(methods, `${within}${service.name}`, service);
    }
    messages.set(`(extensions of file ${index})`, extensionsOf(file, within));
  }
  for (const [name, message] of described) {
    const fields = (message.field ?? []).map((field) => shapeOf(field, name, message, described));
    messages.set(name, [...distinct(fields), ...extensionsOf(message, `${name}.`)]);
  }
  return { messages, methods };
}

function prefixOf(file: FileDescriptor): string {
  return file.package === undefined || file.package === '' ? '' : `${file.package}.`;
}

function gather(all: Map<string, MessageDescriptor>, within: string, messages: readonly MessageDescriptor[]): void {
  for (const message of messages) {
    all.set(within + message.name, message);
    gather(all, `${within}${message.name}.`, message.nestedType ?? []);
  }
}

function addMethods(methods: Map<string, MethodShape>, name: string, service: ServiceDescriptor): void {
  for (const method of service.method ?? []) {
    methods.set(`/${name}/${method.name}`, { request: bare(method.inputType), response: bare(method.outputType) });
  }
}

function bare(name: string): string {
  return name.replace(/^\./, '');
}

function shapeOf(
  field: FieldDescriptor,
  within: string,
  message: MessageDescriptor,
  all: ReadonlyMap<string, MessageDescriptor>,
): FieldShape {
  const entry = all.get(bare(field.typeName ?? ''));
  const map = entry?.options?.mapEntry === true;
  const value = map ? (entry.field?.find(({ name }) => name === 'value') ?? field) : field;
  const oneof = field.oneofIndex === undefined ? undefined : message.oneofDecl?.[field.oneofIndex];
  return {
    where: `${within}.${field.name}`,
    names: namesOf(field.name, field.jsonName),
    ...typeOf(value),
    many: map ? 'map' : field.label === REPEATED ? 'list' : 'one',
    oneof: oneof === undefined || field.proto3Optional === true ? [] : namesOf(oneof.name, undefined),
    presence: oneof !== undefined,
    extension: false,
    options: rulesOf(field),
  };
}

function typeOf({ type = 0, typeName = '' }: FieldDescriptor): Pick<FieldShape, 'type' | 'message'> {
  const message = type === MESSAGE || type === GROUP;
  return { type: message ? bare(typeName) : (NAMES.get(type) ?? 'number'), message };
}

function rulesOf(field: FieldDescriptor): Map<string, unknown> {
  const rules = (field.options?.[OPTION] ?? {}) as Readonly<Record<string, unknown>>;
  return new Map(Object.entries(rules).map(([name, value]) => [`field.${name}`, value]));
}

function extensionsOf({ extension = [] }: Pick<FileDescriptor, 'extension'>, within: string): FieldShape[] {
  return extension.map((field) => ({
    where: within + field.name,
    names: [],
    ...typeOf(field),
    many: 'one',
    oneof: [],
    presence: true,
    extension: true,
    options: rulesOf(field),
  }));
}
