//! Messages in and out: one for each body, behind five bytes of prefix, never compressed.

use std::ops::RangeInclusive;

use bytes::{BufMut, Bytes, BytesMut};
use lunasec_api::{Code, LIST_LENGTH};
use lunasec_core::limits;
use prost::{
    DecodeError, Message,
    encoding::{DecodeContext, decode_key, encoded_len_varint, message, skip_field},
};

use crate::failure::Failure;

/// A flag and a length before each message.
pub const PREFIX_BYTES: usize = 5;
/// The field of every list, in requests and in answers.
const LIST: u32 = 1;

/// The message of a body.
pub fn one<M: Message + Default>(body: &Bytes) -> Result<M, Failure> {
    decode(unframe(body)?)
}

/// The same, where its field 1 is a list. It is counted before it is decoded: an item of two bytes
/// on the wire takes a hundred in memory.
pub fn list<M: Message + Default>(body: &Bytes) -> Result<M, Failure> {
    list_of(body, 1..=limits::LIST_ITEMS)
}

/// The same, where the list may be left out.
pub fn list_or_none<M: Message + Default>(body: &Bytes) -> Result<M, Failure> {
    list_of(body, 0..=limits::LIST_ITEMS)
}

fn list_of<M: Message + Default>(
    body: &Bytes,
    allowed: RangeInclusive<usize>,
) -> Result<M, Failure> {
    let message = unframe(body)?;
    let count = count(&message).map_err(|_| malformed())?;
    if !allowed.contains(&count) {
        return Err(Failure::new(Code::InvalidRequest, LIST_LENGTH));
    }
    decode(message)
}

fn unframe(body: &Bytes) -> Result<Bytes, Failure> {
    let Some((&[flag, a, b, c, d], message)) = body.split_first_chunk() else {
        return Err(Failure::new(Code::InvalidRequest, "the call has no message"));
    };
    if flag != 0 {
        return Err(Failure::new(
            Code::UnsupportedMediaType,
            "the message is compressed; send it as it is",
        ));
    }
    if message.len() != usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX) {
        return Err(Failure::new(
            Code::InvalidRequest,
            "the call is not exactly one message of the length that it says",
        ));
    }
    Ok(body.slice(PREFIX_BYTES..))
}

/// What is wrong is not repeated: it may hold the value.
fn malformed() -> Failure {
    Failure::new(Code::InvalidRequest, "the message is not what this method takes")
}

fn decode<M: Message + Default>(message: Bytes) -> Result<M, Failure> {
    M::decode(message).map_err(|_| malformed())
}

fn count(mut message: &[u8]) -> Result<usize, DecodeError> {
    let mut count = 0;
    while !message.is_empty() {
        let (tag, wire_type) = decode_key(&mut message)?;
        count += usize::from(tag == LIST);
        skip_field(wire_type, tag, &mut message, DecodeContext::default())?;
    }
    Ok(count)
}

/// A message with its prefix.
pub fn encode(message: &impl Message) -> Bytes {
    let mut out = start(message.encoded_len());
    // There is room for it.
    message.encode_raw(&mut out);
    finish(out)
}

fn start(bytes: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(PREFIX_BYTES + bytes);
    out.put_bytes(0, PREFIX_BYTES);
    out
}

fn finish(mut out: BytesMut) -> Bytes {
    // Answers are bounded far below this.
    let length = u32::try_from(out.len() - PREFIX_BYTES).unwrap_or(u32::MAX);
    out[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    out.freeze()
}

/// Bytes that an item takes in an answer.
pub fn item_bytes(item: &impl Message) -> usize {
    let bytes = item.encoded_len();
    // Its key is one byte.
    1 + encoded_len_varint(bytes as u64) + bytes
}

/// The items of a batch's answer under way.
pub struct Items(BytesMut);

impl Default for Items {
    fn default() -> Self {
        Self(start(0))
    }
}

impl Items {
    /// The next one.
    pub fn push(&mut self, item: &impl Message) {
        message::encode(LIST, item, &mut self.0);
    }

    /// So far.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }

    /// The whole.
    pub fn finish(self) -> Bytes {
        finish(self.0)
    }
}

#[cfg(test)]
mod tests {
    use lunasec_api::grpc::{BatchDetokenizeResponse, DetokenizeItem};

    use super::*;

    #[test]
    fn items_make_the_message_that_holds_them() {
        let items: Vec<_> = ["", "a", &"b".repeat(300)]
            .map(|token| DetokenizeItem { token: token.into(), outcome: None })
            .into();
        let mut written = Items::default();
        let mut bytes = PREFIX_BYTES;
        for item in &items {
            written.push(item);
            bytes += item_bytes(item);
        }
        let written = written.finish();
        assert_eq!(written, encode(&BatchDetokenizeResponse { items }));
        assert_eq!(written.len(), bytes);
        assert_eq!(count(&written[PREFIX_BYTES..]).unwrap(), 3);
    }
}
