import assert from 'node:assert/strict';

import type { ErrorRequestHandler } from 'express5';

import * as lunasec from '../../src/express/index.js';
import { both, echo } from './apps.js';

const CARD = '4111 1111 1111 1111';

both(
  'values become tokens before the route sees them, in one call',
  (app) => echo(app, '/', lunasec.tokenize(['card', 'address.street', 'items[].note', 'tags[]', 'nick?'])),
  async ({ ask, vault }) => {
    const body = {
      card: CARD,
      address: { street: 'S', city: 'C' },
      items: [{ note: 'a', n: 1 }, { note: 'b' }],
      tags: ['t'],
    };
    const { json, status } = await ask('POST', '/', { session: 'alice', body });
    assert.equal(status, 200);
    const tokens = [json.card, json.address.street, json.items[0].note, json.items[1].note, json.tags[0]];
    assert.deepEqual(
      tokens.map((token) => vault.value(token)),
      [CARD, 'S', 'a', 'b', 't'],
    );
    assert.deepEqual([json.address.city, json.items[0].n, 'nick' in json], ['C', 1, false]);
    assert.deepEqual(
      vault.asked.map(({ path, headers }) => [path, headers['lunasec-session']]),
      [['/v1/tokenize:batch', 'alice']],
    );
  },
);

both(
  'where no body was parsed, that is said: it may be the route that lacks a parser, or the request a content-type',
  (app, express) => {
    // In front of the parser, whatever it is that makes that of a request.
    const bare = express.Router();
    bare.use((req, _res, next) => {
      req.body = undefined;
      next();
    });
    bare.post('/tokenize', lunasec.tokenize('card'));
    bare.post('/verify', lunasec.verify({ body: 'card', query: ['other?'] }));
    bare.post('/optional', lunasec.tokenize('card?'), (_req, res) => void res.json('passed'));
    app.use('/bare', bare);
    echo(app, '/', lunasec.tokenize('card'));
  },
  async ({ ask }) => {
    for (const [path, field] of [
      ['/bare/tokenize', 'card'],
      ['/bare/verify', 'body.card'],
    ] as const) {
      const { status, json } = await ask('POST', path, { session: 'alice', body: { card: CARD } });
      assert.deepEqual([status, json.field], [400, field]);
      assert.equal(json.detail, `${field} is missing: the request has no body that was parsed`);
    }
    assert.equal((await ask('POST', '/bare/optional', { body: {} })).json, 'passed');
    assert.equal((await ask('POST', '/', { body: {} })).json.detail, 'card is missing');
  },
);

both(
  'also without a session, and with no call where there is nothing',
  (app) => echo(app, '/', lunasec.tokenize(['card?'])),
  async ({ ask, vault }) => {
    assert.match((await ask('POST', '/', { body: { card: CARD } })).json.card, /^lunasec-/);
    assert.equal(vault.asked[0]?.headers['lunasec-session'], undefined);
    assert.deepEqual((await ask('POST', '/', { body: { card: null, other: 1 } })).json, { card: null, other: 1 });
    assert.equal(vault.asked.length, 1);
  },
);

both(
  'two thousand fields are two calls, and equal values are tokens of their own',
  (app) => echo(app, '/', lunasec.tokenize('items[].card')),
  async ({ ask, vault }) => {
    const items = Array.from({ length: 2_000 }, (_, index) => ({ card: `card ${index % 1_000}` }));
    const { json } = await ask('POST', '/', { body: { items } });
    assert.equal(vault.count('/v1/tokenize:batch'), 2);
    assert.equal(new Set(json.items.map(({ card }: { card: string }) => card)).size, 2_000);
    assert.deepEqual(
      json.items.map(({ card }: { card: string }) => ({ card: vault.value(card) })),
      items,
    );
  },
);

both(
  'batches are no larger than the contract lets them be',
  (app) => {
    app.post('/', lunasec.tokenize('items[]'), (req, res) => {
      res.json(req.body.items.length);
    });
  },
  async ({ ask, vault }) => {
    const items = Array.from({ length: 18 }, () => 'x'.repeat(1024 * 1024));
    assert.equal((await ask('POST', '/', { body: { items } })).json, 18);
    assert.deepEqual(
      vault.asked.map(({ body }) => (body['items'] as unknown[]).length),
      [15, 3],
    );
  },
);

both(
  'the options go along',
  (app) =>
    echo(
      app,
      '/',
      lunasec.tokenize('card', { metadata: { kind: 'card' }, expiresIn: '1h', namespace: 'pay', purpose: 'order' }),
    ),
  async ({ ask, vault }) => {
    await ask('POST', '/', { body: { card: CARD } });
    assert.deepEqual(vault.asked[0]?.body, { items: [{ value: CARD, metadata: { kind: 'card' }, expires_in: '1h' }] });
    assert.equal(vault.asked[0]?.headers['lunasec-namespace'], 'pay');
    assert.equal(vault.asked[0]?.headers['lunasec-purpose'], 'order');
  },
);

both(
  'what is missing or of another type is a 400 that names the field and shows no value',
  (app) => {
    echo(app, '/', lunasec.tokenize(['card', 'address.street?', 'items[].note?']));
  },
  async ({ ask, vault }) => {
    const bodies: [unknown, string][] = [
      [{}, 'card'],
      [{ card: null }, 'card'],
      [{ card: 4111 }, 'card'],
      [{ card: true }, 'card'],
      [{ card: ['4111'] }, 'card'],
      [{ card: { secret: '4111' } }, 'card'],
      [{ card: 'c', address: '4111 street' }, 'address.street'],
      [{ card: 'c', items: { note: '4111' } }, 'items[].note'],
      [{ card: 'c', items: ['4111'] }, 'items[].note'],
      [[{ card: '4111' }], 'card'],
      ['{"card":"\\ud800"}', 'card'],
      [undefined, 'card'],
    ];
    for (const [body, field] of bodies) {
      const { status, json, text } = await ask('POST', '/', { body });
      assert.deepEqual([status, json.code, json.field], [400, 'invalid_request', field], JSON.stringify(body));
      assert.doesNotMatch(text, /4111/);
      assert.match(json.detail, /is missing|is not text|is no list|is not in an object|surrogate/);
    }
    assert.equal(vault.asked.length, 0);
  },
);

both(
  'what would replace a value by something that is none is refused: a token, the mask, what a token prints as',
  (app) => echo(app, '/', lunasec.tokenize('card')),
  async ({ ask, vault }) => {
    const token = vault.keepFor('alice', CARD);
    for (const card of [
      token,
      ` ${token}\n`,
      token.toUpperCase(),
      '••••',
      `\ufeff${token.replaceAll('-', '')}`,
      '[lunasec token: .expose() gives its text]',
      '[lunasec plaintext: .reveal() gives its text]',
    ]) {
      const { status, json, text } = await ask('POST', '/', { session: 'alice', body: { card } });
      assert.deepEqual([status, json.field], [400, 'card'], card);
      assert.ok(!text.includes(token));
    }
    const { json } = await ask('POST', '/', { body: { card: `pay with ${token}` } });
    assert.equal(vault.value(json.card), `pay with ${token}`);
  },
);

both(
  'where granted tokens may come back they stay as they are, and those of others are refused',
  (app) => echo(app, '/', lunasec.tokenize(['card', 'name'], { tokens: 'granted' })),
  async ({ ask, vault }) => {
    const mine = vault.keepFor('alice', CARD);
    const { json } = await ask('POST', '/', { session: 'alice', body: { card: mine, name: 'Zoë' } });
    assert.equal(json.card, mine);
    assert.equal(vault.value(json.name), 'Zoë');
    const before = vault.values.size;
    const theft = await ask('POST', '/', { session: 'bob', body: { card: mine, name: 'Bob' } });
    assert.deepEqual([theft.status, theft.json.code], [403, 'grant_denied']);
    assert.equal((await ask('POST', '/', { body: { card: mine, name: 'Bob' } })).status, 401);
    assert.equal(vault.values.size, before);
  },
);

both(
  'where one field fails, none is replaced and the route does not run',
  (app) => {
    let seen: unknown;
    app.post('/', lunasec.tokenize(['a', 'b']));
    const look: ErrorRequestHandler = (error, req, _res, next) => {
      seen = req.body;
      next(error);
    };
    app.use(look);
    app.get('/seen', (_req, res) => {
      res.json(seen);
    });
  },
  async ({ ask, vault }) => {
    vault.itemTrouble = (value) => (value === 'second' ? 'payload_too_large' : undefined);
    const { status, json } = await ask('POST', '/', { body: { a: 'first', b: 'second' } });
    assert.deepEqual([status, json.code], [413, 'payload_too_large']);
    assert.deepEqual((await ask('GET', '/seen')).json, { a: 'first', b: 'second' });
  },
);

both(
  "options that the sidecar refuses are the application's mistake, not the user's",
  (app) => echo(app, '/', lunasec.tokenize('card', { expiresIn: 'soon' })),
  async ({ ask, vault, errors }) => {
    vault.itemTrouble = () => 'invalid_request';
    const { status, json } = await ask('POST', '/', { body: { card: CARD } });
    assert.deepEqual([status, json], [500, { own: 'handler' }]);
    assert.match(String(errors[0]), /the options of a route were refused/);
  },
);

both(
  'names of prototypes in a body pollute nothing',
  (app) => echo(app, '/', lunasec.tokenize(['a.card'])),
  async ({ ask }) => {
    const body =
      '{"__proto__":{"polluted":"x"},"constructor":{"prototype":{"polluted":"x"}},"a":{"card":"v","__proto__":{"polluted":"x"}}}';
    const { status } = await ask('POST', '/', { body });
    assert.equal(status, 200);
    assert.equal(({} as Record<string, unknown>)['polluted'], undefined);
    assert.equal((await ask('POST', '/', { body: '{"__proto__":{"a":{"card":"v"}}}' })).status, 400);
  },
);
