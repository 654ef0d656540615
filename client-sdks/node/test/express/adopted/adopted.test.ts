import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { type App, listen } from '../apps.js';
import { onSocket } from '../socket.js';
import { Vault } from '../vault.js';
import { application as after } from './after.js';
import { application as before } from './before.js';
import type { Shop } from './shop.js';

const sources = fileURLToPath(new URL('../../../../test/express/adopted/', import.meta.url));

function lines(name: string): string[] {
  return readFileSync(`${sources}${name}.ts`, 'utf8').split('\n');
}

/** Those of `some` that are not in `others`, however often each is there. */
function without(some: readonly string[], others: readonly string[]): string[] {
  const left = [...others];
  return some.filter((line) => {
    const at = left.indexOf(line);
    left.splice(at, at < 0 ? 0 : 1);
    return at < 0;
  });
}

test('it takes three lines, and one for each route', () => {
  const [old, now] = [lines('before'), lines('after')];
  const route = /^ {2}app\.(get|post)\('/;
  const added = without(now, old);
  const routes = added.filter((line) => route.test(line));
  assert.equal(added.length - routes.length, 3, added.join('\n'));
  assert.equal(routes.length, old.filter((line) => route.test(line)).length);
  // What is gone is the routes' own first lines, which are there again with one more middleware.
  assert.deepEqual(
    without(old, now),
    routes.map((line) => line.replace(/lunasec\..*?\), (?=\(req)/, '')),
  );
});

/** What a user of either application does, and sees. */
async function used(context: TestContext, application: (shop: Shop) => App): Promise<{ seen: unknown[]; shop: Shop }> {
  const shop: Shop = { customers: new Map(), orders: [] };
  const { ask } = await listen(context, application(shop));
  const session = 'alice';
  const body = {
    name: 'Zoë',
    home: { street: 'Elm Street 1', city: 'C' },
    cards: [{ number: '4111' }, { number: '5500' }],
  };
  const created = await ask('POST', '/customers', { session, body });
  const me = await ask('GET', '/me', { session });
  const cards = await ask('GET', '/cards', { session });
  const order = { article: 'shoes', card: cards.json[1].number };
  const ordered = await ask('POST', '/orders', { session, body: order });
  return { seen: [created.json, me.json, cards.json.length, ordered.status, ordered.json], shop };
}

test('users see no difference; the database does', async (context) => {
  process.env['LUNASEC_SOCKET'] = await onSocket(context, new Vault());
  const [old, now] = [await used(context, before), await used(context, after)];
  assert.deepEqual(now.seen, old.seen);
  const kept = ({ shop }: typeof old): string => JSON.stringify([[...shop.customers], shop.orders]);
  assert.match(kept(old), /Zoë.*Elm Street.*4111.*5500/);
  assert.doesNotMatch(kept(now), /Zoë|Elm Street|4111|5500/);
});
