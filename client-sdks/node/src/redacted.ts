import { createHmac, randomBytes } from 'node:crypto';
import { inspect } from 'node:util';

import { brand, isBranded } from './brand.js';
import { InvalidToken } from './errors.js';

const TOKEN_PRINT = '[lunasec token: .expose() gives its text]';
const PLAINTEXT_PRINT = '[lunasec plaintext: .reveal() gives its text]';

const DIGEST_KEY = randomBytes(32);

/** What prints, and what to give instead. */
const PRINTS = [
  { print: TOKEN_PRINT, what: 'Token', instead: 'store what token.expose() gives' },
  { print: PLAINTEXT_PRINT, what: 'Plaintext', instead: 'give the Plaintext itself, or what reveal() gives' },
] as const;

/**
 * Whether a text has in it what a token or a plaintext prints as.
 *
 * @internal
 */
export function printedAs(text: string): (typeof PRINTS)[number] | undefined {
  return PRINTS.find(({ print }) => text.includes(print));
}

/** A `Proxy` of one is none: it has nothing inside. */
function isWhole(token: Token): boolean {
  try {
    return typeof token.expose() === 'string';
  } catch {
    return false;
  }
}

/**
 * Tells two of these apart for `assert.deepStrictEqual` and its like in test runners, which compare what can be enumerated,
 * and would find any two tokens equal. A key of this process alone is in it, so that nothing can be guessed from it; it
 * is made when somebody asks.
 */
const DIGEST = Symbol('differs with what is inside');

/** Prints the same wherever something prints by itself: templates, `String()`, JSON, `console.log`. */
abstract class Redacted {
  readonly #inside: string | Buffer;

  static readonly #digest = {
    enumerable: true,
    get(this: Redacted): string {
      if (!(#inside in this)) {
        return '';
      }
      const kind = typeof this.#inside === 'string' ? 'text' : 'bytes';
      return createHmac('sha256', DIGEST_KEY).update(kind).update(this.#inside).digest('base64').slice(0, 22);
    },
  };

  /**
   * Not a field of its own: a `Proxy` has none, and prints all the same.
   *
   * @internal
   */
  protected abstract get print(): string;

  protected constructor(inside: string | Buffer) {
    this.#inside = inside;
    Object.defineProperty(this, DIGEST, Redacted.#digest);
  }

  /** Redacted. */
  toString(): string {
    return this.print;
  }

  /** Redacted. */
  toJSON(): string {
    return this.print;
  }

  /** Redacted. */
  toLocaleString(): string {
    return this.print;
  }

  /** Redacted: also in templates and in `'' + it`. */
  [Symbol.toPrimitive](): string {
    return this.print;
  }

  /** Redacted: also in `console.log`, at any depth. */
  [inspect.custom](): string {
    return this.print;
  }
}

/**
 * What to keep instead of a value.
 *
 * It prints redacted wherever something prints by itself: log lines, JSON, inspectors, templates. **To store it or
 * to hand it to a browser, ask for its text: `token.expose()`.** Text that comes back from a database goes into any
 * method as it is, or through {@link Token.from}.
 *
 * ```ts
 * const { token } = await lunasec.tokenize(card);
 * await db.query('insert into cards (token) values ($1)', [token.expose()]);
 * ```
 *
 * The drivers `pg`, `mysql2` (`query`) and `mongodb` ask a parameter how to store it, and get the text also without
 * `expose()`. Others refuse an object, or would store the redacted text, which every method of this client then
 * refuses with words that say so.
 */
export class Token extends Redacted {
  readonly #text: string;

  private constructor(text: string) {
    super(text);
    this.#text = text;
    brand(this, 'token');
  }

  /**
   * A token from its text. Only what was redacted is refused here; whether it is a token is the sidecar's to say.
   *
   * @throws {@link InvalidToken} where a redacted token was stored instead of its text.
   */
  static from(text: string | Token): Token {
    if (typeof text !== 'string') {
      if (text instanceof Token && isWhole(text)) {
        return text;
      }
      throw new InvalidToken('a token is a string or a Token; this is neither');
    }
    const printed = printedAs(text);
    if (printed !== undefined) {
      const { what, instead } = printed;
      throw new InvalidToken(`this is how a ${what} prints, not a token: ${instead}; what was stored here is lost`);
    }
    return new Token(text);
  }

  /** True for a token, also of another copy of this package. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isBranded(value, 'token');
  }

  /** @internal */
  protected get print(): string {
    return TOKEN_PRINT;
  }

  /** The text, `lunasec-` and a UUID: for a database, a request, a URL's body, and not for a log. */
  expose(): string {
    return this.#text;
  }

  /** Whether both are the same token. */
  equals(other: Token | string): boolean {
    return (typeof other === 'string' ? other : other.expose()) === this.#text;
  }

  /** What `pg` stores. */
  toPostgres(): string {
    return this.#text;
  }

  /** What `mysql2` puts into a query. */
  toSqlString(): string {
    return `'${this.#text.replace(/[^a-z0-9-]/g, '')}'`;
  }

  /** What `mongodb` stores. */
  toBSON(): string {
    return this.#text;
  }
}

/**
 * A value in the clear, that prints redacted until it is asked: {@link Plaintext.reveal} for text,
 * {@link Plaintext.revealBytes} for bytes.
 *
 * A structured clone of it (`structuredClone`, `postMessage`) is an empty object: it holds nothing of the value.
 */
export class Plaintext extends Redacted {
  readonly #value: string | Buffer;

  private constructor(value: string | Buffer) {
    super(value);
    this.#value = value;
    brand(this, 'plaintext');
  }

  /** Wraps a value, so that it prints redacted from here on. */
  static from(value: string | Uint8Array | Plaintext): Plaintext {
    if (typeof value === 'string') {
      return new Plaintext(value);
    }
    return value instanceof Plaintext ? value : new Plaintext(Buffer.from(value as Uint8Array));
  }

  /** True for a plaintext, also of another copy of this package. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return isBranded(value, 'plaintext');
  }

  /** @internal */
  protected get print(): string {
    return PLAINTEXT_PRINT;
  }

  /** Whether it was tokenized as text, or as bytes. */
  get isText(): boolean {
    return typeof this.#value === 'string';
  }

  /**
   * The text.
   *
   * @throws TypeError where the value was tokenized as bytes: they may be no text.
   */
  reveal(): string {
    if (typeof this.#value === 'string') {
      return this.#value;
    }
    throw new TypeError('this value was tokenized as bytes, not as text: ask for them with revealBytes()');
  }

  /** The bytes; of a text, those of its UTF-8. A copy: changing it changes nothing else. */
  revealBytes(): Buffer {
    return typeof this.#value === 'string' ? Buffer.from(this.#value, 'utf8') : Buffer.from(this.#value);
  }
}

/** What stands for a token in a call: a {@link Token}, or its text as a database gives it back. */
export type TokenLike = Token | string;

/** What can be tokenized: text, bytes (`Buffer` or any `Uint8Array`), or a {@link Plaintext}. */
export type PlaintextLike = string | Uint8Array | Plaintext;
