import { InvalidRequest, LunaSecError, PayloadTooLarge } from '../errors.js';
import { Plaintext, Token } from '../redacted.js';
import { told } from '../words.js';
import { Content } from './content.js';
import type { Plan, PlannedField } from './plan.js';
import type { Rule } from './rules.js';
import { FieldError } from './status.js';

/**
 * One value in a message, and how to put another one in its place.
 *
 * @internal
 */
export interface Slot {
  readonly where: string;
  readonly rule: Rule;
  readonly content: Content;
  /** Whether it is there also where it is empty. */
  readonly presence: boolean;
  set(value: unknown): void;
}

type Message = Record<string, unknown>;

/** What was found, up to a number: one message must not take all the calls of a process from everybody else. */
class Slots {
  readonly all: Slot[] = [];
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  push(slot: Slot): void {
    if (!slot.presence && slot.content.empty) {
      return;
    }
    if (this.all.length >= this.#most) {
      const words = `a message has at most ${this.#most} values and tokens; send it in several`;
      throw new FieldError(slot.where, told(new PayloadTooLarge(words)));
    }
    this.all.push(slot);
  }
}

/** As many as other implementations of protobuf take. */
const DEPTH = 100;

/**
 * A copy of a message, as far down as something in it is to be replaced, and all that is. What the application made
 * stays as it is: it may be sent again, or be kept.
 *
 * @internal
 */
export function open(
  plan: Plan,
  message: unknown,
  most: number,
): { readonly copy: unknown; readonly slots: readonly Slot[] } {
  const slots = new Slots(most);
  return { copy: copied(plan, message, slots, 0), slots: slots.all };
}

function copied(plan: Plan, message: unknown, slots: Slots, depth: number): unknown {
  if (typeof message !== 'object' || message === null) {
    return message;
  }
  if (depth > DEPTH) {
    throw new InvalidRequest(`${plan.name} is nested more than ${DEPTH} times`);
  }
  if ('serializeBinary' in message || '$typeName' in message) {
    throw unsupported(
      plan.name,
      'messages are of classes that have no plain fields; use @grpc/proto-loader or ts-proto',
    );
  }
  const copy = Object.assign(Object.create(Object.getPrototypeOf(message)) as Message, message);
  for (const field of plan.fields) {
    refuseUnions(copy, field);
    for (const name of field.shape.names) {
      // Functions are what classes have: a field may be called `constructor`.
      if (copy[name] !== undefined && copy[name] !== null && typeof copy[name] !== 'function') {
        copy[name] = replaced(field, copy[name], (value) => put(copy, name, value), slots, depth);
      }
    }
  }
  return copy;
}

/** Some generators keep the member of a oneof below the oneof's name, where it would not be found. */
function refuseUnions(message: Message, { shape }: PlannedField): void {
  for (const name of shape.oneof) {
    if (typeof message[name] === 'object' && message[name] !== null) {
      throw unsupported(shape.where, 'its oneof is a union; have the code generated with oneofs as properties');
    }
  }
}

function unsupported(where: string, why: string): LunaSecError {
  return new LunaSecError('unsupported_message', `${where}: ${why}`);
}

/** An own property, also where the name is `__proto__`, which a map's key may be. */
function put(object: object, name: string, value: unknown): void {
  Object.defineProperty(object, name, { value, writable: true, enumerable: true, configurable: true });
}

function replaced(
  field: PlannedField,
  value: unknown,
  set: (value: unknown) => void,
  slots: Slots,
  depth: number,
): unknown {
  const { many, where } = field.shape;
  const each = (element: unknown, put: (value: unknown) => void) => one(field, element, put, slots, depth);
  if (many === 'one') {
    return each(value, set);
  }
  if (Array.isArray(value)) {
    return many === 'list' ? list(value, each) : entries(value, each);
  }
  if (many === 'map' && value instanceof Map) {
    return mapOf(value, each);
  }
  if (many === 'map' && typeof value === 'object') {
    return record(value as Message, each);
  }
  throw new InvalidRequest(`${where} is no ${many}`);
}

type Each = (element: unknown, put: (value: unknown) => void) => unknown;

function list(elements: readonly unknown[], each: Each): unknown[] {
  const copy: unknown[] = [];
  for (const [index, element] of elements.entries()) {
    copy[index] = each(element, (value) => {
      copy[index] = value;
    });
  }
  return copy;
}

/** A map as a list of its entries, which is how it arrives where a descriptor set was loaded. */
function entries(elements: readonly unknown[], each: Each): unknown[] {
  return elements.map((element) => {
    const copy: Message = { ...(element as Message) };
    copy['value'] = each(copy['value'], (value) => put(copy, 'value', value));
    return copy;
  });
}

function mapOf(values: ReadonlyMap<unknown, unknown>, each: Each): Map<unknown, unknown> {
  const copy = new Map<unknown, unknown>();
  for (const [key, element] of values) {
    copy.set(
      key,
      each(element, (value) => copy.set(key, value)),
    );
  }
  return copy;
}

function record(values: Message, each: Each): Message {
  const copy: Message = {};
  for (const [key, element] of Object.entries(values)) {
    put(
      copy,
      key,
      each(element, (value) => put(copy, key, value)),
    );
  }
  return copy;
}

/** One element: a slot, a wrapper of a slot, or a message with slots in it. */
function one({ shape, ruled, plan }: PlannedField, element: unknown, set: Slot['set'], slots: Slots, depth: number) {
  if (ruled === undefined) {
    return plan === undefined ? element : copied(plan, element, slots, depth + 1);
  }
  if (element === undefined || element === null) {
    return element;
  }
  const { rule, kind, wrapped } = ruled;
  const { where } = shape;
  const presence = shape.presence || wrapped || shape.many !== 'one';
  if (wrapped && isWrapper(element)) {
    const copy: Message = { ...element };
    const inner = copy['value'] ?? (kind === 'string' ? '' : Buffer.alloc(0));
    const put = (value: unknown) => {
      copy['value'] = value;
    };
    slots.push({ where, rule, content: new Content(inner, kind, where), presence, set: put });
    return copy;
  }
  slots.push({ where, rule, content: new Content(element, kind, where), presence, set });
  return element;
}

/** A message of one field; generators that unwrap it give what is in it. */
function isWrapper(element: unknown): element is Message {
  const bare = element instanceof Uint8Array || element instanceof Token || element instanceof Plaintext;
  return typeof element === 'object' && element !== null && !Array.isArray(element) && !bare;
}
