use std::time::Duration;

use axum_core::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use serde::Serialize;

use crate::{Error, ErrorClass, ErrorKind, error::Facts};

/// An error as an answer: `application/problem+json` (RFC 9457), in words for whoever made the request. What the sidecar
/// says names rules and places, and is for the application: [`Problem::error`].
///
/// Handlers give `Result<_, Problem>`, and `?` makes one of an [`Error`].
#[derive(Debug, Clone)]
pub struct Problem {
    error: Error,
    /// Of the request, and the detail is meant for whoever made it.
    field: Option<String>,
}

impl Problem {
    /// What went wrong, for the application's log.
    pub fn error(&self) -> &Error {
        &self.error
    }

    pub(crate) fn of_field(field: &str, kind: ErrorKind, words: &str) -> Self {
        let error = Error::new(kind, format!("{field} {words}"), Facts::default());
        Self { error, field: Some(field.to_owned()) }
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        words(&self.error).0
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self { error, field: None }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

fn words(error: &Error) -> (StatusCode, &'static str, &'static str) {
    let denied = (StatusCode::FORBIDDEN, "Forbidden", "You may not use this.");
    if error.class() == ErrorClass::Unavailable {
        let detail = "Protected data cannot be read or written just now. Please try again.";
        return (StatusCode::SERVICE_UNAVAILABLE, "Unavailable", detail);
    }
    match error.kind() {
        ErrorKind::InvalidRequest => {
            (StatusCode::BAD_REQUEST, "Invalid request", "The request was not understood.")
        }
        ErrorKind::InvalidToken => {
            (StatusCode::BAD_REQUEST, "Invalid token", "This is not a token.")
        }
        ErrorKind::Unauthenticated => {
            (StatusCode::UNAUTHORIZED, "Unauthenticated", "Please sign in.")
        }
        ErrorKind::Forbidden | ErrorKind::GrantDenied => denied,
        ErrorKind::GrantExpired => (
            StatusCode::FORBIDDEN,
            "Grant expired",
            "You may not use this any more. Please load the page again.",
        ),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "Not found", "There is nothing here."),
        ErrorKind::Expired => (StatusCode::GONE, "Expired", "There is nothing here any more."),
        ErrorKind::Conflict => {
            (StatusCode::CONFLICT, "Conflict", "It was changed meanwhile. Please look again.")
        }
        ErrorKind::PayloadTooLarge => {
            (StatusCode::PAYLOAD_TOO_LARGE, "Too large", "The request is too large.")
        }
        ErrorKind::RateLimited => (
            StatusCode::TOO_MANY_REQUESTS,
            "Too many requests",
            "This was too often. Please try again later.",
        ),
        // What the application or its operator has to mend is nothing that the user could.
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            "Internal error",
            "Something went wrong, and it was not the request.",
        ),
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, title, detail) = words(&self.error);
        let known = status != StatusCode::INTERNAL_SERVER_ERROR;
        let code = if known { self.error.code() } else { "internal" };
        let again = matches!(status.as_u16(), 429 | 503)
            .then(|| self.error.retry_after().unwrap_or(Duration::from_secs(1)));
        let body = Body {
            r#type: format!("urn:lunasec:error:{code}"),
            title,
            status: status.as_u16(),
            detail: if self.field.is_some() { self.error.detail() } else { detail },
            code,
            retryable: again.is_some(),
            retry_after_ms: again.and_then(|after| after.as_millis().try_into().ok()),
            field: self.field.as_deref(),
            request_id: self.error.request_id(),
        };
        let text = serde_json::to_string(&body).unwrap_or_default();
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        let mut response = (status, headers, text).into_response();
        if let Some(after) = again {
            let seconds = after.as_millis().div_ceil(1_000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                response.headers_mut().insert(RETRY_AFTER, value);
            }
        }
        response
    }
}
