//! Answers out.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Response, StatusCode,
    header::{AGE, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use lunasec_api::{Code, DEGRADED_HEADER, Item, ItemError, Problem, REQUEST_ID_HEADER};
use serde::Serialize;

use super::body::{Budget, Held};
use crate::{failure::Failure, status, vault::Age};

/// What every answer is.
pub type Answer = Response<Full<Bytes>>;

static REQUEST_ID: HeaderName = HeaderName::from_static(REQUEST_ID_HEADER);
static DEGRADED: HeaderName = HeaderName::from_static(DEGRADED_HEADER);
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Success.
pub fn json<T: Serialize>(body: &T) -> Result<Answer, Failure> {
    let bytes = serde_json::to_vec(body).map_err(Failure::internal)?;
    Ok(bytes_answer(StatusCode::OK, JSON, bytes))
}

/// Success that may be large: it counts against the budget until it is written.
pub fn held_json<T: Serialize>(budget: &Arc<Budget>, body: &T) -> Result<Answer, Failure> {
    let bytes = serde_json::to_vec(body).map_err(Failure::internal)?;
    let mut held = budget.hold();
    held.grow(bytes.len())?;
    Ok(held_answer(bytes, held))
}

/// Says of an answer how old it is, if it is older than it should be.
pub fn aged(mut answer: Answer, age: Age) -> Answer {
    say_age(answer.headers_mut(), age);
    answer
}

/// The same in any head.
pub(crate) fn say_age(head: &mut HeaderMap, age: Age) {
    if let Some((reason, time)) = age.reason().zip(age.time()) {
        head.insert(&DEGRADED, HeaderValue::from_static(reason.as_str()));
        head.insert(AGE, HeaderValue::from(time.as_secs()));
    }
}

/// The same of an item of a batch.
pub(crate) fn staleness(age: Age) -> (Option<Cow<'static, str>>, Option<u64>) {
    (age.reason().map(|reason| reason.as_str().into()), age.time().map(|time| time.as_secs()))
}

fn held_answer(bytes: Vec<u8>, held: Held) -> Answer {
    answer_of(StatusCode::OK, JSON, held.until_dropped(bytes.into()))
}

/// Failure: RFC 9457.
pub fn problem(failure: &Failure) -> Answer {
    let row = status::row(failure.code);
    let mut answer = bytes_answer(row.http, PROBLEM, problem_body(failure));
    if let Some(after) = status::retry_after_ms(failure) {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.div_ceil(1_000)));
    }
    if row.http == StatusCode::UNAUTHORIZED {
        // RFC 9110 asks for it.
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

fn problem_body(failure: &Failure) -> Vec<u8> {
    let row = status::row(failure.code);
    let problem = Problem {
        kind: format!("urn:lunasec:error:{}", failure.code).into(),
        title: row.title.into(),
        status: row.http.as_u16(),
        detail: Cow::Borrowed(&failure.detail),
        code: failure.code.as_str().into(),
        retryable: row.retryable,
        retry_after_ms: status::retry_after_ms(failure),
    };
    // Strings and numbers always serialize.
    serde_json::to_vec(&problem).unwrap_or_default()
}

/// One failed item of a batch.
pub fn failed<'a, T>(failure: &'a Failure, token: Option<Cow<'a, str>>) -> Item<'a, T> {
    let error = ItemError {
        code: failure.code.as_str().into(),
        detail: Cow::Borrowed(&failure.detail),
        retryable: status::row(failure.code).retryable,
    };
    Item::Failed { token, error }
}

/// The bytes that a batch's answer may have: each item that is yet to come has room for its error,
/// and what would take more than is left carries an error instead.
pub(crate) struct Room {
    most: usize,
    used: usize,
    /// Bytes that the items to come take at least.
    reserved: usize,
}

impl Room {
    pub(crate) fn new(most: usize, used: usize, reserved: usize) -> Self {
        Self { most, used, reserved }
    }

    /// Takes the next item in, or its error, which takes `full` bytes. Whether it was the item.
    pub(crate) fn fits(&mut self, item: usize, full: usize) -> bool {
        self.reserved -= full;
        let fits = self.used + item + self.reserved <= self.most;
        self.used += if fits { item } else { full };
        fits
    }
}

/// What an item says that finds no room.
pub(crate) fn full() -> Failure {
    Failure::new(Code::PayloadTooLarge, "the answer is full; ask for fewer tokens at once")
}

/// The items of a batch's answer under way.
pub struct Items {
    out: Vec<u8>,
    held: Held,
    room: Room,
    full: Failure,
    /// Bytes of an item that says so, but for its token.
    full_bytes: usize,
}

impl Items {
    /// An answer about `tokens`, in their order.
    pub fn new<'a>(
        most: usize,
        budget: &Arc<Budget>,
        tokens: impl Iterator<Item = &'a str>,
    ) -> Result<Self, Failure> {
        let full = full();
        let mut blank = Vec::new();
        write(&mut blank, &failed::<()>(&full, Some("".into())))?;
        let full_bytes = blank.len() + 1;
        let reserved = tokens.map(|token| full_bytes + json_bytes_of(token)).sum::<usize>() + 1;
        let (out, held) = (br#"{"items":["#.to_vec(), budget.hold());
        let room = Room::new(most, out.len(), reserved);
        Ok(Self { out, held, room, full, full_bytes })
    }

    /// The next item.
    pub fn push<T: Serialize>(&mut self, token: &str, item: &Item<'_, T>) -> Result<(), Failure> {
        let start = self.out.len();
        write(&mut self.out, item)?;
        self.out.push(b',');
        let full = self.full_bytes + json_bytes_of(token);
        if !self.room.fits(self.out.len() - start, full) {
            self.out.truncate(start);
            write(&mut self.out, &failed::<()>(&self.full, Some(token.into())))?;
            self.out.push(b',');
        }
        self.held.grow(self.out.len())
    }

    /// The whole.
    pub fn finish(mut self) -> Answer {
        self.out.pop();
        self.out.extend_from_slice(b"]}");
        held_answer(self.out, self.held)
    }
}

fn write<T: Serialize>(out: &mut Vec<u8>, item: &T) -> Result<(), Failure> {
    serde_json::to_writer(out, item).map_err(Failure::internal)
}

/// Bytes of a text inside a JSON string.
fn json_bytes_of(text: &str) -> usize {
    text.bytes()
        .map(|byte| if byte < 0x20 { 6 } else { 1 + usize::from(b"\"\\".contains(&byte)) })
        .sum()
}

fn bytes_answer(status: StatusCode, kind: HeaderValue, bytes: Vec<u8>) -> Answer {
    answer_of(status, kind, bytes.into())
}

fn answer_of(status: StatusCode, kind: HeaderValue, bytes: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(bytes));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// An answer as HTTP/1.1 that ends its connection, for where no request was read.
pub fn raw(failure: &Failure, request_id: HeaderValue) -> Vec<u8> {
    let answer = identified(problem(failure), request_id);
    let mut out = format!("HTTP/1.1 {}\r\n", answer.status()).into_bytes();
    for (name, value) in answer.headers() {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let body = problem_body(failure);
    let end = format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    out.extend_from_slice(end.as_bytes());
    out.extend_from_slice(&body);
    out
}

/// Every answer carries its request's id.
pub fn identified<B>(mut answer: Response<B>, request_id: HeaderValue) -> Response<B> {
    answer.headers_mut().insert(REQUEST_ID.clone(), request_id);
    answer
}
