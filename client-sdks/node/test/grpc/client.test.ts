import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';

import {
  InterceptingCall as Intercepting,
  type InterceptingCall,
  type Interceptor,
  Metadata,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { type ClientInterceptorOptions, clientInterceptor, Protos } from '../../src/grpc/index.js';
import { LunaSec, Plaintext, Token } from '../../src/index.js';
import { deferred } from '../fake.js';
import { type Cleanup, type Fields, type Method, of, protos, type Shop, shop, soon, unary } from './shop.js';
import { Vault } from './vault.js';

type Place = (call: ServerUnaryCall<Fields, Fields>, done: sendUnaryData<Fields>) => void;

interface Scene {
  readonly vault: Vault;
  readonly service: Shop;
  readonly client: ReturnType<Shop['client']>;
}

/** A server without an interceptor: what it gets is what crossed the network. */
async function scene(
  context: Cleanup,
  Orders: UntypedServiceImplementation,
  more: Partial<ClientInterceptorOptions> = {},
  others: Interceptor[] = [],
): Promise<Scene> {
  const vault = new Vault();
  const service = await shop(context, [], { Orders });
  const mine = clientInterceptor({ lunasec: vault.client(), protos: protos(), session: 'session', ...more });
  return { vault, service, client: service.client('Orders', { interceptors: [mine, ...others] }) };
}

function code(call: Promise<unknown>): Promise<number> {
  return call.then(
    () => assert.fail('it did not fail'),
    (error: ServiceError) => error.code,
  );
}

test('values leave as tokens, of which the new are granted to the session; tokens come back as values', async (context) => {
  const crossed: Fields[] = [];
  const place: Place = ({ request }, done) => {
    crossed.push(request);
    done(null, { card_number: request['card_number'], saved_card: request['card_number'] });
  };
  const { vault, client } = await scene(context, { Place: place });
  const order = { card_number: 'secret 4111', new_or_saved: 'secret 5500' };
  const back = await unary(client, 'Place', order, of('alice'));
  assert.doesNotMatch(JSON.stringify(crossed), /secret/);
  assert.equal(back['card_number'], 'secret 4111');
  assert.equal(back['saved_card'], crossed[0]?.['card_number']);
  assert.ok(vault.granted('alice', crossed[0]?.['new_or_saved'] as string));
  assert.deepEqual(order, { card_number: 'secret 4111', new_or_saved: 'secret 5500' });
  assert.deepEqual(vault.counts, { tokenize: 1, 'grants/create': 1, detokenize: 1 });
});

test('a Token goes as it is; text that looks like one only where the server verifies it', async (context) => {
  const crossed: Fields[] = [];
  const place: Place = ({ request }, done) => {
    crossed.push(request);
    done(null, {});
  };
  const { vault, client } = await scene(context, { Place: place });
  const token = vault.token('4111');
  await unary(client, 'Place', { card_number: Token.from(token), new_or_saved: token });
  assert.deepEqual([crossed[0]?.['card_number'], crossed[0]?.['new_or_saved']], [token, token]);
  assert.equal(await code(unary(client, 'Place', { card_number: token })), status.INVALID_ARGUMENT);
  await unary(client, 'Place', { card_number: Plaintext.from('5500') });
  assert.equal(vault.value(crossed[1]?.['card_number'] as string), '5500');
  assert.equal(crossed.length, 2);
});

test('what cannot be tokenized does not leave, and says why', async (context) => {
  let called = 0;
  const place: Place = (_, done) => {
    called += 1;
    done(null, {});
  };
  const { vault, client } = await scene(context, { Place: place });
  vault.fault = () => ['storage_unavailable', 503, true];
  const error = (await unary(client, 'Place', { card_number: '4111' }).catch(
    (caught: unknown) => caught,
  )) as ServiceError;
  assert.deepEqual(
    [error.code, error.details],
    [status.UNAVAILABLE, 'shop.v1.Order.card_number: storage_unavailable: words'],
  );
  assert.equal(error.metadata.get('grpc-status-details-bin').length, 1);
  vault.fault = () => undefined;
  await unary(client, 'Place', {});
  assert.equal(called, 1);
});

test('what came back before a message could not leave is there first; nothing leaves after it', async (context) => {
  const crossed: Fields[] = [];
  const Chat = (call: ServerDuplexStream<Fields, Fields>) => {
    call.on('data', (message: Fields) => crossed.push(message));
    for (let n = 0; n < 20; n += 1) {
      call.write({ id: `${n}`, card_number: vault.token(`card ${n}`) });
    }
  };
  const { vault, client } = await scene(context, { Chat });
  const [asked, refused] = [deferred(), deferred()];
  vault.fault = async ({ path }) => {
    if (path.startsWith('/v1/tokenize')) {
      await asked.promise;
      setImmediate(() => refused.resolve());
      return ['forbidden', 403, false];
    }
    asked.resolve();
    await refused.promise;
    return undefined;
  };
  const call = client['Chat']?.(of('alice'), { deadline: soon() });
  const got: Fields[] = [];
  call.on('data', (message: Fields) => got.push(message));
  const ended = new Promise<ServiceError>((resolve) => call.on('error', resolve));
  call.write({ card_number: 'secret' });
  call.write({ id: 'after', card_number: 'secret, too' });
  call.end();
  const { code, details } = await ended;
  assert.deepEqual([code, crossed], [status.PERMISSION_DENIED, []]);
  assert.match(details, /Order\.card_number: forbidden/);
  assert.equal(got[0]?.['card_number'], 'card 0');
  assert.equal(vault.counts['tokenize'], 1);
});

test('a value stays here also where another interceptor takes its time with the metadata', async (context) => {
  const crossed: Fields[] = [];
  const place: Place = ({ request }, done) => {
    crossed.push(request);
    done(null, {});
  };
  const slow: Interceptor = (options, next): InterceptingCall =>
    new Intercepting(next(options), {
      start: (metadata, listener, then) => void setTimeout(() => then(metadata, listener), 50),
    });
  const { vault, client } = await scene(context, { Place: place }, {}, [slow]);
  await unary(client, 'Place', { card_number: 'secret 4111' });
  assert.equal(vault.value(crossed[0]?.['card_number'] as string), 'secret 4111');
});

test('a response that nobody can reveal is masked under a policy, and UNAVAILABLE without', async (context) => {
  const place: Place = (_, done) => done(null, { card_number: 'lunasec-00000000-0000-4000-8000-000000000001' });
  for (const onUnavailable of ['mask', undefined] as const) {
    const { vault, client } = await scene(context, { Place: place }, { onUnavailable });
    vault.fault = () => ['keys_unavailable', 503, true];
    const call = unary(client, 'Place', {});
    if (onUnavailable === 'mask') {
      assert.equal((await call)['card_number'], '••••');
    } else {
      assert.equal(await code(call), status.UNAVAILABLE);
    }
  }
});

test("a server's error arrives as it is, with its metadata", async (context) => {
  const place: Place = (_, done) => done({ code: status.ABORTED, details: 'no', metadata: of('theirs') });
  const { client } = await scene(context, { Place: place });
  const error = (await unary(client, 'Place', { card_number: '1' }).catch((caught: unknown) => caught)) as ServiceError;
  assert.deepEqual([error.code, error.details, error.metadata.get('session')], [status.ABORTED, 'no', ['theirs']]);
});

test('methods of no known .proto do not leave', async (context) => {
  const { client } = await scene(
    context,
    { Place: () => assert.fail() },
    { protos: Protos.loadSync('lunasec/options.proto') },
  );
  assert.equal(await code(unary(client, 'Place', { card_number: '4111' })), status.INTERNAL);
});

for (const when of ['leaves', 'comes back'] as const) {
  for (const how of ['cancelled', 'over its deadline'] as const) {
    test(`a call is ${how} while a message ${when}, at once, and gives up what it asked`, async (context) => {
      const place: Place = (_, done) => done(null, { card_number: 'lunasec-00000000-0000-4000-8000-000000000001' });
      const arrived = deferred();
      // Nearer to the network: what arrives there is over for grpc-js.
      const below: Interceptor = (options, next): InterceptingCall =>
        new Intercepting(next(options), {
          start: (metadata, _, then) =>
            then(metadata, {
              onReceiveStatus: (received, forward) => {
                forward(received);
                arrived.resolve();
              },
            }),
        });
      const { vault, client } = await scene(context, { Place: place }, {}, [below]);
      const came = deferred();
      vault.fault = () => {
        came.resolve();
        return new Promise(() => undefined);
      };
      const ended = deferred<ServiceError>();
      const message = when === 'leaves' ? { card_number: '4111' } : {};
      const options = { deadline: how === 'cancelled' ? soon() : Date.now() + 400 };
      const call = client['Place']?.(message, new Metadata(), options, (error: ServiceError) => ended.resolve(error));
      await came.promise;
      if (when === 'comes back') {
        await arrived.promise;
      }
      if (how === 'cancelled') {
        call.cancel();
      }
      const expected = how === 'cancelled' ? status.CANCELLED : status.DEADLINE_EXCEEDED;
      const { code, details } = await ended.promise;
      assert.equal(code, expected);
      // Its own deadline, and not that of the client of the sidecar.
      assert.doesNotMatch(details, /deadline_exceeded:/);
      await vault.gaveUp();
    });
  }
}

test('streams: in order both ways, half-closed after the last message, status last', async (context) => {
  const crossed: Fields[] = [];
  const Chat = (call: ServerDuplexStream<Fields, Fields>) => {
    call.on('data', (order: Fields) => crossed.push(order));
    call.on('end', () => {
      for (const { id, card_number } of crossed) {
        call.write({ id, card_number });
      }
      call.end(of('trailer'));
    });
  };
  const { vault, client } = await scene(context, { Chat });
  vault.fault = async () => void (await turn());
  const call = client['Chat']?.(of('alice'), { deadline: soon() });
  for (let n = 0; n < 30; n += 1) {
    call.write({ id: `${n}`, card_number: `secret ${n}` });
  }
  call.end();
  const got: string[] = [];
  call.on('data', ({ id, card_number }: Fields) => got.push(`${id} ${card_number}`));
  const [{ code: ended, metadata }] = await once(call, 'status');
  assert.deepEqual(
    got,
    Array.from({ length: 30 }, (_, n) => `${n} secret ${n}`),
  );
  assert.deepEqual([ended, metadata.get('session')], [status.OK, ['trailer']]);
  assert.doesNotMatch(JSON.stringify(crossed), /secret/);
});

test('a message that cannot leave ends a stream, on both sides, and nobody who writes waits for ever', async (context) => {
  const cancelled = deferred();
  const seen: Fields[] = [];
  const Chat = (call: ServerDuplexStream<Fields, Fields>) => {
    call.on('data', (order: Fields) => seen.push(order));
    call.on('cancelled', () => cancelled.resolve());
  };
  const { vault, client } = await scene(context, { Chat });
  const call = client['Chat']?.(new Metadata(), { deadline: soon() });
  const failed = once(call, 'error');
  const write = (card_number: string) =>
    new Promise<void>((resolve) => (call.write as Method)({ card_number }, resolve));
  await write('4111');
  while (seen.length === 0) {
    await turn();
  }
  vault.fault = () => ['journal_full', 503, true];
  await Promise.all([write('5500'), write('6011')]);
  assert.equal((await failed)[0].code, status.UNAVAILABLE);
  await cancelled.promise;
  assert.equal(seen.length, 1);
});

test('the application that calls is told all of what went wrong in its own process', async (context) => {
  const lunasec = new LunaSec({ socket: '/nonexistent/lunasec.sock', telemetry: false, startDeadlineMs: 0 });
  const { client } = await scene(context, { Place: () => assert.fail('it left') }, { lunasec });
  const error = await unary(client, 'Place', { card_number: '4111' }).catch((caught: ServiceError) => caught);
  assert.match(`${error['details']}`, /^shop\.v1\.Order\.card_number: sidecar_unreachable: .*LUNASEC_SOCKET/);
});
