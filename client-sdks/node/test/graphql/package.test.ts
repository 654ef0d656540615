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

const NAMES = 'LunaSecSchemaError,lunasecApollo,lunasecDirectives,lunasecTypeDefs,lunasecYoga,takeReport';

test('it is imported and required by its name, with the same names', () => {
  const names =
    'console.log(Object.keys(all).filter((name) => !/^(__esModule|default|module.exports)$/.test(name)).sort().join())';
  assert.equal(run('module', `import * as all from '@lunasec/node/graphql'; ${names}`), NAMES);
  assert.equal(run('commonjs', `const all = require('@lunasec/node/graphql'); ${names}`), NAMES);
});

test('who does not use GraphQL does not need it, and a server is nobody’s need', () => {
  for (const kind of ['esm', 'cjs']) {
    const at = (folder: string) =>
      readdirSync(new URL(`dist/${kind}/${folder}`, root))
        .filter((name) => /\.(js|d\.ts)$/.test(name))
        .map((name) => readFileSync(new URL(`dist/${kind}/${folder}${name}`, root), 'utf8'));
    assert.doesNotMatch(at('').join(), /graphql/i);
    assert.doesNotMatch(at('graphql/').join(), /(from|require\() ?['"](@apollo|@graphql-tools|graphql-yoga|@envelop)/);
  }
  const manifest = JSON.parse(readFileSync(new URL('package.json', root), 'utf8')) as Record<
    string,
    Record<string, object>
  >;
  assert.deepEqual(manifest['peerDependenciesMeta']?.['graphql'], { optional: true });
});

test('the types that are published hold nothing internal', () => {
  const types = readFileSync(new URL('dist/esm/graphql/index.d.ts', root), 'utf8');
  assert.doesNotMatch(types, /Problems|Planner|Inputs|Outputs|Gatherings/);
});

test('an error of a CommonJS client is known to ESM directives', () => {
  const code = `
    import { createRequire } from 'node:module';
    import { buildSchema, graphql } from 'graphql';
    import { lunasecDirectives, lunasecTypeDefs } from '@lunasec/node/graphql';
    const { LunaSec } = createRequire(process.cwd() + '/')('@lunasec/node');
    const client = new LunaSec({ socket: '/nowhere', startDeadlineMs: 0, deadlineMs: 1_000 });
    const schema = buildSchema(lunasecTypeDefs + 'type Query { a: String @detokenize }');
    lunasecDirectives(schema, { client });
    const { errors } = await graphql({ schema, source: '{ a }', rootValue: { a: 'lunasec-' } });
    console.log(errors[0].extensions.code);`;
  assert.equal(run('module', code), 'sidecar_unreachable');
});
