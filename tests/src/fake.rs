//! S3 and KMS as a state machine: a request in, a reply out. It does no I/O, reads no clock and draws nothing at
//! random, so that a simulation can drive it and replay. [`serve`] puts it on a socket, [`wire`] into a client.
//!
//! Of S3 it knows what the sidecar asks: GetObject, PutObject and DeleteObject with their conditions, and
//! ListObjectsV2; of KMS GenerateDataKey, Decrypt and ReEncrypt. Signatures are not looked at. Faults are told
//! ahead: the next so many requests of a kind fare so.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use hyper::{Request, Response, StatusCode};

mod kms;
mod s3;
mod serve;
mod wire;

pub use kms::{KeyState, Kms};
pub use s3::S3;
pub use serve::{endpoint, serve};
pub use wire::wire;

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// GetObject.
    Get,
    /// PutObject.
    Put,
    /// DeleteObject.
    Delete,
    /// ListObjectsV2.
    List,
    /// GenerateDataKey.
    Make,
    /// Decrypt.
    Unwrap,
    /// ReEncrypt.
    Rewrap,
    /// Anything else.
    Strange,
}

impl Asked {
    /// What a request asks.
    pub fn of(request: &Request<Bytes>) -> Self {
        let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
        let is_listing = || s3::query(request, "list-type").is_some();
        match (target, request.method().as_str()) {
            (Some("TrentService.GenerateDataKey"), _) => Self::Make,
            (Some("TrentService.Decrypt"), _) => Self::Unwrap,
            (Some("TrentService.ReEncrypt"), _) => Self::Rewrap,
            (None, "GET") if is_listing() => Self::List,
            (None, "GET") => Self::Get,
            (None, "PUT") => Self::Put,
            (None, "DELETE") => Self::Delete,
            _ => Self::Strange,
        }
    }

    /// Whether KMS is asked.
    pub fn is_of_keys(self) -> bool {
        matches!(self, Self::Make | Self::Unwrap | Self::Rewrap)
    }
}

/// How a request fares.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is not done, and that is the answer: a status, and a code unless that is empty.
    Refuse(u16, &'static str),
    /// It is not done and never answered.
    Hang,
    /// It is not done, and its connection ends.
    Reset,
    /// It is done, and its connection ends.
    LoseAnswer,
    /// It is done, and its connection ends in the middle of the answer's body.
    Tear,
    /// It is done, and the answer's checksum is another body's.
    Spoil,
    /// It is done at once, and answered after that time.
    Delay(Duration),
}

/// What becomes of a request.
#[derive(Debug)]
pub enum Reply {
    /// An answer.
    Answer(Response<Bytes>),
    /// The same, later.
    Later(Duration, Response<Bytes>),
    /// Half of one, then the connection ends.
    Torn(Response<Bytes>),
    /// Nothing, for ever.
    Nothing,
    /// The connection ends.
    Reset,
}

/// See the module.
pub struct Fake {
    /// The objects.
    pub s3: S3,
    /// The keys.
    pub kms: Kms,
    /// Everything that was asked, in order.
    pub asked: Vec<Asked>,
    faults: VecDeque<(Asked, usize, Fault)>,
}

impl Fake {
    /// One bucket, with nothing in it, and one key.
    pub fn new(bucket: &str, key: &str) -> Self {
        let (s3, kms) = (S3::new(bucket), Kms::new(key));
        Self { s3, kms, asked: Vec::new(), faults: VecDeque::new() }
    }

    /// The next `times` requests of this kind fare so, after those that were told before.
    pub fn fail(&mut self, asked: Asked, times: usize, fault: Fault) {
        self.faults.push_back((asked, times, fault));
    }

    /// From now on all is well.
    pub fn heal(&mut self) {
        self.faults.clear();
    }

    /// How often this was asked.
    pub fn count(&self, asked: Asked) -> usize {
        self.asked.iter().filter(|other| **other == asked).count()
    }

    /// Takes one request.
    pub fn answer(&mut self, request: &Request<Bytes>) -> Reply {
        let asked = Asked::of(request);
        self.asked.push(asked);
        let fault = self.next_fault(asked);
        self.fare(request, fault.as_ref())
    }

    /// Takes one request that fares so, whatever was told ahead.
    pub fn fare(&mut self, request: &Request<Bytes>, fault: Option<&Fault>) -> Reply {
        let asked = Asked::of(request);
        match fault {
            Some(Fault::Refuse(status, code)) => {
                return Reply::Answer(refusal(asked, *status, code));
            }
            Some(Fault::Hang) => return Reply::Nothing,
            Some(Fault::Reset) => return Reply::Reset,
            _ => {}
        }
        let mut answer = if asked.is_of_keys() {
            self.kms.answer(asked, request)
        } else {
            self.s3.answer(asked, request)
        };
        match fault {
            Some(Fault::LoseAnswer) => Reply::Reset,
            Some(Fault::Tear) => Reply::Torn(answer),
            Some(Fault::Delay(time)) => Reply::Later(*time, answer),
            Some(Fault::Spoil) => {
                s3::seal(&mut answer, b"another body");
                Reply::Answer(answer)
            }
            _ => Reply::Answer(answer),
        }
    }

    fn next_fault(&mut self, asked: Asked) -> Option<Fault> {
        self.faults.retain(|(_, times, _)| *times > 0);
        let (_, times, fault) = self.faults.iter_mut().find(|(of, ..)| *of == asked)?;
        *times -= 1;
        Some(fault.clone())
    }
}

fn refusal(asked: Asked, status: u16, code: &str) -> Response<Bytes> {
    let answer = if asked.is_of_keys() { kms::refusal(code) } else { s3::refusal(404, code) };
    let (mut head, body) = answer.into_parts();
    head.status = StatusCode::from_u16(status).unwrap();
    // A proxy that answers in the server's place has no code.
    Response::from_parts(head, if code.is_empty() { Bytes::new() } else { body })
}

/// Twenty-four bytes of SHA-256 are enough to tell anything apart here.
fn digest(parts: &[&[u8]]) -> ring::digest::Digest {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap().to_be_bytes());
        context.update(part);
    }
    context.finish()
}
