import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { toySidecar } from '../toy.js';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../../', import.meta.url));
const place = `${root}.test-build/docs-grpc`;
const page = readFileSync(`${root}docs/grpc.md`, 'utf8');

function examples(language: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(([, code]) => code ?? '');
}

/** What the examples take for granted, and what calls them. */
const BEFORE = `
const sessionOf = (jwt: string) => jwt;
const log = console.error;
`;
const AFTER = `
const port = await new Promise<number>((resolve, reject) => {
  const bound = (error: Error | null, at: number) => (error ? reject(error) : resolve(at));
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), bound);
});
const client = new Orders(\`127.0.0.1:\${port}\`, credentials.createInsecure()) as any;
const metadata = new Metadata();
metadata.set('session', 'alice');
const placed = await new Promise<any>((resolve, reject) => {
  client.Place({ card: '4111' }, metadata, (error: unknown, order: unknown) => (error ? reject(error) : resolve(order)));
});
const shown: unknown[] = [];
for await (const { card } of client.Show({ cards: [placed.card_token] }, metadata)) {
  shown.push(card);
}
console.log(JSON.stringify([placed.card, orders[0]?.card.slice(0, 8), shown, typeof checked, typeof logged]));
client.close();
secret.close();
server.forceShutdown();
inside.forceShutdown();
await lunasec.close();
`;

function program(): string {
  const lines = examples('ts').join('\n').split('\n');
  const imports = lines.filter((line) => line.startsWith('import '));
  const rest = lines.filter((line) => !line.startsWith('import '));
  return [...imports, BEFORE, ...rest, AFTER].join('\n');
}

test('the examples of docs/grpc.md compile, and run', async (context) => {
  const [proto, ...more] = examples('proto');
  assert.equal(more.length, 0);
  assert.ok(examples('ts').length >= 4, 'the examples are not where they were');
  mkdirSync(`${place}/protos`, { recursive: true });
  writeFileSync(`${place}/protos/shop.proto`, proto ?? '');
  writeFileSync(`${place}/examples.mts`, program());
  const directory = mkdtempSync(join(tmpdir(), 'lunasec-'));
  const socket = join(directory, 's');
  const sidecar = toySidecar().listen(socket);
  await once(sidecar, 'listening');
  context.after(() => {
    sidecar.closeAllConnections();
    sidecar.close();
    rmSync(directory, { recursive: true });
  });
  const tsc = `${root}node_modules/typescript/bin/tsc`;
  const flags = ['--strict', '--target', 'es2022', '--module', 'nodenext', '--skipLibCheck', '--types', 'node'];
  const compiled = await run(process.execPath, [tsc, ...flags, `${place}/examples.mts`], { cwd: root }).catch(
    (error: { stdout: string }) => error,
  );
  assert.equal(compiled.stdout, '');
  const environment = { ...process.env, LUNASEC_SOCKET: socket };
  const { stdout } = await run(process.execPath, [`${place}/examples.mjs`], { cwd: place, env: environment });
  assert.deepEqual(JSON.parse(stdout), ['4111', 'lunasec-', ['4111'], 'function', 'function']);
});
