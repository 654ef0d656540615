import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { loadSync } from '@grpc/proto-loader';

import protobuf = require('protobufjs');

import { FieldRuleError, PROTO_DIR, Protos, serverInterceptor } from '../../src/grpc/index.js';
import { plansOf } from '../../src/grpc/plan.js';
import { optionsOf } from '../../src/grpc/shapes.js';
import { PLACE, protos } from './shop.js';
import { Vault } from './vault.js';

function parsed(messages: string, request = 'M', response = 'None'): Protos {
  const source = `syntax = "proto3"; package p; message None {} ${messages}
    service S { rpc Do(${request}) returns (${response}); }`;
  return Protos.fromRoot(protobuf.parse(source, new protobuf.Root(), { keepCase: true }).root);
}

function refusal(of: Protos, session = true): string {
  try {
    serverInterceptor({ lunasec: new Vault().client(), protos: of, session: session ? 'session' : undefined });
  } catch (error) {
    assert.ok(error instanceof FieldRuleError);
    return error.message;
  }
  return '';
}

const WRONG: Record<string, [messages: string, words: RegExp]> = {
  'a number': [
    'message M { int32 n = 1 [(lunasec.field).tokenize = true]; }',
    /p\.M\.n: it is of type int32, .*string or bytes/,
  ],
  'an enum': [
    'enum E { A = 0; } message M { E e = 1 [(lunasec.field).verify = true]; }',
    /p\.M\.e: it is of type enum/,
  ],
  'a message': [
    'message N { string s = 1; } message M { N n = 1 [(lunasec.field).tokenize = true]; }',
    /p\.M\.n: .*put the rule on fields of p\.N/,
  ],
  'a map of numbers': [
    'message M { map<string, int32> m = 1 [(lunasec.field).tokenize = true]; }',
    /p\.M\.m: it is a map of int32/,
  ],
  'another spelling': [
    'message M { string s = 1 [(lunasec.field).tokenise = true]; }',
    /p\.M\.s: lunasec\.field\.tokenise is no option/,
  ],
  'another option': [
    'message M { string s = 1 [(lunasec.fields).tokenize = true]; }',
    /p\.M\.s: lunasec\.fields\.tokenize is no option/,
  ],
  'no duration': [
    'message M { string s = 1 [(lunasec.field) = { tokenize: true, grant: "soon" }]; }',
    /p\.M\.s: .*such as "15m"/,
  ],
  'a rule of responses in a request': [
    'message M { string s = 1 [(lunasec.field).detokenize = true]; }',
    /p\.M\.s: it is only part of requests/,
  ],
  'deep down, in a message that nobody sends': [
    'message M {} message X { message Y { bool b = 1 [(lunasec.field).verify = true]; } }',
    /p\.X\.Y\.b: it is of type bool/,
  ],
};

for (const [what, [messages, words]] of Object.entries(WRONG)) {
  test(`is refused when the interceptor is made: ${what}`, () => {
    assert.match(refusal(parsed(messages)), words);
  });
}

test('a rule of requests in a response is refused', () => {
  const of = parsed('message M { string s = 1 [(lunasec.field).verify = true]; }', 'None', 'M');
  assert.match(refusal(of), /p\.M\.s: it is only part of responses/);
});

test('rules on extensions are refused', () => {
  const source = `syntax = "proto2"; package p; message M { extensions 100 to 200; }
    extend M { optional string x = 100 [(lunasec.field).tokenize = true]; }`;
  assert.match(refusal(Protos.fromRoot(protobuf.parse(source).root)), /p\.x: a rule on an extension/);
});

test('all mistakes are said at once', () => {
  const of = parsed(
    'message M { int32 a = 1 [(lunasec.field).verify = true]; bool b = 2 [(lunasec.field).verify = true]; }',
  );
  assert.match(refusal(of), /2 mistakes:\n- p\.M\.a: .*\n- p\.M\.b: /);
});

test('what is for a session asks for one when the interceptor is made', () => {
  const of = parsed('message M { string s = 1 [(lunasec.field).verify = true]; }');
  assert.match(refusal(of, false), /p\.M\.s: grant and verify are for a session/);
  assert.equal(refusal(of), '');
});

test('proto-loader drops the options, which is why they are read again', () => {
  const definition = loadSync('shop.proto', { includeDirs: [PLACE, PROTO_DIR] });
  const { type } = (definition['shop.v1.Orders'] as unknown as { Place: { requestType: { type: object } } }).Place
    .requestType;
  assert.match(JSON.stringify(type), /cardNumber/);
  assert.doesNotMatch(JSON.stringify(type), /lunasec|58279/);
});

/** What is planned, without what differs by how it was read. */
function plans(of: Protos): unknown {
  const names = (_: string, value: unknown) => (value instanceof Map || value instanceof Set ? [...value] : value);
  const seen = new Set<unknown>();
  return JSON.parse(
    JSON.stringify([...plansOf(of.shapes, 'server', true)].sort(), (key, value) => {
      if (typeof value === 'object' && value !== null && 'fields' in value) {
        const { name } = value as { name: string };
        if (seen.has(value)) {
          return name;
        }
        seen.add(value);
        return value;
      }
      return key === 'shape'
        ? { where: value.where, many: value.many, presence: value.presence, oneof: value.oneof }
        : names(key, value);
    }),
  );
}

test('every source says the same: files, a root, its JSON, a descriptor set', async () => {
  const expected = plans(protos());
  assert.match(JSON.stringify(expected), /shop\.v1\.Tree\.leaf/);
  assert.deepEqual(plans(await Protos.load('shop.proto', { includeDirs: [PLACE] })), expected);
  const root = new protobuf.Root();
  const directories = [PLACE, `${PROTO_DIR}/`, new URL('../../../node_modules/protobufjs/', import.meta.url).pathname];
  root.resolvePath = (_, target) =>
    directories.map((each) => each + target).find((path) => protobuf.util.fs.existsSync(path)) ?? target;
  root.loadSync('shop.proto', { keepCase: true });
  assert.deepEqual(plans(Protos.fromRoot(root)), expected);
  assert.deepEqual(plans(Protos.fromRoot(protobuf.Root.fromJSON(root.toJSON()))), expected);
  // protoc -I test/grpc/protos -I proto --include_imports --descriptor_set_out=test/grpc/protos/shop.binpb shop.proto
  const bytes = readFileSync(`${PLACE}shop.binpb`);
  assert.deepEqual(plans(Protos.fromDescriptorSet(bytes)), expected);
});

test('an option is found by the name that it has in its scope, and no other is taken for it', () => {
  const found = (name: string, scope: string) => [...optionsOf({ [name]: true }, scope)];
  assert.deepEqual(found('(lunasec.field).tokenize', 'p.M'), [['field.tokenize', true]]);
  assert.deepEqual(found('(.lunasec.field).tokenize', 'p.M'), [['field.tokenize', true]]);
  assert.deepEqual(found('(field).tokenize', 'lunasec.M'), [['field.tokenize', true]]);
  assert.deepEqual(found('(field).tokenize', 'p.M'), []);
  assert.deepEqual(found('(my.lunasec.field).tokenize', 'p.M'), []);
  assert.deepEqual(found('deprecated', 'lunasec.M'), []);
});
