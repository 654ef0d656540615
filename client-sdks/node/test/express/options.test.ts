import assert from 'node:assert/strict';
import { test } from 'node:test';

import * as lunasec from '../../src/express/index.js';

test('an option that there is not is refused where the route is made', () => {
  for (const [make, words] of [
    [() => lunasec.tokenize('card', { expires_in: '1h' } as object), /^lunasec\.tokenize\(\) .* write expiresIn$/],
    [
      () => lunasec.verify({ body: 'card' }, { actions: ['update'] } as object),
      /^lunasec\.verify\(\) has no option actions/,
    ],
    [() => lunasec.grant('card', { expires_in: '1h' } as object), /write expiresIn$/],
    [() => lunasec.reveal('card', { on_unavailable: 'mask' } as object), /write onUnavailable$/],
  ] as const) {
    assert.throws(make, (error) => error instanceof TypeError && words.test(error.message));
  }
  assert.ok(lunasec.grant('card', { expiresIn: '1h', actions: ['metadata'], onUnavailable: 'skip', purpose: 'p' }));
});
