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

test('it is imported and required by its name, with the same names, and finds its own .proto file', () => {
  const names = `console.log(Object.keys(all).filter((name) => !['__esModule', 'default', 'module.exports'].includes(name))
    .sort().join(), all.Protos.loadSync('lunasec/options.proto') instanceof all.Protos)`;
  const esm = run('module', `import * as all from '@lunasec/node/grpc'; ${names}`);
  const cjs = run('commonjs', `const all = require('@lunasec/node/grpc'); ${names}`);
  assert.equal(esm, cjs);
  assert.equal(esm, 'FieldRuleError,PROTO_DIR,Protos,clientInterceptor,serverInterceptor true');
});

test('a client of one build is taken by the interceptors of the other', () => {
  const code = `import { createRequire } from 'node:module';
    import { Protos, serverInterceptor } from '@lunasec/node/grpc';
    const { LunaSec } = createRequire(import.meta.url)('@lunasec/node');
    const protos = Protos.loadSync('lunasec/options.proto');
    console.log(typeof serverInterceptor({ lunasec: new LunaSec(), protos }))`;
  assert.equal(run('module', code), 'function');
});

test('a mistake that one build finds is known to the other', () => {
  const code = `import { createRequire } from 'node:module';
    import { FieldRuleError, Protos } from '@lunasec/node/grpc';
    import { LunaSec } from '@lunasec/node';
    const { serverInterceptor } = createRequire(import.meta.url)('@lunasec/node/grpc');
    const protos = Protos.loadSync('test/grpc/protos/shop.proto');
    try {
      serverInterceptor({ lunasec: new LunaSec(), protos });
    } catch (error) {
      console.log(error instanceof FieldRuleError, new Error('x') instanceof FieldRuleError);
    }`;
  assert.equal(run('module', code), 'true false');
});

test('the package without its entry for gRPC needs neither grpc-js nor protobufjs', () => {
  for (const kind of ['esm', 'cjs']) {
    for (const name of readdirSync(new URL(`dist/${kind}/`, root)).filter((each) => /\.(js|d\.ts)$/.test(each))) {
      assert.doesNotMatch(readFileSync(new URL(`dist/${kind}/${name}`, root), 'utf8'), /grpc|protobufjs/, name);
    }
  }
});

test('what is published holds the .proto file, and types with nothing internal or of an own choice of protobufjs', () => {
  const packed = execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: fileURLToPath(root), encoding: 'utf8' });
  const [{ files }] = JSON.parse(packed) as [{ files: { path: string }[] }];
  const paths = files.map(({ path }) => path);
  for (const path of [
    'proto/lunasec/options.proto',
    'docs/grpc.md',
    'dist/esm/grpc/place.cjs',
    'dist/cjs/grpc/place.cjs',
  ]) {
    assert.ok(paths.includes(path), path);
  }
  const types = readFileSync(new URL('dist/esm/grpc/protos.d.ts', root), 'utf8');
  assert.doesNotMatch(types, /shapes|protobufjs'/);
});
