// What the documents show, as programs.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));

/** All examples of a document, one after the other, as one program. */
export function program(document: string, application: string, end: string): string {
  const text = readFileSync(`${root}${document}`, 'utf8');
  const examples = [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code]) => code ?? '');
  assert.ok(examples.length >= 7, 'the examples are not where they were');
  const lines = examples.join('\n').split('\n');
  const imports = new Set(lines.filter((line) => line.startsWith('import ')));
  const rest = lines.filter((line) => !line.startsWith('import '));
  return [...imports, application, ...rest, end].join('\n');
}

/** The first examples of a document, which take nothing for granted. */
export function beginning(document: string, examples: number): string {
  const text = readFileSync(`${root}${document}`, 'utf8');
  assert.match(text.slice(0, text.indexOf('```ts')), /npm install @lunasec\/node/);
  const all = [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code]) => code ?? '');
  return all.slice(0, examples).join('\n');
}

/** What a program prints, as JSON; it has to compile as strictly as the client does. */
export async function printed(name: string, source: string, socket: string): Promise<unknown> {
  const environment = { ...process.env, LUNASEC_SOCKET: socket };
  const program = await compiled(name, source);
  const { stdout } = await run(process.execPath, [program], { cwd: root, env: environment });
  return JSON.parse(stdout);
}

export async function compiled(name: string, source: string): Promise<string> {
  const place = `${root}.test-build/${name}`;
  mkdirSync(place, { recursive: true });
  writeFileSync(`${place}/examples.mts`, source);
  const tsc = `${root}node_modules/typescript/bin/tsc`;
  const flags = ['--strict', '--target', 'es2022', '--module', 'nodenext', '--skipLibCheck', '--types', 'node'];
  const { stdout } = await run(process.execPath, [tsc, ...flags, `${place}/examples.mts`], { cwd: root }).catch(
    (error: { stdout: string }) => error,
  );
  assert.equal(stdout, '');
  return `${place}/examples.mjs`;
}
