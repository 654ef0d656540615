import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';

import { printed, program } from '../examples.js';
import { onSocket } from './socket.js';
import { Vault } from './vault.js';

/** What the examples take for granted. */
const APPLICATION = `
const db = { cards: async () => [] as { number: string }[] };
const logIn = async (req: { headers: Record<string, unknown> }) => {
  req.headers['x-session'] = 'carla';
};
const escape = (text: string) => text.replaceAll('<', '&lt;');
`;

/** Uses it, and tells what came. */
const END = `
const server = app.listen(0, '127.0.0.1');
await new Promise((resolve) => server.once('listening', resolve));
const { port } = server.address() as { port: number };
const said: unknown[] = [];
async function ask(method: string, path: string, session: string, body?: unknown) {
  const headers = { 'x-session': session, 'content-type': 'application/json' };
  const answer = await fetch('http://127.0.0.1:' + port + path, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const text = await answer.text();
  said.push([answer.status, text]);
  return text.startsWith('{') ? JSON.parse(text) : text;
}
await ask('POST', '/customers', 'alice', { name: 'Zoë', cards: [{ number: '4111' }] });
await ask('GET', '/customers', 'alice');
await ask('POST', '/customers', 'alice', { name: 4111, cards: [] });
const { number } = await ask('POST', '/cards', 'alice', { number: '5500' });
await ask('PUT', '/cards', 'alice', { number });
await ask('POST', '/orders/' + number, 'alice', {});
db.cards = async () => [{ number }];
await ask('GET', '/cards', 'alice');
await ask('PUT', '/cards', 'alice', { number });
await ask('POST', '/orders/' + number, 'alice', { alternatives: [number] });
await ask('POST', '/orders/' + number, 'bob', {});
const name = (customers[0] as { name: string }).name;
await ask('GET', '/me/' + name, 'alice');
await ask('GET', '/page/' + name, 'alice');
const { phone } = await ask('POST', '/log-in', 'nobody yet', { phone: '555' });
await ask('POST', '/orders/' + phone, 'carla', {});
await ask('POST', '/orders/' + phone, 'nobody yet', {});
await ask('POST', '/log-out', 'alice');
await ask('POST', '/orders/' + number, 'alice', {});
await ask('GET', '/plain?card=' + number, 'bob');
console.log(JSON.stringify([said, customers]).replaceAll(/lunasec-[0-9a-f-]{36}/g, 'TOKEN'));
server.closeAllConnections();
server.close();
process.exit();
`;

test("the examples of Express's document compile and run", async (context: TestContext) => {
  const socket = await onSocket(context, new Vault());
  // It is shown at the beginning, and says that it belongs behind the routes.
  const behind = 'app.use(lunasec.problems());';
  const all = program('docs/express.md', APPLICATION, behind + END);
  const source = all.replace(`\n${behind}\n`, '\n').replace("from 'express'", "from 'express5'");
  assert.equal(source.split(behind).length, 2);
  const [said, rows] = (await printed('express', source, socket)) as [[number, string][], unknown];
  assert.deepEqual(rows, [{ name: 'TOKEN', cards: [{ number: 'TOKEN' }] }]);
  assert.deepEqual(
    said.map(([status, text]) => [status, text.startsWith('{"type"') ? JSON.parse(text).code : text]),
    [
      [201, '{"created":true}'],
      [200, '[{"name":"Zoë","cards":[{"number":"TOKEN"}]}]'],
      [400, 'invalid_request'],
      [201, '{"number":"TOKEN"}'],
      [403, 'grant_denied'],
      [403, 'grant_denied'],
      [200, '[{"number":"TOKEN"}]'],
      [200, '{"number":"TOKEN"}'],
      [201, '{"paidWith":"TOKEN"}'],
      [403, 'grant_denied'],
      [200, '{"name":"Zoë"}'],
      [200, '<h1>Zoë</h1>'],
      [200, '{"phone":"TOKEN"}'],
      [201, '{"paidWith":"TOKEN"}'],
      [403, 'grant_denied'],
      [200, '{"bye":true}'],
      [403, 'grant_denied'],
      [403, 'Forbidden'],
    ],
  );
});
