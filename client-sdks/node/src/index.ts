/**
 * LunaSec tokenization from Node.js: see {@link LunaSec}, which everything begins with.
 *
 * @packageDocumentation
 */
export { type ClientOptions, LunaSec, type SessionOptions, type ViewOptions } from './client.js';
export * from './errors.js';
export type { OperationName } from './operation.js';
export type { Action, TokenizeItem } from './operations.js';
export type { FallbackTo, MaskWith, OnUnavailable, Revealed } from './policy.js';
export { Plaintext, type PlaintextLike, Token, type TokenLike } from './redacted.js';
export type * from './results.js';
export type { RetryOptions } from './retry.js';
export { type GrantOptions, LunaSecSession, type VerifyOptions } from './session.js';
export type { OpenTelemetry } from './telemetry.js';
export {
  type CallOptions,
  type MetadataSetOptions,
  type ReadOptions,
  type TokenizeBatchOptions,
  type TokenizeOptions,
  Tokenizer,
} from './tokenizer.js';
