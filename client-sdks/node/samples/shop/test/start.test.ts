// One command, as the README says it; and the README itself.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { ANNA } from './customers.js';
import { Cleanup, Process } from './processes.js';
import { openBrowser, Person, ROOT, STAFF_PASSWORD } from './world.js';

test('npm start starts a sidecar and the shop, ends both, and finds everything again', {
  timeout: 90_000,
}, async (context) => {
  const cleanup = new Cleanup();
  context.after(() => cleanup.all());
  const directory = cleanup.directory();
  const env = { ...process.env, SHOP_DIR: directory, SHOP_STAFF_PASSWORD: STAFF_PASSWORD, PORT: '0' };
  const browser = await openBrowser(cleanup);
  const start = async (): Promise<[Process, Person]> => {
    const npm = new Process('npm', ['start'], { cwd: ROOT, env });
    cleanup.add(() => npm.child.exitCode ?? npm.end());
    const [, url = ''] = await npm.says(/^the shop is open: (.*)$/m);
    return [npm, await Person.at({ url }, browser)];
  };
  const [first, anna] = await start();
  assert.equal(await anna.signUp(ANNA), 201);
  await first.end();
  assert.match(first.output, /stopped: every request was answered/);
  assert.ok(!existsSync(join(directory, 'lunasec.sock')));

  const [second, again] = await start();
  await again.logIn(ANNA.email, ANNA.password);
  assert.equal(await again.sees('#name'), ANNA.name);
  await second.end();
});

test('the README shows lines that the shop is made of', () => {
  const sources = readdirSync(join(ROOT, 'src')).map((name) => readFileSync(join(ROOT, 'src', name), 'utf8'));
  const flat = sources.map((source) => source.replace(/\s+/g, ' '));
  const examples = [...readFileSync(join(ROOT, 'README.md'), 'utf8').matchAll(/^```(?:ts|graphql)\n([\s\S]*?)^```/gm)];
  assert.ok(examples.length >= 6);
  for (const [, example = ''] of examples) {
    // `…` stands for what is left out.
    for (const part of example.replace(/\s+/g, ' ').trim().split(/ ?… ?/)) {
      assert.ok(
        flat.some((source) => source.includes(part)),
        `not in the sources: ${part}`,
      );
    }
  }
});
