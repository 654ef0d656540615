// What the client adds to a bare undici client, for a detokenize that the sidecar has in memory: the middle of the
// times of calls one after another, and calls per second of 64 callers, each with a token of its own: of the same token the
// client would ask once. Rounds are interleaved, medians are taken.
//
//     LUNASEC_BIN=path/to/lunasec npm run bench
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { LunaSec } from '@lunasec/node';
import { Pool } from 'undici';

const ROUNDS = 9;
const ONE_BY_ONE = 3_000;
const CALLERS = 64;
const AT_ONCE = 20_000;
const BUSY_MS = 0.008;

const directory = mkdtempSync(join(tmpdir(), 'lunasec-bench-'));
const socket = join(directory, 'lunasec.sock');
const binary = process.env.LUNASEC_BIN ?? 'lunasec';
const sidecar = spawn(binary, ['dev', '--dir', directory, '--socket', socket, '--admin', '127.0.0.1:0']);

const client = new LunaSec({ socket });
const apart = new LunaSec({ socket, batchItems: 1 });
const pool = new Pool('http://localhost', { connect: { socketPath: socket }, connections: 16 });

async function bare(token) {
  const { body } = await pool.request({
    method: 'POST',
    path: '/v1/detokenize',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token }),
  });
  return (await body.json()).value;
}

/** A bare caller that is as busy between its calls as the client is: what the pause costs, and not the work. */
async function busy(token) {
  const value = await bare(token);
  const end = performance.now() + BUSY_MS;
  while (performance.now() < end);
  return value;
}

const contenders = {
  'bare undici': bare,
  'bare undici, busy 8 µs': busy,
  client: async (token) => (await client.detokenize(token)).value.reveal(),
  'client, batchItems 1': async (token) => (await apart.detokenize(token)).value.reveal(),
};

function median(numbers) {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

/** The middle of the times of calls one after another, in microseconds. */
async function oneByOne(call, token) {
  const times = [];
  for (let count = 0; count < ONE_BY_ONE; count += 1) {
    const start = performance.now();
    await call(token);
    times.push((performance.now() - start) * 1_000);
  }
  return median(times);
}

/** Calls per second of many callers, each of which makes one after another. */
async function atOnce(call, tokens) {
  let left = AT_ONCE;
  const caller = async (token) => {
    while (left > 0) {
      left -= 1;
      await call(token);
    }
  };
  const start = performance.now();
  await Promise.all(tokens.map(caller));
  return AT_ONCE / ((performance.now() - start) / 1_000);
}

async function main() {
  const values = Array.from({ length: CALLERS }, (_, caller) => `4111 1111 1111 ${1_000 + caller}`);
  const tokens = (await client.tokenizeBatch(values)).map(({ token }) => token.expose());
  const found = Object.keys(contenders).map((name) => ({ name, p50: [], rate: [] }));
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const each of found) {
      const [p50, rate] = [
        await oneByOne(contenders[each.name], tokens[0]),
        await atOnce(contenders[each.name], tokens),
      ];
      // The first round warms up.
      if (round > 0) {
        each.p50.push(p50);
        each.rate.push(rate);
      }
    }
  }
  const [base] = found;
  for (const { name, p50, rate } of found) {
    const more = median(p50.map((time, round) => time - base.p50[round]));
    const ratio = median(rate.map((calls, round) => calls / base.rate[round]));
    const words = [
      `p50 ${median(p50).toFixed(1)} µs (${more >= 0 ? '+' : ''}${more.toFixed(1)})`,
      `c=${CALLERS} ${Math.round(median(rate))}/s (× ${ratio.toFixed(2)})`,
    ];
    process.stdout.write(`${name.padEnd(25)}${words.join('   ')}\n`);
  }
}

try {
  await main();
} finally {
  await Promise.all([client.close(), apart.close(), pool.destroy()]);
  sidecar.kill();
  rmSync(directory, { recursive: true });
}
