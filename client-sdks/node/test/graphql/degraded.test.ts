import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import { Counted } from './counted.js';
import { type Answer, SERVERS, type Server } from './servers.js';
import { type Shop, shop } from './shop.js';
import { Sidecar } from './sidecar.js';

let sidecar: Counted;
let made: Shop;
const servers = new Map<string, Server>();

before(async () => {
  sidecar = await Counted.start();
  made = shop(sidecar.client);
  for (const [name, start] of Object.entries(SERVERS)) {
    servers.set(name, await start(made.schema));
  }
});

beforeEach(() => {
  sidecar.down = undefined;
  sidecar.beside = {};
  sidecar.durability = 'stored';
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

everywhere('MASK shows a mask where nobody can answer, and the answer says so; others are errors', async (server) => {
  const [one, two] = sidecar.tokens(2) as [string, string];
  sidecar.failing.set(two, 'storage_unavailable');
  made.rows.card = { shown: two, masks: [[one, two]], number: two, owner: { id: '1', name: two, vat: one } };
  const source = '{ card { shown masks number owner { ... on Named { name } } } }';
  const { data, errors, extensions } = await server.ask(source, { session: 'alice' });
  const masks = [['value 0', '••••']];
  assert.deepEqual(data.card, { shown: '••••', masks, number: null, owner: { name: '••••' } });
  assert.deepEqual(
    errors?.map(({ path }) => path),
    [['card', 'number']],
  );
  assert.equal(errors?.[0]?.extensions['code'], 'storage_unavailable');
  assert.equal(errors?.[0]?.extensions['retryable'], true);
  const { masked, ...others } = extensions.lunasec;
  assert.deepEqual(others, { degraded: true, reasons: ['storage_unavailable'], journaled: false });
  assert.deepEqual((masked as string[][]).map((path) => path.join('.')).sort(), [
    'card.masks.0.1',
    'card.owner.name',
    'card.shown',
  ]);
});

everywhere('nothing is masked where the answer is no', async (server) => {
  const [token] = sidecar.tokens(1) as [string];
  sidecar.failing.set(token, 'grant_denied');
  made.rows.card = { masks: [[token]] };
  const { data, errors, extensions } = await server.ask('{ card { masks } }', { session: 'alice' });
  assert.deepEqual(data.card.masks, [[null]]);
  assert.equal(errors?.[0]?.extensions['code'], 'grant_denied');
  assert.equal(extensions?.lunasec, undefined);
});

everywhere('what is older than it should be says so, with the age of the oldest', async (server) => {
  const [token] = sidecar.tokens(1) as [string];
  made.rows.card = { number: token };
  sidecar.beside = { degraded: 'storage', age: 42 };
  const source = `query ($t: ID!) { card { number } find(token: $t, tokens: [[$t]]) }`;
  const { data, extensions } = await server.ask(source, { variables: { t: token }, session: 'alice' });
  assert.equal(data.card.number, 'value 0');
  const reasons = ['storage'];
  const report = { degraded: true, reasons, ageSeconds: 42, masked: [], journaled: false };
  assert.deepEqual(extensions.lunasec, report);
  sidecar.beside = {};
  assert.equal((await server.ask('{ card { number } }', { session: 'alice' })).extensions?.lunasec, undefined);
});

everywhere('a value that is journaled says so', async (server) => {
  sidecar.durability = 'journaled';
  const { extensions } = await server.ask('mutation { value(value: "1") }');
  assert.deepEqual(extensions.lunasec, { degraded: false, reasons: [], masked: [], journaled: true });
});

everywhere('while nobody can answer nothing is verified, granted or tokenized', async (server) => {
  const [token] = sidecar.tokens(1) as [string];
  made.rows.card = { token };
  made.ran.length = 0;
  sidecar.down = 'keys_unavailable';
  const source = 'mutation ($t: ID!) { use(token: $t) value(value: "1") }';
  const answers = [
    await server.ask(source, { variables: { t: token }, session: 'alice' }),
    await server.ask('{ card { token } }', { session: 'alice' }),
  ];
  assert.deepEqual(
    answers.map(({ data }) => data),
    [{ use: null, value: null }, { card: { token: null } }],
  );
  const codes = answers.flatMap(({ errors }) => errors ?? []).map(({ extensions }) => extensions['code']);
  assert.deepEqual(codes, ['keys_unavailable', 'keys_unavailable', 'keys_unavailable']);
  assert.deepEqual(made.ran, []);
});

test('GraphQL Yoga: each event of a subscription says what it is itself', async () => {
  const [one, two] = sidecar.tokens(2) as [string, string];
  sidecar.failing.set(one, 'storage_unavailable');
  made.events = (async function* () {
    yield { shown: one };
    yield { shown: two };
  })();
  const headers = { 'content-type': 'application/json', accept: 'text/event-stream', 'x-session': 'alice' };
  const body = JSON.stringify({ query: 'subscription { cards { shown } }' });
  const text = await (await fetch(servers.get('GraphQL Yoga')?.url ?? '', { method: 'POST', headers, body })).text();
  const events = [...text.matchAll(/^data: (\{.*\})$/gm)].map(([, data]) => JSON.parse(data ?? '') as Answer);
  assert.deepEqual(
    events.map(({ data }) => data.cards.shown),
    ['••••', 'value 1'],
  );
  assert.deepEqual(
    events.map(({ extensions }) => extensions?.lunasec.masked),
    [[['cards', 'shown']], undefined],
  );
});

test('a field without onUnavailable does as the client does; FAIL never masks', async () => {
  const other = await Counted.start({ onUnavailable: { fallback: () => 'somebody' } });
  const { schema, rows } = shop(other.client);
  const server = (await SERVERS['graphql-js']?.(schema)) as Server;
  other.down = 'storage_unavailable';
  const [token] = other.tokens(1);
  rows.card = { number: token, shown: token };
  const { data, extensions } = await server.ask('{ card { number shown } }', { session: 'alice' });
  assert.deepEqual(data.card, { number: 'somebody', shown: 'somebody' });
  assert.equal(extensions.lunasec.masked.length, 2);
  await other.stop();
});

test('a sidecar that is killed: what may be masked is, and it comes back by itself', async () => {
  const real = await Sidecar.start();
  const { schema, rows } = shop(real.client);
  const all = await Promise.all(Object.values(SERVERS).map((start) => start(schema)));
  const token = await real.granted('alice', 'secret');
  rows.card = { shown: token, number: token };
  const ask = (server: Server) => server.ask('{ card { shown number } }', { session: 'alice' });
  await real.kill();
  for (const server of all) {
    const { data, errors, extensions } = await ask(server);
    assert.deepEqual(data.card, { shown: '••••', number: null });
    assert.equal(errors?.[0]?.extensions['code'], 'sidecar_unreachable');
    assert.doesNotMatch(JSON.stringify(errors?.map(({ message }) => message)), /sock|\//);
    assert.deepEqual(extensions.lunasec.reasons, ['sidecar_unreachable']);
  }
  await real.again();
  for (const server of all) {
    const { data, extensions } = await ask(server);
    assert.deepEqual(data.card, { shown: 'secret', number: 'secret' });
    assert.equal(extensions?.lunasec, undefined);
  }
  await Promise.all(all.map((server) => server.stop()));
  await real.stop();
});
