// What the tests run: real sidecars, the shop as a process of its own, PostgreSQL, S3 and KMS, and a browser.
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, watch, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';

import { type Cleanup, Process } from './processes.js';

export const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const REPOSITORY = join(ROOT, '../../../..');
export const STAFF_PASSWORD = 'the-password-of-the-staff';

/** Where S3 and KMS answer, and whether writes wait in a journal while S3 does not. */
export interface Cloud {
  readonly storage: string;
  readonly keys: string;
  readonly journal: boolean;
}

/** The sidecar with the shop's own policy, on a store of its own or on S3 and KMS. */
export class Sidecar {
  readonly directory: string;
  readonly socket: string;
  readonly #cleanup: Cleanup;
  #process: Process | undefined;
  #logs = '';

  constructor(cleanup: Cleanup, cloud?: Cloud) {
    this.#cleanup = cleanup;
    this.directory = cleanup.directory();
    this.socket = join(this.directory, 'lunasec.sock');
    const text = readFileSync(join(ROOT, 'lunasec.toml'), 'utf8')
      .replaceAll('DIRECTORY', this.directory)
      .replace('uid = 1000', `uid = ${process.getuid?.()}`);
    writeFileSync(join(this.directory, 'lunasec.toml'), cloud === undefined ? text : onCloud(text, cloud));
  }

  get log(): string {
    return this.#logs + (this.#process?.output ?? '');
  }

  async start(): Promise<this> {
    const credentials = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
    const sidecar = new Process(binary(), ['serve', '--config', join(this.directory, 'lunasec.toml')], {
      env: { ...process.env, ...credentials },
    });
    this.#process = sidecar;
    this.#cleanup.add(() => this.stop());
    await sidecar.says(/^serving on/m);
    return this;
  }

  /** It takes connections, and answers nothing, until it goes on. */
  hang(): void {
    this.#process?.child.kill('SIGSTOP');
  }

  goOn(): void {
    this.#process?.child.kill('SIGCONT');
  }

  async stop(): Promise<void> {
    const sidecar = this.#process;
    this.#process = undefined;
    sidecar?.child.kill('SIGCONT');
    await sidecar?.end();
    this.#logs += sidecar?.output ?? '';
  }
}

function binary(): string {
  const built = join(REPOSITORY, 'target/debug/lunasec');
  const chosen = process.env['LUNASEC_BIN'] ?? built;
  if (!existsSync(chosen)) {
    throw new Error(`there is no sidecar at ${chosen}: cargo build, or say in LUNASEC_BIN where it is`);
  }
  return chosen;
}

function onCloud(text: string, { storage, keys, journal }: Cloud): string {
  const at = (endpoint: string) => `region = "eu-central-1"\nendpoint = "${endpoint}"\n`;
  const bucket = `[storage]\nkind = "s3"\nbucket = "lunasec"\npath_style = true\n${at(storage)}\n`;
  const key = `[keys]\nkind = "kms"\nkey_id = "alias/lunasec"\n${at(keys)}\n`;
  const outage = journal ? 'on_storage_outage = "journal"\n' : '';
  return text.replace(/\[storage\][^[]*\[keys\][^[]*\[degrade\]\n/, `${bucket}${key}[degrade]\n${outage}`);
}

/** S3 and KMS on this machine; where they answer. */
export async function startCloud(cleanup: Cleanup): Promise<string> {
  const directory = cleanup.directory();
  const file = join(directory, 'endpoint');
  const server = new Process(join(REPOSITORY, 'dev/server'), ['moto', '--port-file', file]);
  cleanup.add(() => server.leave());
  const watcher = watch(directory);
  const gone = once(server.child, 'exit');
  while (!existsSync(file)) {
    await Promise.race([once(watcher, 'change'), gone]);
    if (server.child.exitCode !== null) {
      throw new Error(server.output);
    }
  }
  watcher.close();
  return readFileSync(file, 'utf8').trim();
}

/** The shop, as a process beside a sidecar. */
export class Shop {
  readonly directory: string;
  url = '';
  readonly #environment: NodeJS.ProcessEnv;
  #process: Process | undefined;

  constructor(cleanup: Cleanup, sidecar: Sidecar, environment: NodeJS.ProcessEnv = {}) {
    this.directory = cleanup.directory();
    this.#environment = {
      ...process.env,
      LUNASEC_SOCKET: sidecar.socket,
      SHOP_DIR: this.directory,
      SHOP_STAFF_PASSWORD: STAFF_PASSWORD,
      PORT: '0',
      ...environment,
    };
    cleanup.add(() => this.stop());
  }

  get log(): string {
    return this.#process?.output ?? '';
  }

  async start(): Promise<this> {
    this.#process = new Process(process.execPath, [join(ROOT, 'build/src/main.js')], { env: this.#environment });
    const [, url] = await this.#process.says(/^the shop is open: (.*)$/m);
    this.url = url as string;
    return this;
  }

  async stop(): Promise<void> {
    const running = this.#process?.child.exitCode === null;
    await (running ? this.#process?.end() : undefined);
  }
}

/** A PostgreSQL server of its own, on a Unix socket, run by nobody where the tests are run by root. */
export async function startPostgres(cleanup: Cleanup): Promise<{ url: string; data: string }> {
  const debian = '/usr/lib/postgresql';
  const [version = ''] = existsSync(debian) ? readdirSync(debian) : [];
  const bin = join(debian, version, 'bin');
  const directory = cleanup.directory();
  const data = join(directory, 'data');
  mkdirSync(data, { mode: 0o700 });
  const isRoot = process.getuid?.() === 0;
  if (isRoot) {
    chmodSync(directory, 0o755);
    chownSync(data, NOBODY, NOBODY);
  }
  const asNobody = isRoot ? ['setpriv', `--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups'] : ['env'];
  const run = (tool: string, ...args: string[]) => {
    const [command = '', ...rest] = [...asNobody, join(bin, tool), ...args];
    return new Process(command, rest, { cwd: data });
  };
  await run('initdb', '-D', data, '-U', 'shop', '--auth=trust', '--no-sync').says(/Success/);
  const server = run('postgres', '-D', data, '-k', data, '-c', 'listen_addresses=', '-c', 'fsync=off');
  cleanup.add(() => server.end('SIGINT'));
  await server.says(/ready to accept connections/);
  return { url: `postgres://shop@/postgres?host=${encodeURIComponent(data)}`, data };
}

const NOBODY = 65534;

export async function openBrowser(cleanup: Cleanup): Promise<Browser> {
  const executable = (process.env['PATH'] ?? '').split(delimiter).map((each) => join(each, 'chromium'));
  const executablePath = process.env['CHROMIUM'] ?? executable.find(existsSync) ?? 'chromium';
  const args = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  const browser = await chromium.launch({ executablePath, args });
  cleanup.add(() => browser.close());
  return browser;
}

/** What GraphQL answered. */
export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** A person with a browser of their own: nobody else's cookies. */
export class Person {
  readonly page: Page;
  readonly #shop: { readonly url: string };

  private constructor(page: Page, shop: { readonly url: string }) {
    this.page = page;
    this.#shop = shop;
  }

  static async at(shop: { readonly url: string }, browser: Browser): Promise<Person> {
    const context = await browser.newContext();
    return new Person(await context.newPage(), shop);
  }

  async go(path: string): Promise<number> {
    const response = await this.page.goto(this.#shop.url + path);
    return response?.status() ?? 0;
  }

  /** Fills a form of the page and sends it; gives the status of the page that comes. */
  async send(fields: Readonly<Record<string, string>>, form = 'main form'): Promise<number> {
    for (const [name, value] of Object.entries(fields)) {
      await this.page.fill(`${form} [name=${name}]`, value);
    }
    const [response] = await Promise.all([this.page.waitForNavigation(), this.page.click(`${form} button`)]);
    return response?.status() ?? 0;
  }

  async signUp(customer: Readonly<Record<string, string>>): Promise<number> {
    await this.go('/sign-up');
    return this.send(customer);
  }

  async logIn(email: string, password = STAFF_PASSWORD): Promise<void> {
    await this.go('/login');
    await this.send({ email, password });
  }

  /** A question to the shop's GraphQL from the page that is open, as anybody can ask it in the browser's console. */
  async ask(query: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.page.evaluate(
      async ([body, more]) => {
        const csrf = document.querySelector('meta[name=csrf]')?.getAttribute('content') ?? '';
        const all = { 'content-type': 'application/json', 'x-csrf': csrf, ...more };
        const response = await fetch('/graphql', { method: 'POST', body, headers: all });
        return { status: response.status, text: await response.text() };
      },
      [JSON.stringify({ query }), headers] as const,
    );
  }

  /** The text of something on the page. */
  async sees(selector: string): Promise<string> {
    return (await this.page.textContent(selector, { timeout: 5_000 })) ?? '';
  }

  async has(selector: string): Promise<boolean> {
    return (await this.page.locator(selector).count()) > 0;
  }

  /** Loads the page anew until it has something; what it waits for is on its way. */
  async until(path: string, selector: string): Promise<void> {
    const deadline = Date.now() + 30_000;
    do {
      await this.go(path);
      if (await this.has(selector)) {
        return;
      }
    } while (Date.now() < deadline);
    throw new Error(`${path} has no ${selector} yet:\n${await this.page.textContent('main')}`);
  }

  async picture(name: string): Promise<void> {
    const directory = process.env['SHOP_SCREENSHOTS'];
    if (directory !== undefined) {
      await this.page.screenshot({ path: join(directory, `${name}.png`) });
    }
  }
}
