import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';

import {
  type Metadata,
  type ServerDuplexStream,
  ServerInterceptingCall,
  type ServerInterceptor,
  type ServerReadableStream,
  type ServerWritableStream,
  type ServiceError,
  type sendUnaryData,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';

import { serverInterceptor } from '../../src/grpc/index.js';
import { deferred } from '../fake.js';
import { type Cleanup, type Fields, of, protos, type Shop, shop, soon } from './shop.js';
import { Vault } from './vault.js';

type Duplex = ServerDuplexStream<Fields, Fields>;

async function scene(
  context: Cleanup,
  Orders: UntypedServiceImplementation,
  others: ServerInterceptor[] = [],
): Promise<{ vault: Vault; service: Shop }> {
  const vault = new Vault();
  const interceptor = serverInterceptor({ lunasec: vault.client(), protos: protos(), session: 'session' });
  return { vault, service: await shop(context, [interceptor, ...others], { Orders }) };
}

/** All that a call gives, and what it ended with. */
async function all(call: AsyncIterable<Fields>): Promise<{ got: Fields[]; error: ServiceError | undefined }> {
  const got: Fields[] = [];
  try {
    for await (const message of call) {
      got.push(message);
    }
    return { got, error: undefined };
  } catch (error) {
    return { got, error: error as ServiceError };
  }
}

function chat(service: Shop, metadata: Metadata = of('alice'), options = {}) {
  const call = service.client('Orders')['Chat']?.(metadata, { deadline: soon(), ...options });
  call.on('error', () => undefined);
  return call;
}

/** Gives each card back that it gets. Not by `for await`, which destroys a stream of both ways at the end of one. */
function echo(call: Duplex): void {
  call.on('data', ({ id, card_number }: Fields) => call.write({ id, card_number }));
  call.on('end', () => call.end());
}

test('client streaming: each message is tokenized, in order, also where the sidecar answers out of order', async (context) => {
  const seen: Fields[] = [];
  const Import = async (call: ServerReadableStream<Fields, Fields>, done: sendUnaryData<Fields>) => {
    for await (const order of call) {
      seen.push(order);
    }
    done(null, { id: `${seen.length}` });
  };
  const { vault, service } = await scene(context, { Import });
  let asked = 0;
  vault.fault = async () => {
    asked += 1;
    for (let turns = asked % 3; turns > 0; turns -= 1) {
      await turn();
    }
    return undefined;
  };
  const answer = deferred<Fields>();
  const call = service
    .client('Orders')
    ['Import']?.(of('alice'), (_: unknown, receipt: Fields) => answer.resolve(receipt));
  for (let n = 0; n < 50; n += 1) {
    call.write({ id: `${n}`, card_number: `card ${n}` });
  }
  call.end();
  assert.equal((await answer.promise)['id'], '50');
  assert.deepEqual(
    seen.map(({ id, card_number }) => [id, vault.value(card_number as string)]),
    Array.from({ length: 50 }, (_, n) => [`${n}`, `card ${n}`]),
  );
});

test('server streaming: each message is revealed, in order, and the trailers come last', async (context) => {
  const trailer = of('trailer');
  const List = (call: ServerWritableStream<Fields, Fields>) => {
    for (let n = 0; n < 50; n += 1) {
      call.write({ id: `${n}`, card_number: vault.token(`card ${n}`) });
    }
    call.end(trailer);
  };
  const { vault, service } = await scene(context, { List });
  const call = service.client('Orders')['List']?.({ id: 'x' }, { deadline: soon() });
  const ended = once(call, 'status');
  const { got } = await all(call);
  assert.deepEqual(
    got.map(({ id, card_number }) => `${id} ${card_number}`),
    Array.from({ length: 50 }, (_, n) => `${n} card ${n}`),
  );
  assert.deepEqual((await ended)[0].metadata.get('session'), ['trailer']);
});

test('both ways, a message at a time', async (context) => {
  const { vault, service } = await scene(context, { Chat: echo });
  const call = chat(service);
  for (let n = 0; n < 10; n += 1) {
    call.write({ id: `${n}`, card_number: `card ${n}` });
    const [back] = await once(call, 'data');
    assert.deepEqual([back.id, back.card_number], [`${n}`, `card ${n}`]);
  }
  call.end();
  assert.deepEqual((await all(call)).got, []);
  assert.deepEqual(vault.counts, { tokenize: 10, detokenize: 10 });
});

test('a refusal in the middle of a stream ends it: what came before is there, the handler is told', async (context) => {
  const cancelled = deferred<string[]>();
  const seen: string[] = [];
  const Chat = (call: Duplex) => {
    call.on('data', ({ id }: Fields) => {
      seen.push(id as string);
      call.write({ id });
    });
    call.on('cancelled', () => cancelled.resolve(seen));
  };
  const { vault, service } = await scene(context, { Chat });
  const call = chat(service, of('bob'));
  const [mine, hers] = [vault.grant('bob', vault.token('mine')), vault.token('hers')];
  for (const [id, token] of [
    ['0', mine],
    ['1', hers],
    ['2', mine],
  ]) {
    call.write({ id, saved_cards: [token] });
  }
  const { got, error } = await all(call);
  assert.deepEqual([got.map(({ id }) => id), error?.code], [['0'], status.PERMISSION_DENIED]);
  assert.deepEqual(await cancelled.promise, ['0']);
});

test('what a handler wrote before a refusal is sent, however long the sidecar takes for it', async (context) => {
  let wrote = 0;
  const ended: string[] = [];
  const written = deferred();
  const refused = deferred();
  const cancelled = deferred();
  const Chat = (call: Duplex) => {
    call.on('data', ({ id }: Fields) => {
      call.write({ id, card_number: vault.token(`card ${id}`) });
      wrote += 1;
      if (wrote === 50) {
        written.resolve();
      }
    });
    call.on('end', () => ended.push('end'));
    call.on('cancelled', () => cancelled.resolve());
  };
  const { vault, service } = await scene(context, { Chat });
  vault.fault = async ({ path, body }) => {
    if (path.startsWith('/v1/detokenize')) {
      await refused.promise;
    } else if (`${body['tokens']}`.includes(hers)) {
      await written.promise;
      setImmediate(() => refused.resolve());
    }
    return undefined;
  };
  const [mine, hers] = [vault.grant('bob', vault.token('mine')), vault.token('hers')];
  const call = chat(service, of('bob'));
  for (let n = 0; n < 50; n += 1) {
    call.write({ id: `${n}`, saved_cards: [mine] });
  }
  call.write({ id: 'refused', saved_cards: [hers] });
  call.write({ id: 'after', saved_cards: [mine] });
  call.end();
  const { got, error } = await all(call);
  assert.deepEqual(
    got.map(({ card_number }) => card_number),
    Array.from({ length: 50 }, (_, n) => `card ${n}`),
  );
  assert.equal(error?.code, status.PERMISSION_DENIED);
  await cancelled.promise;
  assert.deepEqual([wrote, ended, vault.counts['grants/verify']], [50, [], 51]);
});

test('a handler that goes on writing does not keep a refused call alive', async (context) => {
  const cancelled = deferred();
  const Chat = (call: Duplex) => {
    // Writes the next one before the last one is through, for ever.
    const more = (): void => void (call.cancelled || call.write({ id: 'x' }, more));
    call.on('cancelled', () => cancelled.resolve());
    call.once('data', () => [1, 2, 3].forEach(more));
  };
  const { vault, service } = await scene(context, { Chat });
  const endless = chat(service, of('bob'));
  endless.write({ id: '0' });
  endless.write({ id: '1', saved_cards: [vault.token('hers')] });
  const { got, error } = await all(endless);
  assert.equal(error?.code, status.PERMISSION_DENIED);
  assert.ok(got.length >= 1_000, `${got.length}`);
  await cancelled.promise;
});

test('… nor does a sidecar that never answers, longer than the deadline', async (context) => {
  const { vault, service } = await scene(context, { Chat: echo });
  vault.fault = ({ path }) => (path.startsWith('/v1/detokenize') ? new Promise(() => undefined) : undefined);
  const call = chat(service, of('bob'), { deadline: Date.now() + 300 });
  call.write({ card_number: 'card' });
  call.write({ saved_cards: [vault.token('hers')] });
  assert.equal((await all(call)).error?.code, status.DEADLINE_EXCEEDED);
  await vault.gaveUp();
});

test('a response that cannot be made ends a stream after what came before, and its handler is told', async (context) => {
  const cancelled = deferred();
  const List = (call: ServerWritableStream<Fields, Fields>) => {
    call.on('cancelled', () => cancelled.resolve());
    call.write({ id: '0', card_number: vault.token('card') });
    call.write({ id: '1', card_number: 'lunasec-00000000-0000-4000-8000-000000000000' });
    call.write({ id: '2', card_number: vault.token('card') });
    call.end();
  };
  const { vault, service } = await scene(context, { List });
  vault.fault = ({ body }) => (`${body['token']}`.endsWith('-000000000000') ? ['not_found', 404, false] : undefined);
  const { got, error } = await all(service.client('Orders')['List']?.({}, { deadline: soon() }));
  assert.deepEqual([got.map(({ id }) => id), error?.code], [['0'], status.NOT_FOUND]);
  await cancelled.promise;
});

test("a handler's error comes after what it wrote before", async (context) => {
  const List = (call: ServerWritableStream<Fields, Fields>) => {
    call.write({ id: '0', card_number: vault.token('card') });
    call.emit('error', { code: status.FAILED_PRECONDITION, details: 'enough' });
  };
  const { vault, service } = await scene(context, { List });
  const { got, error } = await all(service.client('Orders')['List']?.({}, { deadline: soon() }));
  assert.deepEqual([got.length, error?.code, error?.details], [1, status.FAILED_PRECONDITION, 'enough']);
});

test('an answer that takes its time is followed by its status', async (context) => {
  const gate = deferred();
  const Import = (call: ServerReadableStream<Fields, Fields>, done: sendUnaryData<Fields>) => {
    call.once('data', () => {
      done(null, { card_number: vault.token('card') });
      setImmediate(() => gate.resolve());
    });
  };
  const { vault, service } = await scene(context, { Import });
  vault.fault = async ({ path }) => (path === '/v1/detokenize' ? gate.promise.then(() => undefined) : undefined);
  const answer = deferred<Fields>();
  const call = service.client('Orders')['Import']?.((_: unknown, receipt: Fields) => answer.resolve(receipt));
  call.write({ id: '0' });
  assert.equal((await answer.promise)['card_number'], 'card');
});

test('a status that comes while a message is being worked on waits for it', async (context) => {
  const last: ServerInterceptor = (_, next) =>
    new ServerInterceptingCall(next, {
      sendMessage: (message, send) => {
        send(message);
        next.sendStatus({ code: status.OK, details: '' });
      },
    });
  const List = (call: ServerWritableStream<Fields, Fields>) => void call.write({ card_number: vault.token('card') });
  const { vault, service } = await scene(context, { List }, [last]);
  const { got, error } = await all(service.client('Orders')['List']?.({}, { deadline: soon() }));
  assert.deepEqual([got.map(({ card_number }) => card_number), error], [['card'], undefined]);
});

test('who does not read is not written to: a stream is as slow as its reader', async (context) => {
  let written = 0;
  const List = async (call: ServerWritableStream<Fields, Fields>) => {
    const card_number = vault.token('x'.repeat(100_000));
    for (; written < 400; written += 1) {
      if (!call.write({ card_number })) {
        await once(call, 'drain');
      }
    }
    call.end();
  };
  const { vault, service } = await scene(context, { List });
  const call = service.client('Orders')['List']?.({}, { deadline: soon() });
  await once(call, 'readable');
  let before = -1;
  while (before !== written) {
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.ok(written < 100, `${written} messages were written, and one was read`);
  assert.equal((await all(call)).got.length, 400);
});

test('who writes faster than the sidecar answers waits: a message is worked on at a time', async (context) => {
  const { vault, service } = await scene(context, { Chat: echo });
  let open = 0;
  let most = 0;
  vault.fault = async () => {
    open += 1;
    most = Math.max(most, open);
    await turn();
    open -= 1;
    return undefined;
  };
  const call = chat(service);
  for (let n = 0; n < 100; n += 1) {
    call.write({ card_number: 'card' });
  }
  call.end();
  assert.equal((await all(call)).got.length, 100);
  assert.ok(most <= 2, `${most} at once: one of each direction`);
});

for (const how of ['cancelled', 'over its deadline'] as const) {
  test(`a call that is ${how} gives up what it asked the sidecar`, async (context) => {
    const { vault, service } = await scene(context, { Chat: echo });
    const came = deferred();
    vault.fault = () => {
      came.resolve();
      return new Promise(() => undefined);
    };
    const call = chat(service, of('alice'), how === 'cancelled' ? {} : { deadline: Date.now() + 300 });
    call.write({ card_number: '4111' });
    await came.promise;
    if (how === 'cancelled') {
      call.cancel();
    }
    const { error } = await all(call);
    assert.equal(error?.code, how === 'cancelled' ? status.CANCELLED : status.DEADLINE_EXCEEDED);
    await vault.gaveUp();
  });
}

test('a hundred streams of a hundred sessions at once do not mix', async (context) => {
  const Chat = (call: Duplex) => {
    const [owner] = call.metadata.get('session');
    call.on('data', ({ id, new_or_saved }: Fields) => {
      assert.ok(vault.granted(`${owner}`, new_or_saved as string));
      call.write({ id, both: new_or_saved });
    });
    call.on('end', () => call.end());
  };
  const { vault, service } = await scene(context, { Chat });
  const client = service.client('Orders');
  const one = async (n: number) => {
    const call = client['Chat']?.(of(`session ${n}`), { deadline: soon() });
    for (let m = 0; m < 10; m += 1) {
      call.write({ id: `${m}`, new_or_saved: `card ${n} ${m}` });
    }
    call.end();
    const { got, error } = await all(call);
    assert.equal(error, undefined);
    assert.deepEqual(
      got.map(({ both }) => both),
      Array.from({ length: 10 }, (_, m) => `card ${n} ${m}`),
    );
  };
  await Promise.all(Array.from({ length: 100 }, (_, n) => one(n)));
  for (const { path, session, body } of vault.asked) {
    const values = JSON.stringify(body).match(/card \d+/g) ?? [];
    assert.ok(
      values.every((value) => `session ${value.slice(5)}` === session),
      path,
    );
  }
});
