// The real sidecar as a process: `LUNASEC_BIN`, or built by cargo, so that it is never an old one.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

import { LunaSec } from '../src/index.js';

const PATIENCE_MS = 60_000;

let built: string | undefined;

function binary(): string {
  built ??= process.env['LUNASEC_BIN'] ?? cargo();
  return built;
}

function cargo(): string {
  const flags = ['build', '--release', '--locked', '-p', 'lunasec-sidecar', '--message-format=json'];
  const cwd = fileURLToPath(new URL('../../../../', import.meta.url));
  const lines = execFileSync('cargo', flags, { cwd, encoding: 'utf8', maxBuffer: 1 << 28 }).split('\n');
  const said = lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as { executable?: string });
  const { executable } = said.findLast((line) => line.executable) ?? {};
  if (executable === undefined) {
    throw new Error('cargo built no sidecar: build one, and say where it is in LUNASEC_BIN');
  }
  return executable;
}

/** Sidecars of a test's own, each in its own directory, with a client that has to be granted what it reveals. */
export class Sidecar {
  readonly directory = mkdtempSync(join(tmpdir(), 'lunasec-'));
  readonly socket = join(this.directory, 's');
  #process: ChildProcess | undefined;

  static async started(context: TestContext): Promise<Sidecar> {
    const sidecar = new Sidecar();
    context.after(async () => {
      await sidecar.stop('SIGKILL');
      rmSync(sidecar.directory, { recursive: true });
    });
    writeFileSync(join(sidecar.directory, 'lunasec.toml'), sidecar.#config());
    await sidecar.start();
    return sidecar;
  }

  async start(): Promise<void> {
    const log = openSync(join(this.directory, 'log'), 'a');
    const config = join(this.directory, 'lunasec.toml');
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('LUNASEC_')));
    this.#process = spawn(binary(), ['serve', '--config', config], { env, stdio: ['ignore', log, log] });
    const client = new LunaSec({ socket: this.socket, telemetry: false, startDeadlineMs: PATIENCE_MS });
    try {
      await client.ready({ deadlineMs: PATIENCE_MS });
    } catch (error) {
      throw new Error(`the sidecar does not start: ${readFileSync(join(this.directory, 'log'), 'utf8')}`, {
        cause: error,
      });
    } finally {
      await client.close();
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      child.kill(signal);
      await exited;
    }
  }

  /** All bytes that it keeps. */
  get log(): string {
    return readFileSync(join(this.directory, 'log'), 'utf8');
  }

  #config(): string {
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
