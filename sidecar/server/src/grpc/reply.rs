//! Answers over HTTP/2, and failures as gRPC says them.

use std::{
    collections::HashMap,
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    HeaderMap, Response,
    body::{Body, Frame, SizeHint},
    header::{CONTENT_TYPE, HeaderValue},
};
use lunasec_api::{
    Code,
    grpc::{ERROR_DOMAIN, RETRYABLE},
};
use prost::Message;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use super::message;
use crate::{failure::Failure, http::Held, status};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// The body of an answer over HTTP/2.
pub struct Reply(Kind);

enum Kind {
    Json(Full<Bytes>),
    /// One message, then the trailers that say it is all.
    Message(Bytes),
    /// Trailers are next.
    Trailers,
    /// Nothing, or nothing more.
    End,
    /// An answer that goes on until the call ends.
    Open {
        body: tonic::body::Body,
        _permit: OwnedSemaphorePermit,
        kept: Option<Kept>,
    },
}

type Kept = Box<dyn Send>;

impl Reply {
    /// An answer of the JSON routes.
    pub fn json(body: Full<Bytes>) -> Self {
        Self(Kind::Json(body))
    }

    pub(super) fn open(body: tonic::body::Body, permit: OwnedSemaphorePermit) -> Self {
        Self(Kind::Open { body, _permit: permit, kept: None })
    }

    /// Keeps a guard for as long as the answer is open, and drops it at once if it is whole.
    pub fn keep(&mut self, guard: impl Send + 'static) {
        if let Kind::Open { kept, .. } = &mut self.0 {
            *kept = Some(Box::new(guard));
        }
    }
}

/// Success.
pub(super) fn message(message: &impl Message) -> Response<Reply> {
    framed(message::encode(message))
}

/// Success that may be large, framed already: it counts against the budget until it is written.
pub(super) fn held(message: Bytes, held: Held) -> Response<Reply> {
    framed(held.until_dropped(message))
}

fn framed(message: Bytes) -> Response<Reply> {
    let mut response = Response::new(Reply(Kind::Message(message)));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// Failure: a status with an ErrorInfo, and a RetryInfo where that is known.
pub fn failed(failure: &Failure) -> Response<Reply> {
    let row = status::row(failure.code);
    let metadata = HashMap::from([(RETRYABLE.to_owned(), row.retryable.to_string())]);
    let mut details = ErrorDetails::with_error_info(failure.code.as_str(), ERROR_DOMAIN, metadata);
    if let Some(after) = status::retry_after_ms(failure) {
        details.set_retry_info(Some(Duration::from_millis(after)));
    }
    let status = Status::with_error_details(row.grpc, &*failure.detail, details);
    let mut response = status.into_http::<()>().map(|()| Reply(Kind::End));
    if failure.code == Code::UnsupportedMediaType {
        let identity = HeaderValue::from_static("identity");
        response.headers_mut().insert("grpc-accept-encoding", identity);
    }
    response
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match &mut self.0 {
            Kind::Open { body, .. } => return Pin::new(body).poll_frame(cx),
            Kind::Json(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                return frame.map(|frame| frame.map(|frame| frame.map_err(|never| match never {})));
            }
            Kind::Message(_) | Kind::Trailers | Kind::End => {}
        }
        Poll::Ready(match mem::replace(&mut self.0, Kind::End) {
            Kind::Message(message) => {
                self.0 = Kind::Trailers;
                Some(Ok(Frame::data(message)))
            }
            Kind::Trailers => {
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(Status::GRPC_STATUS, HeaderValue::from_static("0"));
                Some(Ok(Frame::trailers(trailers)))
            }
            _ => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Json(body) => body.is_end_stream(),
            Kind::Open { body, .. } => body.is_end_stream(),
            Kind::Message(_) | Kind::Trailers => false,
            Kind::End => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Json(body) => body.size_hint(),
            Kind::End => SizeHint::with_exact(0),
            _ => SizeHint::default(),
        }
    }
}
