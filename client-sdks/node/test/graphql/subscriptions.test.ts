import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { type ExecutionResult, parse, subscribe } from 'graphql';

import { SERVERS, type Server } from './servers.js';
import { type Shop, shop } from './shop.js';
import { Sidecar } from './sidecar.js';

let sidecar: Sidecar;
let made: Shop;
let yoga: Server;

before(async () => {
  sidecar = await Sidecar.start();
  made = shop(sidecar.client);
  yoga = (await SERVERS['GraphQL Yoga']?.(made.schema)) as Server;
});

after(async () => {
  await yoga.stop();
  await sidecar.stop();
});

const SOURCE = 'subscription ($t: ID) { cards(session: $t) { number numbers token } }';

/** Over graphql-js itself. */
async function* direct(session: string, t: string | null): AsyncGenerator<ExecutionResult> {
  const contextValue = { session };
  const stream = await subscribe({ schema: made.schema, document: parse(SOURCE), contextValue, variableValues: { t } });
  if (Symbol.asyncIterator in stream) {
    yield* stream;
  } else {
    yield stream;
  }
}

/** Over HTTP, as server-sent events. */
async function* overHttp(session: string, t: string | null): AsyncGenerator<ExecutionResult> {
  const headers = { 'content-type': 'application/json', accept: 'text/event-stream', 'x-session': session };
  const body = JSON.stringify({ query: SOURCE, variables: { t } });
  const text = await (await fetch(yoga.url, { method: 'POST', headers, body })).text();
  for (const [, data] of text.matchAll(/^data: (\{.*\})$/gm)) {
    yield JSON.parse(data ?? '') as ExecutionResult;
  }
}

for (const [name, run] of Object.entries({ 'graphql-js': direct, 'GraphQL Yoga': overHttp })) {
  test(`${name}: each event is an answer of its own: revealed, granted, verified`, async () => {
    const proof = await sidecar.granted('alice', 'proof');
    const alice = sidecar.client.forSession('alice');
    const [hers, his] = [await sidecar.granted('alice', '1'), await sidecar.granted('bob', '2')];
    const fresh = await sidecar.token('3');
    made.events = (async function* () {
      yield { number: hers, numbers: [hers, his], token: fresh };
      await alice.revoke([proof]);
      yield { number: hers };
      await alice.grant([proof]);
      yield { number: fresh };
    })();
    const answers: ExecutionResult[] = [];
    for await (const answer of run('alice', proof)) {
      answers.push(JSON.parse(JSON.stringify(answer)) as ExecutionResult);
    }
    assert.deepEqual(
      answers.map(({ data }) => data),
      [
        { cards: { number: '1', numbers: ['1', null], token: fresh } },
        { cards: null },
        { cards: { number: '3', numbers: null, token: null } },
      ],
    );
    const codes = answers.map(({ errors }) =>
      errors?.map(({ path, extensions }) => [path?.join('.'), extensions?.['code']]),
    );
    assert.deepEqual(codes, [[['cards.numbers.1', 'grant_denied']], [['cards', 'grant_denied']], undefined]);
  });

  test(`${name}: who may not subscribe hears nothing`, async () => {
    const proof = await sidecar.granted('alice', 'proof');
    let asked = false;
    made.events = (async function* () {
      asked = true;
      yield { number: null };
    })();
    const answers: ExecutionResult[] = [];
    for await (const answer of run('bob', proof)) {
      answers.push(answer);
    }
    assert.equal(answers.length, 1);
    assert.equal(answers[0]?.errors?.[0]?.extensions?.['code'], 'grant_denied');
    assert.equal(asked, false);
  });
}
