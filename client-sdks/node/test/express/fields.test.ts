import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DATA, Draft, FieldRefused, QUERY, REQUEST } from '../../src/express/draft.js';
import { parse } from '../../src/express/fields.js';
import { PayloadTooLarge, Token } from '../../src/index.js';
import { token } from '../fake.js';

const at = (data: unknown, fields: string | string[], rules = REQUEST): unknown[] =>
  new Draft(data, rules).find(parse(fields)).map((slot) => slot.value);

test('paths reach into objects and lists of any depth', () => {
  const data = { a: { b: [{ c: 1 }, { c: 2 }] }, m: [[3], [4, 5]], t: ['x', 'y'] };
  assert.deepEqual(at(data, ['a.b[].c', 'm[][]', 't[]']), [1, 2, 3, 4, 5, 'x', 'y']);
  assert.deepEqual(at([{ n: 1 }, { n: 2 }], '[].n'), [1, 2]);
  assert.deepEqual(at([['v']], '[][]'), ['v']);
  assert.deepEqual(at({ 'last-name': 1, Straße: 2, 0: 3 }, ['last-name', 'Straße', '0']), [1, 2, 3]);
  assert.deepEqual(at({ list: [] }, 'list[].card'), []);
});

test('mistakes in paths are found where the route is made', () => {
  for (const path of ['', '.', 'a.', '.a', 'a..b', 'a[', 'a]', 'a[0]', 'a[b]', 'a?.b', 'a??', '[]a', '?']) {
    assert.throws(() => parse(path), TypeError, path);
  }
  assert.throws(() => parse([]), /no fields/);
  for (const path of [
    '__proto__',
    '__proto__.x',
    'a.__proto__',
    'constructor.prototype.x',
    'a[].prototype',
    'constructor?',
  ]) {
    assert.throws(() => parse(path), /no field that can be named/, path);
  }
});

test('a field that is named twice is found once, and is required if it is anywhere', () => {
  assert.deepEqual(at({ a: 1 }, ['a', 'a', 'a?']), [1]);
  assert.throws(() => at({}, ['a?', 'a']), FieldRefused);
  assert.throws(() => at({}, ['a', 'a?']), FieldRefused);
});

test('what is required has to be there, what is optional need not', () => {
  const lacking: [unknown, string][] = [
    [{}, 'a'],
    [{ a: null }, 'a'],
    [{ a: {} }, 'a.b'],
    [{}, 'a.b'],
    [{ a: [{ b: 1 }, {}] }, 'a[].b'],
    [{ a: [null] }, 'a[].b'],
    [{ a: [null] }, 'a[]'],
    [undefined, 'a'],
  ];
  for (const [data, path] of lacking) {
    const refused = (error: unknown): boolean => error instanceof FieldRefused && error.field === path;
    assert.throws(() => at(data, path), refused, path);
    assert.deepEqual(
      at(data, `${path}?`).filter((value) => value !== 1),
      [],
      path,
    );
  }
});

test('another type than the path says is refused, also where the field is optional', () => {
  const wrong: [unknown, string][] = [
    [{ a: 'text' }, 'a.b?'],
    [{ a: [] }, 'a.b?'],
    [{ a: { 0: {} } }, 'a[].b?'],
    [{ a: 'text' }, 'a[]?'],
    [{ a: 7 }, 'a.b?'],
    [{ a: true }, 'a[]?'],
    ['text', 'a?'],
  ];
  for (const [data, path] of wrong) {
    assert.throws(() => at(data, path), FieldRefused, JSON.stringify([data, path]));
  }
});

test('only own fields count, and nothing of a prototype can be written', () => {
  assert.throws(() => at({}, 'toString'), FieldRefused);
  assert.throws(() => at(Object.create({ card: 'inherited' }), 'card'), FieldRefused);
  const data = JSON.parse(
    '{"__proto__": {"polluted": "yes", "card": "1"}, "a": {"__proto__": {"card": "1"}}, "card": "2"}',
  );
  const draft = new Draft(data, REQUEST);
  for (const slot of draft.find(parse(['card', 'a.card?']))) {
    slot.write('written');
  }
  assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
  assert.equal(JSON.stringify(draft.data), JSON.stringify(data).replace('"2"', '"written"'));
});

test('what is written goes into a copy, of no more than is needed', () => {
  const data = { a: { b: [{ c: 1 }] }, other: { big: true } };
  const before = JSON.stringify(data);
  const draft = new Draft(data, DATA);
  draft.find(parse('a.b[].c'))[0]?.write(2);
  assert.equal(JSON.stringify(data), before);
  assert.deepEqual(draft.data, { a: { b: [{ c: 2 }] }, other: { big: true } });
  assert.equal((draft.data as typeof data).other, data.other);
});

test('what several paths are in is copied once, and so is what is there twice', () => {
  const shared = { x: 1, y: 2 };
  const draft = new Draft({ a: shared, b: shared }, DATA);
  for (const slot of [...draft.find(parse(['a.x', 'b.y'])), ...draft.find(parse('a.y'))]) {
    slot.write(`${slot.value as number}!`);
  }
  assert.equal(shared.x, 1);
  assert.equal((draft.data as { a: { x: string } }).a.x, '1!');
});

test('documents of databases are taken as JSON shows them', () => {
  const row = { toJSON: () => ({ card: token(1), when: new Date(0) }) };
  const draft = new Draft({ rows: [row] }, DATA);
  draft.find(parse('rows[].card'))[0]?.write('revealed');
  assert.equal(JSON.stringify(draft.data), '{"rows":[{"card":"revealed","when":"1970-01-01T00:00:00.000Z"}]}');
  assert.equal(row.toJSON().card, token(1));
});

test('a token is no object to look into', () => {
  assert.throws(() => at({ card: Token.from(token(1)) }, 'card.text', DATA), TypeError);
});

test('in what the application sends any field may be missing', () => {
  assert.deepEqual(at({ a: null, list: [{}, { c: 1 }] }, ['a.b', 'x', 'list[].c'], DATA), [1]);
  assert.deepEqual(at(undefined, 'a', DATA), []);
});

test('in a query one text counts as a list of one', () => {
  assert.deepEqual(at({ id: 'a' }, 'id[]', QUERY), ['a']);
  assert.throws(() => at({ id: 'a' }, 'id[]', REQUEST), FieldRefused);
});

test('a request has no more fields than ten thousand', () => {
  const list = Array.from({ length: 10_000 }, () => 'v');
  assert.equal(at(list, '[]').length, 10_000);
  assert.throws(() => at([...list, 'v'], '[]'), PayloadTooLarge);
});
