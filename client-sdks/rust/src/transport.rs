//! HTTP/1.1 over the Unix socket, on a few connections that are kept alive. It tries nothing twice, but for a request
//! that finds its connection closed before it was sent.

use std::{
    error::Error as _,
    future::Future,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Request, Uri,
    body::{Body, Incoming},
};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use tokio::{net::UnixStream, sync::Semaphore, time::timeout};

use crate::{
    Error,
    error::Facts,
    limits::{ANSWER_BYTES, ANSWER_HEAD_BYTES, CONNECT, KEEP_ALIVE, PATH_BYTES},
    wiped::Wiped,
};

/// One request, of which each attempt is a copy.
#[derive(Clone)]
pub(crate) struct Wanted {
    pub(crate) method: Method,
    /// `http://localhost` and the path.
    pub(crate) uri: &'static str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Wiped,
}

pub(crate) struct Transport {
    socket: Arc<Path>,
    client: legacy::Client<Connector, Full<Bytes>>,
    places: Semaphore,
}

impl Transport {
    pub(crate) fn new(socket: PathBuf, connections: usize) -> Result<Self, Error> {
        let bytes = socket.as_os_str().as_bytes().len();
        if bytes > PATH_BYTES {
            return Err(Error::invalid(format!(
                "the path of the socket is {bytes} bytes long, and Unix takes {PATH_BYTES}: put the socket where its path is shorter"
            )));
        }
        let socket = Arc::from(socket);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_ALIVE)
            .pool_max_idle_per_host(connections)
            .http1_max_buf_size(ANSWER_HEAD_BYTES)
            .set_host(false)
            .build(Connector(Arc::clone(&socket)));
        Ok(Self { socket, client, places: Semaphore::new(connections.min(Semaphore::MAX_PERMITS)) })
    }

    /// One exchange.
    pub(crate) async fn exchange(&self, wanted: Wanted) -> Result<Answer, Error> {
        // It is never closed.
        let _place = self.places.acquire().await.ok();
        let Wanted { method, uri, headers, body } = wanted;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_static(uri);
        *request.headers_mut() = headers;
        let response =
            self.client.request(request).await.map_err(|error| self.translated(&error))?;
        let (head, body) = response.into_parts();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: read(body).await? })
    }

    fn translated(&self, error: &legacy::Error) -> Error {
        if error.is_connect() {
            return self.unconnected(io_cause(error));
        }
        match error.source().and_then(|source| source.downcast_ref::<hyper::Error>()) {
            Some(error) => broken(error),
            None => Error::misread("the request could not be made", None),
        }
    }

    fn unconnected(&self, cause: Option<io::Error>) -> Error {
        let socket = self.socket.display();
        let why = cause.as_ref().map_or_else(|| "no reason given".to_owned(), ToString::to_string);
        let nobody = cause.as_ref().is_none_or(is_nobody);
        let detail = if nobody {
            format!("no sidecar answers at {socket} ({why}): start one, or set LUNASEC_SOCKET")
        } else {
            // No waiting helps against it.
            format!("the socket {socket} cannot be used ({why}): check its path, mode and group")
        };
        Error::unreachable(detail, Facts { retryable: nobody, cause, ..Facts::default() })
    }
}

/// Whether nobody took the connection just now.
fn is_nobody(cause: &io::Error) -> bool {
    // EMFILE and ENFILE have no kind.
    matches!(
        cause.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
    ) || matches!(cause.raw_os_error(), Some(23 | 24))
}

/// A copy of the operating system's error at the bottom: what is between says nothing more.
fn io_cause(error: &legacy::Error) -> Option<io::Error> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            let code = error.raw_os_error().map(io::Error::from_raw_os_error);
            return Some(code.unwrap_or_else(|| error.kind().into()));
        }
        next = error.source();
    }
    None
}

/// What happened to a connection that there was.
fn broken(error: &hyper::Error) -> Error {
    if error.is_parse() || is_unreadable(error) {
        return Error::misread(
            "it is not HTTP, or its head is larger than the contract allows",
            None,
        );
    }
    Error::unreachable(
        "the connection to the sidecar broke before its answer, and a write may have been done: make the call again, and look into the sidecar's log if that goes on",
        Facts { retryable: true, sent: true, ..Facts::default() },
    )
}

/// A body whose chunks are none.
fn is_unreadable(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| {
        matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput)
    })
}

async fn read(mut body: Incoming) -> Result<Wiped, Error> {
    let too_large = || Error::misread("it is larger than the contract allows", None);
    let said = body.size_hint().lower();
    if said > ANSWER_BYTES as u64 {
        return Err(too_large());
    }
    // As much as it says, so that nothing is left behind where a buffer grew.
    let mut all = Wiped(Vec::with_capacity(usize::try_from(said).unwrap_or(0).max(256)));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if all.0.len() + data.len() > ANSWER_BYTES {
            return Err(too_large());
        }
        all.append(&data);
    }
    Ok(all)
}

/// Connects to the one socket, whatever the address.
#[derive(Clone)]
struct Connector(Arc<Path>);

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<io::Result<()>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let socket = Arc::clone(&self.0);
        Box::pin(async move {
            let stream = timeout(CONNECT, UnixStream::connect(&socket)).await??;
            Ok(TokioIo::new(stream))
        })
    }
}
