//! What came back, in the contract's words again.

use std::{error::Error as _, time::SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use lunasec_client::{
    Deleted, Error, ErrorKind, Granted, Metadata, Plaintext, Shown, Staleness, Tokenized, Value,
    ValueOr, Verdict,
};
use serde_json::{Map, Value as Json, json};

pub(crate) fn error(error: &Error) -> Json {
    let class = match error.kind() {
        ErrorKind::Unknown => "LunaSecError".into(),
        kind => format!("{kind:?}"),
    };
    let mut said = json!({
        "class": class,
        "code": error.code(),
        "retryable": error.retryable(),
        "detail": error.detail(),
    });
    if let Some(status) = error.status() {
        said["status"] = status.into();
    }
    if let Some(after) = error.retry_after() {
        said["retry_after_ms"] = u64::try_from(after.as_millis()).unwrap().into();
    }
    said
}

/// However it prints, and whatever caused it.
pub(crate) fn error_printed(error: &Error) -> String {
    let mut printed = format!("{error} {error:?} {error:#?}");
    let mut next = error.source();
    while let Some(cause) = next {
        printed += &format!(" {cause} {cause:?}");
        next = cause.source();
    }
    printed
}

fn failed(why: &Error) -> Json {
    json!({ "error": { "code": why.code(), "detail": why.detail(), "retryable": why.retryable() } })
}

/// An item, with the token that it is about.
pub(crate) fn item<T>(token: &str, outcome: &Result<T, Error>, read: impl Fn(&T) -> Json) -> Json {
    let mut said = outcome.as_ref().map_or_else(failed, read);
    said["token"] = token.into();
    said
}

fn time(time: SystemTime) -> Json {
    humantime::format_rfc3339_millis(time).to_string().into()
}

fn aged(mut said: Json, staleness: Option<&Staleness>) -> Json {
    if let Some(staleness) = staleness {
        said["degraded"] = staleness.degraded.clone().into();
        if let Some(age) = staleness.age {
            said["age"] = age.as_secs().into();
        }
    }
    said
}

pub(crate) fn tokenized(given: &Tokenized) -> Json {
    json!({ "token": given.token.expose(), "durability": given.durability.as_str() })
}

pub(crate) fn tokenized_item(outcome: &Result<Tokenized, Error>) -> Json {
    outcome.as_ref().map_or_else(failed, tokenized)
}

fn plaintext(plaintext: &Plaintext) -> Json {
    match plaintext.reveal() {
        Ok(text) => json!({ "value": text, "encoding": "utf8" }),
        Err(_) => {
            json!({ "value": STANDARD.encode(plaintext.reveal_bytes()), "encoding": "base64" })
        }
    }
}

pub(crate) fn value(value: &Value) -> Json {
    aged(plaintext(&value.plaintext), value.staleness.as_ref())
}

pub(crate) fn shown(shown: &Shown) -> Json {
    match shown {
        Shown::Value(revealed) => value(revealed),
        Shown::Masked(masked) => json!({ "masked": masked.text, "reason": masked.error.code() }),
    }
}

pub(crate) fn value_or(either: &ValueOr<String>) -> Json {
    match either {
        ValueOr::Value(revealed) => value(revealed),
        ValueOr::Fallback(given) => {
            json!({ "fallback": given.value, "reason": given.error.code() })
        }
    }
}

pub(crate) fn metadata(metadata: &Metadata) -> Json {
    let mut said = json!({
        "metadata": metadata.metadata,
        "version": metadata.version,
        "created_at": time(metadata.created_at),
    });
    if let Some(expires_at) = metadata.expires_at {
        said["expires_at"] = time(expires_at);
    }
    aged(said, metadata.staleness.as_ref())
}

pub(crate) fn granted(granted: &Granted) -> Json {
    json!({ "expires_at": time(granted.expires_at), "durability": granted.durability.as_str() })
}

pub(crate) fn verdict(verdict: &Verdict) -> Json {
    match verdict {
        Verdict::Valid { expires_at, staleness, .. } => {
            aged(json!({ "valid": true, "expires_at": time(*expires_at) }), staleness.as_ref())
        }
        Verdict::Invalid { reason, staleness, .. } => {
            aged(json!({ "valid": false, "reason": reason }), staleness.as_ref())
        }
    }
}

pub(crate) fn deleted(deleted: &Deleted) -> Json {
    json!({ "deleted": true, "durability": deleted.durability.as_str() })
}

/// An object without the members that are null.
pub(crate) fn present(object: Json) -> Json {
    let Json::Object(object) = object else { return object };
    Json::Object(object.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>())
}
