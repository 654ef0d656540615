import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Options } from '@grpc/proto-loader';

import { clientInterceptor, serverInterceptor } from '../../src/grpc/index.js';
import { type Fields, LOADED, protos, shop, unary } from './shop.js';
import { Vault } from './vault.js';

const TOKEN = /^lunasec-[0-9a-f-]{36}$/;
const SCAN = Buffer.from([0x89, 0x50, 0xff, 0x00]);

/** Every shape that a field can have. */
function wide(): Fields {
  const inner = (name: string) => ({ full_name: `secret ${name}`, open: 'o' });
  return {
    first_name: 'secret Ada',
    scan: SCAN,
    address_lines: ['secret 1', '', 'secret 2'],
    notes_of: { a: 'secret a', __proto__x: 'secret p' },
    people: { 7: inner('seven') },
    inner: inner('inner'),
    inners: [inner('0'), inner('1')],
    card: 'secret card',
    maybe_empty: '',
    wrapped: { value: 'secret wrapped' },
    wrapped_scan: { value: SCAN },
    tree: {
      leaf: 'secret root',
      branches: [{ leaf: 'secret left', branches: [{ leaf: 'secret deep' }] }, { leaf: '' }],
    },
    in_the_open: 'open',
    number: '9007199254740993',
    scans: [SCAN, Buffer.alloc(0)],
    line_1: 'secret line',
  };
}

/** Of them, so many are values: also the empty ones that are told from absent ones. */
const VALUES = 21;

function camel(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(camel);
  }
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) {
    return value;
  }
  const renamed = (name: string) =>
    name.replace(/(?<!^_?)_([a-z])(?=[a-z]|$)/g, (_, letter: string) => letter.toUpperCase());
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [renamed(name), camel(each)]));
}

/** The texts of a message, those of its bytes, too, in whatever form these are. */
function texts(value: unknown): string[] {
  if (typeof value === 'string') {
    return [/^bHVuYXNlYy/.test(value) ? Buffer.from(value, 'base64').toString() : value];
  }
  if (value instanceof Uint8Array || (Array.isArray(value) && typeof value[0] === 'number')) {
    return [Buffer.from(value as number[]).toString()];
  }
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(texts) : [];
}

const WAYS: Record<string, Options> = {
  'keepCase, defaults, oneofs': LOADED,
  'camel case, without defaults': { longs: String },
  'camel case, bytes as base64': { bytes: String, longs: String, defaults: true },
  'keepCase, bytes as numbers': { keepCase: true, bytes: Array, longs: String, arrays: true, objects: true },
};

for (const [way, options] of Object.entries(WAYS)) {
  for (const edge of ['server', 'client'] as const) {
    test(`every shape becomes tokens and comes back: ${way}, edge ${edge}`, async (context) => {
      const vault = new Vault();
      const lunasec = vault.client();
      let seen: Fields = {};
      const Echo = (call: { request: Fields }, done: CallableFunction) => {
        seen = structuredClone({ ...call.request });
        done(null, call.request);
      };
      const all = { lunasec, protos: protos(), session: 'session' };
      const service = await shop(context, [serverInterceptor({ ...all, edge })], { Shapes: { Echo } }, options);
      const interceptors = edge === 'client' ? [clientInterceptor(all)] : [];
      const client = service.client('Shapes', { interceptors });
      const sent = (options.keepCase ? wide() : camel(wide())) as Fields;
      const before = JSON.stringify(sent);
      const answer = await unary(client, 'Echo', sent);
      assert.equal(JSON.stringify(sent), before, 'what the application made was changed');
      check(seen);
      const back = (value: unknown) => (value instanceof Uint8Array ? shown(value, options) : value);
      same(answer, sent, back);
      assert.deepEqual(vault.counts, { tokenize: 1, detokenize: 1 });
    });
  }
}

function shown(bytes: Uint8Array, { bytes: as }: Options): unknown {
  return as === String ? Buffer.from(bytes).toString('base64') : as === Array ? [...bytes] : Buffer.from(bytes);
}

/** What the handler gets: nothing but tokens. */
function check(seen: Fields): void {
  const found = texts(seen);
  assert.doesNotMatch(found.join(), /secret|PNG/);
  assert.equal(found.filter((text) => TOKEN.test(text)).length, VALUES);
}

/** All that was sent is there again; what is more are defaults. */
function same(answer: unknown, sent: unknown, back: (value: unknown) => unknown): void {
  if (typeof sent !== 'object' || sent === null || sent instanceof Uint8Array) {
    assert.deepEqual(answer, back(sent));
    return;
  }
  for (const [name, value] of Object.entries(sent)) {
    const found = (answer as Fields)[name];
    if (found !== undefined || value !== '') {
      same(found, value, back);
    }
  }
}
