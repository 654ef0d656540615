/**
 * LunaSec in Express 4 and 5:
 *
 * ```ts
 * import * as lunasec from '@lunasec/node/express';
 *
 * app.use(lunasec.express({ session: (req) => req.sessionID }));
 * app.post('/cards', lunasec.tokenize('card.number'), (req, res) => …);
 * app.use(lunasec.problems());
 * ```
 *
 * @packageDocumentation
 */
export { FieldRefused } from './draft.js';
export { type ExpressOptions, express, type SessionOf } from './express.js';
export type { Fields } from './fields.js';
export { type GrantIn, type GrantRoute, grant } from './grant.js';
export type { Marks } from './marks.js';
export { type Problem, type ProblemsOptions, problemOf, problems } from './problems.js';
export type { RequestLunaSec } from './request.js';
export { type RevealIn, type RevealRoute, reveal } from './reveal.js';
export { type TokenizeRoute, tokenize } from './tokenize.js';
export type { ErrorHandler, Handler, Next, RequestLike, ResponseLike } from './types.js';
export { type VerifyFields, type VerifyRoute, verify } from './verify.js';
