import { brand, isBranded } from '../brand.js';
import type { FieldShape } from './shapes.js';

/** A .proto asks for what cannot be, or an interceptor was not told what it needs; the message names each place. */
export class FieldRuleError extends Error {
  constructor(mistakes: readonly string[]) {
    super(mistakes.length === 1 ? mistakes[0] : `${mistakes.length} mistakes:\n- ${mistakes.join('\n- ')}`);
    Object.defineProperty(this, 'name', { value: 'FieldRuleError' });
    brand(this, 'grpc/rule-error');
  }

  /** True also for one of another copy of this package. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isBranded(value, 'grpc/rule-error');
  }
}

/**
 * What is to be done with a field, as `lunasec/options.proto` has it.
 *
 * @internal
 */
export interface Rule {
  readonly tokenize: boolean;
  readonly detokenize: boolean;
  readonly verify: boolean;
  /** For how long. */
  readonly grant: string | undefined;
}

/**
 * What a field holds that a rule is about.
 *
 * @internal
 */
export type Kind = 'string' | 'bytes';

/** Messages that hold one such field, `value`. */
const WRAPPERS: ReadonlyMap<string, Kind> = new Map([
  ['google.protobuf.StringValue', 'string'],
  ['google.protobuf.BytesValue', 'bytes'],
]);

/** @internal */
export function kindOf({ type, message }: FieldShape): { kind: Kind; wrapped: boolean } | undefined {
  const wrapped = message ? WRAPPERS.get(type) : undefined;
  if (wrapped !== undefined) {
    return { kind: wrapped, wrapped: true };
  }
  return !message && (type === 'string' || type === 'bytes') ? { kind: type, wrapped: false } : undefined;
}

/** As the sidecar reads durations. */
const DURATION = /^[0-9]+(ms|s|m|h|d)$/;
const NAMES = ['tokenize', 'detokenize', 'verify', 'grant'];

/**
 * The rule of a field, or undefined where it has none; tells what is wrong with it.
 *
 * @internal
 */
export function ruleOf(field: FieldShape, mistake: (words: string) => void): Rule | undefined {
  const said = field.options;
  for (const [name, value] of said) {
    const wrong = wrongOption(name, value);
    if (wrong !== undefined) {
      mistake(`${field.where}: ${wrong}`);
    }
  }
  const grant = said.get('field.grant');
  const rule = {
    tokenize: said.get('field.tokenize') === true,
    detokenize: said.get('field.detokenize') === true,
    verify: said.get('field.verify') === true,
    grant: typeof grant === 'string' && grant !== '' ? grant : undefined,
  };
  if (!rule.tokenize && !rule.detokenize && !rule.verify && rule.grant === undefined) {
    return undefined;
  }
  const unfit = unfitness(field);
  if (unfit !== undefined) {
    mistake(`${field.where}: ${unfit}`);
    return undefined;
  }
  return rule;
}

function wrongOption(name: string, value: unknown): string | undefined {
  const [extension, option = '', more] = name.split('.');
  if (extension !== 'field' || more !== undefined || !NAMES.includes(option)) {
    return `lunasec.${name} is no option; there are (lunasec.field).tokenize, .detokenize, .verify and .grant`;
  }
  if (option !== 'grant') {
    return typeof value === 'boolean' ? undefined : `(lunasec.field).${option} is true or false`;
  }
  return typeof value === 'string' && (value === '' || DURATION.test(value))
    ? undefined
    : '(lunasec.field).grant is a duration such as "15m"';
}

function unfitness(field: FieldShape): string | undefined {
  if (field.extension) {
    return 'a rule on an extension has no effect; move the field into its message';
  }
  if (kindOf(field) !== undefined) {
    return undefined;
  }
  const what = field.many === 'map' ? `a map of ${field.type} values` : `of type ${field.type}`;
  return field.message
    ? `it is ${what}, and only string and bytes fields have rules; put the rule on fields of ${field.type}`
    : `it is ${what}, which cannot hold a token; make it a string or bytes field`;
}
