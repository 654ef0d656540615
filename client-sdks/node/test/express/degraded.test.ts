import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as lunasec from '../../src/express/index.js';
import type { OnUnavailable, Unavailable } from '../../src/index.js';
import { FakeRuntime } from '../fake.js';
import { both, place, type Scene, VERSIONS } from './apps.js';
import { clientOf, Vault } from './vault.js';

/** A page whose marks are kept for a look. */
function page(onUnavailable: OnUnavailable): (app: Scene['app']) => void {
  return (app) => {
    let marks: unknown;
    app.post('/', lunasec.reveal(['name', 'list[]'], { onUnavailable }), (req, res) => {
      res.on('finish', () => {
        marks = res.locals.lunasec;
      });
      res.json(req.body);
    });
    app.get('/marks', (_req, res) => void res.json(marks));
  };
}

const AWAY: [string, (scene: Scene) => void, string][] = [
  ['the sidecar', ({ vault }) => (vault.trouble = () => 'gone'), 'sidecar_unreachable'],
  [
    'storage',
    ({ vault }) => (vault.trouble = () => ({ code: 'storage_unavailable', status: 503, retryable: true })),
    'storage_unavailable',
  ],
  [
    'storage, for a field each',
    ({ vault }) => (vault.itemTrouble = () => 'storage_unavailable'),
    'storage_unavailable',
  ],
];
for (const [what, goes, reason] of AWAY) {
  both(`while ${what} is away, a page loads with its fields masked, and says so`, page('mask'), async (scene) => {
    const { ask, vault } = scene;
    const body = { name: vault.keep('Zoë'), list: [vault.keep('a'), null], id: 7 };
    goes(scene);
    const reply = await ask('POST', '/', { session: 'alice', body });
    assert.deepEqual([reply.status, reply.json], [200, { name: '••••', list: ['••••', null], id: 7 }]);
    assert.equal(reply.headers.get('lunasec-degraded'), reason);
    assert.equal(reply.headers.get('cache-control'), 'no-store');
    const marks = { degraded: true, reasons: [reason], ageSeconds: 0, masked: 2, journaled: false };
    assert.deepEqual((await ask('GET', '/marks')).json, marks);
    vault.trouble = () => undefined;
    vault.itemTrouble = () => undefined;
    const after = await ask('POST', '/', { session: 'alice', body });
    assert.deepEqual([after.json.name, after.headers.get('lunasec-degraded')], ['Zoë', null]);
  });
}

both(
  'what a route itself shows instead of something is said in the same places',
  (app) => {
    app.get('/', async (req, res) => {
      const shown = await req.lunasec.getMetadata('lunasec-1').catch((error: Unavailable) => {
        req.lunasec.noteMasked(error);
        return 'nobody knows';
      });
      res.json({ shown, marks: res.locals.lunasec });
    });
  },
  async ({ ask, vault }) => {
    vault.trouble = () => 'gone';
    const { json, headers } = await ask('GET', '/', { session: 'alice' });
    const marks = { degraded: true, reasons: ['sidecar_unreachable'], ageSeconds: 0, masked: 1, journaled: false };
    assert.deepEqual(json, { shown: 'nobody knows', marks });
    assert.equal(headers.get('lunasec-degraded'), 'sidecar_unreachable');
  },
);

both('only what cannot be read is masked', page({ mask: 'n/a' }), async ({ ask, vault }) => {
  const [name, away] = [vault.keep('Zoë'), vault.keep('a')];
  vault.itemTrouble = (token) => (token === away ? 'keys_unavailable' : undefined);
  const { json } = await ask('POST', '/', { session: 'alice', body: { name, list: [away] } });
  assert.deepEqual(json, { name: 'Zoë', list: ['n/a'] });
});

both(
  'a fallback stands in with whatever it gives',
  page({ fallback: async (token, error) => ({ of: token.expose().length, code: error.code }) }),
  async ({ ask, vault }) => {
    vault.trouble = () => 'gone';
    const { json } = await ask('POST', '/', { session: 'alice', body: { name: vault.keep('v') } });
    assert.deepEqual(json, { name: { of: 44, code: 'sidecar_unreachable' } });
  },
);

both('nothing stands in for a no, whatever the policy', page('mask'), async ({ ask, vault }) => {
  const name = vault.keep('v');
  for (const [code, status] of [
    ['grant_denied', 403],
    ['forbidden', 403],
    ['not_found', 404],
    ['rate_limited', 429],
  ] as const) {
    vault.itemTrouble = () => code;
    assert.equal((await ask('POST', '/', { session: 'alice', body: { name } })).status, status, code);
  }
});

both('without a policy, it is 503 with a time to come back', page('fail'), async ({ ask, vault }) => {
  vault.trouble = () => ({ code: 'storage_unavailable', status: 503, retryable: true, retryAfterMs: 7_000 });
  const { status, json, headers, text } = await ask('POST', '/', { body: { name: vault.keep('secret') } });
  assert.deepEqual([status, json.code, headers.get('retry-after')], [503, 'storage_unavailable', '7']);
  assert.doesNotMatch(text, /secret|INTERNAL|lunasec-[0-9a-f]/);
});

both('what is older than it should be says so', page('fail'), async ({ ask, vault }) => {
  vault.headers = { 'lunasec-degraded': 'storage,keys', age: '42' };
  const { json, headers } = await ask('POST', '/', { session: 'alice', body: { name: vault.keep('v') } });
  assert.deepEqual([json.name, headers.get('lunasec-degraded')], ['v', 'storage,keys']);
  const marks = { degraded: true, reasons: ['storage', 'keys'], ageSeconds: 42, masked: 0, journaled: false };
  assert.deepEqual((await ask('GET', '/marks')).json, marks);
});

both(
  'a verify out of a memory says so to the route',
  (app) => {
    app.post('/', lunasec.verify({ body: 'card' }), (_req, res) => void res.json(res.locals.lunasec.degraded));
  },
  async ({ ask, vault }) => {
    const body = { card: vault.keepFor('alice', 'v') };
    assert.equal((await ask('POST', '/', { session: 'alice', body })).json, false);
    vault.headers = { 'lunasec-degraded': 'storage', age: '3' };
    assert.equal((await ask('POST', '/', { session: 'alice', body })).json, true);
  },
);

both(
  'a page that grants loads without where that may be, and fails where it may not',
  (app) => {
    const shows = lunasec.reveal('name', { onUnavailable: 'mask' });
    app.post('/skip', shows, lunasec.grant('card', { onUnavailable: 'skip' }), (req, res) => void res.json(req.body));
    app.post('/only', lunasec.grant('card', { onUnavailable: 'skip' }), (req, res) => void res.json(req.body));
    app.post('/fail', shows, lunasec.grant('card'), (req, res) => void res.json(req.body));
  },
  async ({ ask, vault }) => {
    const body = { name: vault.keep('n'), card: vault.keep('c') };
    vault.trouble = () => 'gone';
    const { json, headers } = await ask('POST', '/skip', { session: 'alice', body });
    assert.deepEqual(
      [json, headers.get('lunasec-degraded')],
      [{ name: '••••', card: body.card }, 'sidecar_unreachable'],
    );
    assert.equal((await ask('POST', '/fail', { session: 'alice', body })).status, 503);
    const only = await ask('POST', '/only', { session: 'alice', body });
    assert.deepEqual([only.status, only.headers.get('lunasec-degraded')], [200, 'sidecar_unreachable']);
    vault.trouble = () => undefined;
    vault.itemTrouble = (token) => (token === body.card ? 'grant_denied' : undefined);
    assert.equal((await ask('POST', '/skip', { session: 'alice', body })).status, 403);
    vault.itemTrouble = (token) => (token === body.card ? 'storage_unavailable' : undefined);
    const part = await ask('POST', '/skip', { session: 'alice', body });
    assert.deepEqual([part.status, part.json], [200, { name: 'n', card: body.card }]);
  },
);

for (const [version, express] of VERSIONS) {
  test(`${version}: a page waits two seconds in all for a sidecar that hangs, whatever is granted and revealed for it`, async (context) => {
    const vault = new Vault();
    const runtime = new FakeRuntime();
    const { ask } = await place(context, express, clientOf(vault, { runtime }), (app) => {
      app.post(
        '/',
        lunasec.grant('card', { onUnavailable: 'skip' }),
        lunasec.reveal('name', { onUnavailable: 'mask' }),
        (req, res) => void res.json(req.body),
      );
      app.post('/own', lunasec.grant('card', { onUnavailable: 'skip', deadlineMs: 700 }), (req, res) => {
        res.json(req.body);
      });
      app.post('/again', async (req, res) => {
        const form = await req.lunasec.grantIn(req.body, 'card', { onUnavailable: 'skip' });
        vault.trouble = () => undefined;
        await req.lunasec.revealIn(form, 'name', { onUnavailable: 'mask' });
        vault.trouble = () => 'hangs';
        res.json(await req.lunasec.revealIn(form, 'name', { onUnavailable: 'mask' }));
      });
    });
    const passes = async (ms: number) => {
      await runtime.waitedFor(ms);
      runtime.advance(ms);
    };
    const body = { name: vault.keep('n'), card: vault.keep('c') };
    const asks = (path: string) => ask('POST', path, { session: 'alice', body });
    vault.trouble = () => 'hangs';

    const page = asks('/');
    await passes(2_000);
    await passes(50);
    const { json, headers } = await page;
    assert.deepEqual(json, { name: '••••', card: body.card });
    assert.equal(headers.get('lunasec-degraded'), 'deadline_exceeded');

    const own = asks('/own');
    await passes(700);
    assert.equal((await own).status, 200);

    // An answer gives it all of its patience back.
    const again = asks('/again');
    await passes(2_000);
    await passes(2_000);
    assert.deepEqual((await again).json, { name: '••••', card: body.card });
  });
}

both(
  'what is journaled says so to the route; what cannot be taken is 503, and the route does not run',
  (app) => {
    app.post('/', lunasec.tokenize('card'), (_req, res) => void res.json(res.locals.lunasec.journaled));
  },
  async ({ ask, vault }) => {
    assert.equal((await ask('POST', '/', { body: { card: 'v' } })).json, false);
    vault.durability = 'journaled';
    assert.equal((await ask('POST', '/', { body: { card: 'v' } })).json, true);
    vault.trouble = () => ({ code: 'journal_full', status: 503, retryable: true });
    const { status, json } = await ask('POST', '/', { body: { card: 'v' } });
    assert.deepEqual([status, json.code], [503, 'journal_full']);
  },
);
