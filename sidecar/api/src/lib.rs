//! The wire contract of the LunaSec sidecar: JSON bodies, gRPC messages and error codes. No I/O, no cryptography.
//!
//! | route | request | answer |
//! | --- | --- | --- |
//! | POST /v1/tokenize | [`TokenizeRequest`] | [`Tokenized`] |
//! | POST /v1/tokenize:batch | [`TokenizeBatch`] | [`Items`] of [`Tokenized`] or [`ItemError`] |
//! | POST /v1/detokenize | [`TokenRequest`] | [`Detokenized`] |
//! | POST /v1/detokenize:batch | [`TokensRequest`] | [`Items`] of [`Detokenized`] or [`ItemError`] |
//! | POST /v1/metadata/get | [`TokenRequest`] | [`Metadata`] |
//! | POST /v1/metadata/set | [`MetadataSet`] | [`MetadataWritten`] |
//! | POST /v1/grants/create | [`GrantsCreate`] | [`Items`] of [`Granted`] or [`ItemError`] |
//! | POST /v1/grants/verify | [`GrantsVerify`] | [`Items`] of [`Verified`] or [`ItemError`] |
//! | POST /v1/grants/revoke | [`GrantsRevoke`] | [`Revoked`] |
//! | POST /v1/delete | [`TokensRequest`] | [`Items`] of [`Deleted`] or [`ItemError`] |
//! | POST /v1/canaries/create | [`CanaryRequest`] | [`Tokenized`] |
//! | POST /v1/sweep | [`SweepRequest`] | [`SweepPage`] |
//! | GET /v1/status | | [`Status`] |
//!
//! gRPC has the same operations, in `proto/lunasec/v1/tokenizer.proto` and, with the feature `grpc`, in
//! the module of that name.
//!
//! Every error body is a [`Problem`] (RFC 9457, `application/problem+json`).

mod bodies;
mod code;
#[cfg(feature = "grpc")]
pub mod grpc;
mod list;
mod named;

pub use bodies::*;
pub use code::Code;
pub use named::Named;

/// Request header: the namespace, else `default`.
pub const NAMESPACE_HEADER: &str = "lunasec-namespace";
/// Request header: the end user's session, where the policy asks for a grant.
pub const SESSION_HEADER: &str = "lunasec-session";
/// Request header: what a value is revealed for, where the policy asks for it.
pub const PURPOSE_HEADER: &str = "lunasec-purpose";
/// Request header: a retry with the same key and body gets the same token.
pub const IDEMPOTENCY_HEADER: &str = "idempotency-key";
/// Answer header: names this request in the logs.
pub const REQUEST_ID_HEADER: &str = "lunasec-request-id";
/// Answer header, only on what was made from something older than it should be or while a dependency is away:
/// which one.
pub const DEGRADED_HEADER: &str = "lunasec-degraded";
/// Environment variable that SDKs and the CLI read for the socket's path.
pub const SOCKET_VARIABLE: &str = "LUNASEC_SOCKET";
/// Where the socket is when nothing says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/lunasec/lunasec.sock";
