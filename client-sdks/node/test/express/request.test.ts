import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';

import * as lunasec from '../../src/express/index.js';
import { type App, both, listen, VERSIONS } from './apps.js';
import { clientOf, Vault } from './vault.js';

/** Grants what it is given, and says for whom that counts. */
function granting(app: App): void {
  app.post('/grant', async (req, res, next) => {
    try {
      const [granted] = await req.lunasec.grant([req.body.token]);
      const [verified] = await req.lunasec.verify([req.body.token]);
      res.json([granted?.kind, verified?.kind]);
    } catch (error) {
      next(error);
    }
  });
}

both('what is granted and what is verified is the same session', granting, async ({ ask, vault }) => {
  const token = vault.keep('v');
  assert.deepEqual((await ask('POST', '/grant', { session: 'alice', body: { token } })).json, ['granted', 'valid']);
  assert.deepEqual(
    vault.asked.map(({ body, headers }) => [body['session'], headers['lunasec-session']]),
    [
      ['alice', 'alice'],
      ['alice', 'alice'],
    ],
  );
});

both(
  'a second lunasec.express() for the same request is refused: nothing is granted to the other one’s session',
  (app, express) => {
    const inner = express();
    inner.use(lunasec.express({ session: () => 'the inner session' }));
    inner.post('/inside', (_req, res) => void res.json({}));
    app.use('/inner', inner);
    app.use('/inner', (req, res, next) => {
      req.lunasec.grantIn(req.body, 'card').then(() => res.json({}), next);
    });
  },
  async ({ ask, errors, vault }) => {
    const body = { card: vault.keep('v') };
    for (const path of ['/inner/inside', '/inner/else']) {
      assert.equal((await ask('POST', path, { session: 'alice', body })).status, 500);
      assert.match(String(errors.pop()), /another lunasec\.express\(\) is before this one.* use one/);
    }
    assert.equal(vault.asked.length, 0);
  },
);

both(
  'two hundred requests at once, each of its own session, mix nothing up',
  (app) => {
    const guard = lunasec.verify({ body: 'mine' });
    app.post('/', guard, lunasec.tokenize('value'), lunasec.grant('granted'), lunasec.reveal('shown'), (req, res) => {
      const { value, mine } = req.body;
      // Not all at the same speed.
      setTimeout(() => res.json({ granted: value, shown: mine }), Math.random() * 20);
    });
  },
  async ({ ask, vault }) => {
    const names = Array.from({ length: 200 }, (_, index) => `user ${index}`);
    const replies = await Promise.all(
      names.map((session) => {
        const body = { mine: vault.keepFor(session, `secret of ${session}`), value: `value of ${session}` };
        return ask('POST', '/', { session, body });
      }),
    );
    for (const [index, session] of names.entries()) {
      const { status, json } = replies[index] ?? { status: 0, json: {} };
      assert.deepEqual([status, json.shown], [200, `secret of ${session}`]);
      assert.equal(vault.value(json.granted), `value of ${session}`);
      assert.ok(vault.grants.get(session)?.has(json.granted));
      assert.equal(vault.grants.get(session)?.size, 2);
    }
    for (const { body, headers, path } of vault.asked) {
      assert.equal(body['session'] ?? headers['lunasec-session'], headers['lunasec-session'], path);
    }
    const stranger = replies[7]?.json.granted as string;
    assert.equal((await ask('POST', '/', { session: 'user 8', body: { mine: stranger, value: 'x' } })).status, 403);
  },
);

both(
  'without a session, what needs none goes on, and what needs one says so',
  (app) => {
    granting(app);
    app.get('/', async (req, res) => {
      const { token } = await req.lunasec.tokenize('v');
      const { value } = await req.lunasec.detokenize(token);
      res.json([await req.lunasec.hasSession(), value.reveal()]);
    });
  },
  async ({ ask, vault }) => {
    assert.deepEqual((await ask('GET', '/')).json, [false, 'v']);
    const { status, json } = await ask('POST', '/grant', { body: { token: vault.keep('v') } });
    assert.deepEqual([status, json.code], [401, 'unauthenticated']);
    assert.equal(vault.count('/v1/grants/create'), 0);
  },
);

let asked = 0;
both(
  'the session is asked for once, when it is needed, and may be a promise',
  (app) => {
    asked = 0;
    app.get('/nothing', (_req, res) => void res.json(asked));
    app.get('/much', async (req, res) => {
      const { token } = await req.lunasec.tokenize('v');
      await Promise.all([req.lunasec.grant([token]), req.lunasec.verify([token]), req.lunasec.session()]);
      res.json(asked);
    });
  },
  async ({ ask, vault }) => {
    assert.equal((await ask('GET', '/nothing')).json, 0);
    assert.equal((await ask('GET', '/much')).json, 1);
    assert.deepEqual(vault.asked.at(-1)?.headers, {
      ...vault.asked.at(-1)?.headers,
      'lunasec-session': 'later',
      authorization: 'Bearer proof',
    });
  },
  async () => {
    asked += 1;
    await new Promise((resolve) => setImmediate(resolve));
    return { id: 'later', jwt: 'proof' };
  },
);

let fails = true;
both(
  'a session that cannot be found is the error of whoever looks for it, and is looked for anew',
  (app) => {
    fails = true;
    app.get('/', lunasec.tokenize('x?'), async (req, res, next) => {
      const first = await req.lunasec.session().catch((error: Error) => error.message);
      fails = false;
      await req.lunasec.session().then(() => res.json(first), next);
    });
    app.post('/', lunasec.tokenize('card'), (_req, res) => void res.json('ran'));
  },
  async ({ ask, errors, vault }) => {
    assert.equal((await ask('GET', '/')).json, 'the store of sessions is away');
    fails = true;
    assert.deepEqual((await ask('POST', '/', { body: { card: 'v' } })).json, { own: 'handler' });
    assert.match(String(errors[0]), /the store of sessions is away/);
    assert.equal(vault.asked.length, 0);
  },
  () => {
    if (fails) {
      throw new Error('the store of sessions is away');
    }
    return 'alice';
  },
);

const NOT_TEXT: [unknown, number][] = [
  [7, 500],
  [{ id: 7 }, 500],
  [{}, 500],
  [undefined, 401],
  [null, 401],
  ['', 401],
];
for (const [session, status] of NOT_TEXT) {
  const routes = (app: App): void =>
    void app.get('/', lunasec.verify({ query: 'id' }), (_req, res) => void res.json(1));
  const run = async ({
    ask,
  }: {
    ask: (method: string, path: string) => Promise<{ status: number }>;
  }): Promise<void> => {
    assert.equal((await ask('GET', '/?id=lunasec-1')).status, status);
  };
  both(`a session that is ${JSON.stringify(session)} is nobody's`, routes, run, () => session as string);
}

both(
  'after a login, what is granted is the new session',
  (app) => {
    app.post('/login', async (req, res) => {
      const { token } = await req.lunasec.tokenize('v');
      req.headers['x-session'] = 'new';
      req.lunasec.rebind();
      await req.lunasec.grant([token]);
      res.json(1);
    });
  },
  async ({ ask, vault }) => {
    await ask('POST', '/login', { session: 'old' });
    assert.deepEqual(
      vault.asked.map(({ headers }) => headers['lunasec-session']),
      ['old', 'new'],
    );
  },
);

both(
  'the calls of one turn are one request, also through req.lunasec',
  (app) => {
    app.post('/', async (req, res) => {
      const shown = await Promise.all(req.body.map((token: string) => req.lunasec.detokenize(token)));
      res.json(shown.length);
    });
  },
  async ({ ask, vault }) => {
    const body = Array.from({ length: 100 }, () => vault.keep('v'));
    assert.equal((await ask('POST', '/', { session: 'alice', body })).json, 100);
    assert.equal(vault.asked.length, 1);
  },
);

both(
  'traceparent goes on to the sidecar, if it is one',
  (app) => {
    app.get('/', async (req, res) => {
      await req.lunasec.tokenize('v');
      res.json(1);
    });
  },
  async ({ ask, vault }) => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    await ask('GET', '/', { session: 'alice', headers: { traceparent } });
    await ask('GET', '/', { headers: { traceparent } });
    await ask('GET', '/', { headers: { traceparent: 'rubbish' } });
    assert.deepEqual(
      vault.asked.map(({ headers }) => headers['traceparent']),
      [traceparent, traceparent, undefined],
    );
  },
);

both(
  'whoever goes away stops what is asked on their behalf, and the route does not run',
  (app) => {
    app.post('/', lunasec.tokenize('card'), () => assert.fail('the route ran'));
  },
  async ({ ask, vault, errors }) => {
    vault.trouble = () => 'hangs';
    const leave = new AbortController();
    const asking = ask('POST', '/', { body: { card: 'v' }, signal: leave.signal });
    await vault.hanging.promise;
    leave.abort();
    await assert.rejects(asking, { name: 'AbortError' });
    await vault.left.promise;
    // By the time that the application has answered somebody else, it has come to an end.
    await ask('GET', '/somewhere-else');
    vault.trouble = () => undefined;
    assert.deepEqual(errors, []);
  },
);

both(
  'req.lunasec prints nothing of the session',
  (app) => {
    app.get('/', async (req, res) => {
      await req.lunasec.session();
      const print = inspect([req.lunasec, res.locals.lunasec], { depth: 10, showHidden: true });
      res.json([print.includes('session-marker-7'), JSON.stringify([req.lunasec, res.locals.lunasec])]);
    });
  },
  async ({ ask }) => {
    const [shown, json] = (await ask('GET', '/')).json;
    assert.equal(json, '[{},{"degraded":false,"reasons":[],"ageSeconds":0,"masked":0,"journaled":false}]');
    assert.equal(shown, false);
  },
  () => 'session-marker-7',
);

for (const [version, express] of VERSIONS) {
  test(`${version}: a route before lunasec.express() says what is missing`, async (context) => {
    const app = express();
    app.get('/', lunasec.reveal('x'), (_req, res) => void res.json({}));
    const messages: unknown[] = [];
    app.use(((error, _req, res, _next) => {
      messages.push((error as Error).message);
      res.statusCode = 500;
      res.end();
    }) as lunasec.ErrorHandler);
    const { ask } = await listen(context, app);
    assert.equal((await ask('GET', '/')).status, 500);
    assert.match(String(messages[0]), /app\.use\(lunasec\.express/);
  });

  test(`${version}: routers may have sessions of their own`, async (context) => {
    const vault = new Vault();
    const client = clientOf(vault);
    const app = express();
    for (const session of ['an admin', 'a customer']) {
      const router = express.Router();
      router.use(express.json(), lunasec.express({ client, session: () => session }));
      router.post('/', lunasec.grant('token'), (req, res) => void res.json(req.body));
      app.use(`/${session.slice(-5)}`, router);
    }
    const { ask } = await listen(context, app);
    await ask('POST', '/admin', { body: { token: vault.keep('v') } });
    assert.deepEqual([...vault.grants.keys()], ['an admin']);
    await ask('POST', '/tomer', { body: { token: vault.keep('v') } });
    assert.deepEqual([...vault.grants.keys()], ['an admin', 'a customer']);
  });
}

test('lunasec.express() without a function for the session is refused', () => {
  assert.throws(() => lunasec.express(undefined as never), /needs a function/);
  assert.throws(() => lunasec.express({ session: 'alice' } as never), /needs a function/);
});
