//! Keys that wrap: a blob opens under its own key and context only. Data keys are drawn from a counter.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hyper::{Request, Response};
use serde_json::{Value, json};

use super::{Asked, digest};

const ARN: &str = "arn:aws:kms:eu-central-1:000000000000:key/";
const KEY: usize = 32;

/// What may be done with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyState {
    /// Everything.
    Enabled,
    /// Nothing, until it is enabled.
    Disabled,
    /// Nothing: it is going to be deleted.
    PendingDeletion,
}

/// See the module.
pub struct Kms {
    /// By id.
    pub keys: BTreeMap<String, KeyState>,
    /// Of data keys and of wrappings, no two of which are the same.
    made: u64,
}

impl Kms {
    pub(super) fn new(key: &str) -> Self {
        Self { keys: BTreeMap::from([(key.to_owned(), KeyState::Enabled)]), made: 0 }
    }

    pub(super) fn answer(&mut self, asked: Asked, request: &Request<Bytes>) -> Response<Bytes> {
        let body: Value = serde_json::from_slice(request.body()).unwrap();
        let done = match asked {
            Asked::Make => self.make(&body),
            Asked::Unwrap => self.unwrap(&body),
            _ => self.rewrap(&body),
        };
        match done {
            Ok(answer) => Response::new(answer.to_string().into()),
            Err(code) => refusal(code),
        }
    }

    fn make(&mut self, body: &Value) -> Result<Value, &'static str> {
        let id = self.usable(&body["KeyId"])?;
        self.made += 1;
        let key = digest(&[b"data key", &self.made.to_be_bytes()]);
        let blob = wrap(&id, self.made, &context(&body["EncryptionContext"]), key.as_ref());
        Ok(
            json!({ "KeyId": arn(&id), "Plaintext": encoded(key.as_ref()), "CiphertextBlob": encoded(&blob) }),
        )
    }

    fn unwrap(&self, body: &Value) -> Result<Value, &'static str> {
        let id = self.usable(&body["KeyId"])?;
        let key = unwrap(&id, &context(&body["EncryptionContext"]), &body["CiphertextBlob"])?;
        Ok(json!({ "KeyId": arn(&id), "Plaintext": encoded(&key) }))
    }

    fn rewrap(&mut self, body: &Value) -> Result<Value, &'static str> {
        let source = self.usable(&body["SourceKeyId"])?;
        let destination = self.usable(&body["DestinationKeyId"])?;
        let from = context(&body["SourceEncryptionContext"]);
        let key = unwrap(&source, &from, &body["CiphertextBlob"])?;
        self.made += 1;
        let to = context(&body["DestinationEncryptionContext"]);
        let blob = wrap(&destination, self.made, &to, &key);
        Ok(json!({ "KeyId": arn(&destination), "CiphertextBlob": encoded(&blob) }))
    }

    /// A key by its id or ARN.
    fn usable(&self, id: &Value) -> Result<String, &'static str> {
        let id = id.as_str().unwrap();
        let id = id.strip_prefix(ARN).unwrap_or(id);
        match self.keys.get(id) {
            None => Err("NotFoundException"),
            Some(KeyState::Enabled) => Ok(id.to_owned()),
            Some(KeyState::Disabled) => Err("DisabledException"),
            Some(KeyState::PendingDeletion) => Err("KMSInvalidStateException"),
        }
    }
}

fn arn(id: &str) -> String {
    format!("{ARN}{id}")
}

fn encoded(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// In an order of its own, whatever the one it was sent in.
fn context(pairs: &Value) -> Vec<u8> {
    let pairs = pairs.as_object().into_iter().flatten();
    let sorted: BTreeMap<_, _> = pairs.map(|(name, value)| (name, value.to_string())).collect();
    format!("{sorted:?}").into_bytes()
}

/// Which key, which wrapping, the data key under a mask, and a tag over all of it.
fn wrap(id: &str, number: u64, context: &[u8], key: &[u8]) -> Vec<u8> {
    let number = number.to_be_bytes();
    let mask = digest(&[b"mask", id.as_bytes(), &number, context]);
    let masked: Vec<u8> = key.iter().zip(mask.as_ref()).map(|(one, other)| one ^ other).collect();
    let tag = digest(&[b"tag", id.as_bytes(), &number, context, &masked]);
    [digest(&[b"key", id.as_bytes()]).as_ref(), &number, &masked, tag.as_ref()].concat()
}

fn unwrap(id: &str, context: &[u8], blob: &Value) -> Result<Vec<u8>, &'static str> {
    const DAMAGED: &str = "InvalidCiphertextException";
    let blob = BASE64_STANDARD.decode(blob.as_str().unwrap()).unwrap();
    let (of, rest) = blob.split_first_chunk::<KEY>().ok_or(DAMAGED)?;
    let (number, rest) = rest.split_first_chunk().ok_or(DAMAGED)?;
    let (masked, _) = rest.split_first_chunk::<KEY>().ok_or(DAMAGED)?;
    if of != digest(&[b"key", id.as_bytes()]).as_ref() {
        return Err("IncorrectKeyException");
    }
    let mask = digest(&[b"mask", id.as_bytes(), number, context]);
    let key: Vec<u8> = masked.iter().zip(mask.as_ref()).map(|(one, other)| one ^ other).collect();
    if wrap(id, u64::from_be_bytes(*number), context, &key) != blob {
        return Err(DAMAGED);
    }
    Ok(key)
}

pub(super) fn refusal(code: &str) -> Response<Bytes> {
    let body = json!({ "__type": code, "message": "As told." });
    let mut answer = Response::new(body.to_string().into());
    *answer.status_mut() = hyper::StatusCode::BAD_REQUEST;
    answer
}
