//! Where in its life a connection is, noted by its bytes and by its service, for a clock to judge.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Phase {
    /// No byte has come yet.
    New,
    /// A request's head has begun.
    Head,
    /// A request is at work.
    Serving,
    /// Between requests, or its client is slow to read.
    Idle,
}

/// A connection's phase, and how many requests it has had answered.
#[derive(Default)]
pub(super) struct Pace {
    phase: AtomicU8,
    answered: AtomicU64,
}

/// One look at a pace.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) phase: Phase,
    pub(super) answered: u64,
}

impl Pace {
    pub(super) fn enter(&self, phase: Phase) {
        if phase == Phase::Idle {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Moment {
        let phase = match self.phase.load(Ordering::Relaxed) {
            0 => Phase::New,
            1 => Phase::Head,
            2 => Phase::Serving,
            _ => Phase::Idle,
        };
        Moment { phase, answered: self.answered.load(Ordering::Relaxed) }
    }

    fn bytes_came(&self) {
        if matches!(self.now().phase, Phase::New | Phase::Idle) {
            self.enter(Phase::Head);
        }
    }
}

/// Bytes of an answer that is written in one piece.
const SMALL: usize = 1024;

/// A stream that notes when bytes come.
pub(super) struct Paced {
    stream: UnixStream,
    pace: Arc<Pace>,
}

impl Paced {
    pub(super) fn new(stream: UnixStream, pace: Arc<Pace>) -> TokioIo<Self> {
        TokioIo::new(Self { stream, pace })
    }
}

impl AsyncRead for Paced {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.pace.bytes_came();
        }
        read
    }
}

impl AsyncWrite for Paced {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // One copy is cheaper than a vectored write of a small answer.
        let mut small = [0; SMALL];
        let mut length = 0;
        for buffer in buffers {
            let Some(room) = small.get_mut(length..length + buffer.len()) else {
                return Pin::new(&mut self.stream).poll_write_vectored(cx, buffers);
            };
            room.copy_from_slice(buffer);
            length += buffer.len();
        }
        Pin::new(&mut self.stream).poll_write(cx, &small[..length])
    }
}
