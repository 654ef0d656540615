// The examples of a document, compiled as strictly as the client is, and run as one program.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));

/** A document, and what its examples take for granted. */
export interface Document {
  /** Its path in the package. */
  readonly path: string;
  /** How many examples it has at least. */
  readonly examples: number;
  /** The application before the examples. */
  readonly before: string;
  /** What looks at what they did, and prints it. */
  readonly after: string;
}

/** All examples, one after the other. */
function program({ path, examples, before, after }: Document): string {
  const text = readFileSync(`${root}${path}`, 'utf8');
  const found = [...text.matchAll(/^```ts\n([\s\S]*?)^```/gm)].map(([, code]) => code ?? '');
  assert.ok(found.length >= examples, 'the examples are not where they were');
  const lines = found.join('\n').split('\n');
  const imports = new Set(lines.filter((line) => line.startsWith('import ')));
  const rest = lines.filter((line) => !line.startsWith('import '));
  return [...imports, before, ...rest, after].join('\n');
}

/** What the examples print, with a sidecar behind a socket. */
export async function printed(document: Document, socket: string): Promise<string> {
  const place = `${root}.test-build/examples/${document.path.replace(/\W/g, '-').toLowerCase()}`;
  mkdirSync(place, { recursive: true });
  writeFileSync(`${place}/examples.mts`, program(document));
  const tsc = `${root}node_modules/typescript/bin/tsc`;
  const flags = ['--strict', '--target', 'es2022', '--module', 'nodenext', '--skipLibCheck', '--types', 'node'];
  const compiled = await run(process.execPath, [tsc, ...flags, `${place}/examples.mts`], { cwd: root }).catch(
    (error: { stdout: string }) => error,
  );
  assert.equal(compiled.stdout, '');
  const environment = { ...process.env, LUNASEC_SOCKET: socket };
  const { stdout } = await run(process.execPath, [`${place}/examples.mjs`], { cwd: root, env: environment });
  return stdout;
}
