//! HTTP/1.1 over the Unix socket, on a few connections that are kept alive. It tries nothing twice, but for a request
//! that finds its connection closed before it was sent.

use std::{
    collections::HashMap,
    error::Error as _,
    future::Future,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
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
use tokio::{
    net::UnixStream,
    runtime::{Handle, Id},
    sync::Semaphore,
    time::timeout,
};

use crate::{
    Error,
    error::Facts,
    limits::{ANSWER_BYTES, ANSWER_HEAD_BYTES, CONNECT, KEEP_ALIVE, PATH_BYTES, RUNTIMES},
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
    connections: usize,
    lanes: Mutex<HashMap<Id, Arc<Lane>>>,
}

/// The connections of one runtime: they stand still while it does.
struct Lane {
    client: legacy::Client<Connector, Full<Bytes>>,
    places: Semaphore,
}

impl Lane {
    fn new(socket: &Arc<Path>, connections: usize) -> Self {
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEEP_ALIVE)
            .pool_max_idle_per_host(connections)
            .http1_max_buf_size(ANSWER_HEAD_BYTES)
            .set_host(false)
            .build(Connector(Arc::clone(socket)));
        Self { client, places: Semaphore::new(connections.min(Semaphore::MAX_PERMITS)) }
    }
}

impl Transport {
    pub(crate) fn new(socket: PathBuf, connections: usize) -> Result<Self, Error> {
        let bytes = socket.as_os_str().as_bytes().len();
        if bytes > PATH_BYTES {
            return Err(Error::invalid(format!(
                "the path of the socket is {bytes} bytes long, and Unix takes {PATH_BYTES}: put the socket where its path is shorter"
            )));
        }
        Ok(Self { socket: Arc::from(socket), connections, lanes: Mutex::default() })
    }

    fn lane(&self) -> Arc<Lane> {
        let runtime = Handle::current().id();
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= RUNTIMES && !lanes.contains_key(&runtime) {
            lanes.clear();
        }
        let lane = lanes
            .entry(runtime)
            .or_insert_with(|| Arc::new(Lane::new(&self.socket, self.connections)));
        Arc::clone(lane)
    }

    /// One exchange.
    pub(crate) async fn exchange(&self, wanted: Wanted) -> Result<Answer, Error> {
        // It is never closed.
        let lane = self.lane();
        let _place = lane.places.acquire().await.ok();
        let Wanted { method, uri, headers, body } = wanted;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_static(uri);
        *request.headers_mut() = headers;
        let response =
            lane.client.request(request).await.map_err(|error| self.translated(&error))?;
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
        let full = cause.as_ref().and_then(io::Error::raw_os_error).and_then(too_many_files);
        let nobody = full.is_some() || cause.as_ref().is_none_or(is_nobody);
        let detail = if let Some(whose) = full {
            format!(
                "there was no file descriptor left for a connection to {socket}: {whose} has too many files open; close some, or raise the limit"
            )
        } else if nobody {
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
    matches!(
        cause.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
    )
}

/// EMFILE and ENFILE, which have no kind.
fn too_many_files(code: i32) -> Option<&'static str> {
    match code {
        23 => Some("this machine"),
        24 => Some("this process"),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lacks_for_a_connection_is_said() {
        let transport = Transport::new("/run/s.sock".into(), 1).unwrap();
        for (code, words) in [
            (23, "this machine has too many files open"),
            (24, "this process has too many files open"),
            (2, "start one, or set LUNASEC_SOCKET"),
            (13, "check its path, mode and group"),
        ] {
            let error = transport.unconnected(Some(io::Error::from_raw_os_error(code)));
            assert!(error.detail().contains(words), "{code}: {error}");
            assert_eq!(error.detail().contains("start one"), code == 2);
            assert_eq!(error.retryable(), code != 13);
        }
    }
}
