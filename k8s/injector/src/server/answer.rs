//! From a request to its answer.

use std::{
    convert::Infallible,
    net::IpAddr,
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
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    limits,
    room::{Part, Room},
    turns::Turns,
};
use crate::{
    clock::instant,
    quiet::Quiet,
    review::{self, Answer, Outcome, Unreadable},
    settings::Settings,
    telemetry::Telemetry,
};

const PATH: &str = "/mutate";

/// Answers reviews.
pub struct Webhook {
    settings: Arc<Settings>,
    telemetry: Arc<Telemetry>,
    room: Arc<Room>,
    /// Decisions are made one after the other, beside the thread that answers probes.
    turns: Turns,
    /// Anybody can send what is no review.
    quiet: Quiet,
}

type Reply = Response<Full<Bytes>>;

/// A body that was read, and its place in memory, which is given back with it.
struct Read {
    bytes: Bytes,
    _room: Part,
}

impl Webhook {
    /// With these settings.
    pub fn new(settings: Arc<Settings>, telemetry: Arc<Telemetry>) -> Self {
        let room = Room::new(limits::BODIES_BYTES);
        Self { settings, telemetry, room, turns: Turns::new(), quiet: Quiet::default() }
    }

    pub(super) async fn call(
        &self,
        peer: IpAddr,
        request: Request<Incoming>,
    ) -> Result<Reply, Infallible> {
        if request.uri().path() != PATH {
            return Ok(plain(StatusCode::NOT_FOUND, format!("the webhook is {PATH}\n")));
        }
        if request.method() != Method::POST {
            let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED, "use POST\n".to_owned());
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return Ok(reply);
        }
        Ok(match timeout(limits::BODY_TIME, self.read(peer, request.into_body())).await {
            Ok(Ok(body)) => self.answer(peer, body).await,
            Ok(Err((status, words))) => self.unanswered(status, words),
            Err(_) => self.unanswered(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"),
        })
    }

    async fn read(&self, peer: IpAddr, mut body: Incoming) -> Result<Read, (StatusCode, String)> {
        let too_large = || {
            let words = format!("a review has at most {} bytes\n", limits::BODY_BYTES);
            (StatusCode::PAYLOAD_TOO_LARGE, words)
        };
        let (mut bytes, mut room, mut wasted) = (BytesMut::new(), self.room.part(peer), 0);
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
            if !room.grow(data.len()) {
                let words = "too many large reviews at once\n".to_owned();
                return Err((StatusCode::SERVICE_UNAVAILABLE, words));
            }
            bytes.extend_from_slice(&data);
        }
        if wasted > 0 {
            return Err(too_large());
        }
        Ok(Read { bytes: bytes.freeze(), _room: room })
    }

    async fn answer(&self, peer: IpAddr, body: Read) -> Reply {
        let (settings, turns, began) = (Arc::clone(&self.settings), &self.turns, instant());
        let decided = timeout(limits::DECISION_TIME, async {
            let turn = turns.next(peer).await?;
            let work = move || {
                let answered = decided(&settings, &body.bytes);
                drop((body, turn));
                answered
            };
            spawn_blocking(work).await.ok()?
        });
        match decided.await {
            Ok(Some(Ok(decided))) => {
                let Decided { body, answer } = decided;
                if !answer.dry_run {
                    self.telemetry.decided(answer.outcome);
                    self.telemetry.took(began.elapsed());
                    told(&answer);
                }
                reply(StatusCode::OK, "application/json", body.into())
            }
            Ok(Some(Err(error))) => self.unanswered(StatusCode::BAD_REQUEST, format!("{error}\n")),
            Ok(None) => {
                tracing::error!(
                    "a decision panicked; that is a mistake in the injector: please report it"
                );
                let words = "the injector made a mistake; its log says which\n";
                self.unanswered(StatusCode::INTERNAL_SERVER_ERROR, words)
            }
            Err(_) => {
                self.telemetry.took(began.elapsed());
                let words = "there are too many reviews before this one\n";
                self.unanswered(StatusCode::SERVICE_UNAVAILABLE, words)
            }
        }
    }

    /// There is no decision: it was no review, or there was no time or no room for it, or a mistake of ours.
    fn unanswered(&self, status: StatusCode, words: impl Into<String>) -> Reply {
        let (words, outcome) = (words.into(), undecided(status));
        self.telemetry.decided(outcome);
        if let Some(left_out) = self.quiet.due() {
            let (status, why, result) = (status.as_u16(), words.trim_end(), outcome.as_str());
            tracing::warn!(result, status, why, left_out, "a request was not decided");
        }
        plain(status, words)
    }
}

/// What a request without a decision is counted as.
fn undecided(status: StatusCode) -> Outcome {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Outcome::Overloaded,
        StatusCode::INTERNAL_SERVER_ERROR => Outcome::Failed,
        _ => Outcome::Invalid,
    }
}

struct Decided {
    body: Vec<u8>,
    answer: Answer,
}

/// Nothing if that panicked: what a mistake of ours does to one pod, it must not do to the others.
fn decided(settings: &Settings, body: &[u8]) -> Option<Result<Decided, Unreadable>> {
    catch_unwind(AssertUnwindSafe(|| {
        let answer = review::answer(settings, body)?;
        Ok(Decided { body: answer.body(), answer })
    }))
    .ok()
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
        Outcome::Invalid | Outcome::Overloaded | Outcome::Failed => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_of_ours_is_not_counted_as_one_of_the_callers() {
        let counted = |status: u16| undecided(StatusCode::from_u16(status).unwrap()).as_str();
        assert_eq!([500, 503].map(counted), ["failed", "overloaded"]);
        assert_eq!([400, 408, 413].map(counted), ["invalid"; 3]);
    }
}
