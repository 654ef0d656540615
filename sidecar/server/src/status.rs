//! The only table of statuses: what each code is in HTTP, whether a retry may help, and its title.

use hyper::StatusCode;
use lunasec_api::Code;

/// One row.
pub struct Row {
    /// The HTTP status.
    pub http: StatusCode,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When to try again, where that is known.
    pub retry_after_ms: Option<u64>,
    /// The code in words.
    pub title: &'static str,
}

/// Looks a code up.
pub fn row(code: Code) -> Row {
    let no = |http, title| Row { http, retryable: false, retry_after_ms: None, title };
    let retry = |http, after, title| Row { http, retryable: true, retry_after_ms: after, title };
    match code {
        Code::InvalidRequest => no(StatusCode::BAD_REQUEST, "Invalid request"),
        Code::InvalidToken => no(StatusCode::BAD_REQUEST, "Invalid token"),
        Code::InvalidNamespace => no(StatusCode::BAD_REQUEST, "Invalid namespace"),
        Code::Unauthenticated => no(StatusCode::UNAUTHORIZED, "Unauthenticated"),
        Code::Forbidden => no(StatusCode::FORBIDDEN, "Forbidden"),
        Code::GrantDenied => no(StatusCode::FORBIDDEN, "Grant denied"),
        Code::GrantExpired => no(StatusCode::FORBIDDEN, "Grant expired"),
        Code::NotFound => no(StatusCode::NOT_FOUND, "Not found"),
        Code::MethodNotAllowed => no(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
        Code::Conflict => no(StatusCode::CONFLICT, "Conflict"),
        Code::Expired => no(StatusCode::GONE, "Expired"),
        Code::PayloadTooLarge => no(StatusCode::PAYLOAD_TOO_LARGE, "Payload too large"),
        Code::UnsupportedMediaType => {
            no(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
        }
        Code::RateLimited => retry(StatusCode::TOO_MANY_REQUESTS, Some(1_000), "Rate limited"),
        Code::Overloaded => retry(StatusCode::SERVICE_UNAVAILABLE, Some(100), "Overloaded"),
        Code::StorageUnavailable => {
            retry(StatusCode::SERVICE_UNAVAILABLE, Some(1_000), "Storage unavailable")
        }
        Code::KeysUnavailable => {
            retry(StatusCode::SERVICE_UNAVAILABLE, Some(1_000), "Keys unavailable")
        }
        Code::JournalFull => retry(StatusCode::SERVICE_UNAVAILABLE, Some(1_000), "Journal full"),
        Code::DeadlineExceeded => retry(StatusCode::GATEWAY_TIMEOUT, None, "Deadline exceeded"),
        Code::Corrupted => no(StatusCode::INTERNAL_SERVER_ERROR, "Corrupted"),
        Code::Internal => no(StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
    }
}
