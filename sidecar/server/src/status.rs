//! The only table of statuses: what each code is in HTTP and in gRPC, whether a retry may help, and
//! its title.

use hyper::StatusCode;
use lunasec_api::Code;
use tonic::Code as Grpc;

use crate::failure::Failure;

/// One row.
pub struct Row {
    /// The HTTP status.
    pub http: StatusCode,
    /// The gRPC status.
    pub grpc: Grpc,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When to try again, where that is known.
    pub retry_after_ms: Option<u64>,
    /// The code in words.
    pub title: &'static str,
}

/// When to try again: as the failure knows, else as its code says.
pub fn retry_after_ms(failure: &Failure) -> Option<u64> {
    // Rounded up: earlier is too early.
    let known = failure.retry_after().map(|wait| wait.as_nanos().div_ceil(1_000_000));
    known.and_then(|wait| u64::try_from(wait).ok()).or(row(failure.code).retry_after_ms)
}

/// Looks a code up.
pub fn row(code: Code) -> Row {
    let no = |http, grpc, title| Row { http, grpc, retryable: false, retry_after_ms: None, title };
    let retry = |http, grpc, retry_after_ms, title| Row {
        http,
        grpc,
        retryable: true,
        retry_after_ms,
        title,
    };
    match code {
        Code::InvalidRequest => {
            no(StatusCode::BAD_REQUEST, Grpc::InvalidArgument, "Invalid request")
        }
        Code::InvalidToken => no(StatusCode::BAD_REQUEST, Grpc::InvalidArgument, "Invalid token"),
        Code::InvalidNamespace => {
            no(StatusCode::BAD_REQUEST, Grpc::InvalidArgument, "Invalid namespace")
        }
        Code::Unauthenticated => {
            no(StatusCode::UNAUTHORIZED, Grpc::Unauthenticated, "Unauthenticated")
        }
        Code::Forbidden => no(StatusCode::FORBIDDEN, Grpc::PermissionDenied, "Forbidden"),
        Code::GrantDenied => no(StatusCode::FORBIDDEN, Grpc::PermissionDenied, "Grant denied"),
        Code::GrantExpired => no(StatusCode::FORBIDDEN, Grpc::PermissionDenied, "Grant expired"),
        Code::NotFound => no(StatusCode::NOT_FOUND, Grpc::NotFound, "Not found"),
        Code::MethodNotAllowed => {
            no(StatusCode::METHOD_NOT_ALLOWED, Grpc::Unimplemented, "Method not allowed")
        }
        Code::Conflict => no(StatusCode::CONFLICT, Grpc::Aborted, "Conflict"),
        Code::Expired => no(StatusCode::GONE, Grpc::NotFound, "Expired"),
        Code::PayloadTooLarge => {
            no(StatusCode::PAYLOAD_TOO_LARGE, Grpc::ResourceExhausted, "Payload too large")
        }
        Code::UnsupportedMediaType => {
            no(StatusCode::UNSUPPORTED_MEDIA_TYPE, Grpc::Unimplemented, "Unsupported media type")
        }
        Code::RateLimited => retry(
            StatusCode::TOO_MANY_REQUESTS,
            Grpc::ResourceExhausted,
            Some(1_000),
            "Rate limited",
        ),
        Code::Overloaded => {
            retry(StatusCode::SERVICE_UNAVAILABLE, Grpc::Unavailable, Some(100), "Overloaded")
        }
        Code::StorageUnavailable => retry(
            StatusCode::SERVICE_UNAVAILABLE,
            Grpc::Unavailable,
            Some(1_000),
            "Storage unavailable",
        ),
        Code::KeysUnavailable => retry(
            StatusCode::SERVICE_UNAVAILABLE,
            Grpc::Unavailable,
            Some(1_000),
            "Keys unavailable",
        ),
        Code::JournalFull => {
            retry(StatusCode::SERVICE_UNAVAILABLE, Grpc::Unavailable, Some(1_000), "Journal full")
        }
        Code::DeadlineExceeded => {
            retry(StatusCode::GATEWAY_TIMEOUT, Grpc::DeadlineExceeded, None, "Deadline exceeded")
        }
        Code::Corrupted => no(StatusCode::INTERNAL_SERVER_ERROR, Grpc::DataLoss, "Corrupted"),
        Code::Internal => no(StatusCode::INTERNAL_SERVER_ERROR, Grpc::Internal, "Internal error"),
    }
}
