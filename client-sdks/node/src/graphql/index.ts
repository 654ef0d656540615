/**
 * LunaSec in GraphQL schemas of graphql-js: see {@link lunasecDirectives}.
 *
 * @packageDocumentation
 */
export type { Beside, BesideFunction, TokenizePlace } from './inputs.js';
export { LunaSecSchemaError } from './problems.js';
export { type FieldPath, type LunaSecReport, takeReport } from './report.js';
export { lunasecApollo, lunasecYoga } from './servers.js';
export type { SessionFunction, SessionOfContext } from './sessions.js';
export { type LunaSecDirectivesOptions, lunasecDirectives } from './transform.js';
export { lunasecTypeDefs } from './typeDefs.js';
