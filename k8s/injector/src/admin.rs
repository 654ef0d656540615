//! The admin listener: whether the injector lives, is ready, and what it has seen.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpListener, time::timeout};

use crate::{pool::Pool, telemetry::Telemetry};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CONNECTIONS: usize = 64;
/// Of one peer: several Prometheus may look.
const SHARE: usize = 16;
/// Also how long a connection may be idle.
const HEAD_TIME: Duration = Duration::from_secs(1);
const CONNECTION_TIME: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 8 << 10;

/// Accepts for as long as it is polled.
pub async fn serve(listener: TcpListener, telemetry: Arc<Telemetry>) {
    let pool = Pool::new(CONNECTIONS, SHARE);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "an admin connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (telemetry, seat) = (Arc::clone(&telemetry), pool.enter(peer.ip()));
        tokio::spawn(async move {
            let service = service_fn(|request| {
                seat.used();
                let answer = answer(&request, &telemetry);
                async move { Ok::<_, Infallible>(answer) }
            });
            let http = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(BUFFER_BYTES)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = timeout(CONNECTION_TIME, http) => {}
                () = seat.cut() => {}
            }
        });
    }
}

fn answer(request: &Request<Incoming>, telemetry: &Telemetry) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return reply(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "use GET\n".into());
    }
    let plain = |status, text: String| reply(status, "text/plain", text.into());
    match request.uri().path() {
        "/live" => plain(StatusCode::OK, "live\n".into()),
        "/ready" => match telemetry.unready() {
            None => plain(StatusCode::OK, "ready\n".into()),
            Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")),
        },
        "/metrics" => reply(StatusCode::OK, OPENMETRICS, telemetry.metrics().into()),
        _ => plain(StatusCode::NOT_FOUND, "try /live, /ready or /metrics\n".into()),
    }
}

fn reply(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}
