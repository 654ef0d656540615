import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as lunasec from '../../src/express/index.js';
import { type App, both } from './apps.js';

/** Counts how often the route behind it ran. */
function guarded(app: App, path: string, ...before: lunasec.Handler[]): void {
  let ran = 0;
  app.get('/ran', (_req, res) => {
    res.json(ran);
  });
  app.all(path, ...before, (_req, res) => {
    ran += 1;
    res.json({ ran });
  });
}

both(
  "who hands in another user's token gets 403, and the route never runs",
  (app) =>
    guarded(app, '/cards/:token', lunasec.verify({ params: 'token', body: ['card', 'items[].card?'], query: 'ref?' })),
  async ({ ask, vault }) => {
    const [mine, hers] = [vault.keepFor('bob', 'm'), vault.keepFor('alice', 'h')];
    const thefts: [string, unknown][] = [
      [hers, { card: mine }],
      [mine, { card: hers }],
      [mine, { card: mine, items: [{ card: mine }, { card: hers }] }],
      [`${mine}?ref=${hers}`, { card: mine }],
    ];
    for (const [path, body] of thefts) {
      const { status, json, text } = await ask('POST', `/cards/${path}`, { session: 'bob', body });
      assert.deepEqual([status, json.code], [403, 'grant_denied']);
      assert.ok(!text.includes(hers) && !text.includes(mine));
    }
    assert.equal((await ask('GET', '/ran')).json, 0);
    const own = { session: 'bob', body: { card: mine, items: [{ card: mine }] } };
    assert.deepEqual((await ask('POST', `/cards/${mine}?ref=${mine}`, own)).json, { ran: 1 });
  },
);

both(
  'all fields of body, params and query are one call; equal tokens are asked for once',
  (app) =>
    guarded(
      app,
      '/:a',
      lunasec.verify({ params: 'a', body: 'list[]', query: 'q[]' }, { action: 'update', purpose: 'p' }),
    ),
  async ({ ask, vault }) => {
    const tokens = Array.from({ length: 900 }, () => vault.keepFor('alice', 'v'));
    const [a = '', b = ''] = tokens;
    const { status } = await ask('POST', `/${a}?q=${b}&q=${a}`, {
      session: 'alice',
      body: { list: [...tokens, ...tokens] },
    });
    assert.equal(status, 200);
    assert.equal(vault.asked.length, 1);
    assert.deepEqual(vault.asked[0]?.body['action'], 'update');
    assert.equal(vault.asked[0]?.headers['lunasec-purpose'], 'p');
    assert.deepEqual(new Set(vault.asked[0]?.body['tokens'] as string[]), new Set(tokens));
    assert.equal(JSON.stringify(vault.asked[0]?.body).match(/lunasec-/g)?.length, 900);
  },
);

both(
  'more than a thousand tokens are verified, each of them',
  (app) => guarded(app, '/', lunasec.verify({ body: 'list[]' })),
  async ({ ask, vault }) => {
    const list = Array.from({ length: 2_500 }, () => vault.keepFor('alice', 'v'));
    assert.equal((await ask('POST', '/', { session: 'alice', body: { list } })).status, 200);
    assert.equal(vault.asked.length, 3);
    list[2_222] = vault.keep('not hers');
    assert.equal((await ask('POST', '/', { session: 'alice', body: { list } })).status, 403);
  },
);

both(
  'one text in a query, a list and a list of one are verified alike; anything else is 400',
  (app) => {
    guarded(app, '/many', lunasec.verify({ query: 'id[]' }));
    guarded(app, '/one', lunasec.verify({ query: 'id' }));
  },
  async ({ ask, vault }) => {
    const [mine, hers] = [vault.keepFor('bob', 'm'), vault.keepFor('alice', 'h')];
    const status = async (path: string): Promise<number> => (await ask('GET', path, { session: 'bob' })).status;
    assert.equal(await status(`/many?id=${mine}`), 200);
    assert.equal(await status(`/many?id=${mine}&id=${mine}`), 200);
    assert.equal(await status(`/many?id=${hers}`), 403);
    assert.equal(await status(`/many?id=${mine}&id=${hers}`), 403);
    assert.equal(await status(`/one?id=${mine}`), 200);
    assert.equal(await status(`/one?id=${mine}&id=${mine}`), 400);
    assert.equal(await status('/one?id='), 400);
    assert.equal(await status('/one'), 400);
  },
);

both(
  'what is no token is 400, what is missing too unless it is optional, and nothing of it is shown',
  (app) => guarded(app, '/', lunasec.verify({ body: ['card', 'more?'] })),
  async ({ ask, vault }) => {
    const mine = vault.keepFor('bob', 'v');
    const redacted = '[lunasec token: .expose() gives its text]';
    for (const card of [undefined, null, 7, true, {}, [mine], 'garbage 4111', '', redacted]) {
      const { status, json, text } = await ask('POST', '/', { session: 'bob', body: { card } });
      assert.deepEqual([status, json.field], [400, 'body.card'], String(card));
      assert.doesNotMatch(text, /4111|INTERNAL/);
      const what =
        card == null ? 'is missing' : typeof card === 'string' ? 'holds no token' : 'is not text: a token is expected';
      assert.equal(json.detail, `body.card ${what}`);
    }
    assert.equal((await ask('POST', '/', { session: 'bob', body: { card: mine, more: null } })).status, 200);
    assert.equal((await ask('POST', '/', { session: 'bob', body: { card: mine, more: 1 } })).status, 400);
  },
);

both(
  "a token that was never one gets the same answer as somebody else's",
  (app) => guarded(app, '/', lunasec.verify({ body: 'card' })),
  async ({ ask, vault }) => {
    const hers = vault.keepFor('alice', 'v');
    const none = 'lunasec-00000000-0000-4000-8000-000000000000';
    const [a, b] = await Promise.all([hers, none].map((card) => ask('POST', '/', { session: 'bob', body: { card } })));
    assert.equal(a?.status, 403);
    assert.deepEqual(a?.json, b?.json);
  },
);

both(
  'a no comes before anything else that is wrong',
  (app) => guarded(app, '/', lunasec.verify({ body: 'list[]' })),
  async ({ ask, vault }) => {
    const [mine, hers] = [vault.keepFor('bob', 'm'), vault.keepFor('alice', 'h')];
    vault.itemTrouble = (token) => (token === mine ? 'storage_unavailable' : undefined);
    const status = async (list: string[]): Promise<number> =>
      (await ask('POST', '/', { session: 'bob', body: { list } })).status;
    assert.equal(await status([mine, 'garbage', hers]), 403);
    assert.equal(await status([mine, 'garbage']), 400);
  },
);

both(
  'without a session nothing passes: 401; where nobody knows, nothing passes either: 503',
  (app) => guarded(app, '/', lunasec.verify({ body: 'card' })),
  async ({ ask, vault }) => {
    const card = vault.keepFor('alice', 'v');
    const { status, json } = await ask('POST', '/', { body: { card } });
    assert.deepEqual([status, json.code], [401, 'unauthenticated']);
    vault.trouble = () => ({ code: 'storage_unavailable', status: 503, retryable: true });
    assert.equal((await ask('POST', '/', { session: 'alice', body: { card } })).status, 503);
    vault.trouble = () => 'gone';
    assert.equal((await ask('POST', '/', { session: 'alice', body: { card } })).status, 503);
    assert.equal((await ask('GET', '/ran')).json, 0);
  },
);

test('a verify that names nothing is refused where the route is made', () => {
  assert.throws(() => lunasec.verify({}), /needs fields/);
  assert.throws(() => lunasec.verify({ body: [] }), /no fields/);
});
