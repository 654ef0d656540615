import { MASK } from './limits.js';
import { printedAs } from './redacted.js';

/** A token, also one that was copied carelessly: the sidecar would take it for a value. */
const LIKE_A_TOKEN = /^[\s\p{Cf}]*lunasec-?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}[\s\p{Cf}]*$/iu;
/** No token, mask or print is as long. */
const LONGEST = 256;

/**
 * What a text or bytes from outside are instead of a value.
 *
 * @internal
 */
export interface NonValue {
  readonly token: boolean;
  /** What is wrong, for whoever sent it: after `it`, or the field's name. */
  readonly words: string;
}

const TOKEN: NonValue = { token: true, words: 'holds a token where a value is expected' };
const SHOWN: NonValue = {
  token: false,
  words: 'holds the mask that is shown when a value is not available, not a value',
};

/**
 * What is shown or kept instead of a value must not be tokenized in its place, as of a form that was sent back: the value
 * would be lost, and a token would be anybody's who found it.
 *
 * @internal
 */
export function nonValue(value: string | Uint8Array): NonValue | undefined {
  const text = typeof value === 'string' ? value : shortText(value);
  if (LIKE_A_TOKEN.test(text)) {
    return TOKEN;
  }
  if (isMask(text)) {
    return SHOWN;
  }
  const printed = printedAs(text);
  return printed && { token: false, words: `holds what a ${printed.what} prints as, not a value` };
}

/** @internal */
export function isMask(text: string): boolean {
  return text.length <= LONGEST && text.trim() === MASK;
}

function shortText(value: Uint8Array): string {
  return value.length > LONGEST ? '' : Buffer.from(value).toString();
}
