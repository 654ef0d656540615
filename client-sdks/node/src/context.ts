import { InvalidRequest } from './errors.js';
import { HEAD_BYTES } from './limits.js';

/**
 * What a request says beside its body: where, for whom, and what for.
 *
 * @internal
 */
export interface Said {
  readonly namespace?: string | undefined;
  readonly session?: string | undefined;
  readonly jwt?: string | undefined;
  readonly purpose?: string | undefined;
  readonly traceparent?: string | undefined;
}

/**
 * The headers that say it. Two contexts are the same if their `key` is.
 *
 * @internal
 */
export interface Context {
  readonly headers: Readonly<Record<string, string>>;
  readonly key: string;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;

/**
 * A header's value: the bytes of its UTF-8, which is how the sidecar reads it. Spaces at the ends are lost on the way, so
 * that it would arrive as somebody else's.
 *
 * @internal
 */
export function headerValue(what: string, text: unknown): string {
  if (typeof text !== 'string' || text === '' || text.trim() !== text || CONTROL.test(text) || !text.isWellFormed()) {
    throw new InvalidRequest(
      `the ${what} cannot be sent: it is text without control characters, at least one character, and with no space at either end`,
    );
  }
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** @internal */
export function contextOf(said: Said): Context {
  const rows = [
    ['lunasec-namespace', 'namespace', '', said.namespace],
    ['lunasec-session', 'session', '', said.session],
    ['authorization', 'JWT', 'Bearer ', said.jwt],
    ['lunasec-purpose', 'purpose', '', said.purpose],
    ['traceparent', 'traceparent', '', said.traceparent],
  ] as const;
  const headers: Record<string, string> = {};
  let bytes = 0;
  for (const [name, what, scheme, text] of rows) {
    if (text !== undefined) {
      const value = scheme + headerValue(what, text);
      bytes += value.length;
      headers[name] = value;
    }
  }
  if (bytes > HEAD_BYTES) {
    throw new InvalidRequest(
      'namespace, session, JWT and purpose are longer than 14 KiB together, which is more than a request can say beside its body; shorten them',
    );
  }
  return { headers, key: JSON.stringify(headers) };
}
