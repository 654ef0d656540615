//! HTTP/2 with prior knowledge: JSON and gRPC, told apart by their content type.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use lunasec_core::{limits, policy::Caller};
use tokio::{
    net::UnixStream,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    Paces, crowding,
    frames::Frames,
    stream::{Watch, Watched},
};
use crate::{grpc::Reply, stack::Stack};

/// Serves a connection to its end: its own, its client's slowness, or a stop.
pub(super) async fn serve(
    stream: UnixStream,
    caller: Caller,
    stack: Arc<Stack>,
    paces: Paces,
    stop: watch::Receiver<bool>,
) {
    let pace = Arc::new(Pace::default());
    let service = service_fn(|request| {
        let (stack, work) = (Arc::clone(&stack), Work::begin(&pace));
        async move {
            let mut answer = stack.serve_any(caller, request).await;
            // An answer that stays open is work for as long as it does.
            answer.body_mut().keep(work);
            Ok::<_, Infallible>(answer)
        }
    });
    let http = builder().serve_connection(Watched::new(stream, &pace), service);
    drive(http, &pace, paces, stop).await;
}

/// A connection too many: whatever it asks is refused as its protocol does, and it is told to go.
pub(super) async fn refuse(stream: UnixStream, stack: Arc<Stack>) {
    let pace = Arc::new(Pace::default());
    let service = service_fn(|request: Request<Incoming>| {
        let (answer, _work) = (stack.refuse(request), Work::begin(&pace));
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut http = pin!(builder().serve_connection(Watched::new(stream, &pace), service));
    let refused = poll_fn(|cx| {
        if http.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if pace.answered.load(Ordering::Relaxed) > 0 {
            http.as_mut().graceful_shutdown();
            return http.as_mut().poll(cx).map(|_| ());
        }
        Poll::Pending
    });
    let _ = timeout(limits::LINGER_TIME, refused).await;
}

fn builder() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(limits::STREAMS)
        .max_header_list_size(limits::HEAD_BYTES as u32)
        .max_frame_size(limits::FRAME_BYTES)
        .initial_stream_window_size(limits::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(limits::CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(limits::SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(limits::RESET_STREAMS)
        .max_local_error_reset_streams(limits::RESET_STREAMS)
        .keep_alive_interval(limits::PING_INTERVAL)
        .keep_alive_timeout(limits::PING_TIME);
    builder
}

type Http<S> = http2::Connection<TokioIo<Watched<Pace>>, S, TokioExecutor>;

/// Like its namesake for HTTP/1.1, with the phases of [`Pace`].
async fn drive<S>(http: Http<S>, pace: &Pace, paces: Paces, mut stop: watch::Receiver<bool>)
where
    S: hyper::service::HttpService<Incoming, ResBody = Reply> + Unpin,
    S::Future: Send + 'static,
    S::Error: std::error::Error + Send + Sync,
{
    let mut http = pin!(http);
    let mut stopping = pin!(async move {
        let _ = stop.wait_for(|stop| *stop).await;
    });
    let mut crowding = pin!(crowding(paces.crowd.clone()));
    let mut leaving = false;
    let mut seen = pace.now();
    let mut timer = pin!(sleep(paces.head));
    poll_fn(|cx| {
        if http.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !leaving && stopping.as_mut().poll(cx).is_ready() {
            leaving = true;
            http.as_mut().graceful_shutdown();
            if http.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        let mut crowd_changed = false;
        while let Poll::Ready(crowd) = crowding.as_mut().poll(cx) {
            crowding.set(super::crowding(crowd));
            crowd_changed = true;
        }
        let now = pace.now();
        // A frame has the time that it had, and one that was told to go its own for that.
        let rushed = crowd_changed && now.phase == Phase::Idle && !leaving;
        if now.phase != seen.phase || rushed {
            if let Some(allowance) = now.phase.allowance(&paces) {
                timer.as_mut().reset(Instant::now() + allowance);
            }
            seen = now;
        }
        while let Some(allowance) = now.phase.allowance(&paces) {
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if now.count != seen.count {
                // Something ended within the phase: its time begins anew.
                seen = now;
                timer.as_mut().reset(Instant::now() + allowance);
            } else if now.phase == Phase::Idle && !leaving {
                // Told, so that no request is lost on the way to a closed connection.
                leaving = true;
                http.as_mut().graceful_shutdown();
                timer.as_mut().reset(Instant::now() + limits::LINGER_TIME);
                if http.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(());
                }
            } else {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A frame, or the headers of a request, began and did not end.
    Frame,
    /// A request is at work.
    Serving,
    /// Neither. Perhaps the client is slow to read.
    Idle,
}

impl Phase {
    fn allowance(self, paces: &Paces) -> Option<Duration> {
        match self {
            Self::Frame => Some(paces.head),
            // The request has a deadline of its own.
            Self::Serving => None,
            Self::Idle => Some(paces.idle()),
        }
    }
}

/// What a connection is doing, noted by its bytes and by its service.
#[derive(Default)]
struct Pace {
    frames: Mutex<Frames>,
    at_work: AtomicUsize,
    answered: AtomicU64,
}

#[derive(Clone, Copy)]
struct Moment {
    phase: Phase,
    /// Of what ends in this phase.
    count: u64,
}

impl Pace {
    fn now(&self) -> Moment {
        let frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if frames.open() {
            return Moment { phase: Phase::Frame, count: frames.count() };
        }
        let at_work = self.at_work.load(Ordering::Relaxed) > 0;
        let phase = if at_work { Phase::Serving } else { Phase::Idle };
        Moment { phase, count: self.answered.load(Ordering::Relaxed) }
    }
}

impl Watch for Pace {
    fn bytes_came(&self, bytes: &[u8]) {
        self.frames.lock().unwrap_or_else(PoisonError::into_inner).take(bytes);
    }
}

/// One request at work, until it is dropped.
struct Work(Arc<Pace>);

impl Work {
    fn begin(pace: &Arc<Pace>) -> Self {
        pace.at_work.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(pace))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::Relaxed);
        self.0.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}
