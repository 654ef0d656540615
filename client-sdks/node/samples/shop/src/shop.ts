import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { LunaSec } from '@lunasec/node';
import * as lunasec from '@lunasec/node/express';
import express, { type ErrorRequestHandler, type Express, type RequestHandler } from 'express';

import { accounts, signUp } from './accounts.js';
import { type Database, openDatabase } from './database.js';
import { Refused } from './forms.js';
import { graphql } from './graphql.js';
import { html } from './html.js';
import { page } from './layout.js';
import { say } from './log.js';
import { Orders } from './orders.js';
import { People } from './people.js';
import { grantOwn } from './private.js';
import type { Settings } from './settings.js';
import { shopping } from './shopping.js';
import { staff } from './staff.js';
import { inTurn, Turns } from './turns.js';
import { fromOwnPages, only, Visitors } from './visitors.js';

/**
 * An order, a sign-up or an admin's look at an address waits no longer: the sidecar takes seven seconds at most until it
 * puts into its journal what storage does not take.
 */
const WRITE_PATIENCE_MS = 8_000;

export interface Shop {
  readonly url: string;
  close(): Promise<void>;
}

export async function openShop(settings: Settings): Promise<Shop> {
  const client = new LunaSec({ purpose: 'the own pages of a customer', deadlineMs: WRITE_PATIENCE_MS });
  const database = await openDatabase(settings.database, settings.directory);
  const app = await appOf(settings, database, client);
  const server = app.listen(settings.port, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://localhost:${(server.address() as AddressInfo).port}`,
    close: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
      await client.close();
      await database.close();
    },
  };
}

async function appOf(settings: Settings, database: Database, client: LunaSec): Promise<Express> {
  const people = new People(database, settings.secret);
  const orders = new Orders(database);
  const visitors = new Visitors(database, settings.secret);
  const turns = new Turns(settings.requestsPerMinute);
  await people.addStaff('support@shop.example', 'support', settings.staffPassword);
  await people.addStaff('admin@shop.example', 'admin', settings.staffPassword);

  const app = express();
  app.disable('x-powered-by');
  app.use(logged, guarded);
  app.use(express.static(fileURLToPath(new URL('../../public', import.meta.url))));
  app.use(express.urlencoded({ extended: false, limit: '16kb' }));
  app.use(visitors.find(), inTurn(turns), fromOwnPages);
  app.use(lunasec.express({ client, session: (req) => req.visitor.session }));
  app.use(grantOwn(people, visitors, settings.grant));
  app.use('/graphql', only('customer'), express.json({ limit: '16kb' }), graphql(client, people, orders, turns));
  app.use(signUp(people, visitors), accounts(people, visitors));
  app.use(shopping(people, orders), staff(orders, settings.reveal));
  app.use(() => {
    throw new Refused(404, 'There is nothing here.');
  });
  app.use(sorry);
  return app;
}

/** Who, when and how it went, and why not as it should; neither what was sent nor what was asked for behind the path. */
const logged: RequestHandler = (req, res, next) => {
  const start = Date.now();
  const { path } = req;
  res.once('finish', () => {
    const { reasons = [] } = (res.locals.lunasec ?? {}) as Partial<lunasec.Marks>;
    const degraded = reasons.length > 0 ? `, degraded: ${reasons.join()}` : '';
    say(`${req.method} ${path} ${res.statusCode} ${Date.now() - start} ms${degraded}`);
  });
  next();
};

const guarded: RequestHandler = (_req, res, next) => {
  res.set({
    'cache-control': 'no-store',
    'content-security-policy':
      "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    'referrer-policy': 'same-origin',
    'x-content-type-options': 'nosniff',
  });
  next();
};

/** A page for whatever went wrong. LunaSec's errors have their status and words in `problemOf`. */
const sorry: ErrorRequestHandler = (error: unknown, req, res, next) => {
  if (res.headersSent) {
    next(error);
    return;
  }
  const { status, detail, retry_after_ms: wait } = lunasec.problemOf(error) ?? wordsOf(error);
  if (wait !== undefined) {
    res.set('retry-after', String(Math.ceil(wait / 1_000)));
  }
  if (status >= 500) {
    say(error instanceof Error ? String(error.stack) : 'something was thrown');
  }
  page(
    req,
    res.status(status),
    status === 503 ? 'Not just now' : 'Sorry',
    html`<div class="card"><p id="sorry">${detail}</p><a href="/">Back to the shop</a></div>`,
  );
};

function wordsOf(error: unknown): { status: number; detail: string; retry_after_ms?: number } {
  if (error instanceof Refused) {
    return { status: error.status, detail: error.message };
  }
  const { status } = error as { status?: unknown };
  return typeof status === 'number' && status < 500
    ? { status, detail: 'This was not understood.' }
    : { status: 500, detail: 'Something went wrong on our side.' };
}
