// What somebody tries with another customer's tokens, forms and cookies.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { LunaSec } from '@lunasec/node';
import type { Browser } from 'playwright-core';

import { ANNA, BRUNO } from './customers.js';
import { Cleanup } from './processes.js';
import { openBrowser, Person, Shop, Sidecar } from './world.js';

const cleanup = new Cleanup();
let sidecar: Sidecar;
let shop: Shop;
let browser: Browser;
let anna: Person;
let bruno: Person;
let support: Person;
/** What Bruno has got hold of. */
let stolen: { address: string; card: string };

before(async () => {
  sidecar = await new Sidecar(cleanup).start();
  shop = await new Shop(cleanup, sidecar).start();
  browser = await openBrowser(cleanup);
  [anna, bruno, support] = [
    await Person.at(shop, browser),
    await Person.at(shop, browser),
    await Person.at(shop, browser),
  ];
  assert.equal(await anna.signUp(ANNA), 201);
  assert.equal(await bruno.signUp(BRUNO), 201);
  await anna.go('/checkout/compass');
  const value = async (name: string) => (await anna.page.getAttribute(`[name=${name}]`, 'value')) as string;
  stolen = { address: await value('address'), card: await value('card') };
});
after(() => cleanup.all());

async function ordersOf(person: Person): Promise<number> {
  await person.go('/orders');
  await person.page.waitForSelector('[data-shown]');
  return person.page.locator('#orders tbody tr').count();
}

for (const field of ['address', 'card'] as const) {
  test(`another customer's ${field} in a form that was edited is refused, and nothing is ordered`, async () => {
    await bruno.go('/checkout/telescope');
    await bruno.page.evaluate(
      ([name, token]) => document.querySelector(`[name=${name}]`)?.setAttribute('value', token),
      [field, stolen[field]] as const,
    );
    assert.equal(await bruno.send({}), 403);
    assert.equal(await bruno.sees('#sorry'), 'You may not use this.');
    await bruno.picture(`attack-${field}`);
    assert.equal(await ordersOf(bruno), 0);
  });

  test(`the same through GraphQL: another customer's ${field}`, async () => {
    await bruno.go('/checkout/telescope');
    const own = async (name: string) => (await bruno.page.getAttribute(`[name=${name}]`, 'value')) as string;
    const given = { address: await own('address'), card: await own('card'), [field]: stolen[field] };
    const parameters = `product: "telescope", address: "${given.address}", card: "${given.card}"`;
    const { text } = await bruno.ask(`mutation { order(${parameters}) { id address } }`);
    assert.match(text, /"code":"grant_denied"/);
    assert.match(text, new RegExp(`"argument":"${field}"`));
    assert.equal(await ordersOf(bruno), 0);
  });
}

test('one’s own card in the place of the address is refused, in a form and through GraphQL: nobody is shown it', async () => {
  await bruno.go('/checkout/telescope');
  const own = async (name: string) => (await bruno.page.getAttribute(`[name=${name}]`, 'value')) as string;
  const [address, card] = [await own('address'), await own('card')];
  const { text } = await bruno.ask(
    `mutation { order(product: "telescope", address: "${card}", card: "${address}") { id } }`,
  );
  assert.match(text, /This is not your address and your card/);
  await bruno.page.evaluate(
    ([address, card]) => {
      document.querySelector('[name=address]')?.setAttribute('value', card);
      document.querySelector('[name=card]')?.setAttribute('value', address);
    },
    [address, card] as const,
  );
  assert.equal(await bruno.send({}), 403);
  assert.match(await bruno.sees('#sorry'), /not your address and your card/);
  assert.equal(await ordersOf(bruno), 0);
});

test('a token of somebody else as a new address is refused, and the old one stays', async () => {
  await bruno.go('/account');
  const { text } = await bruno.ask(`mutation { move(address: "${stolen.address}") { address } }`);
  assert.match(text, /"code":"invalid_request"/);
  await bruno.go('/account');
  assert.equal(await bruno.sees('#address'), BRUNO.address);
});

test('moving works with what is one’s own, and Anna’s things are still hers alone', async () => {
  await bruno.go('/orders');
  await bruno.page.fill('#move [name=address]', 'Largo do Chiado 2');
  await bruno.page.click('#move button');
  await bruno.page.waitForFunction(() => document.querySelector('#moved')?.textContent?.includes('Chiado'));
  await bruno.go('/account');
  assert.equal(await bruno.sees('#address'), 'Largo do Chiado 2');
  assert.equal(await ordersOf(anna), 0);
});

test('a form or a question without what only our pages know is refused', async () => {
  await anna.go('/checkout/compass');
  assert.equal(
    (await anna.ask('mutation { move(address: "Elsewhere 1") { address } }', { 'x-csrf': 'x' })).status,
    403,
  );
  await anna.page.evaluate(() => document.querySelector('main [name=csrf]')?.setAttribute('value', 'guessed'));
  assert.equal(await anna.send({}), 403);
  assert.equal(await ordersOf(anna), 0);
  await anna.go('/account');
  assert.equal(await anna.sees('#address'), ANNA.address);
});

/** The session that the database knows a browser by. */
async function sessionOf(person: Person): Promise<string> {
  const [cookie] = await person.page.context().cookies();
  assert.ok(cookie?.secure && cookie.httpOnly && cookie.sameSite === 'Strict');
  return createHash('sha256').update(cookie.value).digest('hex');
}

test('the session of support has the digits and never the card, whatever the shop does', async (context) => {
  await anna.go('/checkout/lantern');
  assert.equal(await anna.send({}), 200);
  await support.logIn('support@shop.example');
  assert.equal(await support.sees('.digits'), '•••• 1111');
  const client = new LunaSec({ socket: sidecar.socket, purpose: 'an attack' });
  context.after(() => client.close());
  const session = client.forSession(await sessionOf(support));
  assert.equal((await session.getMetadata(stolen.card)).metadata['lastFour'], '1111');
  await assert.rejects(session.detokenize(stolen.card), { code: 'grant_denied' });
  const own = client.forSession(await sessionOf(anna));
  assert.equal((await own.detokenize(stolen.card)).value.reveal(), ANNA.card);
});

test('after the logout neither the cookie nor the session that it had is good for anything', async (context) => {
  const jar = await anna.page.context().cookies();
  const session = await sessionOf(anna);
  await anna.go('/account');
  assert.equal(await anna.send({}, 'nav form'), 200);
  await anna.page.context().addCookies(jar);
  await anna.go('/account');
  assert.ok(anna.page.url().endsWith('/login'));
  const client = new LunaSec({ socket: sidecar.socket, purpose: 'an attack' });
  context.after(() => client.close());
  await assert.rejects(client.forSession(session).detokenize(stolen.card), { code: 'grant_denied' });

  // The next one at the same browser is who they say, and sees what is theirs.
  assert.equal(await anna.go('/login'), 200);
  await anna.send({ email: BRUNO.email, password: 'not-the-password' });
  assert.match(await anna.sees('#sorry'), /not an e-mail address and its password/);
  await anna.logIn(BRUNO.email, BRUNO.password);
  assert.equal(await anna.sees('#name'), BRUNO.name);
});

test('the last four digits are digits, however a card number is written', async () => {
  const dora = { ...ANNA, email: 'dora.lind@example.org', card: '4111 1111-1111 1-11-1' };
  const someone = await Person.at(shop, browser);
  assert.equal(await someone.signUp(dora), 201);
  await someone.go('/account');
  assert.equal(await someone.sees('#card'), '•••• 1111');
});

test('who asks without end is told to wait, and nobody else', async () => {
  const emil = { ...ANNA, email: 'emil.lind@example.org' };
  const someone = await Person.at(shop, browser);
  assert.equal(await someone.signUp(emil), 201);
  assert.equal(await someone.go('/account'), 200);
  const statuses = await someone.page.evaluate(async () => {
    const seen: Record<number, number> = {};
    // Twice what is allowed: a minute may end meanwhile.
    for (let count = 0; count < 500 && seen[429] === undefined; count += 1) {
      const { status } = await fetch('/account');
      seen[status] = (seen[status] ?? 0) + 1;
    }
    return seen;
  });
  assert.deepEqual(Object.keys(statuses), ['200', '429']);
  const aliases = Array.from({ length: 600 }, (_, index) => `a${index}:me{name}`).join(' ');
  assert.equal((await bruno.ask(`{${aliases}}`)).status, 200);
  assert.equal(await bruno.go('/account'), 200);
  assert.equal(await bruno.sees('#name'), BRUNO.name);
});
