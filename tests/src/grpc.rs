//! A gRPC client that can do unusual things: HTTP/2 with hands on its streams.

use std::path::Path;

use bytes::{BufMut, Bytes, BytesMut};
use h2::{
    PingPong, RecvStream, SendStream,
    client::{self, ResponseFuture, SendRequest},
};
use hyper::{HeaderMap, Request, http::request};
use prost::Message;
use tokio::{net::UnixStream, task::JoinHandle, time::timeout};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::sidecar::PATIENCE;

/// A connection.
pub struct Grpc {
    /// For tests that do unusual things with it.
    pub requests: SendRequest<Bytes>,
    /// How the connection ended.
    pub end: JoinHandle<Result<(), h2::Error>>,
    pings: PingPong,
}

/// A call that is under way.
pub struct Call {
    answer: ResponseFuture,
    /// What is yet to be sent.
    pub body: SendStream<Bytes>,
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub http: u16,
    /// The head's.
    pub headers: HeaderMap,
    /// The body, prefixes and all.
    pub body: Bytes,
    /// The status, of head or trailers; none where there was no gRPC.
    pub status: Option<Status>,
}

impl Grpc {
    /// Connects to a sidecar.
    pub async fn connect(socket: &Path) -> Self {
        Self::over(UnixStream::connect(socket).await.unwrap()).await
    }

    /// Speaks over a stream that is there.
    pub async fn over(stream: UnixStream) -> Self {
        let (requests, mut connection) = client::handshake(stream).await.unwrap();
        let pings = connection.ping_pong().unwrap();
        Self { requests, end: tokio::spawn(connection), pings }
    }

    /// Waits until the connection ends without an error of its protocol. What this side still had to
    /// say, an acknowledgement perhaps, may find nobody any more.
    pub async fn ended(self) {
        if let Err(error) = self.end.await.unwrap() {
            assert!(error.is_io(), "{error}");
        }
    }

    /// The head of a call of the tokenizer.
    pub fn head(method: &str) -> request::Builder {
        Self::post(&format!("/lunasec.v1.Tokenizer/{method}"))
    }

    /// The head of any call.
    pub fn post(path: &str) -> request::Builder {
        Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
    }

    /// Begins a call, and ends its body with `last` if there is one.
    pub async fn begin(&mut self, head: request::Builder, last: Option<Bytes>) -> Call {
        let mut requests = self.requests.clone().ready().await.unwrap();
        let (answer, mut body) = requests.send_request(head.body(()).unwrap(), false).unwrap();
        if let Some(last) = last {
            send(&mut body, last, true).await;
        }
        Call { answer, body }
    }

    /// A whole call with any body.
    pub async fn send(&mut self, head: request::Builder, body: impl Into<Bytes>) -> Answer {
        self.begin(head, Some(body.into())).await.answer().await
    }

    /// A whole call of the tokenizer.
    pub async fn call(&mut self, method: &str, message: &impl Message) -> Answer {
        self.send(Self::head(method), framed(message)).await
    }

    /// Waits until the sidecar has read everything that was sent before.
    pub async fn settle(&mut self) {
        patiently(self.pings.ping(h2::Ping::opaque())).await.unwrap();
    }
}

impl Call {
    /// Sends more of the body, or all that is left.
    pub async fn more(&mut self, bytes: impl Into<Bytes>, last: bool) {
        send(&mut self.body, bytes.into(), last).await;
    }

    /// The head of the answer, and its body.
    pub async fn open(self) -> (u16, HeaderMap, RecvStream) {
        let (head, body) = patiently(self.answer).await.expect("an answer").into_parts();
        (head.status.as_u16(), head.headers, body)
    }

    /// How the call fails below gRPC.
    pub async fn broken(self) -> h2::Error {
        patiently(self.answer).await.expect_err("no answer")
    }

    /// The whole answer.
    pub async fn answer(self) -> Answer {
        let (http, headers, mut stream) = self.open().await;
        let mut body = BytesMut::new();
        while let Some(data) = next(&mut stream).await {
            body.extend_from_slice(&data);
        }
        let trailers = patiently(stream.trailers()).await.unwrap();
        let status = trailers.as_ref().and_then(Status::from_header_map);
        let status = status.or_else(|| Status::from_header_map(&headers));
        Answer { http, headers, body: body.freeze(), status }
    }
}

/// The next data of an answer, read for certain.
pub async fn next(stream: &mut RecvStream) -> Option<Bytes> {
    let data = patiently(stream.data()).await?.unwrap();
    stream.flow_control().release_capacity(data.len()).unwrap();
    Some(data)
}

/// How a call ended whose answer was read.
pub async fn end(stream: &mut RecvStream) -> Status {
    assert!(next(stream).await.is_none(), "there is more to read");
    let trailers = patiently(stream.trailers()).await.unwrap().expect("trailers");
    Status::from_header_map(&trailers).expect("a status")
}

impl Answer {
    /// The message of an answer that must be a success.
    pub fn message<M: Message + Default>(&self) -> M {
        let status = self.status.as_ref().expect("gRPC");
        assert_eq!(status.code(), Code::Ok, "{status:?}");
        unframed(&self.body)
    }

    /// Status, reason, and whether a retry may help, of an answer that must be a failure.
    pub fn failure(&self) -> (Code, String, bool) {
        let status = self.status.as_ref().expect("gRPC");
        assert!(self.body.is_empty(), "a failure has no message");
        assert!(!status.message().is_empty(), "a failure says what happened");
        let info = status.get_details_error_info().expect("ErrorInfo");
        assert_eq!(info.domain, "lunasec");
        (status.code(), info.reason, info.metadata["retryable"] == "true")
    }

    /// Milliseconds after which to try again.
    pub fn retry_after(&self) -> Option<u128> {
        let info = self.status.as_ref()?.get_details_retry_info()?;
        info.retry_delay.map(|delay| delay.as_millis())
    }
}

/// A message with its prefix.
pub fn framed(message: &impl Message) -> Bytes {
    prefixed(0, &message.encode_to_vec())
}

/// Any bytes with a prefix.
pub fn prefixed(flag: u8, message: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(flag);
    out.put_u32(message.len().try_into().unwrap());
    out.put_slice(message);
    out.freeze()
}

/// The one message of a body.
pub fn unframed<M: Message + Default>(body: &Bytes) -> M {
    assert_eq!(body[0], 0, "not compressed");
    let length = u32::from_be_bytes(body[1..5].try_into().unwrap());
    assert_eq!(length as usize, body.len() - 5, "exactly one message");
    M::decode(body.slice(5..)).unwrap()
}

/// As much as the sidecar takes: it may answer before it has read all.
async fn send(body: &mut SendStream<Bytes>, mut bytes: Bytes, last: bool) {
    while !bytes.is_empty() {
        body.reserve_capacity(bytes.len());
        let capacity = patiently(std::future::poll_fn(|cx| body.poll_capacity(cx))).await;
        let Some(Ok(capacity)) = capacity else { return };
        let part = bytes.split_to(capacity.min(bytes.len()));
        if body.send_data(part, false).is_err() {
            return;
        }
    }
    if last {
        let _ = body.send_data(Bytes::new(), true);
    }
}

async fn patiently<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("the sidecar hangs")
}
