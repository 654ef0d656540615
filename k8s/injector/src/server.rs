//! The webhook over HTTPS. Whoever is slow waits alone: each connection and each body has its own deadline.

use std::{sync::Arc, time::Duration};

use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ServerConfig, server::ResolvesServerCert};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::pool::{Pool, Seat};

mod answer;
mod room;
mod turns;

pub use answer::Webhook;

/// Every limit of the webhook.
mod limits {
    use std::time::Duration;

    /// One more, and the one that was used least recently is cut.
    pub(super) const CONNECTIONS: usize = 512;
    /// Of one peer. An API server has a few.
    pub(super) const SHARE: usize = 128;
    /// Requests at once on one connection; an API server opens another one for more.
    pub(super) const STREAMS: u32 = 100;
    pub(super) const HANDSHAKE_TIME: Duration = Duration::from_secs(3);
    /// Also how long a connection of HTTP/1.1 may be idle.
    pub(super) const HEAD_TIME: Duration = Duration::from_secs(60);
    /// How long an API server waits if it is told nothing else.
    pub(super) const BODY_TIME: Duration = Duration::from_secs(5);
    /// From a body that was read to its answer, with the others that are before it: less than an API server waits.
    pub(super) const DECISION_TIME: Duration = Duration::from_secs(4);
    /// etcd takes objects of 1.5 MiB; a review has one, and on some ways two.
    pub(super) const BODY_BYTES: usize = 3 << 20;
    /// What is read of a body that is too large, so that its sender sees the answer.
    pub(super) const WASTE_BYTES: usize = 16 << 20;
    /// Of all bodies that are being read. More is refused.
    pub(super) const BODIES_BYTES: usize = 32 << 20;
    pub(super) const HEADERS: usize = 64;
    pub(super) const HEAD_BYTES: u32 = 32 << 10;
    /// What a connection of HTTP/1.1 reads before somebody takes it.
    pub(super) const BUFFER_BYTES: usize = 64 << 10;
    /// A peer that is gone without a word is found out.
    pub(super) const PING_EVERY: Duration = Duration::from_secs(20);
    pub(super) const PING_TIME: Duration = Duration::from_secs(10);
    /// For requests that were begun when it was time to go.
    pub(super) const LAST_ANSWERS: Duration = Duration::from_secs(10);
}

/// What TLS is served with: the certificate is looked up for each handshake, so a new one cuts no connection.
pub fn tls(certificates: Arc<dyn ResolvesServerCert>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// Accepts until `stop` says so, and ends when the last answer is out.
pub async fn serve(
    listener: TcpListener,
    tls: ServerConfig,
    webhook: Arc<Webhook>,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let pool = Pool::new(limits::CONNECTIONS, limits::SHARE);
    // Nothing is sent: the last connection drops the last sender.
    let (open, mut all_ended) = mpsc::channel::<()>(1);
    let stopped = stop.clone();
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (acceptor, webhook) = (acceptor.clone(), Arc::clone(&webhook));
                    let (stopped, open) = (stopped.clone(), open.clone());
                    let seat = Arc::new(pool.enter(peer.ip()));
                    tokio::spawn(async move {
                        tokio::select! {
                            () = connection(stream, acceptor, webhook, Arc::clone(&seat), stopped) => {}
                            () = seat.cut() => tracing::debug!("a connection made room"),
                        }
                        drop(open);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = told(&mut stop) => {}
    }
    drop((listener, open));
    if timeout(limits::LAST_ANSWERS, all_ended.recv()).await.is_err() {
        tracing::warn!("some connections did not end in time and are cut");
    }
}

async fn connection(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    webhook: Arc<Webhook>,
    seat: Arc<Seat>,
    stopped: watch::Receiver<bool>,
) {
    // Answers are small, and somebody waits for each.
    let _ = stream.set_nodelay(true);
    match timeout(limits::HANDSHAKE_TIME, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => http(stream, webhook, seat, stopped).await,
        // Such as a client that trusts another authority: an operator looks for this when pods are not made.
        Ok(Err(error)) => tracing::info!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn http(
    stream: TlsStream<TcpStream>,
    webhook: Arc<Webhook>,
    seat: Arc<Seat>,
    mut stopped: watch::Receiver<bool>,
) {
    let peer = seat.peer();
    let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let webhook = Arc::clone(&webhook);
        seat.used();
        async move { webhook.call(peer, request).await }
    });
    let io = TokioIo::new(stream);
    let outcome = if h2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits::STREAMS)
            .max_header_list_size(limits::HEAD_BYTES)
            .keep_alive_interval(limits::PING_EVERY)
            .keep_alive_timeout(limits::PING_TIME)
            .serve_connection(io, service);
        tokio::pin!(connection);
        tokio::select! {
            outcome = &mut connection => outcome,
            () = told(&mut stopped) => { connection.as_mut().graceful_shutdown(); connection.await }
        }
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits::HEAD_TIME)
            .max_headers(limits::HEADERS)
            .max_buf_size(limits::BUFFER_BYTES)
            .serve_connection(io, service);
        tokio::pin!(connection);
        tokio::select! {
            outcome = &mut connection => outcome,
            () = told(&mut stopped) => { connection.as_mut().graceful_shutdown(); connection.await }
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Until it is time to go.
async fn told(stop: &mut watch::Receiver<bool>) {
    // Whoever would say so being gone says it, too.
    let _ = stop.wait_for(|it| *it).await;
}
