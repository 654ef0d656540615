import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { format, inspect } from 'node:util';

import { InvalidToken, LunaSecError, NotFound, Plaintext, Token } from '../src/index.js';
import { scene, token } from './fake.js';

const MARK = 'marker-4111';
const others = createRequire(import.meta.url)('@lunasec/node') as typeof import('../src/index.js');

/** Every way that something prints by itself. */
function prints(it: object): string[] {
  const inside = { list: [it], map: new Map([[it, it]]), error: Object.assign(new Error('e'), { it }) };
  return [
    `${it}`,
    `${it as unknown as string}!`,
    String(it),
    [it].join(),
    it.toString(),
    it.toLocaleString(),
    JSON.stringify(it),
    JSON.stringify({ it, list: [it] }),
    inspect(it),
    inspect(it, { showHidden: true, showProxy: true, depth: 20, customInspect: false }),
    inspect(inside, { showHidden: true, depth: 20 }),
    format('%s %o %O %j %d', it, it, it, it, it),
    Object.keys(it).join(),
    JSON.stringify(Object.entries(it)),
    JSON.stringify(Object.getOwnPropertyNames(it)),
    inspect(structuredClone(it), { showHidden: true }),
    JSON.stringify({ ...it }),
    new Error('about', { cause: it }).stack ?? '',
  ];
}

test('a plaintext prints nothing of itself until it is asked', () => {
  for (const value of [Plaintext.from(MARK), Plaintext.from(Buffer.from(MARK))]) {
    for (const [index, print] of prints(value).entries()) {
      assert.ok(!print.includes(MARK) && !print.includes('4111'), `print ${index}: ${print}`);
      assert.ok(!print.includes(Buffer.from(MARK).toString('base64')), `print ${index}`);
      assert.ok(!print.includes('6d 61 72'), `print ${index}: ${print}`);
    }
  }
  assert.equal(Plaintext.from(MARK).reveal(), MARK);
});

test('a token prints nothing of itself until it is asked', () => {
  for (const print of prints(Token.from(token(0xabcdef)))) {
    assert.ok(!print.includes('abcdef'), print);
  }
  assert.equal(Token.from(token(7)).expose(), token(7));
});

test('text is revealed as text, bytes as bytes', () => {
  assert.equal(Plaintext.from('Zoë').revealBytes().toString('hex'), Buffer.from('Zoë').toString('hex'));
  const bytes = Plaintext.from(new Uint8Array([0, 255]));
  assert.deepEqual([...bytes.revealBytes()], [0, 255]);
  assert.throws(() => bytes.reveal(), /revealBytes\(\)/);
  assert.deepEqual([bytes.isText, Plaintext.from('').isText], [false, true]);
});

test('bytes are copied, in and out', () => {
  const source = Buffer.from('abc');
  const value = Plaintext.from(source);
  source[0] = 0;
  value.revealBytes()[1] = 0;
  assert.equal(value.revealBytes().toString(), 'abc');
});

test('a token that was stored as it prints is refused with words that say so', () => {
  const stored = JSON.parse(JSON.stringify({ card: Token.from(token(1)) })) as { card: string };
  assert.throws(
    () => Token.from(stored.card),
    (error) => error instanceof InvalidToken && /expose\(\)/.test(error.detail),
  );
  assert.throws(() => Token.from(undefined as unknown as string), InvalidToken);
});

test('database drivers that ask get the text', () => {
  const it = Token.from(token(1));
  assert.deepEqual([it.toPostgres(), it.toBSON(), it.toSqlString()], [token(1), token(1), `'${token(1)}'`]);
  assert.equal(Token.from("x' or 1=1").toSqlString(), "'xor11'");
});

test('tokens are equal by their text', () => {
  assert.ok(Token.from(token(1)).equals(token(1)) && Token.from(token(1)).equals(Token.from(token(1))));
  assert.ok(!Token.from(token(1)).equals(token(2)));
});

test('what differs inside is different for assertions, and prints nothing of it', () => {
  const pairs: [object, object, object][] = [
    [Token.from(token(1)), Token.from(token(1)), Token.from(token(2))],
    [Plaintext.from(MARK), Plaintext.from(MARK), Plaintext.from('other')],
    [Plaintext.from(Buffer.from(MARK)), Plaintext.from(Buffer.from(MARK)), Plaintext.from(Buffer.from('other'))],
    [Plaintext.from(MARK), Plaintext.from(MARK), Plaintext.from(Buffer.from(MARK))],
    [Plaintext.from(token(1)), Plaintext.from(token(1)), Token.from(token(1))],
  ];
  for (const [one, same, other] of pairs) {
    assert.deepStrictEqual({ list: [one] }, { list: [same] });
    const found = (error: Error): boolean => !error.message.includes('4111') && !error.message.includes('lunasec-');
    assert.throws(() => assert.deepStrictEqual({ list: [one] }, { list: [other] }), found);
    assert.notDeepStrictEqual(one, other);
    const shown = inspect(one, { customInspect: false, getters: true, showHidden: true });
    assert.ok(!/4111|marker|00000000/.test(shown.replace(/'[\w+/]{22}'/, '')), shown);
  }
});

test('a Proxy of one prints the same, and stands for none', async () => {
  const token = new Proxy(Token.from('lunasec-1'), {});
  const plain = new Proxy(Plaintext.from('4111'), {});
  for (const each of [token, plain]) {
    for (const print of [`${each}`, JSON.stringify({ each }), inspect({ each }), String(each)]) {
      assert.match(print, /\[lunasec (token|plaintext)/);
    }
    assert.doesNotMatch(inspect(each, { showProxy: false, customInspect: false }), /4111|lunasec-1/);
  }
  assert.throws(() => Token.from(token), InvalidToken);
});

test('another copy of the package is known', () => {
  assert.notEqual(others.Token, Token);
  assert.ok(others.Token.from(token(1)) instanceof Token && Token.from(token(1)) instanceof others.Token);
  assert.equal(Token.from(others.Token.from(token(1)) as unknown as Token).expose(), token(1));
  assert.ok(others.Plaintext.from('v') instanceof Plaintext);
  assert.ok(!(others.Plaintext.from('v') instanceof Token) && !({} instanceof Token));
  const error = new others.NotFound('words');
  assert.ok(error instanceof NotFound && error instanceof LunaSecError && error instanceof Error);
  assert.ok(!(error instanceof InvalidToken) && !(new Error('x') instanceof LunaSecError));
});

test('a client prints neither its session nor its JWT nor its purpose', () => {
  const { client } = scene({ purpose: MARK });
  for (const it of [client, client.forSession(MARK, { jwt: MARK }), client.with({ purpose: MARK })]) {
    const print = [
      inspect(it, { showHidden: true, depth: 20 }),
      JSON.stringify(it),
      `${it as unknown as string}`,
    ].join();
    assert.ok(!print.includes('4111'), print);
  }
});
