import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';

import { errorOf } from '../src/errors.js';
import * as all from '../src/index.js';

const { LunaSecError, Unavailable } = all;

/** The tree that is drawn at the top of errors.ts. */
function drawn(): Map<string, string> {
  const source = readFileSync(new URL('../../src/errors.ts', import.meta.url), 'utf8');
  const parents = new Map<string, string>();
  const path: string[] = [];
  for (const [, indent, name] of source.matchAll(/^ \* ([│├└─ ]*)([A-Z]\w+) {2,}/gm)) {
    const depth = Math.floor((indent?.length ?? 0) / 4);
    path.length = depth;
    path.push(name ?? '');
    parents.set(name ?? '', path[depth - 1] ?? 'Error');
  }
  return parents;
}

test('the tree is as it is drawn', () => {
  const tree = drawn();
  const classes = Object.entries(all).filter(
    ([, value]) => typeof value === 'function' && value.prototype instanceof Error,
  );
  assert.deepEqual(classes.map(([name]) => name).sort(), [...tree.keys()].sort());
  for (const [name, value] of classes) {
    assert.equal(Object.getPrototypeOf(value).name, tree.get(name), name);
  }
});

test('what a policy stands in for is what is away, and no answer', () => {
  const away = ['overloaded', 'storage_unavailable', 'keys_unavailable', 'journal_full', 'deadline_exceeded'];
  for (const code of away) {
    assert.ok(errorOf(code, 'words', { retryable: true }) instanceof Unavailable, code);
  }
  for (const code of ['grant_denied', 'forbidden', 'not_found', 'expired', 'rate_limited', 'corrupted', 'internal']) {
    assert.ok(!(errorOf(code, 'words', { retryable: true }) instanceof Unavailable), code);
  }
  assert.ok(errorOf('newer', 'words', { retryable: true, status: 503 }) instanceof Unavailable);
  for (const facts of [{ retryable: false, status: 503 }, { retryable: true, status: 429 }, { retryable: true }]) {
    assert.equal(errorOf('newer', 'words', facts).name, 'LunaSecError');
  }
  assert.equal(errorOf('constructor', 'words', {}).name, 'LunaSecError');
});

test('an error says its class, code and detail; as JSON, neither stack nor cause', () => {
  const error = errorOf('not_found', 'no such token', { status: 404, requestId: 'r', cause: new Error('inner') });
  assert.equal(String(error), 'NotFound: not_found: no such token');
  assert.equal(
    JSON.stringify(error),
    '{"name":"NotFound","code":"not_found","detail":"no such token","retryable":false}',
  );
  assert.deepEqual([error.status, error.requestId], [404, 'r']);
});

test('a class of the application below one of these is known as such, and as no other', () => {
  class Mine extends all.NotFound {}
  const mine = new Mine('words');
  assert.ok(mine instanceof Mine && mine instanceof all.NotFound && mine instanceof LunaSecError);
  assert.ok(!(new all.NotFound('words') instanceof Mine));
});

/** A copy of the built errors.js whose classes have other names, as a bundler gives them; by their true names. */
async function renamed(): Promise<Record<string, new (...facts: string[]) => Error>> {
  const source = readFileSync(new URL('../../dist/esm/errors.js', import.meta.url), 'utf8');
  const names = [...source.matchAll(/^export class (\w+)/gm)].map(([, name = '']) => name);
  const classes = names.reduce(
    (all, name, index) => all.replace(new RegExp(`\\b${name}\\b`, 'g'), `C${index}`),
    source,
  );
  // What was short for a property and its class: a bundler leaves the property's name.
  const text = classes.replace(/^ +C(\d+),$/gm, (_, index) => `${names[Number(index)]}: C${index},`);
  const place = new URL('../renamed-errors.mjs', import.meta.url);
  writeFileSync(place, text);
  const copy = (await import(place.href)) as Record<string, new (...facts: string[]) => Error>;
  return Object.fromEntries(names.map((name, index) => [name, copy[`C${index}`] as new () => Error]));
}

test('copies whose classes a bundler renamed know each other, and say their true names', async () => {
  const copy = await renamed();
  const ours = all as unknown as typeof copy;
  assert.ok(Object.keys(copy).length > 25);
  for (const [name, Theirs] of Object.entries(copy)) {
    assert.notEqual(Theirs.name, name);
    const error = new Theirs('words');
    assert.equal(error.name, name);
    assert.equal((JSON.parse(JSON.stringify(error)) as { name: string }).name, name);
    const lineage: string[] = Object.keys(copy).filter((other) => error instanceof (ours[other] as typeof Theirs));
    const expected: string[] = [];
    for (let at = ours[name]; at !== undefined && at.name !== 'Error'; at = Object.getPrototypeOf(at)) {
      expected.push(at.name);
    }
    assert.deepEqual(lineage.sort(), expected.sort());
  }
});
