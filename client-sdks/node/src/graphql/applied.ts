import type { ConstDirectiveNode } from 'graphql';
import { valueFromASTUntyped } from 'graphql';

import { type DirectiveName, isOurs, misplaced } from './definitions.js';
import { isDuration } from './duration.js';
import type { Problems } from './problems.js';

/**
 * One directive, as it is written somewhere.
 *
 * @internal
 */
export interface Applied {
  readonly name: DirectiveName;
  readonly onUnavailable?: 'FAIL' | 'MASK';
  readonly expiresIn?: string;
}

/**
 * What may carry directives: in its SDL, or by code, in `extensions.directives`.
 *
 * @internal
 */
export interface Carrier {
  readonly astNode?: { readonly directives?: readonly ConstDirectiveNode[] | undefined } | null | undefined;
  readonly extensions?: unknown;
}

interface Written {
  readonly name: string;
  readonly args: Readonly<Record<string, unknown>>;
}

/** Those for what comes in. */
const INPUTS: readonly DirectiveName[] = ['tokenize', 'verify'];
/** Those for what goes out. */
const OUTPUTS: readonly DirectiveName[] = ['detokenize', 'grant'];

/**
 * The directive of an argument or of an input field, if it has one. What is written wrongly there is a problem.
 *
 * @internal
 */
export function inputDirective(carrier: Carrier, where: string, problems: Problems): Applied | undefined {
  const applied = appliedAt(carrier, where, INPUTS, problems);
  if (applied.length > 1) {
    problems.at(where, 'has @tokenize and @verify: it is either a value or a token; take one of them away');
  }
  return applied[0];
}

/**
 * The directive of a field of an object or of an interface, likewise.
 *
 * @internal
 */
export function outputDirective(carrier: Carrier, where: string, problems: Problems): Applied | undefined {
  const applied = appliedAt(carrier, where, OUTPUTS, problems);
  if (applied.length > 1) {
    problems.at(
      where,
      'has @detokenize and @grant: whoever reads it would be granted what is granted to be read; give the token by a field of its own, with @grant',
    );
  }
  return applied[0];
}

function appliedAt(carrier: Carrier, where: string, here: readonly DirectiveName[], problems: Problems): Applied[] {
  const written = [...(carrier.astNode?.directives ?? []).map(fromNode), ...fromExtensions(carrier)];
  const found = new Map<string, Applied>();
  for (const { name, args } of written) {
    if (isOurs(name) && !here.includes(name)) {
      problems.at(where, misplaced(name));
    } else if (isOurs(name)) {
      if (found.has(name)) {
        problems.at(where, `@${name} is there twice; once is enough`);
      }
      found.set(name, checked(name, args, where, problems));
    }
  }
  return [...found.values()];
}

/**
 * The names of our directives that are written by code at a place.
 *
 * @internal
 */
export function byCode(carrier: Carrier): DirectiveName[] {
  return fromExtensions(carrier)
    .map(({ name }) => name)
    .filter(isOurs);
}

function fromNode(node: ConstDirectiveNode): Written {
  const args = (node.arguments ?? []).map(({ name, value }) => [name.value, valueFromASTUntyped(value)]);
  return { name: node.name.value, args: Object.fromEntries(args) as Record<string, unknown> };
}

/** `{ name: args }`, `{ name: [args, …] }`, or `[{ name, args }, …]`: what tools of schemas by code write. */
function fromExtensions({ extensions }: Carrier): Written[] {
  const written: unknown = isObject(extensions) ? extensions['directives'] : undefined;
  if (Array.isArray(written)) {
    return written.filter(isObject).map(({ name, args }) => ({ name: String(name), args: isObject(args) ? args : {} }));
  }
  return Object.entries(isObject(written) ? written : {}).flatMap(([name, args]) =>
    (Array.isArray(args) ? args : [args]).map((each: unknown) => ({ name, args: isObject(each) ? each : {} })),
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

const ARGUMENTS: Readonly<Record<DirectiveName, readonly string[]>> = {
  tokenize: [],
  verify: [],
  detokenize: ['onUnavailable'],
  grant: ['expiresIn'],
};

function checked(name: DirectiveName, args: Written['args'], where: string, problems: Problems): Applied {
  for (const unknown of Object.keys(args).filter((arg) => !ARGUMENTS[name].includes(arg))) {
    problems.at(where, `@${name} has no argument ${unknown}`);
  }
  const { onUnavailable, expiresIn } = args;
  if (name === 'detokenize' && (onUnavailable === 'FAIL' || onUnavailable === 'MASK')) {
    return { name, onUnavailable };
  }
  if (name === 'detokenize' && !absent(onUnavailable)) {
    problems.at(where, '@detokenize(onUnavailable:) is FAIL or MASK');
  }
  if (name === 'grant' && isDuration(expiresIn)) {
    return { name, expiresIn };
  }
  if (name === 'grant' && !absent(expiresIn)) {
    const what = typeof expiresIn === 'string' ? `"${expiresIn}"` : 'this';
    problems.at(where, `@grant(expiresIn:): ${what} is no duration; write 30s, 15m, 24h or 7d, and more than nothing`);
  }
  return { name };
}

function absent(value: unknown): boolean {
  return value === undefined || value === null;
}
