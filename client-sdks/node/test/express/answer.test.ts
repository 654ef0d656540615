import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Readable } from 'node:stream';

import * as lunasec from '../../src/express/index.js';
import { GrantDenied, Token } from '../../src/index.js';
import { type App, both } from './apps.js';

/** Sends what a request says, by the means that it says, behind some middleware. */
function sending(app: App, ...before: lunasec.Handler[]): void {
  app.post('/json', ...before, (req, res) => void res.json(req.body));
  app.post('/send', ...before, (req, res) => void res.status(201).send(req.body));
  app.post('/text', ...before, (req, res) => void res.type('json').send(JSON.stringify(req.body)));
  app.post('/stream', ...before, (req, res) => void Readable.from([JSON.stringify(req.body)]).pipe(res.type('json')));
  app.post('/chunks', ...before, (req, res) => {
    res.write(JSON.stringify(req.body));
    res.end();
  });
  app.post('/refusal', ...before, (req, res) => void res.status(422).json(req.body));
  app.post('/nothing', ...before, (_req, res) => void res.status(204).end());
  app.post('/null', ...before, (_req, res) => void res.json(null));
}

both(
  'fields of the answer are granted to the session before it is sent, in one call',
  (app) =>
    sending(app, lunasec.grant(['card', 'items[].card', 'other?'], { expiresIn: '5m', actions: ['detokenize'] })),
  async ({ ask, vault }) => {
    const body = { card: vault.keep('a'), items: [{ card: vault.keep('b') }, { card: null }, {}], id: 7 };
    const { json, status } = await ask('POST', '/json', { session: 'alice', body });
    assert.deepEqual([status, json], [200, body]);
    assert.deepEqual(
      vault.asked.map(({ path, body }) => [path, body]),
      [
        [
          '/v1/grants/create',
          { session: 'alice', expires_in: '5m', actions: ['detokenize'], tokens: [body.card, body.items[0]?.card] },
        ],
      ],
    );
    assert.equal((await ask('POST', '/send', { session: 'bob', body })).status, 201);
    assert.equal(vault.grants.get('bob')?.size, 2);
  },
);

both(
  'a hundred fields are revealed by one call, equal ones are asked for once, and nothing is to be stored',
  (app) => sending(app, lunasec.reveal(['name', 'items[].card'])),
  async ({ ask, vault }) => {
    const items = Array.from({ length: 99 }, (_, index) => ({ card: vault.keep(`card ${index}`), n: index }));
    const body = { name: vault.keep('Zoë'), items: [...items, ...items] };
    const { json, headers } = await ask('POST', '/json', { session: 'alice', body });
    assert.deepEqual(
      [json.name, json.items[98], json.items[99]],
      ['Zoë', { card: 'card 98', n: 98 }, { card: 'card 0', n: 0 }],
    );
    assert.deepEqual(
      vault.asked.map(({ path, headers }) => [path, headers['lunasec-session']]),
      [['/v1/detokenize:batch', 'alice']],
    );
    assert.equal(headers.get('cache-control'), 'no-store');
  },
);

both(
  'two thousand five hundred fields are three calls',
  (app) => sending(app, lunasec.reveal('[]')),
  async ({ ask, vault }) => {
    const body = Array.from({ length: 2_500 }, (_, index) => vault.keep(`v${index}`));
    const { json } = await ask('POST', '/json', { body });
    assert.deepEqual([json.length, json[0], json[2_499], vault.asked.length], [2_500, 'v0', 'v2499', 3]);
  },
);

for (const order of ['grant first', 'reveal first']) {
  both(
    `what is granted and revealed is granted first, in whatever order it is written (${order})`,
    (app) => {
      const both = [lunasec.grant('card'), lunasec.reveal(['card', 'name'])];
      sending(app, ...(order === 'grant first' ? both : both.reverse()));
    },
    async ({ ask, vault }) => {
      const body = { card: vault.keep('c'), name: vault.keep('n') };
      assert.deepEqual((await ask('POST', '/json', { session: 'alice', body })).json, { card: 'c', name: 'n' });
      assert.deepEqual(
        vault.asked.map(({ path }) => path),
        ['/v1/grants/create', '/v1/detokenize:batch'],
      );
      assert.deepEqual([...(vault.grants.get('alice') ?? [])], [body.card]);
    },
  );
}

both(
  'refusals, text, streams and empty answers pass as they are: nothing is granted, nothing revealed',
  (app) => sending(app, lunasec.grant('card'), lunasec.reveal('card')),
  async ({ ask, vault }) => {
    const body = { card: vault.keep('v') };
    for (const [path, status] of [
      ['/refusal', 422],
      ['/text', 200],
      ['/stream', 200],
      ['/chunks', 200],
    ] as const) {
      const reply = await ask('POST', path, { session: 'alice', body });
      assert.deepEqual([reply.status, reply.json], [status, body], path);
    }
    assert.equal((await ask('POST', '/nothing', { session: 'alice', body })).status, 204);
    assert.equal((await ask('POST', '/null', { session: 'alice', body })).json, null);
    assert.equal(vault.asked.length, 0);
  },
);

both(
  'tokens may be objects or text, and what the application keeps is not written to',
  (app) => {
    const kept = { card: Token.from('lunasec-00000000-0000-4000-8000-000000000001'), list: [{ card: '' }] };
    app.post('/', lunasec.grant('card'), lunasec.reveal('list[].card'), (req, res) => {
      kept.card = Token.from(req.body.card);
      kept.list = [{ card: req.body.other }];
      res.json(kept);
    });
    app.get('/kept', (_req, res) => void res.json([kept.card.expose(), kept.list[0]?.card]));
  },
  async ({ ask, vault }) => {
    const [card, other] = [vault.keep('c'), vault.keep('o')];
    const { json } = await ask('POST', '/', { session: 'alice', body: { card, other } });
    assert.deepEqual(json, { card, list: [{ card: 'o' }] });
    assert.deepEqual((await ask('GET', '/kept')).json, [card, other]);
  },
);

both(
  'bytes are revealed as base64',
  (app) => sending(app, lunasec.reveal('scan')),
  async ({ ask, vault }) => {
    const scan = vault.keep('iVA=');
    vault.values.set(scan, { value: 'iVA=', encoding: 'base64' });
    assert.deepEqual((await ask('POST', '/json', { body: { scan } })).json, { scan: 'iVA=' });
  },
);

both(
  'a no to one field is a no to the answer, and shows none of the others; a value that is gone may be null',
  (app) => {
    sending(app, lunasec.reveal('list[]'));
    app.post('/null-if-gone', lunasec.reveal('list[]', { onGone: 'null' }), (req, res) => void res.json(req.body));
  },
  async ({ ask, vault }) => {
    const list = [vault.keep('first 4111'), vault.keep('second')];
    for (const [code, status] of [
      ['grant_denied', 403],
      ['not_found', 404],
      ['expired', 410],
      ['corrupted', 500],
    ] as const) {
      vault.itemTrouble = (token) => (token === list[1] ? code : undefined);
      const { status: was, text } = await ask('POST', '/json', { session: 'alice', body: { list } });
      assert.equal(was, status, code);
      assert.doesNotMatch(text, /4111|INTERNAL|lunasec-0/);
    }
    vault.itemTrouble = (token) => (token === list[1] ? 'expired' : undefined);
    const { json } = await ask('POST', '/null-if-gone', { session: 'alice', body: { list } });
    assert.deepEqual(json, { list: ['first 4111', null] });
    vault.itemTrouble = (token) => (token === list[1] ? 'grant_denied' : undefined);
    assert.equal((await ask('POST', '/null-if-gone', { session: 'alice', body: { list } })).status, 403);
  },
);

both(
  "data that are no tokens are the application's mistake, and are not shown",
  (app) => {
    sending(app, lunasec.reveal('card'));
    app.post('/grant', lunasec.grant('card'), (req, res) => void res.json(req.body));
  },
  async ({ ask, errors }) => {
    const bodies = [
      'plain 4111',
      4111,
      true,
      { number: '4111' },
      ['4111'],
      '[lunasec token: .expose() gives its text]',
    ];
    for (const path of ['/json', '/grant']) {
      for (const card of bodies) {
        const { status, json } = await ask('POST', path, { session: 'alice', body: { card } });
        assert.deepEqual([status, json], [500, { own: 'handler' }]);
        assert.match(String(errors.pop()), /the field card of what is sent holds no token/);
      }
    }
  },
);

both(
  'a grant without a session is 401, and a status said before counts no more',
  (app) => sending(app, lunasec.grant('card')),
  async ({ ask, vault }) => {
    assert.equal((await ask('POST', '/send', { body: { card: vault.keep('v') } })).status, 401);
  },
);

both(
  'what goes wrong in a route goes where it went before, and nothing is granted',
  (app) => {
    app.post('/throws', lunasec.grant('card'), () => {
      throw new Error('the route failed');
    });
    app.post('/next', lunasec.reveal('card'), (_req, _res, next) => next(new Error('the route failed')));
    app.post('/cycle', lunasec.reveal('card'), (_req, res) => {
      const cycle: { self?: unknown } = {};
      cycle.self = cycle;
      res.json(cycle);
    });
  },
  async ({ ask, vault }) => {
    const body = { card: vault.keep('v') };
    for (const path of ['/throws', '/next', '/cycle']) {
      const { status, json } = await ask('POST', path, { session: 'alice', body });
      assert.deepEqual([status, json], [500, { own: 'handler' }], path);
    }
    assert.equal(vault.count('/v1/grants/create'), 0);
  },
);

both(
  'what is sent first counts, and what is sent again is refused as ever',
  (app) => {
    app.post('/', lunasec.reveal('card'), (req, res) => {
      res.status(201).json(req.body);
      assert.throws(() => res.status(500).json({ second: true }), { code: 'ERR_HTTP_HEADERS_SENT' });
    });
    app.post('/ended', lunasec.reveal('card'), (req, res) => {
      res.json(req.body);
      res.end('ended');
    });
  },
  async ({ ask, vault, errors }) => {
    const body = { card: vault.keep('v') };
    const { status, json } = await ask('POST', '/', { body });
    assert.deepEqual([status, json], [201, { card: 'v' }]);
    assert.equal((await ask('POST', '/ended', { body })).text, 'ended');
    vault.itemTrouble = () => 'grant_denied';
    assert.equal((await ask('POST', '/ended', { body })).text, 'ended');
    assert.equal(vault.count('/v1/detokenize:batch'), 3);
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(errors, []);
  },
);

both(
  'ending an answer that is on its way does nothing to it',
  (app) => {
    const before = [lunasec.grant('card'), lunasec.reveal('card')];
    app.post('/', ...before, (req, res) => void res.status(201).json(req.body).end());
    app.post('/told', ...before, (req, res) => {
      res.json(req.body).end(() => req.app.emit('told'));
    });
    app.head('/', ...before, (_req, res) => void res.json({}).end());
  },
  async ({ app, ask, vault }) => {
    const body = { card: vault.keep('v') };
    const { status, json } = await ask('POST', '/', { session: 'alice', body });
    assert.deepEqual([status, json], [201, { card: 'v' }]);
    const told = once(app, 'told');
    assert.deepEqual((await ask('POST', '/told', { session: 'alice', body })).json, { card: 'v' });
    await told;
    assert.equal((await ask('HEAD', '/')).status, 200);
    vault.itemTrouble = () => 'grant_denied';
    assert.equal((await ask('POST', '/', { session: 'alice', body })).status, 403);
  },
);

both(
  'an answer whose head is out already is broken off, and not left open: nothing unrevealed follows it',
  (app) => {
    const before = [lunasec.grant('card'), lunasec.reveal('card')];
    app.post('/flushed', ...before, (req, res) => {
      res.flushHeaders();
      res.json(req.body);
    });
    app.post('/written', ...before, (req, res) => void res.writeHead(200).json(req.body));
    app.post('/meanwhile', ...before, (req, res) => {
      res.json(req.body);
      res.flushHeaders();
    });
    app.post('/begun', ...before, (req, res) => {
      res.json(req.body);
      res.write('{');
      res.end();
    });
  },
  async ({ ask, vault, errors }) => {
    const body = { card: vault.keep('v') };
    for (const path of ['/flushed', '/written', '/meanwhile', '/begun']) {
      for (const code of [undefined, 'grant_denied']) {
        vault.itemTrouble = () => code;
        await assert.rejects(ask('POST', path, { session: 'alice', body }), TypeError, path);
        const error = errors.pop();
        const isSent = (error as { code?: string }).code === 'ERR_HTTP_HEADERS_SENT';
        assert.ok(isSent || error instanceof GrantDenied, `${path}: ${error}`);
      }
    }
  },
);

both(
  'pages that are rendered reveal and grant in what they show',
  (app) => {
    app.post('/', async (req, res) => {
      const shown = await req.lunasec.revealIn(req.body as { rows: { name: string }[] }, 'rows[].name');
      const form = await req.lunasec.grantIn({ card: Token.from(req.body.card) }, 'card');
      res.send(`<p>${shown.rows[0]?.name}</p><input value="${form.card as unknown as string}">`);
    });
  },
  async ({ ask, vault }) => {
    const body = { rows: [{ name: vault.keep('Zoë') }], card: vault.keep('c') };
    const { text } = await ask('POST', '/', { session: 'alice', body });
    assert.equal(text, `<p>Zoë</p><input value="${body.card}">`);
    assert.ok(vault.grants.get('alice')?.has(body.card));
  },
);

both(
  'who goes away while an answer is revealed stops that',
  (app) => sending(app, lunasec.reveal('card')),
  async ({ ask, vault, errors }) => {
    vault.trouble = () => 'hangs';
    const leave = new AbortController();
    const asking = ask('POST', '/json', { body: { card: vault.keep('v') }, signal: leave.signal });
    await vault.hanging.promise;
    leave.abort();
    await assert.rejects(asking, { name: 'AbortError' });
    await vault.left.promise;
    // By the time that the application has answered somebody else, it has come to an end.
    await ask('GET', '/somewhere-else');
    assert.deepEqual(errors, []);
  },
);
