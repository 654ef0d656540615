import { BATCH_BYTES, BATCH_ITEMS } from '../limits.js';
import { Token, type TokenLike } from '../redacted.js';

/** What a batch's JSON needs beside an item's own text. */
const BESIDE = 64;

/**
 * Lists that the contract takes: all of them go at once, and come back as one.
 *
 * @internal
 */
export async function inBatches<I, O>(
  items: readonly I[],
  call: (batch: readonly I[]) => Promise<readonly O[]>,
  bytesOf: (item: I) => number = () => 0,
): Promise<O[]> {
  const batches: I[][] = [];
  let bytes = BATCH_BYTES;
  for (const item of items) {
    const more = bytesOf(item) + BESIDE;
    let last = batches.at(-1);
    if (last === undefined || last.length >= BATCH_ITEMS || bytes + more > BATCH_BYTES) {
      last = [];
      batches.push(last);
      bytes = BESIDE;
    }
    last.push(item);
    bytes += more;
  }
  return (await Promise.all(batches.map(call))).flat();
}

/**
 * What each token came to, by its text; each is asked for once, however often it is there.
 *
 * @internal
 */
export async function byToken<O>(
  tokens: readonly TokenLike[],
  call: (batch: readonly string[]) => Promise<readonly O[]>,
): Promise<Map<string, O>> {
  const texts = [...new Set(tokens.map((token) => Token.from(token).expose()))];
  const results = await inBatches(texts, call);
  return new Map(texts.map((text, index) => [text, results[index] as O]));
}
