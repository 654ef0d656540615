import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { beginning, compiled, printed, program } from './examples.js';
import { toySidecar } from './toy.js';

/** What the examples take for granted: an application. */
const APPLICATION = `
const db = { query: async (_sql: string) => [{ token: row.card }] };
const seen: unknown[] = [];
const charge = (value: string) => seen.push(value);
const render = (shown: unknown) => seen.push(shown);
const log = (code: string) => seen.push(code);
const respond = (status: number) => seen.push(status);
`;

const END = 'console.log(JSON.stringify([[number, ...seen], bytes.toString("hex")]));\nawait lunasec.close();\n';

test("the README's examples compile as strictly as the client does, and run", async (context) => {
  const directory = mkdtempSync(join(tmpdir(), 'lunasec-'));
  const socket = join(directory, 's');
  const server = toySidecar().listen(socket);
  await once(server, 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true });
  });
  const shown = await printed('readme', program('README.md', APPLICATION, END), socket);
  const card = '4111 1111 1111 1111';
  assert.deepEqual(shown, [[card, card, card, card, card, 1], '8950']);
});

for (const [document, examples] of [
  ['README.md', 1],
  ['docs/express.md', 1],
  ['docs/graphql.md', 3],
  ['docs/grpc.md', 2],
] as const) {
  test(`${document} says what to install, and what it shows first compiles as it stands`, async () => {
    const source = beginning(document, examples).replace("from 'express'", "from 'express5'");
    await compiled(`beginning-${document.replace(/\W/g, '-')}`, source);
  });
}
