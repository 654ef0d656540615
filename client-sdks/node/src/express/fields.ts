/**
 * Paths of fields: `card`, `address.street`, `items[].card`, `tags[]`, `[].name`. One with `?` at its end may be missing or
 * null, or what it is in may be; any other has to be there.
 */
export type Fields = string | readonly string[];

/** Each item of a list: the same in each copy of this package, as what one of them is to do may be done by another. */
export const EACH: unique symbol = Symbol.for('@lunasec/node/express/each');

/** @internal */
export interface Field {
  /** As errors name it: the developer's words, never the client's. */
  readonly name: string;
  readonly steps: readonly (string | typeof EACH)[];
  readonly optional: boolean;
}

const SHAPE = /^(?:(?:\[\])+\.)?[^.[\]?]+(?:\[\])*(?:\.[^.[\]?]+(?:\[\])*)*\??$|^(?:\[\])+\??$/;
/** What names no field of anybody's data, but what objects are made of. */
const RESERVED = new Set(['__proto__', 'constructor', 'prototype']);

/**
 * Refuses mistakes where routes are made, not when the first request comes.
 *
 * @internal
 */
export function parse(fields: Fields, prefix = ''): Field[] {
  const texts = typeof fields === 'string' ? [fields] : fields;
  if (texts.length === 0) {
    throw new TypeError('no fields are named: give at least one');
  }
  const found = new Map<string, Field>();
  for (const text of texts) {
    const field = parsed(text, prefix);
    const before = found.get(field.name);
    // Named twice: asked for once, and what is required by one of both is required.
    found.set(field.name, { ...field, optional: field.optional && (before?.optional ?? true) });
  }
  return [...found.values()];
}

function parsed(text: string, prefix: string): Field {
  if (!SHAPE.test(text)) {
    throw new TypeError(
      `${JSON.stringify(text)} is no path of a field: write card, address.street, items[].card or note?`,
    );
  }
  const optional = text.endsWith('?');
  const path = optional ? text.slice(0, -1) : text;
  const steps = (path.match(/\[\]|[^.[\]]+/g) ?? []).map((step) => (step === '[]' ? EACH : step));
  for (const step of steps) {
    if (step !== EACH && RESERVED.has(step)) {
      throw new TypeError(`${JSON.stringify(step)} is no field that can be named`);
    }
  }
  return { name: prefix + path, steps, optional };
}
