// Processes that a test starts, and ends by themselves or by their id.
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What has to be undone at the end of a test, the last first. */
export class Cleanup {
  readonly #undo: (() => unknown)[] = [];

  add(undo: () => unknown): void {
    this.#undo.push(undo);
  }

  directory(): string {
    const directory = mkdtempSync(join(tmpdir(), 'shop-'));
    this.add(() => rmSync(directory, { recursive: true }));
    return directory;
  }

  async all(): Promise<void> {
    for (const undo of this.#undo.splice(0).reverse()) {
      await undo();
    }
  }
}

export class Process {
  readonly child: ChildProcess;
  output = '';
  readonly #exit: Promise<unknown>;
  readonly #news = new EventEmitter();

  constructor(command: string, args: readonly string[], options: SpawnOptions = {}) {
    this.child = spawn(command, args, { ...options, stdio: ['pipe', 'pipe', 'pipe'] });
    this.#exit = once(this.child, 'close').finally(() => this.#news.emit('more'));
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.output += chunk;
        this.#news.emit('more');
      });
    }
  }

  /** Waits for a line of its output. */
  async says(words: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = words.exec(this.output);
      if (found !== null) {
        return found;
      }
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`${this.child.spawnfile} ended without having said ${words}:\n${this.output}`);
      }
      await once(this.#news, 'more');
    }
  }

  /** Waits for its end, too. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.child.kill(signal);
    await this.#exit;
  }

  /** For those that end with their input. */
  async leave(): Promise<void> {
    this.child.stdin?.end();
    await this.#exit;
  }
}
