//! The Unix socket: who may bind it, who is at its other end, and how long a connection may do
//! nothing.

use std::{
    convert::Infallible,
    future::{Future, pending, poll_fn},
    io::{self, Read as _, Write as _},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use lunasec_core::{limits, policy::Caller};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{config::Limits, stack::Stack};

pub mod frames;

mod h2;
mod pace;
mod peer;
mod protocol;
mod socket;
mod stream;

pub use socket::{Bound, SocketError, group_id, prepare_directory};

use pace::{Pace, Phase};
use protocol::Protocol;
use stream::Watched;

/// Accepts, up to `most` connections at once, until told to stop; then waits until every connection
/// has its answers.
pub async fn serve(
    mut socket: Bound,
    stack: Arc<Stack>,
    most: usize,
    mut stop: watch::Receiver<bool>,
) {
    let connections = Arc::new(Semaphore::new(most));
    let crowd = watch::Sender::new(false);
    let refusals = Arc::new(Semaphore::new(limits::REFUSALS));
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                // Out of file descriptors, most likely: some connection must end first.
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let permit = Arc::clone(&connections).try_acquire_owned();
        // Whoever keeps a connection and does nothing with it makes room for those who come.
        let crowded = connections.available_permits() == 0;
        crowd.send_if_modified(|was| std::mem::replace(was, crowded) != crowded);
        match permit {
            Ok(permit) => {
                let (stack, stop) = (Arc::clone(&stack), stop.clone());
                let paces = Paces::of(&stack.http().limits, crowd.subscribe());
                tokio::spawn(connection(stream, stack, paces, stop, permit));
            }
            Err(_) => match Arc::clone(&refusals).try_acquire_owned() {
                Ok(permit) => {
                    tokio::spawn(refuse(stream, Arc::clone(&stack), permit));
                }
                Err(_) => turn_away(stream, &stack.refuse_connection()),
            },
        }
    }
    socket.close();
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    let _ = connections.acquire_many(all).await;
}

/// How long each phase of a connection may last.
#[derive(Clone)]
struct Paces {
    first_byte: Duration,
    head: Duration,
    idle: Duration,
    /// Whether there are as many connections as there may be.
    crowd: watch::Receiver<bool>,
}

impl Paces {
    fn of(limits: &Limits, crowd: watch::Receiver<bool>) -> Self {
        let (first_byte, head, idle) = (limits.first_byte_time, limits.head_time, limits.idle_time);
        Self { first_byte, head, idle, crowd }
    }

    /// How long a connection without a request may stay.
    fn idle(&self) -> Duration {
        if *self.crowd.borrow() { self.idle.min(limits::IDLE_TIME_CROWDED) } else { self.idle }
    }

    /// The same for one that has not said anything yet.
    fn first_byte(&self) -> Duration {
        self.first_byte.min(self.idle())
    }

    fn allowance(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::New => Some(self.first_byte()),
            Phase::Head => Some(self.head),
            // The request has a deadline of its own.
            Phase::Serving => None,
            Phase::Idle => Some(self.idle()),
        }
    }
}

/// Resolves when a crowd gathers or goes; gives back what to wait on for the next time.
async fn crowding(mut crowd: watch::Receiver<bool>) -> watch::Receiver<bool> {
    match crowd.changed().await {
        Ok(()) => crowd,
        // Nobody is accepted any more.
        Err(_) => pending().await,
    }
}

async fn connection(
    stream: UnixStream,
    stack: Arc<Stack>,
    paces: Paces,
    mut stop: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    let Ok(caller) = peer::caller(&stream) else { return };
    let protocol = tokio::select! {
        protocol = protocol::of(&stream, &paces) => protocol,
        _ = stop.wait_for(|stop| *stop) => None,
    };
    match protocol {
        Some(Protocol::Http1) => h1(stream, caller, stack, paces, stop).await,
        // Boxed, so that the others do not carry its size.
        Some(Protocol::Http2) => Box::pin(h2::serve(stream, caller, stack, paces, stop)).await,
        None => {}
    }
}

async fn h1(
    stream: UnixStream,
    caller: Caller,
    stack: Arc<Stack>,
    paces: Paces,
    stop: watch::Receiver<bool>,
) {
    let pace = Arc::new(Pace::default());
    let service = service_fn(|request| {
        let (stack, pace) = (Arc::clone(&stack), Arc::clone(&pace));
        async move {
            pace.enter(Phase::Serving);
            let answer = stack.serve(caller, request).await;
            pace.enter(Phase::Idle);
            Ok::<_, Infallible>(answer)
        }
    });
    let http = http1::Builder::new()
        .auto_date_header(false)
        // Not `pipeline_flush`: it keeps an answer back for as long as more input lies in the buffer,
        // be that half a request or a stray line break.
        .half_close(true)
        .max_headers(limits::HEADERS)
        .max_header_size(limits::HEAD_BYTES)
        .serve_connection(Watched::new(stream, &pace), service);
    drive(http, &pace, paces, stop).await;
}

type Http<S> = http1::Connection<TokioIo<Watched<Pace>>, S>;

/// Runs a connection to its end: its own, its client's slowness, or a stop.
async fn drive<S>(http: Http<S>, pace: &Pace, paces: Paces, mut stop: watch::Receiver<bool>)
where
    S: hyper::service::HttpService<
            hyper::body::Incoming,
            ResBody = http_body_util::Full<bytes::Bytes>,
        >,
    S::Error: std::error::Error + Send + Sync,
{
    let mut http = pin!(http);
    let mut stopping = pin!(async move {
        let _ = stop.wait_for(|stop| *stop).await;
    });
    let mut crowding = pin!(crowding(paces.crowd.clone()));
    let mut stopped = false;
    let mut seen = pace.now();
    let mut timer = pin!(sleep(paces.first_byte()));
    poll_fn(|cx| {
        if http.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if !stopped && stopping.as_mut().poll(cx).is_ready() {
            stopped = true;
            http.as_mut().graceful_shutdown();
            return http.as_mut().poll(cx).map(|_| ());
        }
        let mut crowd_changed = false;
        while let Poll::Ready(crowd) = crowding.as_mut().poll(cx) {
            crowding.set(self::crowding(crowd));
            crowd_changed = true;
        }
        // The clock is read only when a phase outlasts a poll: a hot request costs none of this.
        let now = pace.now();
        // A head has the time that it had.
        let rushed = crowd_changed && now.phase != Phase::Head;
        if now.phase != seen.phase || rushed {
            if let Some(allowance) = paces.allowance(now.phase) {
                timer.as_mut().reset(Instant::now() + allowance);
            }
            seen = now;
        }
        while let Some(allowance) = paces.allowance(now.phase) {
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if now.answered == seen.answered {
                return Poll::Ready(());
            }
            // Requests came and went within the phase: its time begins anew.
            seen = now;
            timer.as_mut().set(sleep_until(Instant::now() + allowance));
        }
        Poll::Pending
    })
    .await;
}

/// One connection too many, and too many of those: says so without waiting for anything. What its
/// client has written is read, or the kernel would throw away what it was told.
fn turn_away(stream: UnixStream, answer: &[u8]) {
    let Ok(mut stream) = stream.into_std() else { return };
    let _ = stream.write_all(answer);
    let mut discarded = [0; 4096];
    for _ in 0..16 {
        if !stream.read(&mut discarded).is_ok_and(|read| read > 0) {
            return;
        }
    }
}

/// One connection too many: says so in its own protocol, and reads what its client is still writing,
/// so that it can be read.
async fn refuse(mut stream: UnixStream, stack: Arc<Stack>, _permit: OwnedSemaphorePermit) {
    if protocol::of_refused(&stream).await == Some(Protocol::Http2) {
        return Box::pin(h2::refuse(stream, stack)).await;
    }
    let answer = stack.refuse_connection();
    let _ = timeout(limits::LINGER_TIME, async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        let mut discarded = [0; 4096];
        while stream.read(&mut discarded).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}
