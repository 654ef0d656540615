import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = new URL('../../../', import.meta.url);

function run(kind: 'module' | 'commonjs', code: string): string {
  const flags = [`--input-type=${kind}`, '--eval', code];
  return execFileSync(process.execPath, flags, { cwd: fileURLToPath(root), encoding: 'utf8' }).trim();
}

test('it is imported and required by its name, with the same names, and without Express', () => {
  const names = "console.log(Object.keys(all).filter((name) => name !== '__esModule').sort().join())";
  const esm = run('module', `import * as all from '@lunasec/node/express'; ${names}`);
  const cjs = run('commonjs', `const all = require('@lunasec/node/express'); ${names}`);
  assert.equal(esm, 'FieldRefused,express,grant,problemOf,problems,reveal,tokenize,verify');
  assert.equal(cjs.replace(/default,|,?module\.exports/g, ''), esm);
  for (const kind of ['esm', 'cjs']) {
    for (const name of readdirSync(new URL(`dist/${kind}/express/`, root))) {
      const text = readFileSync(new URL(`dist/${kind}/express/${name}`, root), 'utf8');
      assert.doesNotMatch(text, /(?:from|require\(|import\() ?['"]express/, name);
      assert.ok(!name.endsWith('.d.ts') || !text.includes('@internal'), name);
    }
  }
});

test('the core knows nothing of Express', () => {
  for (const name of readdirSync(new URL('dist/esm/', root)).filter(
    (name) => name.endsWith('.js') || name.endsWith('.d.ts'),
  )) {
    assert.doesNotMatch(readFileSync(new URL(`dist/esm/${name}`, root), 'utf8'), /express\//, name);
  }
});

test('routes of one build work with a request of the other', () => {
  const code = `
import { createRequire } from 'node:module';
import { express } from '@lunasec/node/express';
const { tokenize, problemOf } = createRequire(import.meta.url)('@lunasec/node/express');
const req = { headers: {}, body: { card: 7 } };
const res = { locals: {}, once() {}, closed: false };
express({ session: () => 'a' })(req, res, () => tokenize('card')(req, res, (error) => console.log(problemOf(error)?.field)));`;
  assert.equal(run('module', code), 'card');
});
