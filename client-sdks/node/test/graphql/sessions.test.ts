// Whose a request is, seen from the other end of the socket.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';

import {
  type LunaSecDirectivesOptions,
  lunasecDirectives,
  lunasecTypeDefs,
  type SessionOfContext,
} from '@lunasec/node/graphql';
import { buildSchema, type ExecutionResult, graphql } from 'graphql';

import { Counted } from './counted.js';

interface Context {
  session: SessionOfContext;
}

const SDL = `
  type Query { value: String @detokenize, token: ID @grant, use(token: ID @verify): Boolean }
  type Mutation { value: String @detokenize, login(name: String @tokenize): ID @grant }
`;

let sidecar: Counted;

before(async () => {
  sidecar = await Counted.start();
});

beforeEach(() => {
  sidecar.sessions.length = 0;
});

after(() => sidecar.stop());

async function ask(
  source: string,
  context: Context,
  session: LunaSecDirectivesOptions<Context>['session'] = ({ session }) => session,
): Promise<ExecutionResult> {
  const token = sidecar.token('1');
  const rootValue = {
    value: token,
    token,
    use: () => true,
    login: (_args: object, its: Context) => {
      its.session = 'late';
      return token;
    },
  };
  const schema = lunasecDirectives<Context>(buildSchema(lunasecTypeDefs + SDL), { client: sidecar.client, session });
  return graphql({ schema, source, rootValue, contextValue: context });
}

const ALL = '{ value token use(token: "lunasec-1") }';

test('values, grants and verification are of one session', async () => {
  assert.equal((await ask(ALL, { session: 'alice' })).errors, undefined);
  assert.deepEqual(sidecar.sessions, ['alice', 'alice', 'alice']);
});

test('a JWT that proves it goes along, also where it is looked up', async () => {
  const { errors } = await ask(ALL, { session: undefined }, async () => ({ id: 'alice', jwt: 'a.b.c' }));
  assert.equal(errors, undefined);
  assert.deepEqual(sidecar.sessions, Array(3).fill('alice Bearer a.b.c'));
});

test('who logs in within a request is who it is from then on; tokenizing needs nobody', async () => {
  const { errors } = await ask('mutation { before: value login(name: "x") value }', { session: 'early' });
  assert.equal(errors, undefined);
  assert.deepEqual(sidecar.sessions, ['early', 'nobody', 'late', 'late']);
});

test('no session is nobody’s: nothing is asked', async () => {
  for (const session of [undefined, null, '', { id: '' }]) {
    const { errors } = await ask(ALL, { session });
    assert.deepEqual(
      errors?.map(({ extensions }) => extensions['code']),
      Array(3).fill('unauthenticated'),
    );
  }
  const { errors } = await ask(ALL, { session: 'a\nb' });
  assert.deepEqual(
    errors?.map(({ extensions }) => extensions['code']),
    Array(3).fill('invalid_request'),
  );
  assert.deepEqual(sidecar.sessions, []);
});
