import { InvalidRequest, named, PayloadTooLarge } from '../errors.js';
import { FIELDS } from '../limits.js';
import { EACH, type Field } from './fields.js';

/** `invalid_request`: a field of the request is missing, of another type, or holds what it may not. */
export class FieldRefused extends InvalidRequest {
  /** The path that the route names, such as `body.items[].card`. */
  readonly field: string;

  static {
    named(FieldRefused, 'FieldRefused');
  }

  constructor(field: string, what: string) {
    super(`${field} ${what}`);
    this.field = field;
  }
}

/**
 * Whose data it is, and so whose mistake.
 *
 * @internal
 */
export interface Rules {
  refuse(field: string, what: string): Error;
  /** Any field may be missing. */
  readonly lenient: boolean;
  /** A text counts as a list of one: `?id=1` beside `?id=1&id=2`. */
  readonly loneIsList?: boolean;
}

/** @internal */
export const REQUEST: Rules = {
  refuse: (field, what) => new FieldRefused(field, what),
  lenient: false,
};

/** The body where nothing was parsed: no parser takes this kind of body, or none comes before the route. @internal */
export const UNPARSED: Rules = {
  refuse: (field, what) => new FieldRefused(field, `${what}: the request has no body that was parsed`),
  lenient: false,
};

/** @internal */
export const QUERY: Rules = { ...REQUEST, loneIsList: true };

/** The application's own mistake: not of the kind that tells the user to mend the request. @internal */
export const DATA: Rules = {
  refuse: (field, what) => new TypeError(`the field ${field} of what is sent ${what}`),
  lenient: true,
};

type Container = Record<string | number, unknown>;

/**
 * A field that was found, in a copy of what it is in.
 *
 * @internal
 */
export class Slot {
  constructor(
    readonly field: string,
    readonly holder: Container,
    readonly key: string | number,
  ) {}

  get value(): unknown {
    return this.holder[this.key];
  }

  write(value: unknown): void {
    this.holder[this.key] = value;
  }
}

/**
 * Data whose fields are to be replaced. Only a copy is written to, of no more than what the fields are in: until it is
 * used, nothing has changed, and what the application keeps elsewhere never does.
 *
 * @internal
 */
export class Draft {
  readonly #box: Container;
  readonly #rules: Rules;
  readonly #copies = new Map<object, Container>();
  #found = 0;

  constructor(data: unknown, rules: Rules) {
    this.#box = { data };
    this.#rules = rules;
  }

  get data(): unknown {
    return this.#box['data'];
  }

  find(fields: readonly Field[]): Slot[] {
    const slots: Slot[] = [];
    for (const field of fields) {
      this.#walk(this.#box, 'data', field, 0, slots);
    }
    return slots;
  }

  #walk(holder: Container, key: string | number, field: Field, at: number, slots: Slot[]): void {
    const step = field.steps[at];
    const value = Object.hasOwn(holder, key) ? holder[key] : undefined;
    if (value === undefined || value === null) {
      if (!field.optional && !this.#rules.lenient) {
        throw this.#rules.refuse(field.name, 'is missing');
      }
    } else if (step === undefined) {
      this.#count();
      slots.push(new Slot(field.name, holder, key));
    } else if (step === EACH) {
      const list = this.#list(holder, key, field.name);
      for (let index = 0; index < list.length; index += 1) {
        this.#walk(list as unknown as Container, index, field, at + 1, slots);
      }
    } else {
      this.#walk(this.#object(holder, key, field.name), step, field, at + 1, slots);
    }
  }

  #count(): void {
    this.#found += 1;
    if (this.#found > FIELDS && !this.#rules.lenient) {
      throw new PayloadTooLarge(`more than ${FIELDS} fields at once`);
    }
  }

  #list(holder: Container, key: string | number, name: string): unknown[] {
    if (this.#rules.loneIsList === true && typeof holder[key] === 'string') {
      holder[key] = [holder[key]];
    }
    const list = this.#open(holder, key);
    if (!Array.isArray(list)) {
      throw this.#rules.refuse(name, 'is no list where one is expected');
    }
    return list;
  }

  #object(holder: Container, key: string | number, name: string): Container {
    const object = this.#open(holder, key);
    if (object === undefined || Array.isArray(object)) {
      throw this.#rules.refuse(name, 'is not in an object where one is expected');
    }
    return object;
  }

  /** Puts a copy of a list or an object where it was; as JSON would show it. */
  #open(holder: Container, key: string | number): Container | undefined {
    const value = holder[key];
    if (typeof value !== 'object' || value === null) {
      return undefined;
    }
    const copy = this.#copies.get(value) ?? copyOf(value, key);
    if (copy !== undefined) {
      this.#copies.set(value, copy);
      // It may be met again by another path.
      this.#copies.set(copy, copy);
      holder[key] = copy;
    }
    return copy;
  }
}

function copyOf(value: object, key: string | number): Container | undefined {
  const { toJSON } = value as { toJSON?: unknown };
  const shown: unknown = typeof toJSON === 'function' ? toJSON.call(value, String(key)) : value;
  if (typeof shown !== 'object' || shown === null) {
    return undefined;
  }
  return (Array.isArray(shown) ? [...shown] : { ...shown }) as Container;
}
