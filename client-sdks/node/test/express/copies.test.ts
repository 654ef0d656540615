// Two copies of this package at work on one request.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as lunasec from '../../src/express/index.js';
import { InvalidRequest, LunaSecError } from '../../src/index.js';
import { copiesOf, pairs } from '../copies.js';
import { both, echo } from './apps.js';

for (const { name, one, other } of pairs(await copiesOf('/express', lunasec))) {
  both(
    `${name}: what is in a list is granted by one and revealed by the other`,
    (app) => {
      app.post('/', one.grant('[].name'), other.reveal('[].name'), (req, res) => void res.json(req.body));
    },
    async ({ ask, vault }) => {
      const body = [{ name: vault.keep('Zoë') }];
      assert.deepEqual((await ask('POST', '/', { session: 'alice', body })).json, [{ name: 'Zoë' }]);
    },
  );

  both(
    `${name}: the field that is to be mended is named`,
    (app) => {
      echo(app, '/', one.tokenize('items[].card'));
      app.use(other.problems());
    },
    async ({ ask }) => {
      const { status, json } = await ask('POST', '/', { body: { items: [{ card: 7 }] } });
      assert.deepEqual([status, json.field, json.detail], [400, 'items[].card', 'items[].card is not text']);
    },
  );

  both(
    `${name}: a request has one session`,
    (app) => {
      app.get('/', one.express({ session: () => 'somebody else' }), (_req, res) => void res.json('passed'));
    },
    async ({ ask, errors }) => {
      // What the application is bound by is of the sources.
      const { status } = await ask('GET', '/');
      assert.equal(status, 500);
      assert.match(String(errors[0]), /another lunasec\.express\(\) is before this one/);
    },
  );

  test(`${name}: an error of one is an error of the other, by its own class, too`, () => {
    const error = new one.FieldRefused('card', 'is missing');
    assert.ok(error instanceof other.FieldRefused && error instanceof InvalidRequest);
    assert.ok(error instanceof LunaSecError && error.name === 'FieldRefused');
    assert.ok(!(new InvalidRequest('words') instanceof other.FieldRefused));
  });
}
