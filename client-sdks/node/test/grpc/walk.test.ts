import assert from 'node:assert/strict';
import { test } from 'node:test';

import protobuf = require('protobufjs');

import { Protos } from '../../src/grpc/index.js';
import { type Plan, plansOf } from '../../src/grpc/plan.js';
import { open as opened } from '../../src/grpc/walk.js';
import { protos } from './shop.js';

const WIDE = plansOf(protos().shapes, 'server', true).get('/shop.v1.Shapes/Echo')?.request as Plan;

const open = (plan: Plan, message: object, most = 100) => opened(plan, message, most);

/** A message with every value that is to be replaced in capitals. */
function shouted(message: object): unknown {
  const { copy, slots } = open(WIDE, message);
  for (const { content, set } of slots) {
    set(content.ofText(content.text.toUpperCase()));
  }
  return copy;
}

test('what is not known of a message is kept: other fields, symbols, the class, the name of a oneof', () => {
  const kind = Symbol('kind');
  class Wide {
    first_name = 'ada';
    _unknownFields = { 99: [1] };
    [kind] = 'kept';
    how = 'card';
    card = '4111';
  }
  const message = new Wide();
  const copy = shouted(message) as Wide;
  assert.ok(copy instanceof Wide && copy !== message);
  assert.deepEqual({ ...copy }, { ...message, first_name: 'ADA', card: '4111' });
  assert.equal(copy._unknownFields, message._unknownFields);
  assert.equal(message.first_name, 'ada');
});

test('what has nothing to be replaced is not copied', () => {
  const message = { in_the_open: ['a'], number: { low: 1 } };
  const copy = shouted(message) as typeof message;
  assert.equal(copy.in_the_open, message.in_the_open);
  assert.equal(copy.number, message.number);
});

test('a field may be called as what every object has', () => {
  const source = `syntax = "proto3"; service S { rpc Do(M) returns (M); }
    message M { string constructor = 1 [(lunasec.field).tokenize = true]; string toString = 2 [(lunasec.field).tokenize = true]; }`;
  const { shapes } = Protos.fromRoot(protobuf.parse(source).root);
  const plan = plansOf(shapes, 'server', true).get('/S/Do')?.request as Plan;
  assert.deepEqual(open(plan, {}).slots, []);
  assert.equal(open(plan, { constructor: 'a', toString: 'b' }).slots.length, 2);
});

test('a rule is found through messages that have none, also where they hold each other', () => {
  const source = `syntax = "proto3"; service S { rpc Do(A) returns (None); } message None {}
    message A { B b = 1; } message B { A a = 1; C c = 2; None none = 3; }
    message C { string s = 1 [(lunasec.field).tokenize = true]; }`;
  const plans = plansOf(Protos.fromRoot(protobuf.parse(source).root).shapes, 'server', true).get('/S/Do');
  assert.equal(plans?.response, undefined);
  const message = { b: { c: { s: 'x' }, a: { b: { c: { s: 'y' } } }, none: {} } };
  const { slots } = open(plans?.request as Plan, message);
  assert.deepEqual(slots.map(({ content }) => content.text).sort(), ['x', 'y']);
});

test('maps are objects, Maps, or lists of entries; keys are never touched, whatever they are', () => {
  const evil = JSON.parse('{"__proto__": "x", "constructor": "y"}') as object;
  assert.deepEqual(JSON.stringify(shouted({ notes_of: evil })), '{"notes_of":{"__proto__":"X","constructor":"Y"}}');
  assert.equal(Object.getPrototypeOf((shouted({ notes_of: evil }) as { notes_of: object }).notes_of), Object.prototype);
  assert.deepEqual(shouted({ notesOf: new Map([['a', 'b']]) }), { notesOf: new Map([['a', 'B']]) });
  assert.deepEqual(shouted({ notes_of: [{ key: 'a', value: 'b' }] }), { notes_of: [{ key: 'a', value: 'B' }] });
  assert.deepEqual(shouted({ people: new Map([[7, { fullName: 'ada' }]]) }), {
    people: new Map([[7, { fullName: 'ADA' }]]),
  });
});

test('every name that a loader or generator gives a field is known', () => {
  for (const name of ['line_1', 'line1']) {
    assert.deepEqual(shouted({ [name]: 'a' }), { [name]: 'A' });
  }
  for (const name of ['first_name', 'firstName']) {
    assert.deepEqual(shouted({ [name]: 'a' }), { [name]: 'A' });
  }
});

test('wrappers that a generator unwraps are values; empty ones are told from absent ones', () => {
  assert.deepEqual(shouted({ wrapped: 'a' }), { wrapped: 'A' });
  assert.deepEqual(shouted({ wrapped: { value: 'a' } }), { wrapped: { value: 'A' } });
  assert.deepEqual(
    open(WIDE, { wrapped: {} }).slots.map(({ presence, content }) => [presence, content.plain]),
    [[true, '']],
  );
  assert.deepEqual(open(WIDE, { wrapped: null, maybe_empty: undefined }).slots, []);
  assert.deepEqual(
    open(WIDE, { first_name: '', maybe_empty: '' }).slots.map(({ presence }) => presence),
    [true],
  );
});

const REFUSED: [what: string, message: object, words: RegExp][] = [
  ['messages of google-protobuf', { serializeBinary: () => undefined }, /Wide: messages are of classes/],
  ['messages of protobuf-es', { $typeName: 'shop.v1.Wide' }, /Wide: messages are of classes/],
  ['oneofs as unions', { how: { $case: 'card', card: '4111' } }, /Wide\.card: its oneof is a union/],
  ['a list that is none', { address_lines: 'secret' }, /Wide\.address_lines is no list/],
  ['a map that is none', { notes_of: 'secret' }, /Wide\.notes_of is no map/],
  ['a text that is none', { first_name: { secret: 1 } }, /Wide\.first_name is no text/],
  ['bytes that are none', { scan: { secret: 1 } }, /Wide\.scan is no bytes/],
];

for (const [what, message, words] of REFUSED) {
  test(`nothing passes by being something else: ${what}`, () => {
    assert.throws(() => open(WIDE, message), words);
    assert.throws(
      () => open(WIDE, message),
      (error: Error) => !error.message.includes('secret'),
    );
  });
}

test('a message that holds itself is refused', () => {
  const tree: { leaf: string; branches: unknown[] } = { leaf: 'a', branches: [] };
  tree.branches.push(tree);
  assert.throws(() => open(WIDE, { tree }), /Tree is nested more than 100 times/);
});

test('no more is looked for than may be there; what is absent does not count', () => {
  const message = { first_name: '', address_lines: ['', 'a', 'b'] };
  assert.equal(open(WIDE, message, 3).slots.length, 3);
  assert.throws(() => open(WIDE, message, 2), /Wide\.address_lines: payload_too_large: .* at most 2 values and tokens/);
});
