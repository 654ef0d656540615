// What is published compiles without `skipLibCheck`, as every declaration is then looked at.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { BUNDLER, compiled, NODE10, NODENEXT } from './compiled.js';

const ENTRIES = ['', '/express', '/graphql', '/grpc'];
const APPLICATION = ENTRIES.map((entry, index) => `export * as entry${index} from '@lunasec/node${entry}';\n`).join('');
const WAYS = [
  ['nodenext-esm', NODENEXT, 'application.mts'],
  ['nodenext-cjs', NODENEXT, 'application.cts'],
  ['bundler', BUNDLER, 'application.ts'],
  ['node10', NODE10, 'application.ts'],
] as const;

for (const [way, flags, file] of WAYS) {
  test(`the types of all entries compile without skipLibCheck: ${way}`, async () => {
    assert.equal(await compiled(way, APPLICATION, flags, file), '');
  });
}
