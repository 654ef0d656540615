import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { Token } from '@lunasec/node';

import { type Answer, SERVERS, type Server } from './servers.js';
import { type Shop, shop } from './shop.js';
import { Sidecar } from './sidecar.js';

let sidecar: Sidecar;
let made: Shop;
const servers = new Map<string, Server>();

before(async () => {
  sidecar = await Sidecar.start();
  made = shop(sidecar.client);
  for (const [name, start] of Object.entries(SERVERS)) {
    servers.set(name, await start(made.schema));
  }
});

after(async () => {
  await Promise.all([...servers.values()].map((server) => server.stop()));
  await sidecar.stop();
});

/** With every server; its name is the test's. */
function everywhere(name: string, body: (server: Server) => Promise<void>): void {
  for (const kind of Object.keys(SERVERS)) {
    test(`${kind}: ${name}`, () => body(servers.get(kind) as Server));
  }
}

function errorsOf({ errors }: Answer): [string, unknown][] {
  return (errors ?? [])
    .map(({ path, extensions }): [string, unknown] => [(path ?? []).join('.'), extensions?.['code']])
    .sort(([one], [other]) => one.localeCompare(other));
}

everywhere('tokens are revealed: lists, lists of lists, nulls, promises, aliases, fragments', async (server) => {
  const t = (value: string) => sidecar.granted('alice', value);
  const set = new Set([await t('s1'), await t('s2')]);
  made.rows.card = async () => ({
    number: await t('n'),
    shown: t('promised'),
    surely: Token.from(await t('an object')),
    numbers: [await t('1'), null, t('2')],
    allNumbers: set,
    grid: [[await t('a'), null], null, [], Promise.resolve([t('b')])],
    masks: null,
    scalar: await t('4 1'),
  });
  const source = `query ($no: Boolean = false) {
    card { number alias: number ...F grid masks scalar numbers @include(if: $no) }
  } fragment F on Card { shown surely numbers ... on Card { allNumbers } }`;
  const { data, errors } = await server.ask(source, { session: 'alice' });
  assert.equal(errors, undefined);
  assert.deepEqual(data.card, {
    number: 'n',
    alias: 'n',
    shown: 'promised',
    surely: 'an object',
    numbers: ['1', null, '2'],
    allNumbers: ['s1', 's2'],
    grid: [['a', null], null, [], ['b']],
    masks: null,
    scalar: '4 1',
  });
});

everywhere('a list that comes over time is revealed, too', async (server) => {
  const [one, two] = [await sidecar.granted('alice', '1'), await sidecar.granted('alice', '2')];
  made.rows.card = {
    numbers: (async function* () {
      yield one;
      yield two;
    })(),
  };
  const { data } = await server.ask('{ card { numbers } }', { session: 'alice' });
  assert.deepEqual(data.card.numbers, ['1', '2']);
});

everywhere('interfaces and unions: what an interface says holds for each of its types', async (server) => {
  const [person, company, vat] = await Promise.all(['p', 'c', 'v'].map((value) => sidecar.granted('alice', value)));
  const all = [
    { id: '1', name: person },
    { id: '2', name: company, vat },
  ];
  made.rows.owners = all;
  made.rows.named = all;
  const source = `{
    owners { ... on Named { name } ... on Company { vat } }
    named { name ... on Company { other: name vat } }
  }`;
  const { data, errors } = await server.ask(source, { session: 'alice' });
  assert.equal(errors, undefined);
  assert.deepEqual(data, {
    owners: [{ name: 'p' }, { name: 'c', vat: 'v' }],
    named: [{ name: 'p' }, { name: 'c', other: 'c', vat: 'v' }],
  });
});

everywhere('what fails in a list fails alone, at its own path', async (server) => {
  const t = (value: string) => sidecar.granted('alice', value);
  const [good, hers] = [await t('good'), await sidecar.granted('bob', 'hers')];
  const expired = (await sidecar.client.tokenize('over', { expiresIn: '1ms' })).token.expose();
  const bytes = await sidecar.granted('alice', Buffer.from([0xff]));
  const gone = await t('gone');
  const alice = sidecar.client.forSession('alice');
  await alice.grant([gone], { actions: ['delete'] });
  await alice.delete([gone]);
  const failing = new Error('of the data source');
  made.rows.card = {
    number: good,
    numbers: [good, hers, 'nonsense', expired, gone, 4111, bytes, failing, good],
    grid: [[good, hers], [good]],
    allNumbers: [good, hers],
    surely: good,
  };
  const source = '{ card { number numbers grid allNumbers surely } }';
  const answer = await server.ask(source, { session: 'alice' });
  assert.deepEqual(answer.data.card, {
    number: 'good',
    numbers: ['good', null, null, null, null, null, null, null, 'good'],
    grid: [['good', null], ['good']],
    allNumbers: null,
    surely: 'good',
  });
  const codes = new Map(errorsOf(answer));
  assert.match(String(codes.get('card.numbers.3')), /^(expired|grant_denied)$/);
  assert.match(String(codes.get('card.numbers.4')), /^(not_found|grant_denied)$/);
  const others = [...codes].filter(([path]) => !/numbers\.[347]$/.test(path));
  assert.deepEqual(others, [
    ['card.allNumbers.1', 'grant_denied'],
    ['card.grid.0.1', 'grant_denied'],
    ['card.numbers.1', 'grant_denied'],
    ['card.numbers.2', 'invalid_token'],
    ['card.numbers.5', 'invalid_token'],
    ['card.numbers.6', 'invalid_request'],
  ]);
  assert.ok(codes.has('card.numbers.7'));
  assert.doesNotMatch(JSON.stringify(answer.errors), /lunasec-[0-9a-f]|4111|hers|alice|bob|nonsense/);
});

everywhere('a null where none may be does not end the process, whatever the others come to', async (server) => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): unknown => unhandled.push(reason);
  process.on('unhandledRejection', note);
  try {
    const hers = await sidecar.granted('bob', 'hers');
    const lists = [
      [null, hers],
      [new Error('of the data source'), hers],
      [null, Promise.resolve(hers)],
    ];
    for (const allNumbers of lists) {
      made.rows.card = { allNumbers };
      const answer = await server.ask('{ card { allNumbers } }', { session: 'alice' });
      assert.deepEqual(answer.data.card, { allNumbers: null });
      assert.equal(answer.errors?.[0]?.path?.join('.'), 'card.allNumbers.0');
    }
    // Later than the answer: nobody waits for what was dropped.
    await sidecar.client.forSession('alice').verify([hers]);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(unhandled, []);
  } finally {
    process.off('unhandledRejection', note);
  }
});

everywhere('a field that must not be null takes its object along, and not the others', async (server) => {
  const [good, hers] = [await sidecar.granted('alice', 'good'), await sidecar.granted('bob', 'hers')];
  made.rows.cards = [{ surely: good }, { surely: hers }, { surely: good }];
  const answer = await server.ask('{ cards { surely } }', { session: 'alice' });
  assert.deepEqual(answer.data.cards, [{ surely: 'good' }, null, { surely: 'good' }]);
  assert.deepEqual(errorsOf(answer), [['cards.1.surely', 'grant_denied']]);
});

everywhere('what is granted is granted to the session of the request, and to no other', async (server) => {
  const tokens = await Promise.all(['1', '2', '3'].map((value) => sidecar.token(value)));
  const [one, two, three] = tokens;
  made.rows.card = { token: one, tokens: [two, three], number: one };
  const denied = await server.ask('{ card { number } }', { session: 'carol' });
  assert.deepEqual(errorsOf(denied), [['card.number', 'grant_denied']]);
  const { data, errors } = await server.ask('{ card { token tokens } }', { session: 'carol' });
  assert.equal(errors, undefined);
  assert.deepEqual(data.card, { token: one, tokens: [two, three] });
  assert.equal((await server.ask('{ card { number } }', { session: 'carol' })).data.card.number, '1');
  assert.deepEqual(errorsOf(await server.ask('{ card { number } }', { session: 'dave' })), [
    ['card.number', 'grant_denied'],
  ]);
  await sidecar.client.forSession('carol').revokeAll();
});

everywhere('a grant lasts as long as it says', async (server) => {
  const token = await sidecar.token('brief');
  made.rows.card = { brief: token, number: token };
  assert.equal((await server.ask('{ card { brief } }', { session: 'erin' })).data.card.brief, token);
  assert.equal((await server.ask('{ card { number } }', { session: 'erin' })).data.card.number, 'brief');
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  assert.deepEqual(errorsOf(await server.ask('{ card { number } }', { session: 'erin' })), [
    ['card.number', 'grant_expired'],
  ]);
});

everywhere('without a session nothing is granted and nothing revealed', async (server) => {
  const token = await sidecar.granted('alice', '1');
  made.rows.card = { token, number: token, shown: token };
  const answer = await server.ask('{ card { token number shown } }');
  assert.deepEqual(answer.data.card, { token: null, number: null, shown: null });
  assert.deepEqual(errorsOf(answer), [
    ['card.number', 'unauthenticated'],
    ['card.shown', 'unauthenticated'],
    ['card.token', 'unauthenticated'],
  ]);
});

everywhere('a token is not given out where it could not be granted', async (server) => {
  made.rows.card = { token: 'lunasec-00000000-0000-4000-8000-000000000000', tokens: ['nonsense', 5] };
  const answer = await server.ask('{ card { token tokens } }', { session: 'alice' });
  assert.deepEqual(answer.data.card, { token: null, tokens: null });
  assert.deepEqual(errorsOf(answer).at(0), ['card.token', 'not_found']);
});
