//! How answers are read. Whatever is not the contract's to the letter is a `protocol_error`; members that it has beyond
//! are let pass.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::{
    HeaderMap,
    header::{AGE, CONTENT_TYPE, HeaderName},
};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    Durability, Error, Plaintext,
    context::{DEGRADED, REQUEST_ID},
    error::Facts,
    plain::Plain,
    results::Staleness,
    transport::Answer,
    wiped::Text,
};

/// What any answer or any item of one may have.
#[derive(Deserialize)]
pub(crate) struct Item {
    pub(crate) token: Option<Text>,
    pub(crate) error: Option<ItemError>,
    value: Option<Text>,
    encoding: Option<Encoding>,
    durability: Option<Where>,
    expires_at: Option<String>,
    created_at: Option<String>,
    pub(crate) valid: Option<bool>,
    reason: Option<String>,
    degraded: Option<String>,
    age: Option<u64>,
    version: Option<u64>,
    pub(crate) revoked: Option<u64>,
    #[serde(default, deserialize_with = "crate::plain::object")]
    pub(crate) metadata: Option<crate::JsonObject>,
}

/// A batch's answer.
#[derive(Deserialize)]
pub(crate) struct Items {
    pub(crate) items: Vec<Item>,
}

#[derive(Deserialize)]
pub(crate) struct ItemError {
    code: String,
    detail: String,
    retryable: bool,
}

#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    retryable: bool,
    /// Of another type, it says nothing.
    retry_after_ms: Option<Plain>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Utf8,
    Base64,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Where {
    Stored,
    Journaled,
}

pub(crate) fn misread(what: &str) -> Error {
    Error::misread(what, None)
}

impl Item {
    pub(crate) fn plaintext(&mut self) -> Result<Plaintext, Error> {
        let value = self.value.take().ok_or_else(|| misread("value is no text"))?;
        match self.encoding {
            Some(Encoding::Utf8) => Ok(value.into_plaintext()),
            Some(Encoding::Base64) => STANDARD
                .decode(value.0.as_bytes())
                .map(Plaintext::from)
                .map_err(|_| misread("a value is not base64")),
            None => Err(misread("an encoding is neither utf8 nor base64")),
        }
    }

    pub(crate) fn durability(&self) -> Result<Durability, Error> {
        match self.durability {
            Some(Where::Stored) => Ok(Durability::Stored),
            Some(Where::Journaled) => Ok(Durability::Journaled),
            None => Err(misread("durability is neither stored nor journaled")),
        }
    }

    pub(crate) fn expires_at(&self) -> Result<SystemTime, Error> {
        time(self.expires_at.as_deref(), "expires_at")
    }

    pub(crate) fn expires_at_if_any(&self) -> Result<Option<SystemTime>, Error> {
        self.expires_at.as_ref().map(|_| self.expires_at()).transpose()
    }

    pub(crate) fn created_at(&self) -> Result<SystemTime, Error> {
        time(self.created_at.as_deref(), "created_at")
    }

    pub(crate) fn version(&self) -> Result<u64, Error> {
        self.version.ok_or_else(|| misread("version is no count"))
    }

    pub(crate) fn reason(&mut self) -> Result<String, Error> {
        self.reason.take().ok_or_else(|| misread("reason is no text"))
    }

    /// Beside an item, else in the head.
    pub(crate) fn staleness(&mut self, head: Option<&Staleness>) -> Option<Staleness> {
        let age = self.age.map(Duration::from_secs);
        self.degraded.take().map(|degraded| Staleness { degraded, age }).or_else(|| head.cloned())
    }
}

impl ItemError {
    pub(crate) fn into_error(self) -> Error {
        let facts = Facts { retryable: self.retryable, ..Facts::default() };
        Error::of_code(&self.code, &self.detail, facts)
    }
}

fn time(text: Option<&str>, field: &str) -> Result<SystemTime, Error> {
    let parsed = text.and_then(|text| humantime::parse_rfc3339(text).ok());
    parsed.ok_or_else(|| misread(&format!("{field} is no time")))
}

/// What an answer says: its body, and what its head says of its age.
pub(crate) struct Said<B> {
    pub(crate) body: B,
    pub(crate) staleness: Option<Staleness>,
}

/// The body of a success; else why it is none.
pub(crate) fn read<B: DeserializeOwned>(answer: &Answer) -> Result<Said<B>, Error> {
    let kind = text(&answer.headers, &CONTENT_TYPE).map(media_type);
    if answer.status >= 400 {
        return Err(problem(answer, kind));
    }
    if answer.status != 200
        || !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
    {
        return Err(Error::misread("it is not JSON", request_id(answer)));
    }
    let body = parsed(answer).map_err(|what| Error::misread(what, request_id(answer)))?;
    Ok(Said { body, staleness: head_staleness(&answer.headers) })
}

/// A parser's error may quote the body: it is not passed on.
fn parsed<B: DeserializeOwned>(answer: &Answer) -> Result<B, &'static str> {
    let body = answer.body.as_ref();
    // serde takes a list of its members for an object.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("its body is no JSON object");
    }
    serde_json::from_slice(body).map_err(|_| "its body is not what it has to be")
}

fn problem(answer: &Answer, kind: Option<&str>) -> Error {
    let request_id = request_id(answer);
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/problem+json")) {
        let what = format!("its status is {} without a problem", answer.status);
        return Error::misread(&what, request_id);
    }
    let Problem { code, detail, retryable, retry_after_ms } = match parsed(answer) {
        Ok(problem) => problem,
        Err(what) => return Error::misread(what, request_id),
    };
    let facts = Facts {
        status: Some(answer.status),
        retryable,
        retry_after: retry_after_ms
            .and_then(|Plain(ms)| ms.as_f64())
            .and_then(|ms| Duration::try_from_secs_f64(ms / 1e3).ok()),
        request_id,
        ..Facts::default()
    };
    Error::of_code(&code, &detail, facts)
}

fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn request_id(answer: &Answer) -> Option<Box<str>> {
    let id = text(&answer.headers, &REQUEST_ID)?;
    // Whatever listens there may have put anything into it.
    let fits = (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    (fits && !id.starts_with("lunasec-")).then(|| id.into())
}

fn head_staleness(headers: &HeaderMap) -> Option<Staleness> {
    let degraded = text(headers, &DEGRADED)?.to_owned();
    let age = text(headers, &AGE).and_then(|age| age.parse().ok()).map(Duration::from_secs);
    Some(Staleness { degraded, age })
}
