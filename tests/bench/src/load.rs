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

/// Sends `request` over `connections` connections for `time`; every answer must be 200 and as long
/// as the first.
pub(crate) fn run(
    socket: &Path,
    request: &[u8],
    connections: usize,
    time: Duration,
    wait: Wait,
) -> Round {
    let length = answer_length(socket, request);
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
            connection.receive(length, &mut buffer);
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
    fn receive(&mut self, mut missing: usize, buffer: &mut [u8]) {
        while missing > 0 {
            match self.stream.read(buffer) {
                Ok(read) => {
                    assert!(read > 0, "the server closed a connection");
                    missing = missing.checked_sub(read).expect("an answer longer than the first");
                }
                Err(error) => spin_on(&error),
            }
        }
    }
}

/// A pause before the next attempt, so that the socket's lock is free for the server.
fn spin_on(error: &std::io::Error) {
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    for _ in 0..32 {
        hint::spin_loop();
    }
}

/// Asks once, and measures what comes.
fn answer_length(socket: &Path, request: &[u8]) -> usize {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let mut chunk = [0; 64 * 1024];
    loop {
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "no answer");
        answer.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200"), "{text}");
        let length = head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        if body.len() == length {
            return answer.len();
        }
    }
}
