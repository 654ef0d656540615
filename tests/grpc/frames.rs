//! HTTP/2 by the byte, for what no well-behaved library sends.

use std::io::{ErrorKind, Read};

use lunasec_tests::{Raw, Sidecar};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Of a RST_STREAM or GOAWAY.
    pub(crate) fn error(&self) -> u32 {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a Tokenize: static entries of HPACK, and literals that are not indexed.
pub(crate) fn tokenize_head() -> Vec<u8> {
    let literal =
        |index: &[u8], value: &[u8]| [index, &[u8::try_from(value.len()).unwrap()], value].concat();
    [
        // POST, http
        vec![0x83, 0x86],
        literal(&[0x04], b"/lunasec.v1.Tokenizer/Tokenize"),
        literal(&[0x01], b"localhost"),
        literal(&[0x0f, 0x10], b"application/grpc"),
    ]
    .concat()
}

/// A connection that has said hello.
pub(crate) struct Frames {
    pub(crate) raw: Raw,
}

impl Frames {
    pub(crate) fn connect(sidecar: &Sidecar) -> Self {
        let mut raw = sidecar.connect();
        raw.send([PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).unwrap();
        Self { raw }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.raw.send_what_goes(bytes);
    }

    /// The next frame; none where the sidecar closes.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        let head: [u8; 9] = self.read(9)?.try_into().unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
        let payload = self.read(length as usize)?;
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The next frame of that kind; none where the sidecar closes before.
    pub(crate) fn find(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next()?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    /// Reads to the sidecar's close.
    pub(crate) fn closed(&mut self) {
        while self.next().is_some() {}
    }

    /// Whether the sidecar answers a ping.
    pub(crate) fn answers(&mut self) -> bool {
        self.send(&frame(PING, 0, 0, &[7; 8]));
        self.find(PING).is_some_and(|pong| pong.flags == ACK)
    }

    fn read(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        match self.raw.stream.read_exact(&mut bytes) {
            Ok(()) => Some(bytes),
            Err(error) => {
                let gone = [ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset];
                assert!(gone.contains(&error.kind()), "the sidecar hangs: {error}");
                None
            }
        }
    }
}
