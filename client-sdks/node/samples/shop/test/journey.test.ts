// Signing up, buying, support, and what is left in the database: with PostgreSQL embedded, and with a server.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import pg from 'pg';

import { ANNA, BRUNO, secretsOf } from './customers.js';
import { Cleanup } from './processes.js';
import { openBrowser, Person, Shop, Sidecar, startPostgres } from './world.js';

const TOKEN = /lunasec-[0-9a-f-]{36}/;

/** Every file below a directory that has one of these texts in its bytes, and which. */
function finds(directory: string, texts: readonly string[]): string[] {
  return readdirSync(directory, { recursive: true, encoding: 'utf8' }).flatMap((name) => {
    const file = join(directory, name);
    const bytes = statSync(file).isFile() ? readFileSync(file) : Buffer.alloc(0);
    return texts.filter((text) => bytes.includes(text)).map((text) => `${name}: ${text}`);
  });
}

/** All that a customer and the staff do; gives a card's token as the customer's form had it, and support's session. */
async function journey(anna: Person, support: Person, admin: Person): Promise<string> {
  assert.equal(await anna.signUp(ANNA), 201);
  assert.ok(await anna.has('[data-durability=stored]'));
  await anna.go('/account');
  assert.equal(await anna.sees('#name'), ANNA.name);
  assert.equal(await anna.sees('#address'), ANNA.address);
  assert.equal(await anna.sees('#card'), '•••• 1111');
  await anna.picture('account');

  await anna.go('/');
  await anna.picture('catalogue');
  await anna.page.click('a[href="/checkout/telescope"]');
  assert.match(await anna.sees('#address'), /Fjällgatan 23/);
  const card = (await anna.page.getAttribute('[name=card]', 'value')) as string;
  assert.match(card, TOKEN);
  await anna.picture('checkout');
  assert.equal(await anna.send({}), 200);
  await anna.page.waitForSelector('[data-shown]');
  const cells = await anna.page.locator('#orders tbody td').allTextContents();
  assert.deepEqual(cells.map(asTyped), ['1', 'telescope', '€ 249.00', ANNA.address, '•••• 1111']);
  await anna.picture('orders');

  await support.logIn('support@shop.example');
  assert.equal(await support.sees('.digits'), '•••• 1111');
  assert.ok(!(await support.page.content()).includes('Anna'));
  assert.equal(await support.go('/admin'), 403);
  await support.go('/support');
  await support.picture('support');

  await admin.logIn('admin@shop.example');
  await admin.picture('admin');
  await admin.send({}, 'tbody form');
  assert.match(await admin.sees('#address'), /Anna Lindqvist\s*Fjällgatan 23/);
  await admin.picture('admin-reveal');
  return card;
}

/** A browser sends CRLF for what was typed as a line's end. */
function asTyped(text: string): string {
  return text.replaceAll('\r\n', '\n');
}

for (const kind of ['embedded', 'a server']) {
  test(`sign up, buy, support, ship: the database (${kind}) holds tokens and the logs hold nothing`, async (context) => {
    const cleanup = new Cleanup();
    context.after(() => cleanup.all());
    const postgres = kind === 'embedded' ? undefined : await startPostgres(cleanup);
    const sidecar = await new Sidecar(cleanup).start();
    const shop = await new Shop(cleanup, sidecar, postgres && { DATABASE_URL: postgres.url }).start();
    const browser = await openBrowser(cleanup);
    const [anna, support, admin] = [
      await Person.at(shop, browser),
      await Person.at(shop, browser),
      await Person.at(shop, browser),
    ];
    const card = await journey(anna, support, admin);
    // A name is shown as it is, not as it would like to be.
    await anna.send({}, 'nav form');
    assert.equal(await anna.signUp(BRUNO), 201);
    await anna.go('/account');
    assert.equal(await anna.sees('#name'), BRUNO.name);

    if (postgres !== undefined) {
      const client = new pg.Client(postgres.url);
      await client.connect();
      await client.query('checkpoint');
      await client.end();
    }
    await shop.stop();
    const secrets = [...secretsOf(ANNA), ...secretsOf(BRUNO)];
    for (const directory of [shop.directory, sidecar.directory, postgres?.data ?? shop.directory]) {
      assert.deepEqual(finds(directory, secrets), []);
    }
    // The search would have found them.
    assert.notDeepEqual(finds(postgres?.data ?? shop.directory, [card]), []);
    assert.match(shop.log, /^POST \/orders 303/m);
    for (const secret of [...secrets, card]) {
      assert.ok(!shop.log.includes(secret) && !sidecar.log.includes(secret), `a log has ${secret}`);
    }
    assert.match(sidecar.log, /serving/);
  });
}
