// The binary, with a policy that asks for grants: what a session was not granted is not revealed to it.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { LunaSec } from '@lunasec/node';

/** `LUNASEC_BIN`, or built by cargo, so that it is never an old one. */
function binary(): string {
  return process.env['LUNASEC_BIN'] ?? cargo();
}

function cargo(): string {
  const flags = ['build', '--release', '--locked', '-p', 'lunasec-sidecar', '--message-format=json'];
  const cwd = fileURLToPath(new URL('../../../../../', import.meta.url));
  const lines = execFileSync('cargo', flags, { cwd, encoding: 'utf8', maxBuffer: 1 << 28 }).split('\n');
  const said = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as { executable?: string });
  const { executable } = said.findLast((line) => line.executable) ?? {};
  if (executable === undefined) {
    throw new Error('cargo built no sidecar: build one, and say where it is in LUNASEC_BIN');
  }
  return executable;
}

export class Sidecar {
  readonly directory = mkdtempSync(join(tmpdir(), 'lunasec-graphql-'));
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
    const config = join(this.directory, 'lunasec.toml');
    this.#process = spawn(binary(), ['serve', '--config', config], { stdio: 'ignore' });
    await this.#ready();
  }

  /** The client soon gives up on a sidecar that was there once. */
  async #ready(): Promise<void> {
    for (const until = Date.now() + 60_000; ; ) {
      try {
        await this.client.ready();
        return;
      } catch (error) {
        if (Date.now() > until) {
          throw error;
        }
      }
    }
  }

  async kill(): Promise<void> {
    this.#process?.kill('SIGKILL');
    await once(this.#process as ChildProcess, 'exit');
  }

  async stop(): Promise<void> {
    await this.client.close();
    if (this.#process?.exitCode === null && this.#process.signalCode === null) {
      await this.kill();
    }
    rmSync(this.directory, { recursive: true });
  }

  /** A token of a value, which nobody was granted. */
  async token(value: string | Buffer): Promise<string> {
    return (await this.client.tokenize(value)).token.expose();
  }

  /** A token of a value that a session may use. */
  async granted(session: string, value: string | Buffer): Promise<string> {
    const token = await this.token(value);
    await this.client.forSession(session).grant([token]);
    return token;
  }

  /** The value of any token, as an operator would find it. */
  async open(token: unknown): Promise<string> {
    const auditor = this.client.forSession('auditor');
    await auditor.grant([token as string]);
    return (await auditor.detokenize(token as string)).value.reveal();
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
