import assert from 'node:assert/strict';
import { test } from 'node:test';

import { compiled, NODE10, NODENEXT } from '../compiled.js';

/** An application, as strictly typed as can be; each line below an expected error must be one. */
const application = (express: string): string => `
import express = require('${express}');
import type { Request } from '${express}';
import * as lunasec from '@lunasec/node/express';
import { LunaSec } from '@lunasec/node';

const app = express();
app.use(lunasec.express({ session: (req) => req.get('x-session') }));
app.use(lunasec.express({ session: (req) => req.cookies.sid, client: new LunaSec() }));
app.use('/admin', lunasec.express({ session: async (req) => ({ id: \`\${req.url}\`, jwt: req.headers.authorization }) }));
app.use(lunasec.express({ session: (req: Request) => req.ip }));
app.use(lunasec.express({ session: (_req) => undefined }));
// @ts-expect-error a number is no session
app.use(lunasec.express({ session: () => 7 }));
// @ts-expect-error there has to be a session
app.use(lunasec.express({}));
// @ts-expect-error what masks is no client to count on
app.use(lunasec.express({ session: () => 'a', client: new LunaSec({ onUnavailable: 'mask' }) }));

app.post(
  '/customers/:id',
  lunasec.verify({ params: 'id', query: ['a?'], body: ['b'] }, { action: 'update' }),
  lunasec.tokenize(['card', 'items[].note?'], { expiresIn: '1h', metadata: { kind: 'card' }, tokens: 'granted' }),
  lunasec.grant('card', { expiresIn: '5m', onUnavailable: 'skip' }),
  lunasec.reveal('name', { onUnavailable: { fallback: (token, error) => token.expose() + error.code } }),
  async (req, res) => {
    const id: string = req.params.id;
    // @ts-expect-error the path's parameters are known as ever
    req.params.other;
    const text: string = req.body.whatever.it.is;
    res.locals['user'] = id;
    const degraded: boolean = res.locals.lunasec.degraded;
    // @ts-expect-error marks are read
    res.locals.lunasec.degraded = false;
    const { value } = await req.lunasec.detokenize(text);
    const shown = await req.lunasec.detokenize(text, { onUnavailable: 'mask' });
    // @ts-expect-error it may be masked
    shown.value;
    const rows: { name: string }[] = await req.lunasec.revealIn([{ name: text }], '[].name', { onUnavailable: 'mask' });
    res.status(201).json({ degraded, value: value.reveal(), rows });
  },
);
// @ts-expect-error no policy stands in for a write
lunasec.tokenize('card', { onUnavailable: 'mask' });
// @ts-expect-error nor for a verify
lunasec.verify({ body: 'card' }, { onUnavailable: 'mask' });
// @ts-expect-error there are no tokens in headers
lunasec.verify({ headers: 'card' });

const router = express.Router();
router.use(lunasec.reveal('name'));
app.use(router, lunasec.problems({ onError: (error, req) => [error.code, req.url] }));
`;

test('an application with the types of Express 4 compiles, as such applications are compiled', async () => {
  assert.equal(await compiled('express4', application('express4'), [...NODE10, '--skipLibCheck']), '');
});

test('an application with the types of Express 5 compiles', async () => {
  assert.equal(await compiled('express5', application('express5'), [...NODENEXT, '--skipLibCheck']), '');
});

test('neither entry needs the types of Express', async () => {
  const source = `
import { express, tokenize } from '@lunasec/node/express';
import { LunaSec } from '@lunasec/node';
const handlers = [express({ session: () => 'a', client: new LunaSec() }), tokenize('card')];
handlers.length;
`;
  assert.equal(await compiled('none', source, NODENEXT), '');
});
