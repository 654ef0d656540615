import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { toySidecar } from './toy.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const place = `${root}.test-build/readme`;

/** What the examples take for granted: an application. */
const APPLICATION = `
const stored: { token: string }[] = [];
const db = {
  query: async (_sql: string, parameters: string[] = []) => {
    stored.push(...parameters.map((token) => ({ token })));
    return stored;
  },
};
const seen: unknown[] = [];
const charge = (value: string) => seen.push(value);
const render = (shown: unknown) => seen.push(shown);
const log = (code: string) => seen.push(code);
const respond = (status: number) => seen.push(status);
`;

/** All examples, one after the other, as one program. */
function program(): string {
  const readme = readFileSync(`${root}README.md`, 'utf8');
  const examples = [...readme.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code]) => code ?? '');
  assert.ok(examples.length >= 7, 'the examples are not where they were');
  const lines = examples.join('\n').split('\n');
  const imports = lines.filter((line) => line.startsWith('import '));
  const rest = lines.filter((line) => !line.startsWith('import '));
  const end = 'console.log(JSON.stringify([seen, bytes.toString("hex")]));\nawait lunasec.close();\n';
  return [...imports, APPLICATION, ...rest, end].join('\n');
}

test("the README's examples compile as strictly as the client does, and run", async (context) => {
  mkdirSync(place, { recursive: true });
  writeFileSync(`${place}/examples.mts`, program());
  const directory = mkdtempSync(join(tmpdir(), 'lunasec-'));
  const socket = join(directory, 's');
  const server = toySidecar().listen(socket);
  await once(server, 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true });
  });
  const tsc = `${root}node_modules/typescript/bin/tsc`;
  const flags = ['--strict', '--target', 'es2022', '--module', 'nodenext', '--skipLibCheck', '--types', 'node'];
  const compiled = await run(process.execPath, [tsc, ...flags, `${place}/examples.mts`], { cwd: root }).catch(
    (error: { stdout: string }) => error,
  );
  assert.equal(compiled.stdout, '');
  const environment = { ...process.env, LUNASEC_SOCKET: socket };
  const { stdout } = await run(process.execPath, [`${place}/examples.mjs`], { cwd: root, env: environment });
  const card = '4111 1111 1111 1111';
  assert.deepEqual(JSON.parse(stdout), [[card, card, card, card, card, 1], '8950']);
});
