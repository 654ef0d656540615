import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';

import * as lunasec from '../../src/express/index.js';
import * as errors from '../../src/index.js';
import { type App, both } from './apps.js';

const told: string[] = [];

/** Fails with one error. */
function failing(error: unknown): (app: App) => void {
  return (app) => {
    app.get('/', (_req, _res, next) => next(error));
    app.use(lunasec.problems({ onError: ({ code }) => told.push(code) }));
  };
}

const SECRET = 'SECRET lunasec-00000000-0000-4000-8000-000000000001';
const facts = { requestId: 'r-1', retryAfterMs: 1_500, cause: new Error(SECRET) };
const ANSWERS: readonly [errors.LunaSecError, number, string, string | null][] = [
  [new errors.InvalidRequest(SECRET, facts), 400, 'invalid_request', null],
  [new errors.InvalidToken(SECRET, facts), 400, 'invalid_token', null],
  [new errors.Unauthenticated(SECRET, facts), 401, 'unauthenticated', null],
  [new errors.Forbidden(SECRET, facts), 403, 'forbidden', null],
  [new errors.GrantDenied(SECRET, facts), 403, 'grant_denied', null],
  [new errors.GrantExpired(SECRET, facts), 403, 'grant_expired', null],
  [new errors.NotFound(SECRET, facts), 404, 'not_found', null],
  [new errors.Conflict(SECRET, facts), 409, 'conflict', null],
  [new errors.Expired(SECRET, facts), 410, 'expired', null],
  [new errors.PayloadTooLarge(SECRET, facts), 413, 'payload_too_large', null],
  [new errors.RateLimited(SECRET, facts), 429, 'rate_limited', '2'],
  [new errors.RateLimited(SECRET), 429, 'rate_limited', '1'],
  [new errors.RateLimited(SECRET, { retryAfterMs: 0 }), 429, 'rate_limited', '1'],
  [new errors.Overloaded(SECRET, facts), 503, 'overloaded', '2'],
  [new errors.SidecarUnreachable(SECRET), 503, 'sidecar_unreachable', '1'],
  [new errors.StorageUnavailable(SECRET, { ...facts, retryAfterMs: 30_000 }), 503, 'storage_unavailable', '30'],
  [new errors.KeysUnavailable(SECRET, facts), 503, 'keys_unavailable', '2'],
  [new errors.JournalFull(SECRET, facts), 503, 'journal_full', '2'],
  [new errors.DeadlineExceeded(SECRET, facts), 503, 'deadline_exceeded', '2'],
  [new errors.InvalidNamespace(SECRET, facts), 500, 'internal', null],
  [new errors.MethodNotAllowed(SECRET, facts), 500, 'internal', null],
  [new errors.UnsupportedMediaType(SECRET, facts), 500, 'internal', null],
  [new errors.Corrupted(SECRET, facts), 500, 'internal', null],
  [new errors.Internal(SECRET, facts), 500, 'internal', null],
  [new errors.ProtocolError(SECRET, facts), 500, 'internal', null],
  [new errors.LunaSecError('constructor', SECRET, facts), 500, 'internal', null],
];
for (const [error, status, code, after] of ANSWERS) {
  both(
    `${error.code} (${error.retryAfterMs}) is answered with ${status}, and nothing of its cause`,
    failing(error),
    async (scene) => {
      const { ask, errors: others } = scene;
      const reply = await ask('GET', '/');
      assert.deepEqual(
        [reply.status, reply.json.status, reply.json.code, reply.headers.get('retry-after')],
        [status, status, code, after],
      );
      assert.equal(reply.headers.get('content-type'), 'application/problem+json');
      assert.equal(reply.json.type, `urn:lunasec:error:${code}`);
      assert.equal(reply.json.request_id, error.requestId);
      assert.equal(reply.json.retryable, after !== null);
      assert.doesNotMatch(reply.text + JSON.stringify([...reply.headers]), /SECRET|lunasec-0/);
      assert.equal(told.pop(), error.code);
      assert.deepEqual(others, []);
    },
  );
}

test('every class of errors is in that table', () => {
  const abstract = ['LunaSecError', 'BadRequest', 'AccessDenied', 'Gone', 'Unavailable', 'SidecarFailed'];
  const all = Object.values(errors).filter((each) => Object.prototype.isPrototypeOf.call(errors.LunaSecError, each));
  const seen = new Set([...ANSWERS.map(([{ name }]) => name), ...abstract]);
  assert.deepEqual(
    all.map(({ name }) => name).filter((name) => !seen.has(name)),
    [],
  );
  assert.ok(all.length > 20);
});

/** What an application's own log may come to. */
const UNTOLD: readonly (readonly [string, () => unknown])[] = [
  [
    'throws',
    () => {
      throw new Error('of the log');
    },
  ],
  ['rejects', () => Promise.reject(new Error('of the log'))],
  [
    'gives something else that rejects',
    // biome-ignore lint/suspicious/noThenProperty: that is what is meant
    () => ({ then: (_: unknown, no: (error: Error) => void) => no(new Error('of the log')) }),
  ],
  ['throws what is no error', () => Promise.reject(Object.create(null))],
];
for (const [what, onError] of UNTOLD) {
  both(
    `an onError that ${what} ends neither the answer nor the process`,
    (app) => {
      app.get('/', (_req, _res, next) => next(new errors.GrantDenied('words')));
      app.use(lunasec.problems({ onError }));
    },
    async ({ ask, errors: others }) => {
      const warned = once(process, 'warning') as Promise<[Error]>;
      assert.equal((await ask('GET', '/')).status, 403);
      assert.match(String((await warned)[0]), /of the log|it threw what is no error/);
      assert.deepEqual(others, []);
    },
  );
}

const own = new Error('not ours');
both("others' errors go on", failing(own), async ({ ask, errors: others }) => {
  assert.deepEqual((await ask('GET', '/')).json, { own: 'handler' });
  assert.deepEqual(others, [own]);
});

both(
  'an answer that has begun is not begun again',
  (app) => {
    app.get('/', (_req, res, next) => {
      res.write('begun');
      next(new errors.NotFound('gone'));
    });
  },
  async ({ ask, errors: others }) => {
    await assert.rejects(ask('GET', '/'));
    assert.equal((others[0] as errors.LunaSecError).code, 'not_found');
  },
);

test('problemOf gives the same for handlers of your own, and nothing for what is not ours', () => {
  assert.equal(lunasec.problemOf(new errors.GrantDenied('x'))?.status, 403);
  assert.equal(lunasec.problemOf(own), undefined);
  assert.equal(lunasec.problemOf(undefined), undefined);
});
