//! A closed loop of keep-alive connections on one thread: as cheap as system calls allow, so that
//! the server is what is measured.
//!
//! Connections are served in turn, as a fair server answers them. A load that sleeps until its answer
//! comes must be woken by the server, and the more often the slower that is; so the load can spin.

use std::{
    hint,
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

/// What a round gave.
pub(crate) struct Round {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    /// Of each request.
    pub(crate) latencies: Vec<Duration>,
}

impl Round {
    pub(crate) fn rate(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        let at = (sorted.len() as f64 * percent / 100.0) as usize;
        sorted[at.min(sorted.len() - 1)].as_secs_f64() * 1e6
    }
}

/// How the load waits for an answer that is not there yet.
#[derive(Clone, Copy)]
pub(crate) enum Wait {
    /// As an application with nothing else to do: the server has to wake it.
    Asleep,
    /// The server pays for nothing but its work.
    Spinning,
}

impl Wait {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Spinning => "spinning",
        }
    }
}

struct Connection {
    stream: UnixStream,
    sent: Instant,
}

/// Sends `request` over `connections` connections for `time`; every answer must be 200.
pub(crate) fn run(
    socket: &Path,
    request: &[u8],
    connections: usize,
    time: Duration,
    wait: Wait,
) -> Round {
    let mut open: Vec<_> = (0..connections)
        .map(|_| Connection { stream: UnixStream::connect(socket).unwrap(), sent: Instant::now() })
        .collect();
    let began = Instant::now();
    for connection in &mut open {
        connection.send(request);
        connection.stream.set_nonblocking(matches!(wait, Wait::Spinning)).unwrap();
    }
    let mut round = Round { requests: 0, elapsed: Duration::ZERO, latencies: Vec::new() };
    let mut buffer = vec![0; 64 * 1024];
    while began.elapsed() < time {
        for connection in &mut open {
            connection.receive(&mut buffer);
            round.latencies.push(connection.sent.elapsed());
            connection.send(request);
        }
        round.requests += open.len() as u64;
    }
    round.elapsed = began.elapsed();
    round
}

impl Connection {
    fn send(&mut self, mut request: &[u8]) {
        self.sent = Instant::now();
        while !request.is_empty() {
            match self.stream.write(request) {
                Ok(written) => request = &request[written..],
                Err(error) => spin_on(&error),
            }
        }
    }

    /// Reads one answer, and nothing behind it.
    fn receive(&mut self, buffer: &mut [u8]) {
        let (mut read, mut length) = (0, None);
        while length.is_none_or(|length| read < length) {
            match self.stream.read(buffer) {
                Ok(more) => {
                    assert!(more > 0, "the server closed a connection");
                    // A head comes in one piece.
                    length = length.or_else(|| Some(answer_length(&buffer[..more])));
                    read += more;
                }
                Err(error) => spin_on(&error),
            }
        }
        assert_eq!(length, Some(read), "more than an answer");
    }
}

/// A pause before the next attempt, so that the socket's lock is free for the server.
fn spin_on(error: &std::io::Error) {
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    for _ in 0..32 {
        hint::spin_loop();
    }
}

/// Bytes of a whole answer that begins so.
fn answer_length(begin: &[u8]) -> usize {
    const NAME: &[u8] = b"content-length: ";
    let find = |what: &[u8]| begin.windows(what.len()).position(|here| here == what);
    let text = || String::from_utf8_lossy(begin);
    assert!(begin.starts_with(b"HTTP/1.1 200"), "{}", text());
    let (Some(end), Some(at)) = (find(b"\r\n\r\n"), find(NAME)) else { panic!("{}", text()) };
    let digits = begin[at + NAME.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    let body = digits.fold(0, |length, digit| 10 * length + usize::from(digit - b'0'));
    end + 4 + body
}
