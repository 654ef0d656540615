/**
 * Interceptors for `@grpc/grpc-js`: what happens to fields is said in .proto files, see `lunasec/options.proto`.
 *
 * @packageDocumentation
 */
export type { GrpcCall, SessionOf, SessionWithJwt } from './caller.js';
export { type ClientInterceptorOptions, clientInterceptor } from './client.js';
export type { InterceptorOptions } from './options.js';
export { PROTO_DIR, Protos, type ProtosOptions } from './protos.js';
export type { Reflected, ReflectedRoot } from './reflection.js';
export { FieldRuleError } from './rules.js';
export { type ServerInterceptorOptions, serverInterceptor } from './server.js';
