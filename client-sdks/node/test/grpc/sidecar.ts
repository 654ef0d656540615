// The binary, with a policy that asks for grants: what a session was not granted is not revealed to it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { LunaSec } from '../../src/index.js';

export class Sidecar {
  readonly directory = mkdtempSync(join(tmpdir(), 'lunasec-grpc-'));
  readonly socket = join(this.directory, 'sock');
  readonly client = new LunaSec({ socket: this.socket, telemetry: false, restartGraceMs: 100 });
  #process: ChildProcess | undefined;

  static async start(): Promise<Sidecar> {
    const sidecar = new Sidecar();
    writeFileSync(join(sidecar.directory, 'lunasec.toml'), sidecar.#configuration());
    await sidecar.again();
    return sidecar;
  }

  async again(): Promise<void> {
    const binary = process.env['LUNASEC_BIN'];
    if (binary === undefined) {
      throw new Error('these tests need a sidecar: set LUNASEC_BIN to the binary, built by cargo build');
    }
    this.#process = spawn(binary, ['serve', '--config', join(this.directory, 'lunasec.toml')], { stdio: 'ignore' });
    // Once it was there, the client does not wait for it for long.
    while (!(await this.#answers())) {
      const { exitCode, signalCode } = this.#process;
      if (exitCode !== null || signalCode !== null) {
        throw new Error('the sidecar does not start');
      }
    }
  }

  #answers(): Promise<boolean> {
    return this.client.ready().then(
      () => true,
      () => false,
    );
  }

  async kill(): Promise<void> {
    const { exitCode, signalCode } = this.#process as ChildProcess;
    if (exitCode === null && signalCode === null) {
      this.#process?.kill('SIGKILL');
      await once(this.#process as ChildProcess, 'exit');
    }
  }

  async stop(): Promise<void> {
    await this.client.close();
    await this.kill();
    rmSync(this.directory, { recursive: true });
  }

  #configuration(): string {
    return `
[listen]
socket = "${this.socket}"
admin = "127.0.0.1:0"
[storage]
kind = "embedded"
path = "${this.directory}/store"
[keys]
kind = "local"
path = "${this.directory}/key"
[[clients]]
name = "shop"
uid = ${process.getuid?.() ?? 0}
namespaces = ["default"]
operations = ["tokenize", "detokenize", "metadata", "grants", "delete"]
require_grant = true
`;
  }
}
