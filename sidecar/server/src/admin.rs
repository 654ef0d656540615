//! The admin listener: whether the sidecar lives, is ready, and what it has seen. Nothing on it can
//! reach a value, because it does not know the vault.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use lunasec_core::limits;
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::timeout,
};

use crate::report::Report;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Listens at an address. `[::]` is every address of a machine, also where its kernel has no IPv6.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if is_without_ipv6(&error) && address.ip().is_unspecified() => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
}

/// Accepts for as long as it is polled.
pub async fn serve(listener: TcpListener, report: Arc<Report>) {
    let mut open = Open::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                open.make_room();
                let answering = tokio::spawn(connection(stream, Arc::clone(&report)));
                open.0.push_back((from.ip(), answering.abort_handle()));
            }
            Err(error) => {
                tracing::warn!(%error, "an admin connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Connections, the oldest first. In a pod they come from the whole cluster, and whoever holds many must not make the
/// kubelet's probe wait: a sidecar that does not answer it is killed.
#[derive(Default)]
struct Open(VecDeque<(IpAddr, AbortHandle)>);

impl Open {
    /// Ends the oldest of the address that has most, where there are too many.
    fn make_room(&mut self) {
        self.0.retain(|(_, answering)| !answering.is_finished());
        if self.0.len() < limits::ADMIN_CONNECTIONS {
            return;
        }
        let mut counts: HashMap<IpAddr, usize> = HashMap::new();
        self.0.iter().for_each(|(from, _)| *counts.entry(*from).or_default() += 1);
        let most = self.0.iter().map(|(from, _)| *from).max_by_key(|from| counts[from]);
        let oldest = self.0.iter().position(|(from, _)| Some(*from) == most);
        if let Some((_, answering)) = oldest.and_then(|at| self.0.remove(at)) {
            answering.abort();
        }
    }
}

async fn connection(stream: TcpStream, report: Arc<Report>) {
    let service = service_fn(|request| {
        let answer = answer(&request, &report);
        async move { Ok::<_, Infallible>(answer) }
    });
    let http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::ADMIN_HEAD_TIME)
        .max_headers(limits::HEADERS)
        .max_header_size(limits::HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let _ = timeout(limits::IDLE_TIME, http).await;
}

fn answer(request: &Request<Incoming>, report: &Report) -> Response<Full<Bytes>> {
    let plain = |status, text: &'static str| reply(status, "text/plain", text.into());
    let known = matches!(request.uri().path(), "/live" | "/ready" | "/status" | "/metrics");
    if known && !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    match request.uri().path() {
        "/live" => plain(StatusCode::OK, "live\n"),
        "/ready" if report.ready() => plain(StatusCode::OK, "ready\n"),
        "/ready" => plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/metrics" => reply(StatusCode::OK, OPENMETRICS, report.metrics().into()),
        "/status" => {
            // Strings and numbers always serialize.
            let body = serde_json::to_vec(&report.status()).unwrap_or_default();
            reply(StatusCode::OK, "application/json", body.into())
        }
        _ => plain(StatusCode::NOT_FOUND, "try /live, /ready, /status or /metrics\n"),
    }
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_address_is_also_that_of_a_kernel_without_ipv6() {
        let code = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
        assert!(is_without_ipv6(&io::Error::from_raw_os_error(code)));
        assert!(!is_without_ipv6(&io::ErrorKind::AddrInUse.into()));
        let every = bind("[::]:0".parse().unwrap()).await.unwrap();
        let port = every.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        every.accept().await.unwrap();
    }
}
