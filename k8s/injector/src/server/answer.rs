//! From a request to its answer.

use std::{
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::limits;
use crate::{
    clock::instant,
    quiet::Quiet,
    review::{self, Answer, Outcome},
    settings::Settings,
    telemetry::Telemetry,
};

const PATH: &str = "/mutate";

/// Answers reviews.
pub struct Webhook {
    settings: Arc<Settings>,
    telemetry: Arc<Telemetry>,
    /// Bytes of bodies that may be held yet.
    room: Arc<Semaphore>,
    /// Anybody can send what is no review.
    quiet: Quiet,
}

type Reply = Response<Full<Bytes>>;

/// A body that was read, and its place in memory, which is given back with it.
struct Read {
    bytes: Bytes,
    _room: Vec<OwnedSemaphorePermit>,
}

impl Webhook {
    /// With these settings.
    pub fn new(settings: Arc<Settings>, telemetry: Arc<Telemetry>) -> Self {
        let room = Arc::new(Semaphore::new(limits::BODIES_BYTES));
        Self { settings, telemetry, room, quiet: Quiet::default() }
    }

    pub(super) async fn call(&self, request: Request<Incoming>) -> Result<Reply, Infallible> {
        if request.uri().path() != PATH {
            return Ok(plain(StatusCode::NOT_FOUND, format!("the webhook is {PATH}\n")));
        }
        if request.method() != Method::POST {
            let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED, "use POST\n".to_owned());
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return Ok(reply);
        }
        Ok(match timeout(limits::BODY_TIME, self.read(request.into_body())).await {
            Ok(Ok(body)) => self.answer(&body.bytes),
            Ok(Err((status, words))) => self.invalid(status, words),
            Err(_) => {
                self.invalid(StatusCode::REQUEST_TIMEOUT, "the body took too long\n".to_owned())
            }
        })
    }

    async fn read(&self, mut body: Incoming) -> Result<Read, (StatusCode, String)> {
        let too_large = || {
            let words = format!("a review has at most {} bytes\n", limits::BODY_BYTES);
            (StatusCode::PAYLOAD_TOO_LARGE, words)
        };
        let (mut bytes, mut permits, mut wasted) = (BytesMut::new(), Vec::new(), 0);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                (StatusCode::BAD_REQUEST, format!("the body ended early: {error}\n"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > limits::BODY_BYTES {
                wasted += data.len();
                if wasted > limits::WASTE_BYTES {
                    break;
                }
                continue;
            }
            let room = u32::try_from(data.len()).unwrap_or(u32::MAX);
            let permit = Arc::clone(&self.room).try_acquire_many_owned(room).map_err(|_| {
                (StatusCode::SERVICE_UNAVAILABLE, "too many large reviews at once\n".to_owned())
            })?;
            permits.push(permit);
            bytes.extend_from_slice(&data);
        }
        if wasted > 0 {
            return Err(too_large());
        }
        Ok(Read { bytes: bytes.freeze(), _room: permits })
    }

    fn answer(&self, body: &[u8]) -> Reply {
        let started = instant();
        // What a mistake of ours does to one pod, it must not do to the others.
        let answered = catch_unwind(AssertUnwindSafe(|| {
            review::answer(&self.settings, body).map(|answer| (answer.body(), answer))
        }));
        match answered {
            Ok(Ok((body, answer))) => {
                if !answer.dry_run {
                    self.telemetry.decided(answer.outcome, started.elapsed());
                    told(&answer);
                }
                reply(StatusCode::OK, "application/json", body.into())
            }
            Ok(Err(error)) => self.invalid(StatusCode::BAD_REQUEST, format!("{error}\n")),
            Err(_) => {
                tracing::error!(
                    "a decision panicked; that is a mistake in the injector: please report it"
                );
                let words = "the injector made a mistake; its log says which\n";
                self.invalid(StatusCode::INTERNAL_SERVER_ERROR, words.to_owned())
            }
        }
    }

    fn invalid(&self, status: StatusCode, words: String) -> Reply {
        self.telemetry.decided(Outcome::Invalid, std::time::Duration::ZERO);
        if let Some(left_out) = self.quiet.due() {
            let (status, why) = (status.as_u16(), words.trim_end());
            tracing::warn!(status, why, left_out, "a request is no review");
        }
        plain(status, words)
    }
}

#[expect(clippy::cognitive_complexity, reason = "what the log's macros expand to is counted")]
fn told(answer: &Answer) {
    let Answer { namespace, name, words, outcome, .. } = answer;
    match outcome {
        Outcome::Injected => tracing::info!(namespace, pod = name, "a pod gets a sidecar"),
        Outcome::Skipped => {
            tracing::debug!(namespace, pod = name, why = words, "a pod is let through")
        }
        Outcome::Denied => tracing::warn!(namespace, pod = name, why = words, "a pod is refused"),
        Outcome::Invalid => {
            tracing::warn!(namespace, pod = name, why = words, "a review makes no sense")
        }
    }
}

fn plain(status: StatusCode, text: String) -> Reply {
    reply(status, "text/plain", text.into())
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}
