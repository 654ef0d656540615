//! Which method a call asks for, and what its headers say about it.

use std::time::Duration;

use hyper::{HeaderMap, Method as Verb, header::CONTENT_TYPE, http::request::Parts};
use lunasec_api::{Code, grpc::SERVICE};

use crate::{failure::Failure, telemetry::Operation};

/// A path, understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// One of the tokenizer's.
    Verb(Operation),
    /// One of grpc.health.v1.
    Health,
    /// Server reflection.
    Reflection,
    /// Server reflection as older clients call it.
    ReflectionAlpha,
    /// No such method. The path itself is not kept.
    Unknown,
}

impl Method {
    /// Matches a request's head.
    pub fn of(head: &Parts) -> Self {
        let path = head.uri.path().strip_prefix('/').and_then(|path| path.split_once('/'));
        match path {
            Some((service, method)) if head.method == Verb::POST => Self::find(service, method),
            _ => Self::Unknown,
        }
    }

    fn find(service: &str, method: &str) -> Self {
        match service {
            SERVICE => Self::verb(method),
            "grpc.health.v1.Health" => Self::Health,
            "grpc.reflection.v1.ServerReflection" => Self::Reflection,
            "grpc.reflection.v1alpha.ServerReflection" => Self::ReflectionAlpha,
            _ => Self::Unknown,
        }
    }

    fn verb(method: &str) -> Self {
        Self::Verb(match method {
            "Detokenize" => Operation::Detokenize,
            "Tokenize" => Operation::Tokenize,
            "BatchDetokenize" => Operation::DetokenizeBatch,
            "BatchTokenize" => Operation::TokenizeBatch,
            "GetMetadata" => Operation::MetadataGet,
            "SetMetadata" => Operation::MetadataSet,
            "CreateGrants" => Operation::GrantsCreate,
            "VerifyGrants" => Operation::GrantsVerify,
            "RevokeGrants" => Operation::GrantsRevoke,
            "Delete" => Operation::Delete,
            "GetStatus" => Operation::Status,
            _ => return Self::Unknown,
        })
    }

    /// The metric's label.
    pub fn operation(self) -> Operation {
        match self {
            Self::Verb(operation) => operation,
            Self::Health => Operation::Health,
            Self::Reflection | Self::ReflectionAlpha => Operation::Reflection,
            Self::Unknown => Operation::Unknown,
        }
    }
}

/// Whether a request is gRPC. grpc-web is not.
pub fn speaks(headers: &HeaderMap) -> bool {
    subtype(headers).is_some()
}

/// What follows `application/grpc`.
fn subtype(headers: &HeaderMap) -> Option<&[u8]> {
    let rest = headers.get(CONTENT_TYPE)?.as_bytes().strip_prefix(b"application/grpc")?;
    matches!(rest, [] | [b'+' | b';', ..]).then_some(rest)
}

/// Only protobuf is spoken.
pub(super) fn check_subtype(headers: &HeaderMap) -> Result<(), Failure> {
    match subtype(headers) {
        Some(rest) if rest.starts_with(b"+") && !rest.starts_with(b"+proto") => {
            Err(Failure::new(Code::UnsupportedMediaType, "send messages as protobuf"))
        }
        _ => Ok(()),
    }
}

/// How long the client waits, if it says so.
pub fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Failure> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let time = value.to_str().ok().and_then(parse_timeout);
    time.map(Some).ok_or_else(|| {
        Failure::new(
            Code::InvalidRequest,
            "grpc-timeout is at most eight digits and one of H, M, S, m, u, n",
        )
    })
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts() {
        let good = [("1H", 3_600_000), ("2M", 120_000), ("3S", 3_000), ("99999999m", 99_999_999)];
        for (text, millis) in good {
            assert_eq!(parse_timeout(text), Some(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_timeout("7u"), Some(Duration::from_micros(7)));
        assert_eq!(parse_timeout("0n"), Some(Duration::ZERO));
        for bad in ["", "S", "1", "-1S", "+1S", "1.5S", "123456789S", "1s", "1 S", "1é", "é"] {
            assert_eq!(parse_timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn content_types() {
        let is = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.try_into().unwrap());
            (speaks(&headers), check_subtype(&headers).is_ok())
        };
        assert_eq!(is("application/grpc"), (true, true));
        assert_eq!(is("application/grpc+proto"), (true, true));
        assert_eq!(is("application/grpc;x=y"), (true, true));
        assert_eq!(is("application/grpc+json"), (true, false));
        assert!(!is("application/grpc-web").0 && !is("application/json").0);
    }
}
