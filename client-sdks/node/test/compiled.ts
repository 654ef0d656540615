// Applications that use what is published, as their compilers see it.
import { execFile } from 'node:child_process';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));
const tsc = `${root}node_modules/typescript/bin/tsc`;

export const NODENEXT = ['--module', 'nodenext', '--types', 'node'];
export const BUNDLER = ['--module', 'esnext', '--moduleResolution', 'bundler', '--types', 'node'];
export const NODE10 = ['--module', 'commonjs', '--moduleResolution', 'node10', '--types', 'node'];

/** What the compiler has against it; nothing, where it is well. */
export async function compiled(
  name: string,
  source: string,
  flags: readonly string[],
  file = 'application.ts',
): Promise<string> {
  const place = `${root}.test-build/types/${name}`;
  rmSync(place, { recursive: true, force: true });
  mkdirSync(`${place}/node_modules/@lunasec`, { recursive: true });
  // Found as an application finds it.
  symlinkSync(root, `${place}/node_modules/@lunasec/node`);
  writeFileSync(`${place}/package.json`, '{"type":"commonjs"}');
  writeFileSync(`${place}/${file}`, source);
  const all = ['--strict', '--noEmit', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', ...flags];
  const done = await run(process.execPath, [tsc, ...all, '--target', 'es2022', file], { cwd: place }).catch(
    (error: { stdout: string }) => error,
  );
  return done.stdout;
}
