import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';

import { type Metadata, type ServerUnaryCall, type ServiceError, type sendUnaryData, status } from '@grpc/grpc-js';

import protobuf = require('protobufjs');

import { Protos, type ServerInterceptorOptions, serverInterceptor } from '../../src/grpc/index.js';
import { LunaSec, Plaintext, SidecarUnreachable, Token } from '../../src/index.js';
import { type Cleanup, type Fields, of, protos, type Shop, shop, unary } from './shop.js';
import { Vault } from './vault.js';

interface Scene {
  readonly vault: Vault;
  readonly service: Shop;
  readonly place: (message: Fields, metadata?: Metadata, options?: object) => Promise<Fields>;
  /** What the handler got. */
  readonly seen: Fields[];
}

async function scene(
  context: Cleanup,
  answer: Fields = {},
  more: Partial<ServerInterceptorOptions> = {},
): Promise<Scene> {
  const vault = new Vault();
  const seen: Fields[] = [];
  const Place = ({ request }: ServerUnaryCall<Fields, Fields>, done: sendUnaryData<Fields>) => {
    seen.push(request);
    done(null, answer);
  };
  const interceptor = serverInterceptor({ lunasec: vault.client(), protos: protos(), session: 'session', ...more });
  const service = await shop(context, [interceptor], {
    Orders: { Place },
    Shapes: { Echo: () => assert.fail('it ran') },
  });
  const client = service.client('Orders');
  return {
    vault,
    service,
    seen,
    place: (message, metadata, options) => unary(client, 'Place', message, metadata, options),
  };
}

const rpc = protobuf.parse(`syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }`).root;

/** What a call was refused with; its reason, too, as google.rpc.ErrorInfo has it. */
async function refused(call: Promise<unknown>): Promise<{ code: number; details: string; reason: string }> {
  const error = (await call.then(
    () => assert.fail('it was not refused'),
    (caught: unknown) => caught,
  )) as ServiceError;
  const [bytes] = error.metadata.get('grpc-status-details-bin');
  const rich = rpc.lookupType('Status').decode(bytes as Buffer) as unknown as Fields;
  assert.equal(rich['code'], error.code);
  assert.equal(rich['message'], error.details);
  const [any] = rich['details'] as { typeUrl: string; value: Buffer }[];
  assert.equal(any?.typeUrl, 'type.googleapis.com/google.rpc.ErrorInfo');
  const info = rpc.lookupType('ErrorInfo').decode(any?.value as Buffer) as unknown as Fields;
  assert.equal(info['domain'], 'lunasec');
  return { code: error.code, details: error.details, reason: info['reason'] as string };
}

test('a token of somebody else is refused before the handler runs, and nothing is made for the call', async (context) => {
  const { vault, place, seen } = await scene(context);
  const token = vault.grant('alice', vault.token('4111'));
  const order = { card_number: '5500', saved_cards: [token] };
  const { code, reason, details } = await refused(place(order, of('bob')));
  assert.deepEqual([code, reason], [status.PERMISSION_DENIED, 'grant_denied']);
  assert.match(details, /^shop\.v1\.Order\.saved_cards: grant_denied/);
  assert.doesNotMatch(details, /lunasec-|bob|5500/);
  assert.deepEqual([seen.length, vault.counts], [0, { 'grants/verify': 1 }]);
  await place(order, of('alice'));
  assert.deepEqual((seen[0] as Fields)['saved_cards'], [token]);
});

test('a token in a field that tokenizes is refused, unless the field verifies it', async (context) => {
  const { vault, place, seen } = await scene(context);
  const token = vault.grant('alice', vault.token('4111'));
  const bare = token.replaceAll('-', '');
  for (const card_number of [token, token.toUpperCase(), ` ${token} `, `\ufeff${token}`, bare]) {
    const { code, details } = await refused(place({ card_number }, of('alice')));
    assert.equal(code, status.INVALID_ARGUMENT);
    assert.match(details, /Order\.card_number: .*let the field say verify/);
  }
  assert.equal(seen.length, 0);
  assert.equal((await refused(place({ new_or_saved: token }, of('bob')))).code, status.PERMISSION_DENIED);
  await place({ new_or_saved: token }, of('alice'));
  assert.equal(seen[0]?.['new_or_saved'], token);
});

test('what is new in a field that grants is granted to the session, and to nobody else', async (context) => {
  const { vault, place, seen } = await scene(context);
  await place({ new_or_saved: '4111' }, of('alice'));
  const token = seen[0]?.['new_or_saved'] as string;
  assert.equal(vault.value(token), '4111');
  assert.deepEqual([vault.granted('alice', token), vault.granted('bob', token)], [true, false]);
  assert.equal(vault.asked.at(-1)?.body['expires_in'], '20m');
});

test('responses: grants before reveals, each once for all fields; what the handler gave stays', async (context) => {
  const answer: Fields = {};
  const { vault, place } = await scene(context, answer);
  const [card, saved, both] = ['card', 'saved', 'both'].map((value) => vault.token(value)) as [string, string, string];
  const scan = Buffer.from([0xff, 0x00]);
  Object.assign(answer, {
    card_number: card,
    saved_card: Token.from(saved),
    both,
    scan: Buffer.from(vault.token(scan)),
  });
  const before = { ...answer };
  assert.deepEqual(await place({}, of('alice')), {
    id: '',
    card_number: 'card',
    saved_card: saved,
    both: 'both',
    scan,
  });
  assert.deepEqual(answer, before);
  const paths = vault.asked.map(({ path, body }) => `${path} ${body['expires_in'] ?? ''}`.trim()).sort();
  assert.deepEqual(paths, ['/v1/detokenize:batch', '/v1/grants/create 10m', '/v1/grants/create 15m']);
  assert.equal(vault.asked.at(-1)?.path, '/v1/detokenize:batch');
  assert.ok(vault.granted('alice', saved) && vault.granted('alice', both) && !vault.granted('alice', card));
});

test('what is shown instead of a value is none: it does not take its place', async (context) => {
  const { vault, place, seen, service } = await scene(context);
  const shapes = service.client('Shapes');
  for (const shown of ['••••', `${Token.from('x')}`, `${Plaintext.from('x')}`]) {
    for (const call of [
      () => place({ card_number: shown }, of('alice')),
      () => place({ new_or_saved: shown }, of('alice')),
      () => unary(shapes, 'Echo', { scan: Buffer.from(shown) }, of('alice')),
    ]) {
      const { code, details } = await refused(call());
      assert.equal(code, status.INVALID_ARGUMENT);
      assert.match(details, /^shop\.v1\..*: it holds (the mask|what a (Token|Plaintext) prints as)/);
    }
  }
  assert.deepEqual([seen.length, vault.asked.length], [0, 0]);
});

test('two hundred fields of one message are one request of the sidecar', async (context) => {
  const { vault, place } = await scene(context);
  const saved_cards = Array.from({ length: 200 }, (_, n) => vault.grant('alice', vault.token(`card ${n}`)));
  await place({ saved_cards }, of('alice'));
  assert.deepEqual(vault.counts, { 'grants/verify': 1 });
});

test('one message cannot take all the calls of a process: it is refused for good, and others go on', async (context) => {
  const errors: unknown[] = [];
  const answer: Fields = {};
  const { vault, service, place, seen } = await scene(context, answer, { onError: (error) => errors.push(error) });
  const shapes = service.client('Shapes');
  const mine = vault.token('mine');
  const lunasec = vault.client();
  const many = (count: number) => Array.from({ length: count }, (_, n) => `line ${n}`);
  for (const message of [
    { address_lines: many(12_000) },
    { address_lines: many(1_000), scans: Array(1_001).fill(Buffer.from('x')) },
  ]) {
    const call = refused(unary(shapes, 'Echo', message, of('bob')));
    assert.equal((await lunasec.detokenize(mine)).value.reveal(), 'mine');
    const { code, reason, details } = await call;
    assert.deepEqual([code, reason], [status.RESOURCE_EXHAUSTED, 'payload_too_large']);
    assert.match(details, /Wide\..*: a message has at most 2000 values and tokens; send it in several/);
  }
  assert.deepEqual(vault.counts, { detokenize: 2 });
  await place({ saved_cards: many(2_000).map((line) => vault.grant('bob', vault.token(line))) }, of('bob'));
  assert.deepEqual([seen.length, errors.length], [1, 2]);
});

test('one token in many places is asked for once', async (context) => {
  const { vault, place } = await scene(context);
  const token = vault.grant('alice', vault.token('4111'));
  await place({ saved_cards: [token, token, token], new_or_saved: token }, of('alice'));
  assert.deepEqual(vault.asked[0]?.body['tokens'], [token]);
});

test('the session is asked for once for each call, with its path and metadata, also where it takes time', async (context) => {
  const calls: string[] = [];
  const answer: Fields = {};
  const { vault, place } = await scene(context, answer, {
    session: async ({ path, metadata, peer }) => {
      await new Promise((resolve) => setImmediate(resolve));
      calls.push(`${path} ${metadata.get('user')} ${peer.startsWith('127.0.0.1:')}`);
      return { session: `session of ${metadata.get('user')}`, jwt: 'a.b.c' };
    },
  });
  answer['both'] = vault.token('both');
  const metadata = of('ignored');
  metadata.set('user', 'ada');
  await place({ new_or_saved: '4111' }, metadata);
  assert.deepEqual(calls, ['/shop.v1.Orders/Place ada true']);
  assert.deepEqual(new Set(vault.asked.map(({ session }) => session)), new Set(['session of ada']));
});

test('a call without a session, or with two, gets nothing that is for one', async (context) => {
  const { vault, place, seen } = await scene(context);
  const order = { saved_cards: [vault.token('4111')] };
  assert.equal((await refused(place(order))).code, status.UNAUTHENTICATED);
  const two = of('alice');
  two.add('session', 'bob');
  // HTTP/2 makes one of them, which is nobody's.
  assert.equal((await refused(place(order, two))).code, status.PERMISSION_DENIED);
  await place({ card_number: '4111' });
  assert.equal(seen.length, 1);
});

test("a session's function ends the call with its own status, and other errors say nothing", async (context) => {
  let thrown: unknown = Object.assign(new Error('x'), { code: status.UNAUTHENTICATED, details: 'log in' });
  const { place } = await scene(
    context,
    {},
    {
      session: () => {
        throw thrown;
      },
    },
  );
  const call = () => place({ card_number: '4111' }).catch(({ code, details }: ServiceError) => [code, details]);
  assert.deepEqual(await call(), [status.UNAUTHENTICATED, 'log in']);
  thrown = new Error('secret 4111');
  assert.deepEqual(await call(), [status.INTERNAL, 'a function of the interceptor failed']);
});

const CODES: [code: string, http: number, retryable: boolean, expected: status][] = [
  ['storage_unavailable', 503, true, status.UNAVAILABLE],
  ['keys_unavailable', 503, true, status.UNAVAILABLE],
  ['overloaded', 503, true, status.UNAVAILABLE],
  ['journal_full', 503, true, status.UNAVAILABLE],
  ['from_the_future', 503, true, status.UNAVAILABLE],
  ['rate_limited', 429, true, status.RESOURCE_EXHAUSTED],
  ['payload_too_large', 413, false, status.RESOURCE_EXHAUSTED],
  ['forbidden', 403, false, status.PERMISSION_DENIED],
  ['grant_expired', 403, false, status.PERMISSION_DENIED],
  ['unauthenticated', 401, false, status.UNAUTHENTICATED],
  ['not_found', 404, false, status.NOT_FOUND],
  ['expired', 410, false, status.NOT_FOUND],
  ['conflict', 409, false, status.ABORTED],
  ['invalid_request', 400, false, status.INVALID_ARGUMENT],
  ['deadline_exceeded', 504, true, status.DEADLINE_EXCEEDED],
  ['corrupted', 500, false, status.DATA_LOSS],
  ['internal', 500, false, status.INTERNAL],
];

test('each code of the contract is its status, with its reason; the handler does not run', async (context) => {
  const { vault, place, seen } = await scene(context);
  for (const [code, http, retryable, expected] of CODES) {
    vault.fault = () => [code, http, retryable];
    const found = await refused(place({ card_number: 'secret 4111' }, of('alice')));
    assert.deepEqual([found.code, found.reason], [expected, code], code);
    assert.doesNotMatch(found.details, /secret|lunasec-|alice|: words/);
  }
  assert.equal(seen.length, 0);
});

test("a response that cannot be made is not the caller's fault", async (context) => {
  const answer: Fields = { card_number: 'no token' };
  const { vault, place } = await scene(context, answer);
  vault.fault = ({ path }) => (path === '/v1/detokenize' ? ['invalid_token', 400, false] : undefined);
  const { code, reason, details } = await refused(place({}));
  assert.deepEqual([code, reason], [status.INTERNAL, 'invalid_token']);
  assert.doesNotMatch(details, /no token/);
});

test('a value of bytes in a text field is refused with words', async (context) => {
  const answer: Fields = {};
  const errors: unknown[] = [];
  const { vault, place } = await scene(context, answer, { onError: (error) => errors.push(error) });
  answer['card_number'] = vault.token(Buffer.from([0xff]));
  const { details } = await refused(place({}));
  assert.equal(details, 'shop.v1.Receipt.card_number: invalid_request: this failed, and not by what was asked for');
  assert.match(`${errors}`, /Receipt\.card_number: .*make the field bytes/);
});

for (const [what, onError] of [
  [
    'throws',
    () => {
      throw new Error('of the application');
    },
  ],
  ['rejects', () => Promise.reject(new Error('of the application'))],
] as const) {
  test(`an onError that ${what} ends neither the call nor the process`, async (context) => {
    const answer: Fields = {};
    const warned = once(process, 'warning') as Promise<[Error]>;
    const { vault, place } = await scene(context, answer, { onError });
    answer['card_number'] = vault.token(Buffer.from([0xff]));
    assert.equal((await refused(place({}))).code, status.INTERNAL);
    assert.match(String((await warned)[0]), /of the application/);
  });
}

test('when nobody can answer, a policy stands in for values, and never for a no or a verify', async (context) => {
  const answer: Fields = {};
  const { vault, place } = await scene(context, answer, { onUnavailable: 'mask' });
  Object.assign(answer, { card_number: vault.token('4111'), scan: Buffer.from(vault.token('scan')) });
  vault.fault = () => ['storage_unavailable', 503, true];
  const shown = await place({});
  assert.deepEqual([shown['card_number'], String(shown['scan'])], ['••••', '••••']);
  const token = vault.token('5500');
  assert.equal((await refused(place({ saved_cards: [token] }, of('alice')))).code, status.UNAVAILABLE);
  vault.fault = () => ['grant_denied', 403, false];
  assert.equal((await refused(place({}))).code, status.PERMISSION_DENIED);
});

test('what nobody knows of a token is no yes, also where others are known', async (context) => {
  const { vault, place, seen } = await scene(context, {}, { onUnavailable: 'mask' });
  const [known, unknown] = [1, 2].map((each) => vault.grant('alice', vault.token(`${each}`))) as [string, string];
  vault.unknown.add(unknown);
  assert.equal((await refused(place({ saved_cards: [known, unknown] }, of('alice')))).code, status.UNAVAILABLE);
  assert.equal(seen.length, 0);
});

test("without a policy of the interceptor's, the client's holds; a fallback may be bytes", async (context) => {
  const vault = new Vault();
  const fallback = (token: Token) => Buffer.from(`for ${token.expose().length}`);
  const answer = { card_number: vault.token('4111'), scan: Buffer.from(vault.token('scan')) };
  const lunasec = vault.client({ onUnavailable: { fallback } });
  const { place } = await scene(context, answer, { lunasec });
  vault.fault = () => ['keys_unavailable', 503, true];
  const shown = await place({});
  assert.deepEqual([shown['card_number'], String(shown['scan'])], ['for 44', 'for 44']);
});

test('methods of no known .proto are refused, unless it is said otherwise', async (context) => {
  const only = Protos.fromRoot(
    protobuf.parse('syntax = "proto3"; message M {} service S { rpc Do(M) returns (M); }').root,
  );
  const errors: string[] = [];
  const onError: ServerInterceptorOptions['onError'] = (error, { path }) => errors.push(`${path} ${error}`);
  const strict = await scene(context, {}, { protos: only, onError });
  assert.match((await refused(strict.place({}))).details, /\/shop\.v1\.Orders\/Place: unknown_method/);
  assert.match(`${errors}`, /^\/shop\.v1\.Orders\/Place .*load it, or say otherMethods/);
  assert.equal(strict.seen.length, 0);
  const open = await scene(context, {}, { protos: only, otherMethods: 'pass' });
  await open.place({ card_number: '4111' });
  assert.equal(open.seen[0]?.['card_number'], '4111');
});

test('behind clients that tokenize, values are refused and tokens stay tokens', async (context) => {
  const answer: Fields = {};
  const { vault, place, seen } = await scene(context, answer, { edge: 'client' });
  const token = vault.grant('alice', vault.token('4111'));
  Object.assign(answer, { card_number: token, saved_card: token, both: token });
  const { code, details } = await refused(place({ card_number: '4111' }));
  assert.equal(code, status.INVALID_ARGUMENT);
  assert.match(details, /clients tokenize this field/);
  const shown = await place({ card_number: token }, of('alice'));
  assert.deepEqual([shown['card_number'], shown['both'], seen[0]?.['card_number']], [token, token, token]);
  assert.equal((await refused(place({ new_or_saved: token }, of('bob')))).code, status.PERMISSION_DENIED);
  assert.deepEqual(vault.counts, { 'grants/create': 2, 'grants/verify': 1 });
});

test('services without rules are not touched, and metadata goes both ways', async (context) => {
  const vault = new Vault();
  const interceptor = serverInterceptor({ lunasec: vault.client(), protos: protos(), session: 'session' });
  const Ping = (call: ServerUnaryCall<Fields, Fields>, done: sendUnaryData<Fields>) => {
    call.sendMetadata(call.metadata);
    done(null, call.request);
  };
  const Place = (call: ServerUnaryCall<Fields, Fields>, done: sendUnaryData<Fields>) => {
    call.sendMetadata(call.metadata);
    done(null, {}, of('trailer'));
  };
  const service = await shop(context, [interceptor], { Open: { Ping }, Orders: { Place } });
  for (const [name, method] of [
    ['Open', 'Ping'],
    ['Orders', 'Place'],
  ] as const) {
    const client = service.client(name);
    const heads = new Promise<Metadata>((resolve) => {
      const call = client[method]?.({ id: 'x' }, of('alice'), (error: unknown) => assert.equal(error, null));
      call.on('metadata', resolve);
    });
    assert.deepEqual((await heads).get('session'), ['alice'], name);
  }
  assert.equal(vault.asked.length, 0);
});

test('a sidecar that is not there is UNAVAILABLE; where it should be is for the log only', async (context) => {
  const lunasec = new LunaSec({ socket: '/nonexistent/lunasec.sock', telemetry: false, startDeadlineMs: 0 });
  const errors: [error: unknown, path: string, session: unknown][] = [];
  const onError: ServerInterceptorOptions['onError'] = (error, { path, metadata }) =>
    errors.push([error, path, metadata.get('session')[0]]);
  const { place } = await scene(context, {}, { lunasec, onError });
  const { code, reason, details } = await refused(place({ card_number: '4111' }, of('alice')));
  assert.deepEqual([code, reason], [status.UNAVAILABLE, 'sidecar_unreachable']);
  const words = 'this cannot be answered just now; try again later';
  assert.equal(details, `shop.v1.Order.card_number: sidecar_unreachable: ${words}`);
  const [[error, ...call] = []] = errors;
  assert.deepEqual([errors.length, call], [1, ['/shop.v1.Orders/Place', 'alice']]);
  assert.match(`${error}`, /Order\.card_number: .*\/nonexistent\/lunasec\.sock.*LUNASEC_SOCKET/);
  assert.ok((error as Error).cause instanceof SidecarUnreachable);
});

test('that the process has too much to do says nothing of its options to who called', async (context) => {
  const vault = new Vault();
  const { place } = await scene(context, {}, { lunasec: vault.client({ pendingCalls: 0 }) });
  const { reason, details } = await refused(place({ card_number: '4111' }));
  assert.equal(reason, 'overloaded');
  assert.doesNotMatch(details, /pendingCalls|process/);
});
