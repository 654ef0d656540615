// One command: a sidecar on an embedded store, and the shop beside it. For a laptop; in a cluster, the chart does this.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LunaSec } from '@lunasec/node';

import { say } from './log.js';
import { settingsOf } from './settings.js';
import { openShop } from './shop.js';

const here = fileURLToPath(new URL('../..', import.meta.url));
const repository = join(here, '../../../..');

function binary(): string {
  const built = ['release', 'debug'].map((kind) => join(repository, 'target', kind, 'lunasec'));
  return process.env['LUNASEC_BIN'] ?? built.find(existsSync) ?? 'lunasec';
}

function configured(directory: string): string {
  const text = readFileSync(join(here, 'lunasec.toml'), 'utf8')
    .replaceAll('DIRECTORY', directory)
    .replace('uid = 1000', `uid = ${process.getuid?.()}`);
  const file = join(directory, 'lunasec.toml');
  writeFileSync(file, text);
  return file;
}

async function startSidecar(directory: string): Promise<ChildProcess> {
  const sidecar = spawn(binary(), ['serve', '--config', configured(directory)], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const ended = once(sidecar, 'exit').then(
    () => new Error('the sidecar ended; it says above why'),
    () => new Error('no sidecar: build it (`cargo build --release --locked`), or say in LUNASEC_BIN where it is'),
  );
  const client = new LunaSec();
  const trouble = await Promise.race([client.ready(), ended]);
  await client.close();
  if (trouble !== undefined) {
    say(trouble.message);
    process.exit(1);
  }
  void ended.then(() => closing || say('the sidecar ended: pages go on with masked fields'));
  return sidecar;
}

let closing = false;
const settings = settingsOf(process.env);
process.env['LUNASEC_SOCKET'] = join(settings.directory, 'lunasec.sock');
const sidecar = await startSidecar(settings.directory);
const shop = await openShop(settings);
say(`\nthe shop is open: ${shop.url}`);
say(`support@shop.example and admin@shop.example log in with ${settings.staffPassword}`);

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, async () => {
    if (!closing) {
      closing = true;
      await shop.close();
      sidecar.kill('SIGTERM');
    }
  });
}
