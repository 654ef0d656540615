import { InvalidRequest } from '../errors.js';
import { Plaintext, Token } from '../redacted.js';
import type { Kind } from './rules.js';

const TOKEN = /^lunasec-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * What one field, element or value holds: text, or bytes in one of the ways that messages have them (a Buffer; with
 * proto-loader's `bytes: String` base64, with `bytes: Array` numbers).
 *
 * @internal
 */
export class Content {
  readonly #value: string | Buffer;
  readonly #kind: Kind;
  readonly #shown: 'bytes' | 'base64' | 'array';
  /** Given as a {@link Token}, which text that came from elsewhere cannot be. */
  readonly isToken: boolean;

  constructor(value: unknown, kind: Kind, where: string) {
    this.#kind = kind;
    this.isToken = value instanceof Token;
    this.#shown = typeof value === 'string' ? 'base64' : Array.isArray(value) ? 'array' : 'bytes';
    this.#value = kind === 'string' ? textOf(value, where) : bytesOf(value, where);
  }

  get empty(): boolean {
    return this.#value.length === 0;
  }

  /** What to tokenize. */
  get plain(): string | Buffer {
    return this.#value;
  }

  /** The text that a token would be. */
  get text(): string {
    return this.#value.toString();
  }

  /** Whether it is a token, as the sidecar writes it. */
  get exactToken(): boolean {
    return this.isToken || (this.#value.length < 64 && TOKEN.test(this.text));
  }

  /** A token, as the field has to hold it. */
  ofText(text: string): unknown {
    return this.#kind === 'string' ? text : this.#ofBytes(Buffer.from(text, 'utf8'));
  }

  /** A value, as the field has to hold it. */
  ofValue(value: Plaintext): unknown {
    if (this.#kind === 'bytes') {
      return this.#ofBytes(value.revealBytes());
    }
    if (!value.isText) {
      throw new InvalidRequest('the value was tokenized as bytes; make the field bytes, too');
    }
    return value.reveal();
  }

  /** What a policy shows instead of a value, as the field has to hold it. */
  ofStandIn(shown: unknown): unknown {
    return this.#kind === 'bytes' && shown instanceof Uint8Array
      ? this.#ofBytes(Buffer.from(shown))
      : this.ofText(String(shown ?? ''));
  }

  #ofBytes(bytes: Buffer): unknown {
    if (this.#shown === 'base64') {
      return bytes.toString('base64');
    }
    return this.#shown === 'array' ? [...bytes] : bytes;
  }
}

function textOf(value: unknown, where: string): string {
  if (value instanceof Token) {
    return value.expose();
  }
  if (value instanceof Plaintext && value.isText) {
    return value.reveal();
  }
  if (typeof value === 'string') {
    return value;
  }
  throw new InvalidRequest(`${where} is no text; give it a string`);
}

function bytesOf(value: unknown, where: string): Buffer {
  if (value instanceof Token) {
    return Buffer.from(value.expose(), 'utf8');
  }
  if (value instanceof Plaintext) {
    return value.revealBytes();
  }
  if (value instanceof Uint8Array) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }
  if (typeof value === 'string') {
    return Buffer.from(value, 'base64');
  }
  if (Array.isArray(value)) {
    return Buffer.from(value as number[]);
  }
  throw new InvalidRequest(`${where} is no bytes; give it a Buffer`);
}
