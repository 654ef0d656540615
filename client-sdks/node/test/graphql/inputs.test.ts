import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import { Plaintext, Token } from '@lunasec/node';
import { SERVERS, type Server } from './servers.js';
import { type Shop, shop } from './shop.js';
import { Sidecar } from './sidecar.js';

const TOKEN = /^lunasec-[0-9a-f-]{36}$/;

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

beforeEach(() => {
  made.ran.length = 0;
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

/** What a resolver was given, with the values of all that are tokens. */
async function opened(given: unknown): Promise<unknown> {
  if (typeof given === 'string') {
    return TOKEN.test(given) ? `token of ${await sidecar.open(given)}` : given;
  }
  if (Array.isArray(given)) {
    return Promise.all(given.map(opened));
  }
  if (typeof given === 'object' && given !== null) {
    const entries = Object.entries(given).map(async ([name, value]) => [name, await opened(value)] as const);
    return Object.fromEntries(await Promise.all(entries));
  }
  return given;
}

everywhere('literals, variables and defaults are tokenized', async (server) => {
  const source = `mutation ($v: String, $list: [String], $d: String = "of the variable") {
    literal: value(value: "a", values: ["b", null, "c"])
    variable: value(value: $v, id: "i", values: $list)
    mixed: value(values: ["x", $v])
    one: value(values: "alone")
    default: value(value: $d)
    absent: value(value: null)
  }`;
  const { data, errors } = await server.ask(source, { variables: { v: 'v', list: ['l', null] } });
  assert.equal(errors, undefined);
  const id = 'token of by default';
  assert.deepEqual(await opened(data), {
    literal: { value: 'token of a', id, values: ['token of b', null, 'token of c'] },
    variable: { value: 'token of v', id: 'token of i', values: ['token of l', null] },
    mixed: { id, values: ['token of x', 'token of v'] },
    one: { id, values: ['token of alone'] },
    default: { value: 'token of of the variable', id },
    absent: { value: null, id },
  });
});

const DEEP = {
  number: '1',
  note: 'left',
  kind: null,
  aliases: ['2', '3'],
  grid: [['4', null], null, []],
  scalar: '5 5',
  backup: { number: '6', backup: { number: '7', note: 'left, too' } },
  more: [[{ number: '8' }], null],
};
const DEEP_OPENED = {
  number: 'token of 1',
  note: 'left',
  kind: null,
  aliases: ['token of 2', 'token of 3'],
  grid: [['token of 4', null], null, []],
  scalar: 'token of 5 5',
  backup: {
    number: 'token of 6',
    kind: 'token of usual',
    backup: { number: 'token of 7', note: 'left, too', kind: 'token of usual' },
  },
  more: [[{ number: 'token of 8', kind: 'token of usual' }], null],
};

everywhere('Input!, nested and recursive inputs, lists of lists of them, as variables', async (server) => {
  const source = `mutation ($card: CardInput!, $cards: [[CardInput!]!]!, $n: String!) {
    a: save(card: $card)
    b: save(card: $card)
    all: saveAll(cards: $cards)
    mixed: saveAll(cards: [[$card, { number: $n }]])
    default: saveAll
  }`;
  const { data, errors } = await server.ask(source, { variables: { card: DEEP, cards: [[DEEP]], n: 'n' } });
  assert.equal(errors, undefined);
  const usual = 'token of usual';
  assert.deepEqual(await opened(data), {
    a: { card: DEEP_OPENED },
    b: { card: DEEP_OPENED },
    all: { cards: [[DEEP_OPENED]] },
    mixed: { cards: [[DEEP_OPENED, { number: 'token of n', kind: usual }]] },
    default: { cards: [[{ number: 'token of 1', kind: usual }]] },
  });
  assert.notEqual(data.a.card.number, data.b.card.number, 'each use of a variable is a value of its own');
});

everywhere('… and as literals, in fragments', async (server) => {
  const literal = JSON.stringify(DEEP).replace(/"([a-z]+)":/g, '$1:');
  const source = `mutation { ...F } fragment F on Mutation { save(card: ${literal}) ... { saveAll(cards: [[${literal}]]) } }`;
  const { data, errors } = await server.ask(source);
  assert.equal(errors, undefined);
  assert.deepEqual(await opened(data), { save: { card: DEEP_OPENED }, saveAll: { cards: [[DEEP_OPENED]] } });
});

everywhere('an input type that only leads to others with a directive', async (server) => {
  const envelope = { note: 'left', inner: { inner: { cards: [null, { number: '1', kind: null }] } } };
  const source = 'mutation ($e: Envelope!) { send(envelope: $e) }';
  const { data, errors } = await server.ask(source, { variables: { e: envelope } });
  assert.equal(errors, undefined);
  assert.deepEqual(await opened(data.send.envelope), {
    note: 'left',
    inner: { inner: { cards: [null, { number: 'token of 1', kind: null }] } },
  });
});

everywhere('no key of an object leads past it', async (server) => {
  const variables = JSON.parse('{"card": {"number": "1", "__proto__": {"note": "x"}}}') as Record<string, unknown>;
  const { errors } = await server.ask('mutation ($card: CardInput!) { save(card: $card) }', { variables });
  assert.match(errors?.[0]?.message ?? '', /__proto__/);
  const plain = JSON.parse('{"plain": {"__proto__": {"polluted": true}, "number": "1"}}') as Record<string, unknown>;
  const answer = await server.ask('mutation ($plain: JSON) { saveAll(plain: $plain) }', { variables: plain });
  assert.deepEqual(JSON.stringify(answer.data?.saveAll.plain), JSON.stringify(plain['plain']));
  assert.equal(({} as { polluted?: boolean }).polluted, undefined);
  assert.deepEqual(made.ran, ['saveAll']);
});

everywhere('what looks like a token is no value', async (server) => {
  const token = await sidecar.token('somebody else');
  const bare = token.replaceAll('-', '');
  for (const value of [
    token,
    ` ${token.toUpperCase()}\n`,
    token.replace(/-(?=....-)/g, ''),
    bare,
    `\ufeff${token}\u200b`,
  ]) {
    const { errors } = await server.ask('mutation ($v: String!) { save(card: { number: "1", aliases: ["2", $v] }) }', {
      variables: { v: value },
    });
    assert.equal(errors?.[0]?.extensions['code'], 'invalid_request');
    assert.equal(errors?.[0]?.extensions['argument'], 'card.aliases[1]');
    assert.doesNotMatch(JSON.stringify(errors), /lunasec-/i);
  }
  assert.deepEqual(made.ran, []);
});

everywhere(
  'what is shown instead of a value is none: a form that was sent back does not overwrite it',
  async (server) => {
    for (const value of ['••••', ' ••••\n', `${Token.from('x')}`, `${Plaintext.from('x')}`]) {
      const { errors } = await server.ask('mutation ($v: String!) { save(card: { number: $v }) }', {
        variables: { v: value },
      });
      const [{ message, extensions } = { message: '', extensions: {} }] = errors ?? [];
      assert.deepEqual([extensions['code'], extensions['argument']], ['invalid_request', 'card.number'], value);
      assert.match(message, /^it holds (the mask|what a (Token|Plaintext) prints as).*, not a value$/);
    }
    assert.deepEqual(made.ran, []);
  },
);

test('what goes with a value is kept beside it', async () => {
  const places: string[] = [];
  const other = shop(sidecar.client, {
    beside: async (value, { field, argument, context }) => {
      places.push(`${field} ${argument} ${context.session}`);
      return argument === 'card.number' ? { metadata: { lastFour: value.slice(-4) }, expiresIn: '1h' } : undefined;
    },
  });
  const server = (await SERVERS['graphql-js']?.(other.schema)) as Server;
  const source = 'mutation ($n: String!, $a: [String!]) { save(card: { number: $n, kind: null, aliases: $a }) }';
  const { data } = await server.ask(source, { variables: { n: '4111 1234', a: ['a', 'b'] }, session: 'alice' });
  assert.deepEqual(
    places.sort(),
    ['number', 'aliases[0]', 'aliases[1]'].map((at) => `Mutation.save card.${at} alice`).sort(),
  );
  const { number, aliases } = data.save.card as { number: string; aliases: string[] };
  const auditor = sidecar.client.forSession('auditor');
  await auditor.grant([number, ...aliases], { actions: ['metadata'] });
  const { metadata, expiresAt } = await auditor.getMetadata(number);
  assert.deepEqual([metadata, expiresAt instanceof Date], [{ lastFour: '1234' }, true]);
  assert.deepEqual((await auditor.getMetadata(aliases[1] as string)).metadata, {});
});

everywhere('a token that the session was granted is verified, wherever it is', async (server) => {
  const [one, two] = [await sidecar.granted('alice', '1'), await sidecar.granted('alice', '2')];
  const source = `query ($one: ID!, $list: [[ID]]) {
    find(token: $one, tokens: $list)
    literal: find(token: "${one}", tokens: [["${two}", null], null])
  }`;
  const { data, errors } = await server.ask(source, { variables: { one, list: [[one], [two]] }, session: 'alice' });
  assert.equal(errors, undefined);
  assert.deepEqual(data, {
    find: { token: one, tokens: [[one], [two]] },
    literal: { token: one, tokens: [[two, null], null] },
  });
});

everywhere('anybody else’s is refused before the resolver runs, and nothing is stored', async (server) => {
  const [hers, his] = [await sidecar.granted('alice', '1'), await sidecar.granted('bob', '2')];
  const refusals: [string, string | undefined, string, string][] = [
    [`mutation { use(token: "${hers}", value: "v") }`, 'bob', 'grant_denied', 'token'],
    [`mutation { use(token: "${hers}", value: "v") }`, undefined, 'unauthenticated', ''],
    ['mutation { use(token: "4111", value: "v") }', 'bob', 'invalid_token', 'token'],
    [`{ find(token: "${his}", tokens: [["${his}", "${hers}"]]) }`, 'bob', 'grant_denied', 'tokens[0][1]'],
    [
      `mutation { save(card: { number: "1", more: [[{ number: "2", proof: "${hers}" }]] }) }`,
      'bob',
      'grant_denied',
      'card.more[0][0].proof',
    ],
    [`mutation { use(token: "${await sidecar.token('nobody’s')}") }`, 'bob', 'grant_denied', 'token'],
  ];
  for (const [source, session, code, argument] of refusals) {
    const { data, errors } = await server.ask(source, session === undefined ? {} : { session });
    assert.deepEqual(Object.values(data ?? {}), [null]);
    assert.equal(errors?.length, 1);
    assert.equal(errors?.[0]?.extensions['code'], code);
    assert.equal(errors?.[0]?.extensions['argument'] ?? '', argument);
    assert.equal(errors?.[0]?.extensions['retryable'], false);
    assert.doesNotMatch(JSON.stringify(errors), /lunasec-[0-9a-f]|bob|alice/);
  }
  assert.deepEqual(made.ran, []);
});

everywhere('a grant that is over, or was taken back, is none', async (server) => {
  const token = await sidecar.token('1');
  const alice = sidecar.client.forSession('alice');
  await alice.grant([token], { expiresIn: '1ms' });
  await new Promise((resolve) => setTimeout(resolve, 20));
  const source = `mutation { use(token: "${token}") }`;
  assert.equal((await server.ask(source, { session: 'alice' })).errors?.[0]?.extensions['code'], 'grant_expired');
  await alice.grant([token]);
  assert.equal((await server.ask(source, { session: 'alice' })).errors, undefined);
  await alice.revoke([token]);
  assert.equal((await server.ask(source, { session: 'alice' })).errors?.[0]?.extensions['code'], 'grant_denied');
  assert.deepEqual(made.ran, ['use']);
});

everywhere('mutations run one after the other: the next one sees what the last one did', async (server) => {
  const token = await sidecar.granted('alice', '1');
  const source = `mutation ($t: ID!) {
    first: use(token: $t, value: "a")
    refused: use(token: "${await sidecar.token('2')}", value: "b")
    last: use(token: $t, value: "c")
  }`;
  const { data, errors } = await server.ask(source, { variables: { t: token }, session: 'alice' });
  assert.deepEqual(
    errors?.map(({ path }) => path),
    [['refused']],
  );
  assert.deepEqual(await opened([data.first.value, data.last.value]), ['token of a', 'token of c']);
  assert.deepEqual(made.ran, ['use', 'use']);
});

everywhere('a scalar of one’s own is checked before it is tokenized', async (server) => {
  const { errors } = await server.ask('mutation { save(card: { number: "1", scalar: "letters" }) }');
  assert.match(errors?.[0]?.message ?? '', /CardNumber/);
  assert.deepEqual(made.ran, []);
});

everywhere('an argument of an interface’s field is verified in each of its types', async (server) => {
  made.rows.named = [{ id: '1', name: null }];
  const token = await sidecar.granted('alice', '1');
  const source = 'query ($t: ID!) { named { secret(proof: $t) ... on Person { again: secret(proof: $t) } } }';
  const granted = await server.ask(source, { variables: { t: token }, session: 'alice' });
  assert.deepEqual(JSON.parse(granted.data.named[0].secret), { proof: token });
  const { data, errors } = await server.ask(source, { variables: { t: token }, session: 'bob' });
  assert.deepEqual(data.named, [{ secret: null, again: null }]);
  assert.deepEqual(
    errors?.map(({ path }) => path),
    [
      ['named', 0, 'secret'],
      ['named', 0, 'again'],
    ],
  );
  assert.deepEqual(made.ran, ['secret', 'secret']);
});

everywhere('introspection shows what the directives are, not where they are', async (server) => {
  const source = `{ __schema { directives { name locations args { name } } types { name fields { name description } inputFields { name description } } } }`;
  const { data } = await server.ask(source);
  const names = (data.__schema.directives as { name: string }[]).map(({ name }) => name);
  assert.deepEqual(names.filter((name) => /token|verify|grant/.test(name)).sort(), [
    'detokenize',
    'grant',
    'tokenize',
    'verify',
  ]);
  assert.doesNotMatch(JSON.stringify(data.__schema.types), /@|lunasec_/);
});

everywhere('more than a batch in one field is refused', async (server) => {
  const source = 'mutation ($v: [String]) { value(values: $v) }';
  const { errors } = await server.ask(source, { variables: { v: Array.from({ length: 1_001 }, String) } });
  assert.equal(errors?.[0]?.extensions['code'], 'payload_too_large');
  assert.match(`${errors?.[0]?.message}`, /one field takes at most 1000 values and tokens; send them in several/);
  assert.deepEqual(made.ran, []);
});
