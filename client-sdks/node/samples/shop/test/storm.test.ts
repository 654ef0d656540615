// One customer asks GraphQL for as much as can be asked: nobody else notices.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { ANNA, BRUNO, CARLA } from './customers.js';
import { Cleanup } from './processes.js';
import { type Answer, openBrowser, Person, Shop, Sidecar } from './world.js';

const cleanup = new Cleanup();
let shop: Shop;
let anna: Person;
let bruno: Person;
let carla: Person;

before(async () => {
  const sidecar = await new Sidecar(cleanup).start();
  shop = await new Shop(cleanup, sidecar).start();
  const browser = await openBrowser(cleanup);
  const at = () => Person.at(shop, browser);
  [anna, bruno, carla] = [await at(), await at(), await at()];
  assert.equal(await bruno.signUp(BRUNO), 201);
  await signsUpAndBuysOften(anna, ANNA);
  await signsUpAndBuysOften(carla, CARLA);
});
after(() => cleanup.all());

/** Has as many orders as are shown, each sent elsewhere. */
async function signsUpAndBuysOften(person: Person, customer: typeof ANNA): Promise<void> {
  assert.equal(await person.signUp(customer), 201);
  for (let order = 0; order < 20; order += 1) {
    await person.go('/checkout/compass');
    const { text } = await person.ask(`mutation { move(address: "Storgatan ${order}, Malmö") { address } }`);
    assert.match(text, /Storgatan/);
    await person.go('/checkout/compass');
    assert.equal(await person.send({}), 200);
  }
}

function many(count: number, field: string): string {
  return Array.from({ length: count }, (_, index) => `a${index}: ${field}`).join(' ');
}

/** Loads Bruno's account again and again, for as long as something goes on: all of it is there, each time. */
async function seesAllDuring(storm: Promise<unknown>): Promise<void> {
  let over = false;
  const ended = storm.finally(() => {
    over = true;
  });
  do {
    assert.equal(await bruno.go('/account'), 200);
    assert.equal(await bruno.sees('#name'), BRUNO.name);
    assert.equal(await bruno.sees('#card'), '•••• 4444');
    assert.ok(!(await bruno.has('[data-degraded]')));
  } while (!over);
  await ended;
}

/** So many of a question, at once. */
function askAtOnce(query: string, count: number): Promise<Answer[]> {
  return Promise.all(Array.from({ length: count }, () => anna.ask(query)));
}

for (const [count, refusal] of [
  [700, /more that 500 tokens/],
  [40, /too much at once/],
] as const) {
  test(`the cards of ${count * 20} orders in one question are refused before anything is asked`, async () => {
    const storm = askAtOnce(`{ ${many(count, 'me{...F}')} } fragment F on Customer { orders { card } }`, 20);
    await seesAllDuring(storm);
    for (const { text } of await storm) {
      assert.match(text, refusal);
      assert.doesNotMatch(text, /"data"|••••/);
    }
    assert.doesNotMatch(shop.log, /degraded/);
  });
}

test('the most that may be asked at once asks for each card once, and costs what it asks for', async () => {
  const storm = askAtOnce(`{ ${many(10, 'me { card orders { card } }')} }`, 20);
  await seesAllDuring(storm);
  for (const { status, text } of await storm) {
    assert.ok(status === 429 || (text.match(/•••• 1111/g) ?? []).length === 210, text);
  }
  assert.doesNotMatch(shop.log, /degraded/);
});

test('who moves without end is told to wait before the values of a minute are used up for everybody', async () => {
  const one = 'move(address: "Kungsgatan 1, Malmö") { name address orders { address } }';
  assert.match((await carla.ask(`mutation { ${many(15, one)} }`)).text, /too much at once/);
  let moved = 0;
  let last: Answer = { status: 200, text: '' };
  const storm = (async () => {
    // If each were one turn, it would be more than everybody's values; a minute may end meanwhile.
    for (; moved < 100 && last.status === 200; moved += 1) {
      last = await carla.ask(`mutation { ${many(10, one)} }`);
    }
  })();
  await seesAllDuring(storm);
  assert.equal(last.status, 429, last.text);
  assert.match(last.text, /wait for a minute/);
  assert.ok(moved > 1);
  await seesAllDuring(Promise.resolve());
});
