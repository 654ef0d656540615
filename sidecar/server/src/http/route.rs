//! Which verb a request asks for, matched by hand: thirteen routes need no router.

use hyper::Method;
use lunasec_core::limits as bounds;

use crate::{config::Limits, telemetry::Operation};

/// A request line, understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Route {
    /// A verb.
    Found(Operation),
    /// The path has another method.
    WrongMethod(&'static str),
    /// No such path. The path itself is not kept: it may hold a token.
    Unknown,
}

impl Route {
    /// Matches a request line.
    pub fn of(method: &Method, path: &str) -> Self {
        let (operation, allow) = match path {
            "/v1/detokenize" => (Operation::Detokenize, "POST"),
            "/v1/tokenize" => (Operation::Tokenize, "POST"),
            "/v1/detokenize:batch" => (Operation::DetokenizeBatch, "POST"),
            "/v1/tokenize:batch" => (Operation::TokenizeBatch, "POST"),
            "/v1/metadata/get" => (Operation::MetadataGet, "POST"),
            "/v1/metadata/set" => (Operation::MetadataSet, "POST"),
            "/v1/grants/create" => (Operation::GrantsCreate, "POST"),
            "/v1/grants/verify" => (Operation::GrantsVerify, "POST"),
            "/v1/grants/revoke" => (Operation::GrantsRevoke, "POST"),
            "/v1/delete" => (Operation::Delete, "POST"),
            "/v1/canaries/create" => (Operation::CanariesCreate, "POST"),
            "/v1/sweep" => (Operation::Sweep, "POST"),
            "/v1/status" => (Operation::Status, "GET"),
            _ => return Self::Unknown,
        };
        if method.as_str() == allow { Self::Found(operation) } else { Self::WrongMethod(allow) }
    }

    /// The metric's label.
    pub fn operation(self) -> Operation {
        match self {
            Self::Found(operation) => operation,
            Self::WrongMethod(_) | Self::Unknown => Operation::Unknown,
        }
    }
}

/// Bytes of body that a verb takes at most.
pub(crate) fn body_limit(operation: Operation, limits: &Limits) -> usize {
    match operation {
        Operation::Tokenize => bounds::TOKENIZE_BODY_BYTES,
        Operation::TokenizeBatch => limits.batch_bytes,
        Operation::DetokenizeBatch
        | Operation::Delete
        | Operation::GrantsCreate
        | Operation::GrantsVerify
        | Operation::GrantsRevoke => bounds::TOKEN_LIST_BODY_BYTES,
        Operation::MetadataSet => bounds::METADATA_BODY_BYTES,
        Operation::Detokenize
        | Operation::MetadataGet
        | Operation::Sweep
        | Operation::CanariesCreate => bounds::TOKEN_BODY_BYTES,
        Operation::Status | Operation::Health | Operation::Reflection | Operation::Unknown => 0,
    }
}
