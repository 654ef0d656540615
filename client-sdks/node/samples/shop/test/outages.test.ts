// The sidecar away, then its storage: pages stay, what cannot be known is masked, and all of it comes back by itself.
import assert from 'node:assert/strict';
import { after, type TestContext, test } from 'node:test';
import type { Browser } from 'playwright-core';

import { ANNA, BRUNO, CARLA, secretsOf } from './customers.js';
import { Cleanup } from './processes.js';
import { Relay } from './relay.js';
import { openBrowser, Person, Shop, Sidecar, startCloud } from './world.js';

const MASK = '••••';
/** Nobody waits for long for a grant to end here. */
const LONG = { SHOP_REVEAL: '30m', SHOP_GRANT: '30m' };

interface People {
  readonly anna: Person;
  readonly bruno: Person;
  readonly carla: Person;
  readonly support: Person;
  readonly admin: Person;
}

/** Anna has ordered, the staff is at work, and then Bruno has ordered, too. Carla has not signed up. */
async function aDayAtTheShop(shop: Shop, browser: Browser, noon = async () => {}): Promise<People> {
  const at = () => Person.at(shop, browser);
  const people = { anna: await at(), bruno: await at(), carla: await at(), support: await at(), admin: await at() };
  const { anna, bruno, support, admin } = people;
  await signsUpAndBuys(anna, ANNA);
  await support.logIn('support@shop.example');
  await admin.logIn('admin@shop.example');
  await admin.send({}, 'tbody form');
  assert.match(await admin.sees('#address'), /Anna Lindqvist/);
  await noon();
  await signsUpAndBuys(bruno, BRUNO);
  return people;
}

async function signsUpAndBuys(person: Person, customer: typeof ANNA): Promise<void> {
  assert.equal(await person.signUp(customer), 201);
  await person.go('/checkout/compass');
  assert.equal(await person.send({}), 200);
  assert.equal(await orders(person), 1);
}

/** Loads a page, which is there, and has nothing of a customer on it. */
async function masked(person: Person, path: string, customer: typeof ANNA): Promise<void> {
  assert.equal(await person.go(path), 200, path);
  if (path === '/orders') {
    await person.page.waitForSelector('[data-shown]');
  }
  const page = await person.page.content();
  for (const secret of secretsOf(customer)) {
    assert.ok(!page.includes(secret), `${path} has ${secret}`);
  }
}

async function orders(person: Person): Promise<number> {
  await person.go('/orders');
  await person.page.waitForSelector('[data-shown]');
  return person.page.locator('#orders tbody tr').count();
}

test('the sidecar is stopped: every page is there with masked fields, and recovers by itself', async (context) => {
  const cleanup = new Cleanup();
  context.after(() => cleanup.all());
  const sidecar = await new Sidecar(cleanup).start();
  const shop = await new Shop(cleanup, sidecar, LONG).start();
  const { anna, bruno, carla, support, admin } = await aDayAtTheShop(shop, await openBrowser(cleanup));

  await sidecar.stop();
  for (const path of ['/', '/account', '/checkout/lantern', '/orders']) {
    await masked(anna, path, ANNA);
  }
  await anna.go('/account');
  assert.equal(await anna.sees('#name'), MASK);
  assert.equal(await anna.sees('#address'), MASK);
  assert.equal(await anna.sees('#card'), MASK);
  assert.ok(await anna.has('[data-degraded=masked]'));
  await anna.picture('sidecar-away-account');
  await masked(support, '/support', ANNA);
  assert.equal(await support.sees('.digits'), MASK);
  await masked(admin, '/admin', ANNA);
  const { pathname, search } = new URL('/admin/orders/1?for=delivery', shop.url);
  await masked(admin, pathname + search, ANNA);
  assert.match(await admin.sees('#address'), new RegExp(MASK));
  for (const path of ['/', '/login', '/sign-up']) {
    assert.equal(await carla.go(path), 200);
  }

  // What nobody can do just now is not done by half.
  await anna.go('/checkout/lantern');
  assert.equal(await anna.send({}), 503);
  await anna.picture('sidecar-away-order');
  assert.equal(await orders(anna), 1);
  assert.equal(await carla.signUp(CARLA), 503);
  assert.match(await carla.sees('#sorry'), /try again/);
  await carla.logIn(CARLA.email, CARLA.password);
  assert.match(await carla.sees('#sorry'), /not an e-mail address/);
  // Somebody logs out and in meanwhile.
  await bruno.send({}, 'nav form');
  await bruno.logIn(BRUNO.email, BRUNO.password);
  assert.equal(await bruno.sees('#name'), MASK);

  await sidecar.start();
  await anna.until('/account', `#name:text-is("${ANNA.name}")`);
  assert.ok(!(await anna.has('[data-degraded]')));
  await bruno.until('/account', '#card:text("4444")');
  assert.equal(await bruno.sees('#name'), BRUNO.name);
  await support.until('/support', '.digits:text("1111")');
  await admin.until(pathname + search, '#address:text("Fjällgatan")');
  assert.equal(await carla.signUp(CARLA), 201);
});

/** What the shop's log says of how long its last answer to this took. */
async function tookMs(shop: Shop, line: string): Promise<number> {
  const [, ms] = [...shop.log.matchAll(new RegExp(`^${line} \\d+ (\\d+) ms(?:, degraded: .*)?$`, 'gm'))].at(-1) ?? [];
  return Number(ms);
}

test('the sidecar hangs: pages wait two seconds, writes eight, and say so', { timeout: 120_000 }, async (context) => {
  const cleanup = new Cleanup();
  context.after(() => cleanup.all());
  const sidecar = await new Sidecar(cleanup).start();
  const shop = await new Shop(cleanup, sidecar, LONG).start();
  const { anna, bruno, carla, support, admin } = await aDayAtTheShop(shop, await openBrowser(cleanup));
  await carla.go('/sign-up');

  sidecar.hang();
  await masked(support, '/support', ANNA);
  assert.ok(await support.has('[data-degraded=masked]'));
  // A fresh login has everything before it: its grants, and what it shows.
  await bruno.send({}, 'nav form');
  await bruno.logIn(BRUNO.email, BRUNO.password);
  assert.equal(await bruno.sees('#name'), MASK);
  await bruno.go('/');
  assert.ok(await bruno.has('[data-degraded=masked]'));
  await masked(bruno, '/orders', BRUNO);
  for (const line of ['GET /support', 'GET /account', 'GET /', 'GET /orders', 'POST /graphql', 'POST /logout']) {
    const took = await tookMs(shop, line);
    assert.ok(took < 2_900, `${line} took ${took} ms`);
  }
  assert.ok(await bruno.has('#orders tbody tr'));

  await anna.go('/checkout/lantern');
  await admin.go('/admin');
  const { page } = admin;
  const looks = Promise.all([page.waitForNavigation(), page.click('tbody form button')]);
  assert.deepEqual([await anna.send({}), await carla.send(CARLA)], [503, 503]);
  assert.equal((await looks)[0]?.status(), 503);
  for (const line of ['POST /orders', 'POST /sign-up', 'POST /admin/orders/2']) {
    const took = await tookMs(shop, line);
    assert.ok(took >= 2_000 && took < 9_500, `${line} took ${took} ms`);
  }

  sidecar.goOn();
  await anna.until('/account', `#name:text-is("${ANNA.name}")`);
  await bruno.until('/account', `#name:text-is("${BRUNO.name}")`);
  assert.equal(await orders(anna), 1);
});

const shared = new Cleanup();
const cloud = startCloud(shared);
after(() => shared.all());

async function withStorage(context: TestContext, journal: boolean) {
  const cleanup = new Cleanup();
  context.after(() => cleanup.all());
  const keys = await cloud;
  const relay = await Relay.to(keys);
  cleanup.add(() => relay.close());
  const sidecar = await new Sidecar(cleanup, { storage: relay.endpoint, keys, journal }).start();
  const shop = await new Shop(cleanup, sidecar, LONG).start();
  // The sidecar that there is in the end has seen Bruno, and of Anna nothing.
  const people = await aDayAtTheShop(shop, await openBrowser(cleanup), async () => {
    await sidecar.stop();
    await sidecar.start();
  });
  relay.cut();
  return { relay, ...people };
}

/** What is the same with and without a journal. */
async function outage({ anna, bruno, support, admin }: People): Promise<void> {
  for (const path of ['/account', '/checkout/lantern', '/orders']) {
    await masked(anna, path, ANNA);
  }
  await masked(support, '/support', ANNA);
  await masked(admin, '/admin', ANNA);
  await masked(admin, '/admin/orders/1?for=delivery', ANNA);
  await anna.go('/account');
  assert.equal(await anna.sees('#name'), MASK);
  assert.ok(await anna.has('[data-degraded=masked]'));

  await bruno.until('/account', '[data-degraded=old]');
  assert.equal(await bruno.sees('#name'), BRUNO.name);
  assert.equal(await bruno.sees('#address'), BRUNO.address);
  assert.equal(await bruno.sees('#card'), `${MASK} 4444`);
  await bruno.picture('storage-away-account');
  assert.equal(await orders(bruno), 1);
  assert.match(await bruno.sees('#orders tbody'), /Rua da Palma/);
  assert.ok(await bruno.has('[data-degraded=old]'));
  // Ordering needs no storage: what the form hands in is known to be his.
  await bruno.go('/checkout/lantern');
  assert.equal(await bruno.send({}), 200);
  assert.equal(await orders(bruno), 2);
}

async function healed({ anna, bruno, support }: People): Promise<void> {
  await anna.until('/account', `#name:text-is("${ANNA.name}")`);
  await bruno.until('/account', 'main:not(:has([data-degraded]))');
  assert.equal(await bruno.sees('#name'), BRUNO.name);
  await support.until('/support', '.digits:text("1111")');
}

test('storage is away, with a journal: who is known is readable, and signing up goes on', async (context) => {
  const { relay, ...people } = await withStorage(context, true);
  await outage(people);
  const { carla } = people;
  assert.equal(await carla.signUp(CARLA), 201);
  assert.ok(await carla.has('[data-durability=journaled]'));
  await carla.picture('journaled');
  await carla.go('/account');
  assert.equal(await carla.sees('#name'), CARLA.name);

  relay.heal();
  await healed(people);
  await carla.until('/account', `#name:text-is("${CARLA.name}")`);
});

test('storage is away, without a journal: who is known is readable, and nobody is signed up by half', async (context) => {
  const { relay, ...people } = await withStorage(context, false);
  await outage(people);
  const { carla } = people;
  assert.equal(await carla.signUp(CARLA), 503);
  assert.match(await carla.sees('#sorry'), /try again/);
  await carla.picture('refused');
  await carla.logIn(CARLA.email, CARLA.password);
  assert.match(await carla.sees('#sorry'), /not an e-mail address/);

  relay.heal();
  await healed(people);
  assert.equal(await carla.signUp(CARLA), 201);
  assert.ok(await carla.has('[data-durability=stored]'));
});
