import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = new URL('../../', import.meta.url);

function run(kind: 'module' | 'commonjs', code: string): string {
  const flags = [`--input-type=${kind}`, '--eval', code];
  return execFileSync(process.execPath, flags, { cwd: fileURLToPath(root), encoding: 'utf8' }).trim();
}

test('it is imported and required by its name, with the same names', () => {
  const names = "console.log(Object.keys(all).filter((name) => name !== '__esModule').sort().join())";
  const esm = run('module', `import * as all from '@lunasec/node'; ${names}`);
  const cjs = run('commonjs', `const all = require('@lunasec/node'); ${names}`);
  assert.equal(esm, cjs.replace(/default,|,?module\.exports/g, ''));
  assert.match(esm, /LunaSec,/);
});

test('a process that only made a client ends by itself', () => {
  assert.equal(run('module', "import { LunaSec } from '@lunasec/node'; new LunaSec(); console.log('made')"), 'made');
});

test('the types that are published hold nothing internal', () => {
  const types = readFileSync(new URL('dist/esm/client.d.ts', root), 'utf8');
  assert.doesNotMatch(types, /runtime\?|exchanges\?/);
  for (const kind of ['esm', 'cjs']) {
    const files = readdirSync(new URL(`dist/${kind}/`, root));
    assert.ok(files.includes('index.d.ts') && files.includes('index.js'), kind);
    const all = files
      .filter((name) => name.endsWith('.d.ts'))
      .map((name) => readFileSync(new URL(`dist/${kind}/${name}`, root)));
    // An optional peer: who lacks it must be able to compile.
    assert.doesNotMatch(Buffer.concat(all).toString(), /from '@opentelemetry/);
  }
});

test('all that it needs at run time is undici', () => {
  const manifest = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as Record<string, object>;
  assert.deepEqual(Object.keys(manifest['dependencies'] ?? {}), ['undici']);
});

test('before anything else, tests say what sidecar they run, and refuse one that cannot be', () => {
  const manifest = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as {
    scripts: Record<string, string>;
  };
  const said = (binary: string | undefined): [number | null, string] => {
    const { LUNASEC_BIN: _, ...env } = process.env;
    const set = binary === undefined ? {} : { LUNASEC_BIN: binary };
    const [program = '', ...rest] = manifest.scripts['pretest']?.split(' ') ?? [];
    const done = spawnSync(program, rest, { cwd: fileURLToPath(root), env: { ...env, ...set }, encoding: 'utf8' });
    return [done.status, done.stderr];
  };
  const [status, words] = said(undefined);
  assert.equal(status, 0);
  assert.match(words, /^LUNASEC_BIN is not set: cargo will build the sidecar, .*\n$/);
  assert.deepEqual(said(process.execPath), [0, '']);
  const [refused, why] = said('/nowhere/lunasec');
  assert.equal(refused, 1);
  assert.match(why, /cannot be run/);
});

test('the lockfile names no registry', () => {
  assert.doesNotMatch(readFileSync(new URL('package-lock.json', root), 'utf8'), /"resolved"/);
});
