// The sidecar in memory on a socket: for applications that make their own client.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';

import { Stop } from '../../src/stop.js';
import type { Wanted } from '../../src/transport.js';
import type { Vault } from './vault.js';

export async function onSocket(context: TestContext, vault: Vault): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'lunasec-'));
  const socket = join(directory, 's');
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) {
      chunks.push(chunk as Buffer);
    }
    const wanted = {
      method: 'POST',
      path: request.url ?? '',
      headers: request.headers,
      body: `${Buffer.concat(chunks)}`,
    };
    const { status, headers, body } = await vault.exchange(wanted as unknown as Wanted, new Stop());
    response.writeHead(status, headers).end(body);
  }).listen(socket);
  await once(server, 'listening');
  context.after(() => {
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true });
  });
  return socket;
}
