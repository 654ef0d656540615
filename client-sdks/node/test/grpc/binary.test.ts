import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, test } from 'node:test';

import {
  type Metadata,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';

import { clientInterceptor, serverInterceptor } from '../../src/grpc/index.js';
import type { LunaSec, OnUnavailable } from '../../src/index.js';
import { type Cleanup, type Fields, of, protos, shop, soon, unary } from './shop.js';
import { Sidecar } from './sidecar.js';

let sidecar: Sidecar;
before(async () => {
  sidecar = await Sidecar.start();
});
after(() => sidecar.stop());

/** A shop that keeps what it gets and gives it back. */
async function scene(context: Cleanup, lunasec: LunaSec<OnUnavailable> = sidecar.client) {
  const kept: Fields[] = [];
  const Place = ({ request }: ServerUnaryCall<Fields, Fields>, done: sendUnaryData<Fields>) => {
    kept.push(request);
    done(null, { id: request['id'], both: request['new_or_saved'] });
  };
  const Chat = (call: ServerDuplexStream<Fields, Fields>) => {
    call.on('data', (order: Fields) => call.write({ id: order['id'], both: order['new_or_saved'] }));
    call.on('end', () => call.end());
  };
  const Echo = ({ request }: ServerUnaryCall<Fields, Fields>, done: sendUnaryData<Fields>) => {
    kept.push(request);
    done(null, request);
  };
  const interceptor = serverInterceptor({ lunasec, protos: protos(), session: 'session' });
  const service = await shop(context, [interceptor], { Orders: { Place, Chat }, Shapes: { Echo } });
  const client = service.client('Orders');
  return { kept, service, place: (message: Fields, metadata: Metadata) => unary(client, 'Place', message, metadata) };
}

test('with a sidecar that asks for grants: mine is kept as a token and shown to me, and to nobody else', async (context) => {
  const { kept, place } = await scene(context);
  assert.equal((await place({ new_or_saved: '4111' }, of('alice')))['both'], '4111');
  const token = kept[0]?.['new_or_saved'] as string;
  assert.match(token, /^lunasec-/);
  assert.equal((await place({ new_or_saved: token }, of('alice')))['both'], '4111');
  const denied = (error: ServiceError) => error.code === status.PERMISSION_DENIED && /grant_denied/.test(error.details);
  await assert.rejects(place({ new_or_saved: token }, of('bob')), denied);
  assert.equal(kept.length, 2);
});

test('what is no token is not verified, and a token of nothing is refused', async (context) => {
  const { kept, place } = await scene(context);
  const wrong = (code: status) => (error: ServiceError) => error.code === code;
  await assert.rejects(place({ saved_cards: ['4111'] }, of('alice')), wrong(status.INVALID_ARGUMENT));
  const none = 'lunasec-00000000-0000-4000-8000-000000000000';
  await assert.rejects(place({ saved_cards: [none] }, of('alice')), wrong(status.PERMISSION_DENIED));
  assert.equal(kept.length, 0);
});

test('both ends with a sidecar: only tokens cross, and the session sees its own', async (context) => {
  const all = { lunasec: sidecar.client, protos: protos(), session: 'session' };
  const kept: Fields[] = [];
  const Place = ({ request }: ServerUnaryCall<Fields, Fields>, done: sendUnaryData<Fields>) => {
    kept.push(request);
    done(null, { both: request['new_or_saved'] });
  };
  const service = await shop(context, [serverInterceptor({ ...all, edge: 'client' })], { Orders: { Place } });
  const client = service.client('Orders', { interceptors: [clientInterceptor(all)] });
  const value = 'Zoë 👩‍🚀';
  assert.equal((await unary(client, 'Place', { new_or_saved: value }, of('alice')))['both'], value);
  const plain = await unary(
    service.client('Orders'),
    'Place',
    { new_or_saved: kept[0]?.['new_or_saved'] },
    of('alice'),
  );
  assert.equal(plain['both'], kept[0]?.['new_or_saved']);
});

test('bytes and empty values are values', async (context) => {
  const { kept, service } = await scene(context);
  const message = { scan: Buffer.from([0xff, 0x00]), maybe_empty: '', address_lines: ['', 'a'] };
  const denied = (error: ServiceError) => error.code === status.PERMISSION_DENIED;
  // These fields grant nothing, and this sidecar asks for grants.
  await assert.rejects(unary(service.client('Shapes'), 'Echo', message, of('alice')), denied);
  const { scan, maybe_empty, address_lines } = kept[0] as {
    scan: Buffer;
    maybe_empty: string;
    address_lines: string[];
  };
  const alice = sidecar.client.forSession('alice');
  const tokens = [scan.toString(), maybe_empty, ...address_lines];
  await alice.grant(tokens);
  const values = await Promise.all(tokens.map((token) => alice.detokenize(token)));
  assert.deepEqual(
    values.map((each) => each.value.revealBytes().toString('hex')),
    ['ff00', '', '', '61'],
  );
});

test('fifty streams of fifty sessions', async (context) => {
  const { service } = await scene(context);
  const client = service.client('Orders');
  const one = async (n: number) => {
    const call = client['Chat']?.(of(`session ${n}`), { deadline: soon() });
    const got: string[] = [];
    call.on('data', ({ both }: Fields) => got.push(both as string));
    for (let m = 0; m < 5; m += 1) {
      call.write({ new_or_saved: `card ${n} ${m}` });
    }
    call.end();
    const [{ code }] = await once(call, 'status');
    assert.deepEqual([code, got], [status.OK, Array.from({ length: 5 }, (_, m) => `card ${n} ${m}`)]);
  };
  await Promise.all(Array.from({ length: 50 }, (_, n) => one(n)));
});

test('the sidecar is killed: calls say UNAVAILABLE, or show masks, and work again when it is back', async (context) => {
  const strict = await scene(context);
  await strict.place({ new_or_saved: '4111' }, of('alice'));
  const token = strict.kept[0]?.['new_or_saved'] as string;
  await sidecar.kill();
  const away = (error: ServiceError) => error.code === status.UNAVAILABLE;
  await assert.rejects(strict.place({ new_or_saved: token }, of('alice')), away);
  await assert.rejects(strict.place({ card_number: '5500' }, of('alice')), away);
  assert.equal(strict.kept.length, 1);
  await sidecar.again();
  assert.equal((await strict.place({ new_or_saved: token }, of('alice')))['both'], '4111');
});
