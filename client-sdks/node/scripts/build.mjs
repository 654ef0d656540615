// Both builds, dist/esm and dist/cjs, each with its types; and the tests, which use them by the package's name.
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const tsc = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url));

for (const old of ['dist', '.test-build']) {
  rmSync(`${root}/${old}`, { recursive: true, force: true });
}
for (const [project, kind] of [
  ['tsconfig.json', 'esm'],
  ['tsconfig.cjs.json', 'cjs'],
  ['tsconfig.test.json', undefined],
]) {
  const { status } = spawnSync(process.execPath, [tsc, '-p', project], { cwd: root, stdio: 'inherit' });
  if (status !== 0) {
    process.exit(status ?? 1);
  }
  if (kind !== undefined) {
    const type = kind === 'esm' ? 'module' : 'commonjs';
    writeFileSync(`${root}/dist/${kind}/package.json`, `${JSON.stringify({ type })}\n`);
  }
}
