import assert from 'node:assert/strict';
import { test } from 'node:test';

import { printed, program } from '../examples.js';
import { Sidecar } from './sidecar.js';

/** What the examples take for granted. */
const APPLICATION = `
import { createServer } from 'node:http';
const seen: unknown[] = [];
const log = (what: unknown) => seen.push(what);
const sessionOf = (cookie: string | undefined) => /sid=([^;]+)/.exec(cookie ?? '')?.[1];
async function ask(url: string, query: string, session: string): Promise<{
  data: any; errors: { path: (string | number)[]; extensions: { code: string } }[];
}> {
  const headers = { 'content-type': 'application/json', cookie: 'sid=' + session };
  return (await fetch(url, { method: 'POST', headers, body: JSON.stringify({ query }) })).json() as Promise<any>;
}
`;

const END = `
const served = createServer(yoga).listen(0);
const other = 'http://localhost:' + (served.address() as { port: number }).port + '/graphql';
const pay = 'mutation { pay(card: "' + data.signUp.card + '") }';
for (const at of [url, other]) {
  log((await ask(at, '{ customers { number } }', 'a session')).data.customers[0].number);
  log((await ask(at, pay, 'a session')).data.pay);
  log((await ask(at, pay, 'mallory')).errors[0]?.extensions.code);
}
console.log(JSON.stringify([seen, database.every(({ name, card }) => /^lunasec-/.test(name) && /^lunasec-/.test(card))]));
await apollo.stop();
served.close();
served.closeAllConnections();
await lunasec.close();
`;

test('the examples about GraphQL compile as strictly as the client does, and run', async (context) => {
  const sidecar = await Sidecar.start();
  context.after(() => sidecar.stop());
  const shown = await printed('graphql', program('docs/graphql.md', APPLICATION, END), sidecar.socket);
  const each = ['4111', true, 'grant_denied'];
  assert.deepEqual(shown, [['lunasec-', 2, 'grant_denied', 'customers.0.number', ...each, ...each], true]);
});
