//! Bodies in: within their limit, within what may be held at once, and refused so that the client
//! can read it.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    HeaderMap,
    body::{Body, Incoming},
    header::{CONTENT_TYPE, EXPECT},
};
use lunasec_api::Code;
use lunasec_core::limits;

use crate::failure::Failure;

/// How many bytes of bodies and answers are held, against how many may be. What counts is what has
/// come, not what is announced: else a few words would keep everybody out.
pub struct Budget {
    used: Arc<AtomicUsize>,
    most: usize,
}

impl Budget {
    /// Allows `most` bytes at once.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { used: Arc::default(), most })
    }

    /// Allows another number of bytes; those that are held still count.
    pub fn resized(&self, most: usize) -> Arc<Self> {
        Arc::new(Self { used: Arc::clone(&self.used), most })
    }

    /// Nothing yet.
    pub fn hold(self: &Arc<Self>) -> Held {
        Held { budget: Arc::clone(self), bytes: 0 }
    }
}

/// Bytes that count against the budget until they are dropped.
pub struct Held {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Held {
    /// Holds `bytes` in all from now on. What is small does not count.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Failure> {
        if bytes <= self.bytes || bytes <= limits::SMALL_BODY_BYTES {
            return Ok(());
        }
        let more = bytes - self.bytes;
        let before = self.budget.used.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > self.budget.most {
            self.budget.used.fetch_sub(more, Ordering::Relaxed);
            return Err(Failure::new(
                Code::Overloaded,
                "the sidecar holds too many large bodies and answers; try again later",
            ));
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Goes on holding until the last byte of an answer is with the kernel.
    pub(crate) fn until_dropped(self, bytes: Bytes) -> Bytes {
        if self.bytes == 0 {
            return bytes;
        }
        Bytes::from_owner(Collected { bytes, _held: self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A body in memory.
pub(crate) struct Collected {
    bytes: Bytes,
    _held: Held,
}

impl Collected {
    /// Shared, not copied.
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl AsRef<[u8]> for Collected {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a JSON body of at most `most` bytes.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Incoming,
    most: usize,
    budget: &Arc<Budget>,
) -> Result<Collected, Failure> {
    if let Err(failure) = check_kind(headers) {
        linger(headers, body);
        return Err(failure);
    }
    read_any(headers, body, most, budget).await
}

/// Reads a body of at most `most` bytes, whatever it is.
pub(crate) async fn read_any(
    headers: &HeaderMap,
    body: Incoming,
    most: usize,
    budget: &Arc<Budget>,
) -> Result<Collected, Failure> {
    match check_length(&body, most) {
        Ok(()) => collect(headers, body, most, budget.hold()).await,
        Err(failure) => {
            linger(headers, body);
            Err(failure)
        }
    }
}

/// Answers what needs no body, and gives a body that came nevertheless somewhere to go.
pub fn discard(headers: &HeaderMap, body: Incoming) {
    if !body.is_end_stream() {
        linger(headers, body);
    }
}

fn check_kind(headers: &HeaderMap) -> Result<(), Failure> {
    if headers.get(CONTENT_TYPE).is_some_and(|kind| is_json(kind.as_bytes())) {
        return Ok(());
    }
    Err(Failure::new(
        Code::UnsupportedMediaType,
        "send the body as JSON, with the header content-type: application/json",
    ))
}

fn check_length(body: &Incoming, most: usize) -> Result<(), Failure> {
    let fits = usize::try_from(body.size_hint().lower()).is_ok_and(|declared| declared <= most);
    if fits { Ok(()) } else { Err(large(most)) }
}

fn is_json(kind: &[u8]) -> bool {
    let name = kind.split(|&c| c == b';').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

fn large(most: usize) -> Failure {
    Failure::new(Code::PayloadTooLarge, format!("the body is larger than {most} bytes"))
}

async fn collect(
    headers: &HeaderMap,
    mut body: Incoming,
    most: usize,
    mut held: Held,
) -> Result<Collected, Failure> {
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            Failure::caused(Code::InvalidRequest, "the body ended before its length", error)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let length = first.len() + rest.len() + data.len();
        if let Err(failure) = if length > most { Err(large(most)) } else { held.grow(length) } {
            linger(headers, body);
            return Err(failure);
        }
        if first.is_empty() && rest.is_empty() {
            // Most bodies are one frame: no copy.
            first = data;
            continue;
        }
        if rest.is_empty() {
            rest.reserve(length);
            rest.extend_from_slice(&first);
            first = Bytes::new();
        }
        rest.extend_from_slice(&data);
    }
    let bytes = if rest.is_empty() { first } else { rest.freeze() };
    Ok(Collected { bytes, _held: held })
}

/// Reads on, within bounds, so that a client that writes before it reads gets to the refusal instead
/// of a broken pipe.
fn linger(headers: &HeaderMap, mut body: Incoming) {
    // A client that asked first has sent nothing and will not.
    if headers.contains_key(EXPECT) {
        return;
    }
    tokio::spawn(tokio::time::timeout(limits::LINGER_TIME, async move {
        let mut read = 0;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > limits::LINGER_BYTES {
                return;
            }
        }
    }));
}
