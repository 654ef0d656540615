//! A connection's stream that shows its bytes as they come, and writes small answers in one piece.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
};

/// Is shown what comes.
pub(super) trait Watch {
    /// Also called with nothing.
    fn bytes_came(&self, bytes: &[u8]);
}

/// Bytes of an answer that is written in one piece.
const SMALL: usize = 1024;

/// See the module.
pub(super) struct Watched<W> {
    stream: UnixStream,
    watch: Arc<W>,
    small: Vec<u8>,
}

impl<W: Watch> Watched<W> {
    pub(super) fn new(stream: UnixStream, watch: &Arc<W>) -> TokioIo<Self> {
        TokioIo::new(Self { stream, watch: Arc::clone(watch), small: Vec::new() })
    }
}

impl<W: Watch> AsyncRead for Watched<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.watch.bytes_came(&buffer.filled()[before..]);
        read
    }
}

impl<W: Watch> AsyncWrite for Watched<W> {
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
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, small, .. } = self.get_mut();
        let stream = Pin::new(stream);
        let length: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if length > SMALL {
            return stream.poll_write_vectored(cx, buffers);
        }
        // One copy is cheaper than a vectored write of a small answer.
        small.clear();
        buffers.iter().for_each(|buffer| small.extend_from_slice(buffer));
        let written = stream.poll_write(cx, small);
        // It may have held a value, and the connection may live long.
        small.fill(0);
        written
    }
}
