import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';

import * as lunasec from '../../src/express/index.js';
import { LunaSec } from '../../src/index.js';
import { Sidecar } from '../sidecar.js';
import { type App, type Place, place, VERSIONS } from './apps.js';

interface Row {
  readonly name: string;
  readonly card: string;
}

/** A shop whose database is a list. */
function shop(rows: Map<string, Row>): (app: App) => void {
  return (app) => {
    const fields = ['name', 'card'];
    app.post('/sign-up', lunasec.tokenize(fields), lunasec.grant(fields), (req, res) => {
      rows.set(String(req.get('x-session')), req.body);
      res.status(201).json(req.body);
    });
    app.get('/me', lunasec.reveal(fields, { onUnavailable: 'mask', deadlineMs: 500 }), (req, res) => {
      res.json(rows.get(String(req.get('x-session'))));
    });
    app.get('/strict', lunasec.reveal(fields), (req, res) => void res.json(rows.get(String(req.get('x-session')))));
    app.put('/card', lunasec.verify({ body: 'card' }), (req, res) => {
      const session = String(req.get('x-session'));
      rows.set(session, { ...rows.get(session), ...req.body });
      res.json({ changed: true });
    });
    app.post('/short', lunasec.tokenize('card'), lunasec.grant('card', { expiresIn: '1s' }), (req, res) => {
      res.json(req.body);
    });
    app.post('/log-out', async (req, res) => {
      await req.lunasec.revokeAll();
      res.json({});
    });
  };
}

interface Scene extends Place {
  readonly sidecar: Sidecar;
  readonly rows: Map<string, Row>;
}

async function scene(context: TestContext, express: (typeof VERSIONS)[number][1]): Promise<Scene> {
  const sidecar = await Sidecar.started(context);
  const client = new LunaSec({ socket: sidecar.socket, telemetry: false, restartGraceMs: 5_000 });
  context.after(() => client.close());
  const rows = new Map<string, Row>();
  return { sidecar, rows, ...(await place(context, express, client, shop(rows))) };
}

const CARD = '4111 1111 1111 1111';

for (const [version, express] of VERSIONS) {
  test(`${version}, real sidecar: sign up, be shown, be refused what is not yours, log out`, async (context) => {
    const { ask, rows, sidecar } = await scene(context, express);
    const signedUp = await ask('POST', '/sign-up', { session: 'alice', body: { name: 'Alice', card: CARD } });
    await ask('POST', '/sign-up', { session: 'bob', body: { name: 'Bob', card: '5500' } });
    assert.equal(signedUp.status, 201);
    assert.match(signedUp.json.card, /^lunasec-/);
    assert.doesNotMatch(JSON.stringify([...rows]) + sidecar.log, /4111|Alice|5500/);
    assert.deepEqual((await ask('GET', '/me', { session: 'alice' })).json, { name: 'Alice', card: CARD });

    const before = JSON.stringify([...rows]);
    const theft = await ask('PUT', '/card', { session: 'bob', body: { card: signedUp.json.card } });
    assert.deepEqual([theft.status, theft.json.code], [403, 'grant_denied']);
    assert.equal((await ask('PUT', '/card', { session: 'bob', body: { card: 'lunasec-nonsense' } })).status, 400);
    assert.equal((await ask('PUT', '/card', { body: { card: signedUp.json.card } })).status, 401);
    assert.equal((await ask('GET', '/me', {})).json, undefined);
    assert.equal(JSON.stringify([...rows]), before);
    assert.equal((await ask('PUT', '/card', { session: 'alice', body: { card: signedUp.json.card } })).status, 200);

    // Also where an application reveals what it should not: the sidecar asks for the session's grant.
    rows.set('bob', rows.get('alice') as Row);
    assert.equal((await ask('GET', '/me', { session: 'bob' })).status, 403);

    await ask('POST', '/log-out', { session: 'alice' });
    assert.equal((await ask('GET', '/me', { session: 'alice' })).status, 403);
    assert.equal((await ask('PUT', '/card', { session: 'alice', body: { card: signedUp.json.card } })).status, 403);
  });

  test(`${version}, real sidecar: a grant ends`, async (context) => {
    const { ask } = await scene(context, express);
    const body = (await ask('POST', '/short', { session: 'alice', body: { card: CARD } })).json;
    let reply = await ask('PUT', '/card', { session: 'alice', body });
    while (reply.status === 200) {
      reply = await ask('PUT', '/card', { session: 'alice', body });
    }
    assert.deepEqual([reply.status, reply.json.code], [403, 'grant_expired']);
  });

  test(`${version}, real sidecar: two hundred sessions at once`, async (context) => {
    const { ask } = await scene(context, express);
    const names = Array.from({ length: 200 }, (_, index) => `user ${index}`);
    await Promise.all(
      names.map((name) => ask('POST', '/sign-up', { session: name, body: { name, card: `card of ${name}` } })),
    );
    // Not masked after two seconds, however busy the machine is.
    const shown = await Promise.all(names.map((session) => ask('GET', '/strict', { session })));
    assert.deepEqual(
      shown.map(({ json }) => json),
      names.map((name) => ({ name, card: `card of ${name}` })),
    );
  });

  test(`${version}, real sidecar: it goes, pages load masked; it comes back, and so do they`, async (context) => {
    const { ask, sidecar } = await scene(context, express);
    const alice = { session: 'alice', body: { name: 'Alice', card: CARD } };
    const { json } = await ask('POST', '/sign-up', alice);
    const masked = { name: '••••', card: '••••' };
    for (const [away, back] of [
      [() => sidecar.stop(), () => sidecar.start()],
      [() => sidecar.stop('SIGKILL'), () => sidecar.start()],
      [async () => sidecar.signal('SIGSTOP'), async () => sidecar.signal('SIGCONT')],
    ] as const) {
      await away();
      const page = await ask('GET', '/me', { session: 'alice' });
      assert.deepEqual([page.status, page.json], [200, masked]);
      assert.match(page.headers.get('lunasec-degraded') ?? '', /^(sidecar_unreachable|deadline_exceeded)$/);
      await back();
      assert.deepEqual((await ask('GET', '/strict', { session: 'alice' })).json, { name: 'Alice', card: CARD });
    }
    await sidecar.stop();
    await ask('GET', '/me', { session: 'alice' });
    const refused = await ask('PUT', '/card', { session: 'alice', body: { card: json.card } });
    assert.deepEqual([refused.status, refused.json.code], [503, 'sidecar_unreachable']);
    assert.match(refused.headers.get('retry-after') ?? '', /^\d+$/);
    assert.doesNotMatch(refused.text, /lunasec-[0-9a-f]|\.sock|\/s\b/);
  });

  test(`${version}, real sidecar: a restart under requests does not surface`, async (context) => {
    const { ask, sidecar } = await scene(context, express);
    await ask('POST', '/sign-up', { session: 'alice', body: { name: 'Alice', card: CARD } });
    const asking = Array.from({ length: 50 }, () => ask('GET', '/strict', { session: 'alice' }));
    await sidecar.stop('SIGKILL');
    asking.push(...Array.from({ length: 50 }, () => ask('GET', '/strict', { session: 'alice' })));
    await sidecar.start();
    for (const { status, json } of await Promise.all(asking)) {
      assert.deepEqual([status, json], [200, { name: 'Alice', card: CARD }]);
    }
  });
}
