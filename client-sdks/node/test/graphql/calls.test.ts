// What one response costs: requests, counted at the other end of the socket.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, beforeEach, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';

import { Counted } from './counted.js';
import { SERVERS, type Server } from './servers.js';
import { type Shop, shop } from './shop.js';

let sidecar: Counted;
let made: Shop;
const servers = new Map<string, Server>();

before(async () => {
  sidecar = await Counted.start();
  // Not the default, so that a busy machine changes nothing.
  made = shop(sidecar.client, { gatherMs: 10_000 });
  for (const [name, start] of Object.entries(SERVERS)) {
    servers.set(name, await start(made.schema));
  }
});

beforeEach(() => {
  sidecar.came.length = 0;
});

after(async () => {
  await Promise.all([...servers.values()].map((server) => server.stop()));
  await sidecar.stop();
});

function everywhere(name: string, body: (server: Server) => Promise<void>): void {
  for (const kind of Object.keys(SERVERS)) {
    test(`${kind}: ${name}`, () => body(servers.get(kind) as Server));
  }
}

everywhere('a hundred values of one response are one call', async (server) => {
  made.rows.cards = async () => {
    await pause(5);
    return sidecar.tokens(100).map((number) => ({ number }));
  };
  const { data, errors } = await server.ask('{ cards { number } }', { session: 'alice' });
  assert.equal(errors, undefined);
  assert.deepEqual(
    data.cards.map(({ number }: { number: string }) => number),
    Array.from({ length: 100 }, (_, n) => `value ${n}`),
  );
  assert.deepEqual(sidecar.came, ['detokenize 100']);
});

everywhere('so are those of several lists, at any depth, however long each took', async (server) => {
  const [t, after] = [(count: number) => sidecar.tokens(count), <T>(ms: number, rows: T) => pause(ms, rows)];
  const numbers = (count: number) => t(count).map((number) => ({ number }));
  made.rows.card = () => ({ number: t(1)[0], cards: () => after(15, numbers(10)) });
  made.rows.cards = () =>
    after(5, [
      after(3, {
        numbers: t(10),
        cards: () =>
          after(
            10,
            numbers(10).map((each) => ({ ...each, cards: numbers(2) })),
          ),
      }),
      after(8, { grid: [t(5), t(5)], owner: () => after(4, { vat: t(1)[0], name: t(1)[0] }) }),
    ]);
  made.rows.owners = numbers(0);
  const source = `{
    card { number cards { number } }
    again: card { cards { number } }
    cards { numbers grid owner { ... on Named { name } ... on Company { vat } } cards { number cards { number } } }
  }`;
  const { errors } = await server.ask(source, { session: 'alice' });
  assert.equal(errors, undefined);
  assert.deepEqual(sidecar.came, [`detokenize ${1 + 10 + 10 + 10 + 10 + 2 + 10 + 20}`]);
});

everywhere('… and those behind types that have none themselves', async (server) => {
  const page = (next: unknown) => () => pause(5, { next, cards: [{ number: sidecar.token('1') }] });
  made.rows.page = page(page(page(null)));
  const source = '{ page { cards { number } next { cards { number } next { cards { number } } } } }';
  const { errors } = await server.ask(source, { session: 'alice' });
  assert.equal(errors, undefined);
  assert.deepEqual(sidecar.came, ['detokenize 3']);
});

everywhere('… and those of rows that come one by one', async (server) => {
  made.rows.cards = () => sidecar.tokens(5).map((number, index) => pause(index * 3, { number }));
  await server.ask('{ cards { number } }', { session: 'alice' });
  assert.deepEqual(sidecar.came, ['detokenize 5']);
});

everywhere('… and those whose own resolvers take their time, each another one', async (server) => {
  made.rows.cards = () =>
    sidecar.tokens(100).map((token, index) => ({
      number: () => pause(index % 20, token),
      numbers: async function* () {
        yield token;
        yield await pause((index * 7) % 20, token);
      },
      masks: () => [pause(index % 15, [pause(20, token)])],
    }));
  const { data, errors } = await server.ask('{ cards { number numbers masks } }', { session: 'alice' });
  assert.equal(errors, undefined);
  assert.deepEqual(data.cards[99], { number: 'value 99', numbers: ['value 99', 'value 99'], masks: [['value 99']] });
  // Each token is there four times, and asked for once.
  assert.deepEqual(sidecar.came, ['detokenize 100']);
});

everywhere('the grants of one response are one call, too', async (server) => {
  made.rows.cards = () =>
    pause(
      3,
      sidecar.tokens(50).map((token, index, all) => ({
        token,
        cards: () => pause(5, [{ token: all[(index + 1) % 50] }, { token }]),
      })),
    );
  const { errors } = await server.ask('{ cards { token cards { token } } }', { session: 'alice' });
  assert.equal(errors, undefined);
  assert.deepEqual(sidecar.came, ['grants/create 50']);
});

everywhere('of a list that fails for a null in it, nothing is granted or revealed', async (server) => {
  const [one, two, three] = sidecar.tokens(3);
  made.rows.card = { tokens: [one, null, two], allNumbers: [three, undefined], number: one };
  const { data, errors } = await server.ask('{ card { tokens allNumbers number } }', { session: 'alice' });
  assert.deepEqual([data.card.tokens, data.card.allNumbers], [null, null]);
  assert.deepEqual(errors?.map(({ path }) => path?.join('.')).sort(), ['card.allNumbers.1', 'card.tokens.1']);
  assert.deepEqual(sidecar.came, ['detokenize 1']);
});

everywhere('grants that last differently are one call for each time', async (server) => {
  const [one, two, three] = sidecar.tokens(3);
  made.rows.card = { token: one, tokens: [two], brief: three, number: one };
  await server.ask('{ card { token tokens brief number } }', { session: 'alice' });
  assert.deepEqual(sidecar.came.sort(), ['detokenize 1', 'grants/create 1', 'grants/create 1', 'grants/create 1']);
});

everywhere('all values that come in with a field are one call, and all tokens', async (server) => {
  const [proof] = sidecar.tokens(1);
  const card = { number: '1', proof, aliases: ['2', '3'], backup: { number: '4', proof } };
  const variables = { cards: [Array.from({ length: 20 }, () => card)] };
  const source = 'mutation ($cards: [[CardInput!]!]!) { saveAll(cards: $cards) }';
  const { errors } = await server.ask(source, { variables, session: 'alice' });
  assert.equal(errors, undefined);
  // Each card has the default of `kind`, twice.
  assert.deepEqual(sidecar.came, ['grants/verify 1', 'tokenize 120']);
});

everywhere('what is refused stores nothing, and its resolver does not run', async (server) => {
  const [refused, good] = sidecar.tokens(2) as [string, string];
  sidecar.failing.set(refused, 'grant_denied');
  const source = `mutation ($t: ID!, $p: ID, $s: String!) {
    use(token: $t, value: "1")
    save(card: { number: "2", proof: $p, backup: { number: "3", proof: $t } })
    both: save(card: { number: "2", note: "x", aliases: ["4", $s] })
  }`;
  made.ran.length = 0;
  const { errors } = await server.ask(source, { variables: { t: refused, p: good, s: good }, session: 'alice' });
  assert.deepEqual(
    errors?.map(({ extensions }) => extensions['code']),
    ['grant_denied', 'grant_denied', 'invalid_request'],
  );
  assert.deepEqual(sidecar.came, ['grants/verify 1', 'grants/verify 2']);
  assert.deepEqual(made.ran, []);
});

everywhere('the fields of a query bring their tokens together; mutations one after the other', async (server) => {
  const [token] = sidecar.tokens(1);
  const query = '{ a: find(token: $t) b: find(token: $t, tokens: [[$t]]) }';
  await server.ask(`query ($t: ID!) ${query}`, { variables: { t: token }, session: 'alice' });
  assert.deepEqual(sidecar.came.splice(0), ['grants/verify 1']);
  const mutation = 'mutation { a: value(value: "1", id: "2") b: value(value: "3", id: "4") }';
  await server.ask(mutation);
  assert.deepEqual(sidecar.came, ['tokenize 2', 'tokenize 2']);
});

everywhere(
  'one operation cannot take all the calls of a process: the rest is refused, and others go on',
  async (server) => {
    const tokens = sidecar.tokens(999);
    const field = (_: unknown, n: number) => `a${n}: find(token: "${tokens[0]}", tokens: [$t])`;
    const source = `query ($t: [ID]) { ${Array.from({ length: 11 }, field).join(' ')} }`;
    made.ran.length = 0;
    const attack = server.ask(source, { variables: { t: tokens }, session: 'bob' });
    await once(sidecar.arrivals, 'came');
    const { value } = await sidecar.client.forSession('alice').detokenize(sidecar.token('hers'));
    assert.equal(value.reveal(), 'hers');
    const { data, errors } = await attack;
    assert.deepEqual(made.ran, ['find', 'find']);
    assert.equal(Object.values(data).filter((each) => each !== null).length, 2);
    assert.equal(errors?.length, 9);
    for (const { message, extensions } of errors ?? []) {
      assert.deepEqual([extensions['code'], extensions['retryable']], ['payload_too_large', false]);
      assert.match(message, /all fields of one operation take at most 2000 values and tokens; send them in several/);
    }
  },
);

test('… nor can its answer', async () => {
  const server = servers.get('graphql-js') as Server;
  made.rows.card = { number: sidecar.token('1'), token: sidecar.token('2') };
  const fields = Array.from({ length: 6_000 }, (_, n) => (n % 2 ? `a${n}: number` : `a${n}: token`));
  const answer = server.ask(`{ card { ${fields.join(' ')} } }`, { session: 'bob' });
  await once(sidecar.arrivals, 'came');
  const { value } = await sidecar.client.forSession('alice').detokenize(sidecar.token('hers'));
  assert.equal(value.reveal(), 'hers');
  const { data, errors } = await answer;
  assert.equal(Object.values(data.card).filter((each) => each !== null).length, 5_000);
  assert.equal(errors?.length, 1_000);
  assert.equal(errors?.[0]?.extensions['code'], 'payload_too_large');
  assert.match(`${errors?.[0]?.message}`, /one answer has at most 5000 values and granted tokens; ask for less/);
});

test('where the application cannot say what goes with a value, nothing of the field is stored', async () => {
  const beside = (value: string) => (value === '3' ? Promise.reject(new Error('of the application')) : {});
  const server = (await SERVERS['graphql-js']?.(shopWith({ beside }))) as Server;
  const { errors } = await server.ask('mutation { value(values: ["1", "2", "3"]) }', { session: 'alice' });
  assert.deepEqual([errors?.[0]?.message, sidecar.came], ['of the application', []]);
});

test('sessions have nothing to do with one another: each has its own call', async () => {
  made.rows.card = { number: sidecar.token('1') };
  const server = servers.get('graphql-js') as Server;
  await Promise.all(['alice', 'bob'].map((session) => server.ask('{ card { number } }', { session })));
  assert.deepEqual(sidecar.came, ['detokenize 1', 'detokenize 1']);
});

test('a session that is looked up for each field, each time taking another while, does not part them', async () => {
  const server = (await SERVERS['graphql-js']?.(
    shopWith({ gatherMs: 10_000, session: ({ session }) => pause(Math.random() * 20, session) }),
  )) as Server;
  made.rows.cards = sidecar.tokens(20).map((number) => ({ number }));
  const { errors } = await server.ask('{ cards { number } }', { session: 'alice' });
  assert.equal(errors, undefined);
  assert.deepEqual(sidecar.came, ['detokenize 20']);
});

test('nobody waits longer for others than was said', async () => {
  const server = (await SERVERS['graphql-js']?.(shopWith({ gatherMs: 10 }))) as Server;
  made.rows.card = { number: sidecar.token('1') };
  made.rows.cards = () => pause(100, [{ number: sidecar.token('2') }]);
  await server.ask('{ card { number } cards { number } }', { session: 'alice' });
  assert.deepEqual(sidecar.came, ['detokenize 1', 'detokenize 1']);
});

test('… not even for one that waits for ever', async () => {
  const server = (await SERVERS['graphql-js']?.(shopWith({ gatherMs: 10 }))) as Server;
  const came = once(sidecar.arrivals, 'came');
  const never = came.then(() => sidecar.token('last'));
  made.rows.cards = [...sidecar.tokens(3), never].map((token) => ({ number: async () => token }));
  const { data } = await server.ask('{ cards { number } }', { session: 'alice' });
  assert.equal(data.cards[3].number, 'last');
  assert.deepEqual(sidecar.came, ['detokenize 3', 'detokenize 1']);
});

test('who does not want to wait at all still shares what is ready in the same turn', async () => {
  const server = (await SERVERS['graphql-js']?.(shopWith({ gatherMs: 0 }))) as Server;
  made.rows.card = { number: sidecar.token('1'), numbers: sidecar.tokens(3) };
  made.rows.cards = () => pause(10, [{ number: sidecar.token('2') }, { number: sidecar.token('3') }]);
  await server.ask('{ card { number numbers } cards { number } }', { session: 'alice' });
  assert.deepEqual(sidecar.came, ['detokenize 4', 'detokenize 2']);
});

test('a resolver that fails holds nothing up, and no time is too long for a timer', async () => {
  const server = (await SERVERS['graphql-js']?.(shopWith({ gatherMs: 2_147_483_648 }))) as Server;
  made.rows.card = { number: sidecar.token('1') };
  made.rows.cards = () => pause(5).then(() => Promise.reject(new Error('of the data source')));
  made.rows.page = () => pause(30, { cards: [{ number: sidecar.token('2') }] });
  const source = '{ card { number } cards { number } page { cards { number } } }';
  const { data } = await server.ask(source, { session: 'alice' });
  assert.deepEqual(data, { card: { number: '1' }, cards: null, page: { cards: [{ number: '2' }] } });
  assert.deepEqual(sidecar.came, ['detokenize 2']);
});

/** The same shop's rows, and other options. */
function shopWith(options: Parameters<typeof shop>[1]): Shop['schema'] {
  const other = shop(sidecar.client, options);
  Object.defineProperties(other.rows, {
    card: { get: () => made.rows.card },
    cards: { get: () => made.rows.cards },
    page: { get: () => made.rows.page },
  });
  return other.schema;
}
