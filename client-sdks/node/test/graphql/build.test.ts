// A directive that cannot work is found when the schema is built, not when somebody's value is not tokenized.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LunaSec } from '@lunasec/node';
import {
  type LunaSecDirectivesOptions,
  LunaSecSchemaError,
  lunasecDirectives,
  lunasecTypeDefs,
} from '@lunasec/node/graphql';
import {
  buildASTSchema,
  GraphQLEnumType,
  GraphQLObjectType,
  GraphQLSchema,
  GraphQLString,
  graphql,
  parse,
  printSchema,
} from 'graphql';

import { Counted } from './counted.js';

const client = new LunaSec({ telemetry: false });
const session = () => 'somebody';

/** Also where tools do not validate the SDL. */
function schemaOf(sdl: string, definitions = lunasecTypeDefs): GraphQLSchema {
  return buildASTSchema(parse(definitions + sdl), { assumeValid: true, assumeValidSDL: true });
}

function problemsOf(
  schema: GraphQLSchema,
  options: Partial<LunaSecDirectivesOptions<unknown>> = {},
): readonly string[] {
  try {
    lunasecDirectives(schema, { client, session, ...options });
  } catch (error) {
    assert.ok(error instanceof LunaSecSchemaError);
    for (const problem of error.problems) {
      assert.ok(error.message.includes(problem));
    }
    return error.problems;
  }
  return [];
}

const QUERY = 'type Query { ok: String @detokenize }';

const MISTAKES: readonly [what: string, sdl: string, problem: RegExp][] = [
  [
    'a number',
    'type Query { a(b: Int @tokenize): String }',
    /^Query\.a\(b:\): @tokenize works on String and ID, not on Int/,
  ],
  ['lists of numbers', 'type Query { a(b: [[Float!]] @verify): Int }', /^Query\.a\(b:\): @verify .* not on Float/],
  [
    'an input object',
    'type Query { a(b: I! @tokenize): Int } input I { c: String }',
    /^Query\.a\(b:\): .* put it on the fields of I/,
  ],
  [
    'an input field',
    `${QUERY} input I { c: Boolean! @tokenize }`,
    /^I\.c: @tokenize works on String and ID, not on Boolean/,
  ],
  [
    'an object',
    'type Query { a: [T] @detokenize } type T { b: String }',
    /^Query\.a: .* put it on the fields of T that hold text/,
  ],
  ['a union', 'type Query { a: U @grant } union U = T type T { b: String }', /^Query\.a: @grant .* not on U/],
  ['an enumeration', 'type Query { a: E @detokenize } enum E { B }', /^Query\.a: @detokenize .* not on E/],
  ['a field of an interface', `${QUERY} interface N { a: Int @detokenize }`, /^N\.a: @detokenize .* not on Int/],
  [
    'a scalar of one’s own',
    'type Query { a: Date @detokenize } scalar Date',
    /^Query\.a: .* not on Date; .* name it in the option scalars/,
  ],
  [
    'both for an argument',
    'type Query { a(b: ID @tokenize @verify): Int }',
    /^Query\.a\(b:\): has @tokenize and @verify/,
  ],
  ['both for an input field', `${QUERY} input I { c: ID @verify @tokenize }`, /^I\.c: has @tokenize and @verify/],
  ['both for a field', 'type Query { a: ID @detokenize @grant }', /^Query\.a: has @detokenize and @grant/],
  ['twice', 'type Query { a: ID @grant @grant }', /^Query\.a: @grant is there twice/],
  [
    'a wrong duration',
    'type Query { a: ID @grant(expiresIn: "15 minutes") }',
    /^Query\.a: @grant\(expiresIn:\): "15 minutes" is no duration; write 30s, 15m/,
  ],
  ['no time at all', 'type Query { a: ID @grant(expiresIn: "0s") }', /^Query\.a: .* "0s" is no duration/],
  ['a number for a duration', 'type Query { a: ID @grant(expiresIn: [15]) }', /^Query\.a: .* this is no duration/],
  [
    'an unknown policy',
    'type Query { a: ID @detokenize(onUnavailable: HIDE) }',
    /^Query\.a: @detokenize\(onUnavailable:\) is FAIL or MASK/,
  ],
  ['an unknown argument', 'type Query { a: ID @detokenize(mask: "x") }', /^Query\.a: @detokenize has no argument mask/],
  [
    '@tokenize on a field',
    'type Query { a: ID @tokenize }',
    /^Query\.a: @tokenize cannot be here: put it on an argument or an input field/,
  ],
  [
    '@grant on an argument',
    `${QUERY} extend type Query { a(b: ID @grant): ID }`,
    /^Query\.a\(b:\): @grant cannot be here: put it on a field/,
  ],
  ['@detokenize on an input field', `${QUERY} input I { c: ID @detokenize }`, /^I\.c: @detokenize cannot be here/],
  ['on a type', `${QUERY} type T @detokenize { a: ID }`, /^T: @detokenize cannot be here/],
  ['on an extension', `${QUERY} extend type Query @grant`, /^Query: @grant cannot be here/],
  ['on an input type', `${QUERY} input I @tokenize { a: ID }`, /^I: @tokenize cannot be here/],
  ['on a scalar', `${QUERY} scalar S @tokenize`, /^S: @tokenize cannot be here/],
  ['on a value of an enumeration', `${QUERY} enum E { A @verify }`, /^E\.A: @verify cannot be here/],
  ['on the schema', `${QUERY} schema @grant { query: Query }`, /^schema: @grant cannot be here/],
  [
    'on an argument of a directive',
    `${QUERY} directive @d(a: ID @tokenize) on FIELD`,
    /^@d\.a: @tokenize cannot be here/,
  ],
  [
    'a subscription that stores',
    `${QUERY} type Subscription { s(j: [J!]): ID } input J { i: I } input I { deep: I, c: ID @tokenize }`,
    /^Subscription\.s: @tokenize has no use/,
  ],
  [
    'another thing than the interface',
    'interface N { a: ID @detokenize } type Query implements N { a: ID @grant }',
    /^Query\.a: is @grant here and @detokenize by an interface/,
  ],
  [
    'another thing in an argument',
    'interface N { a(b: ID @verify): ID } type Query implements N { a(b: ID @tokenize): ID }',
    /^Query\.a\(b:\): is @tokenize here and @verify by an interface/,
  ],
  [
    'interfaces that differ',
    'interface N { a: ID @grant } interface M { a: ID @grant(expiresIn: "1m") } type Query implements N & M { a: ID }',
    /^Query\.a: @grant differs between its interfaces/,
  ],
  ['nothing', 'type Query { a: ID }', /^schema: no directive of LunaSec is in it/],
];

for (const [what, sdl, problem] of MISTAKES) {
  test(`${what}: it cannot work, and says so`, () => {
    const problems = problemsOf(schemaOf(sdl));
    assert.equal(problems.length, 1, problems.join('\n'));
    assert.match(problems[0] ?? '', problem);
  });
}

test('all mistakes are named at once', () => {
  const sdl = 'type Query { a(b: Int @tokenize): Int @detokenize, c: ID @grant(expiresIn: "soon") }';
  assert.equal(problemsOf(schemaOf(sdl)).length, 3);
});

test('definitions that differ from ours are another directive', () => {
  const others: [string, string, RegExp][] = [
    [
      'directive @verify on ARGUMENT_DEFINITION | INPUT_FIELD_DEFINITION',
      'directive @verify on FIELD_DEFINITION',
      /^@verify: is defined as "@verify on FIELD_DEFINITION", which differs/,
    ],
    ['expiresIn: String\n', 'expiresIn: String = "1h"\n', /^@grant: .*expiresIn: String = "1h"/],
    ['expiresIn: String\n', 'expiresIn: Int\n', /^@grant: /],
    ['directive @tokenize on', 'directive @tokenize repeatable on', /^@tokenize: .* repeatable/],
    ['  "A masked text."\n  MASK', '  HIDE', /^LunaSecOnUnavailable: has other values than FAIL, MASK/],
  ];
  for (const [ours, theirs, problem] of others) {
    const definitions = lunasecTypeDefs.replace(ours, theirs);
    assert.notEqual(definitions, lunasecTypeDefs);
    assert.match(problemsOf(schemaOf(QUERY, definitions))[0] ?? '', problem);
  }
  assert.match(
    problemsOf(schemaOf(QUERY, '')).join(),
    /@detokenize: is not defined; take the definitions from lunasecTypeDefs/,
  );
});

test('@grant and @verify need to know whose session it is', () => {
  const sdl = 'type Query { a(b: ID @verify): ID @grant }';
  const problems = problemsOf(schemaOf(sdl), { session: undefined });
  assert.equal(problems.length, 2);
  assert.match(problems.join(), /@grant: needs the option session.*@verify: needs the option session/);
  assert.deepEqual(problemsOf(schemaOf(QUERY), { session: undefined }), []);
});

test('scalars are taken that are named, exist, and can be text', () => {
  const sdl = 'type Query { a: Card @detokenize, b: Int @detokenize } scalar Card';
  const problems = problemsOf(schemaOf(sdl), { scalars: ['Card', 'Int', 'Date', 'Query'] });
  assert.deepEqual(
    problems.map((problem) => problem.split(':')[1]?.trim()),
    ['Int', 'Date', 'Query'],
  );
});

test('a schema is changed in place, and once; not at all where something is wrong', () => {
  const schema = schemaOf('type Query { ok: ID @detokenize, wrong: Int @grant }');
  assert.equal(problemsOf(schema).length, 1);
  assert.equal(schema.getQueryType()?.getFields()['ok']?.resolve, undefined);
  const good = schemaOf(QUERY);
  const printed = printSchema(good);
  assert.equal(lunasecDirectives(good, { client }), good);
  assert.equal(printSchema(good), printed);
  assert.match(problemsOf(good)[0] ?? '', /call lunasecDirectives once/);
});

test('by code, directives are read from extensions.directives, however they are written there', async () => {
  const sidecar = await Counted.start();
  const definitions = schemaOf(QUERY).getDirectives();
  const field = (directives: unknown) => ({ type: GraphQLString, extensions: { directives } });
  const made = (fields: Record<string, object>) =>
    new GraphQLSchema({
      directives: definitions,
      query: new GraphQLObjectType({ name: 'Query', fields: fields as never }),
    });
  const schema = made({
    a: field({ detokenize: {} }),
    b: field([{ name: 'detokenize', args: { onUnavailable: 'MASK' } }]),
    c: field({ detokenize: [{}] }),
    d: { type: GraphQLString, args: { x: field({ tokenize: {} }) }, resolve: (_: unknown, { x }: { x: string }) => x },
  });
  const rootValue = { a: sidecar.token('1'), b: sidecar.token('2'), c: sidecar.token('3') };
  lunasecDirectives(schema, { client: sidecar.client });
  const { data } = await graphql({ schema, source: '{ a b c d(x: "4") }', rootValue });
  assert.deepEqual({ ...data, d: sidecar.vault.get(String(data?.['d'])) }, { a: '1', b: '2', c: '3', d: '4' });
  await sidecar.stop();
  const wrong = made({
    a: field({ tokenize: {} }),
    b: field({ grant: { expiresIn: 15 } }),
    c: field({ detokenize: [{}, {}] }),
  });
  const problems = problemsOf(wrong);
  assert.deepEqual(
    problems.map((problem) => problem.split(':')[0]),
    ['Query.a', 'Query.b', 'Query.c'],
  );
  const values = { A: { extensions: { directives: { verify: {} } } } };
  const types = [new GraphQLEnumType({ name: 'E', values, extensions: { directives: { grant: {} } } })];
  const elsewhere = problemsOf(
    new GraphQLSchema({ ...schema.toConfig(), types: [...schema.toConfig().types, ...types] }),
  );
  assert.deepEqual(
    elsewhere.map((problem) => problem.split(':')[0]),
    ['E', 'E.A'],
  );
});

test('a server’s own resolver of fields without one is used, if it is named', async () => {
  const sidecar = await Counted.start();
  const schema = schemaOf('type Query { a: T } type T { name_of: String @detokenize }');
  const [token] = sidecar.tokens(1);
  const fieldResolver = (source: unknown, _args: unknown, _context: unknown, { fieldName }: { fieldName: string }) =>
    fieldName === 'a' ? { nameOf: token } : (source as Record<string, string>)['nameOf'];
  lunasecDirectives(schema, { client: sidecar.client, fieldResolver });
  const { data } = await graphql({ schema, source: '{ a { name_of } }' });
  assert.equal(JSON.stringify(data), '{"a":{"name_of":"value 0"}}');
  await sidecar.stop();
});

test('tokens are taken for values where that was asked for', async () => {
  const sidecar = await Counted.start();
  const schema = schemaOf('type Query { a(b: String @tokenize): String @detokenize }');
  lunasecDirectives(schema, {
    client: sidecar.client,
    tokensAsValues: 'tokenize',
    fieldResolver: (_source, { b }: { b?: string }) => b,
  });
  const [token] = sidecar.tokens(1);
  const { data } = await graphql({ schema, source: `{ a(b: "${token}") }` });
  assert.equal(data?.['a'], token);
  await sidecar.stop();
});
