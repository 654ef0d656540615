/**
 * What is known of the messages and methods of .proto files, wherever it was read from.
 *
 * @internal
 */
export interface Shapes {
  /** By full name, without a leading dot. */
  readonly messages: ReadonlyMap<string, readonly FieldShape[]>;
  /** By the path that gRPC calls them by. */
  readonly methods: ReadonlyMap<string, MethodShape>;
}

/** @internal */
export interface MethodShape {
  readonly request: string;
  readonly response: string;
}

/** @internal */
export interface FieldShape {
  /** As errors name it: `shop.v1.Order.card`. */
  readonly where: string;
  /** Its own name first, then the others that a message may have it under. */
  readonly names: readonly string[];
  /** `string`, `bytes`, another scalar, `enum`, or the full name of a message; of a map, that of its values. */
  readonly type: string;
  readonly message: boolean;
  readonly many: 'one' | 'list' | 'map';
  /** The oneof that it is in, under all of its names; empty for none, also for the one that `optional` stands for. */
  readonly oneof: readonly string[];
  /** Whether an empty value is told from an absent one. */
  readonly presence: boolean;
  /** Whether it is an extension of its message. */
  readonly extension: boolean;
  /** What `(lunasec.…)` says of it, by name such as `field.tokenize`. */
  readonly options: ReadonlyMap<string, unknown>;
}

function camel(name: string, pattern: RegExp): string {
  return name.replace(pattern, (_, letter: string) => letter.toUpperCase());
}

/**
 * The names that loaders and generators give a field: as it is written, in protobufjs' camel case, in that of JSON, and as
 * it was written where only the camel case is known.
 *
 * @internal
 */
export function namesOf(name: string, jsonName: unknown): string[] {
  const names = [
    name,
    camel(name, /(?<!^)_([a-z])(?=[a-z]|$)/g),
    camel(name, /_+([a-zA-Z0-9])/g),
    name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
  ];
  if (typeof jsonName === 'string' && jsonName !== '') {
    names.push(jsonName);
  }
  return [...new Set(names)];
}

/**
 * Without the names by which a message has another of its fields.
 *
 * @internal
 */
export function distinct(fields: readonly FieldShape[]): FieldShape[] {
  const own = new Map(fields.map((field) => [field.names[0], field]));
  return fields.map((field) => ({
    ...field,
    names: field.names.filter((name) => (own.get(name) ?? field) === field),
  }));
}

const OURS = /^\(\.?((?:[\w.]+\.)?\w+)\)\.?(.*)$/;

/**
 * What of a field's options is LunaSec's, by its name in the package. An option may be named as seen from its scope.
 *
 * @internal
 */
export function optionsOf(options: Readonly<Record<string, unknown>> | undefined, scope: string): Map<string, unknown> {
  const ours = new Map<string, unknown>();
  for (const [key, value] of Object.entries(options ?? {})) {
    const [, name = '', rest = ''] = OURS.exec(key) ?? [];
    const full = [name, ...scopes(scope).map((each) => `${each}.${name}`)].find((each) => each.startsWith('lunasec.'));
    if (name !== '' && full !== undefined) {
      ours.set([full.slice('lunasec.'.length), rest].filter((part) => part !== '').join('.'), value);
    }
  }
  return ours;
}

function scopes(scope: string): string[] {
  const parts = scope.split('.');
  return parts.map((_, index) => parts.slice(0, index + 1).join('.'));
}
