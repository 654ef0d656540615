// What was granted ends: the customer's own after a while, an address for shipping soon.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ANNA } from './customers.js';
import { Cleanup } from './processes.js';
import { openBrowser, Person, Shop, Sidecar } from './world.js';

test('a grant expires: the page is locked, orders are refused, and the password opens it again', async (context) => {
  const cleanup = new Cleanup();
  context.after(() => cleanup.all());
  const sidecar = await new Sidecar(cleanup).start();
  const shop = await new Shop(cleanup, sidecar, { SHOP_GRANT: '8s', SHOP_REVEAL: '4s' }).start();
  const browser = await openBrowser(cleanup);
  const [anna, admin] = [await Person.at(shop, browser), await Person.at(shop, browser)];
  await anna.signUp(ANNA);
  await anna.go('/account');
  assert.equal(await anna.sees('#name'), ANNA.name);
  await anna.go('/checkout/lantern');
  await anna.send({});
  await anna.go('/checkout/lantern');
  const form = await anna.page.content();
  assert.match(form, /name="card" value="lunasec-/);

  // A page that was open all the time: what it sends is too late.
  const late = await Person.at(shop, browser);
  await late.page.context().addCookies(await anna.page.context().cookies());
  await late.go('/checkout/lantern');
  await anna.until('/account', '[data-locked]');
  assert.ok(!(await anna.page.content()).includes('Lindqvist'));
  await anna.picture('locked');
  assert.equal(await late.send({}), 403);
  await anna.go('/orders');
  await anna.page.waitForSelector('[data-degraded=locked]');
  assert.deepEqual(await anna.page.locator('#orders tbody td:nth-child(4)').allTextContents(), ['••••']);

  assert.equal(await anna.go('/account'), 200);
  assert.equal(await anna.send({ password: 'something-else' }), 403);
  await anna.go('/account');
  assert.equal(await anna.send({ password: ANNA.password }), 200);
  assert.equal(await anna.sees('#name'), ANNA.name);

  await admin.logIn('admin@shop.example');
  await admin.send({}, 'tbody form');
  assert.match(await admin.sees('#address'), /Anna Lindqvist/);
  const path = new URL(admin.page.url());
  await admin.until(path.pathname + path.search, '[data-locked]');
  assert.ok(!(await admin.page.content()).includes('Lindqvist'));
  await admin.picture('admin-locked');
});
