// Copies of this package as an application may have them: both builds beside each other, and the sources that are tested.
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** The same entry of each copy. Not by static imports: their types say the same of one request twice. */
export async function copiesOf<M extends object>(
  entry: string,
  sources: M,
): Promise<readonly (readonly [string, M])[]> {
  const name = `@lunasec/node${entry}`;
  return [
    ['the sources', sources],
    ['ESM', (await import(name)) as M],
    ['CommonJS', require(name) as M],
  ];
}

/** Each copy beside each other. */
export function pairs<M>(copies: readonly (readonly [string, M])[]): { name: string; one: M; other: M }[] {
  return copies.flatMap(([first, one]) =>
    copies
      .filter(([second]) => second !== first)
      .map(([second, other]) => ({ name: `${first} beside ${second}`, one, other })),
  );
}
