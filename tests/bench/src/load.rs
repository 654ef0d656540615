//! A closed loop of keep-alive connections on one thread: as cheap as system calls allow, so that
//! the server is what is measured.

use std::{
    io::{Read, Write},
    mem::MaybeUninit,
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, Instant},
};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// What a round gave.
pub(crate) struct Round {
    pub(crate) requests: u64,
    pub(crate) elapsed: Duration,
    /// Of each request, where asked for.
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

struct Connection {
    stream: UnixStream,
    missing: usize,
    sent: Instant,
}

/// Sends `request` over `connections` connections for `time`; every answer must be 200 and as long
/// as the first.
pub(crate) fn run(
    socket: &Path,
    request: &[u8],
    connections: usize,
    time: Duration,
    latencies: bool,
) -> Round {
    let length = answer_length(socket, request);
    let poller = epoll::create(CreateFlags::CLOEXEC).unwrap();
    let mut open: Vec<_> = (0..connections)
        .map(|at| {
            let stream = UnixStream::connect(socket).unwrap();
            let data = EventData::new_u64(at as u64);
            epoll::add(&poller, &stream, data, EventFlags::IN).unwrap();
            Connection { stream, missing: length, sent: Instant::now() }
        })
        .collect();
    let began = Instant::now();
    for connection in &mut open {
        connection.send(request);
    }
    let mut round = Round { requests: 0, elapsed: Duration::ZERO, latencies: Vec::new() };
    let mut events = [MaybeUninit::<Event>::uninit(); 64];
    let mut buffer = vec![0; 64 * 1024];
    while began.elapsed() < time {
        let (ready, _) = epoll::wait(&poller, &mut events, None).unwrap();
        for event in ready.iter() {
            let connection = &mut open[event.data.u64() as usize];
            if connection.receive(&mut buffer) {
                round.requests += 1;
                if latencies {
                    round.latencies.push(connection.sent.elapsed());
                }
                connection.missing = length;
                connection.send(request);
            }
        }
    }
    round.elapsed = began.elapsed();
    round
}

impl Connection {
    fn send(&mut self, request: &[u8]) {
        self.sent = Instant::now();
        self.stream.write_all(request).unwrap();
    }

    /// Whether the answer is whole now.
    fn receive(&mut self, buffer: &mut [u8]) -> bool {
        let read = self.stream.read(buffer).unwrap();
        assert!(read > 0, "the server closed a connection");
        if self.missing > read {
            self.missing -= read;
            return false;
        }
        assert_eq!(self.missing, read, "an answer was longer than the first");
        true
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
