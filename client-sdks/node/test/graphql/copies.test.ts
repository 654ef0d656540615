// Two copies of this package at work on one schema.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildSchema, graphql } from 'graphql';

import * as ours from '../../src/graphql/index.js';
import { LunaSec } from '../../src/index.js';
import { copiesOf, pairs } from '../copies.js';

for (const { name, one, other } of pairs(await copiesOf('/graphql', ours))) {
  const schemaOf = () =>
    buildSchema(`${one.lunasecTypeDefs} type Query { a: String @detokenize(onUnavailable: MASK) }`);
  const client = new LunaSec({ socket: '/nowhere', startDeadlineMs: 0, telemetry: false });

  test(`${name}: the directives of a schema are made to work once`, () => {
    const schema = one.lunasecDirectives(schemaOf(), { client });
    assert.throws(() => other.lunasecDirectives(schema, { client }), one.LunaSecSchemaError);
    assert.ok(!(new Error('x') instanceof one.LunaSecSchemaError));
  });

  test(`${name}: what is masked is said by the plugins of either`, async () => {
    const schema = one.lunasecDirectives(schemaOf(), { client });
    const contextValue = Object.freeze({});
    const answer = await graphql({ schema, source: '{ a }', rootValue: { a: 'lunasec-1' }, contextValue });
    assert.deepEqual({ ...answer.data }, { a: '••••' });
    assert.deepEqual(other.takeReport(contextValue)?.reasons, ['sidecar_unreachable']);
  });
}
