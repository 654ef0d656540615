import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lunasecTypeDefs } from '@lunasec/node/graphql';
import { buildSchema, parse } from 'graphql';

import { TOKENS, turnsOf } from '../src/bounds.js';
import { typeDefs } from '../src/graphql.js';

const schema = buildSchema(lunasecTypeDefs + typeDefs);
const turns = (query: string, name?: string): number | undefined => turnsOf(schema, parse(query), name);
const many = (count: number, field: string): string =>
  Array.from({ length: count }, (_, index) => `a${index}: ${field}`).join(' ');

test('what the shop’s own pages ask is one turn', () => {
  assert.equal(turns('{ customer: me { address orders { id product cents address card } } }'), 1);
  assert.equal(turns('mutation ($address: String!) { customer: move(address: $address) { address } }'), 1);
});

test('each field of the query is a turn, and so are 25 values', () => {
  assert.equal(turns(`{ ${many(10, 'me { card }')} }`), 10);
  assert.equal(turns(`{ me { name ...All } } fragment All on Customer { ${many(4, 'orders { address }')} }`), 4);
  assert.equal(turns(`{ ... on Query { ...Two } } fragment Two on Query { ${many(2, 'me { card }')} }`), 2);
  assert.equal(turns(`query One { me { name } } query Ten { ${many(10, 'me { name }')} }`, 'Ten'), 10);
});

test('more than ten of them, or than a hundred fields, is too much, however it is written', () => {
  assert.equal(turns(`{ ${many(11, 'me { card }')} }`), undefined);
  assert.equal(
    turns(`{ ...A ...B } fragment A on Query { ${many(6, 'me { card }')} } fragment B on Query { ...A }`),
    undefined,
  );
  assert.notEqual(turns(`{ me { ${many(99, 'name')} } }`), undefined);
  assert.equal(turns(`{ me { ${many(100, 'name')} } }`), undefined);
});

test('fragments that double, go round or are not there end soon', () => {
  const doubling = Array.from({ length: 40 }, (_, n) => `fragment F${n} on Customer { ...F${n + 1} ...F${n + 1} }`);
  for (const last of ['', 'fragment F40 on Customer { name }', 'fragment F40 on Customer { ...F0 }']) {
    const query = `{ me { ...F0 } } ${doubling.join(' ')} ${last}`;
    assert.ok(parse(query, { maxTokens: TOKENS }));
    assert.equal(turns(query), undefined);
  }
});
