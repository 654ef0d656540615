//! The bytes of a stored record, version 1. Integers are big-endian.
//!
//! | offset | bytes | field | |
//! | --- | --- | --- | --- |
//! | 0 | 1 | version | 1 |
//! | 1 | 1 | kind | 1 value, 2 metadata, 3 grant, 4 audit |
//! | 2 | 1 | algorithm | 1: AES-256-GCM under HKDF-SHA256 |
//! | 3 | 1 | flags | bit 0: tombstone; the others are 0 |
//! | 4 | 8 | created at | milliseconds since the Unix epoch |
//! | 12 | 8 | expires at | the same, at least 1; 0 for never |
//! | 20 | 6 | key id | epoch (u32, minutes) and generation (u16) of the data key |
//! | 26 | 16 | put id | random for each put |
//! | 42 | 32 | commitment | see [`crate::derive`] |
//! | 74 | 12 | nonce | random |
//! | 86 | n | ciphertext | as long as the plaintext |
//! | 86 + n | 16 | tag | |
//!
//! The first 74 bytes, then the length-prefixed namespace and locator, are the associated data.

use thiserror::Error;

use crate::{
    aead::{NONCE_LEN, TAG_LEN},
    ids::{KeyId, Millis, PutId},
};

const VERSION: u8 = 1;
const ALGORITHM: u8 = 1;
const TOMBSTONE: u8 = 1;

/// Bytes before the nonce: what is authenticated beside the ciphertext.
pub const ASSOCIATED_LEN: usize = 74;
/// Bytes before the ciphertext: all that expiry and tombstones need.
pub const HEADER_LEN: usize = ASSOCIATED_LEN + NONCE_LEN;
/// Bytes that a record has beside its plaintext.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

/// What a record holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// A tokenized value.
    Value,
    /// A token's metadata.
    Metadata,
    /// A grant of one action on one token to one session.
    Grant,
    /// No record: the name under which a token appears in the audit trail.
    Audit,
}

impl Kind {
    /// As it enters derivations.
    pub fn label(self) -> &'static [u8] {
        match self {
            Self::Value => b"value",
            Self::Metadata => b"metadata",
            Self::Grant => b"grant",
            Self::Audit => b"audit",
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Value => 1,
            Self::Metadata => 2,
            Self::Grant => 3,
            Self::Audit => 4,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Value, Self::Metadata, Self::Grant, Self::Audit]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// A record's header. Parsing it proves nothing: only opening the record does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// What the record holds.
    pub kind: Kind,
    /// Whether it stands for a deleted one.
    pub tombstone: bool,
    /// When it was sealed.
    pub created_at: Millis,
    /// When it stops being served.
    pub expires_at: Option<Millis>,
    /// The data key it is sealed under.
    pub key_id: KeyId,
    /// The put that wrote it.
    pub put_id: PutId,
}

/// The bytes are not a record that this version can read.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum Malformed {
    /// Shorter than a record can be.
    #[error("the record is truncated")]
    Truncated,
    /// A version, kind, algorithm or flag from the future, or damage.
    #[error("the record has an unknown {0}")]
    Unknown(&'static str),
}

impl Header {
    /// Writes everything before the commitment.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VERSION, self.kind.code(), ALGORITHM, u8::from(self.tombstone)]);
        out.extend_from_slice(&self.created_at.to_be_bytes());
        // 0 says never: an expiry at the epoch itself is written as 1, which has passed as well.
        let expires_at = self.expires_at.map_or(0, |at| at.max(1));
        out.extend_from_slice(&expires_at.to_be_bytes());
        out.extend_from_slice(&self.key_id.to_bytes());
        out.extend_from_slice(&self.put_id.0);
    }

    /// Reads the header of a record, or of its first [`HEADER_LEN`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() < HEADER_LEN {
            return Err(Malformed::Truncated);
        }
        if bytes[0] != VERSION {
            return Err(Malformed::Unknown("version"));
        }
        let kind = Kind::from_code(bytes[1]).ok_or(Malformed::Unknown("kind"))?;
        if bytes[2] != ALGORITHM {
            return Err(Malformed::Unknown("algorithm"));
        }
        if bytes[3] & !TOMBSTONE != 0 {
            return Err(Malformed::Unknown("flag"));
        }
        let expires_at = u64::from_be_bytes(field(bytes, 12));
        Ok(Self {
            kind,
            tombstone: bytes[3] == TOMBSTONE,
            created_at: u64::from_be_bytes(field(bytes, 4)),
            expires_at: (expires_at != 0).then_some(expires_at),
            key_id: KeyId::from_bytes(field(bytes, 20)),
            put_id: PutId(field(bytes, 26)),
        })
    }

    /// Whether the record has expired at `now`.
    pub fn expired(&self, now: Millis) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// The parts of a record that opening needs; borrowed, so nothing is allocated before its lengths
/// are known to be right.
pub(crate) struct Parts<'a> {
    pub(crate) header: Header,
    pub(crate) associated: &'a [u8],
    pub(crate) commitment: [u8; 32],
    pub(crate) nonce: [u8; NONCE_LEN],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: [u8; TAG_LEN],
}

impl<'a> Parts<'a> {
    pub(crate) fn parse(record: &'a [u8]) -> Result<Self, Malformed> {
        if record.len() < OVERHEAD {
            return Err(Malformed::Truncated);
        }
        let header = Header::parse(record)?;
        let (rest, tag) = record.split_at(record.len() - TAG_LEN);
        Ok(Self {
            header,
            associated: &record[..ASSOCIATED_LEN],
            commitment: field(record, 42),
            nonce: field(record, ASSOCIATED_LEN),
            ciphertext: &rest[HEADER_LEN..],
            tag: field(tag, 0),
        })
    }
}

/// Copies the `N` bytes at `offset`, which the caller has checked to be there.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[offset..offset + N]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(expires_at: Option<Millis>) -> Header {
        Header {
            kind: Kind::Value,
            tombstone: false,
            created_at: 0,
            expires_at,
            key_id: KeyId { epoch: 0, generation: 0 },
            put_id: PutId([0; PutId::LEN]),
        }
    }

    fn written_and_read(header: Header) -> Header {
        let mut bytes = Vec::new();
        header.write(&mut bytes);
        bytes.resize(HEADER_LEN, 0);
        Header::parse(&bytes).unwrap()
    }

    #[test]
    fn an_expiry_never_turns_into_none() {
        for at in [0, 1, 2, Millis::MAX] {
            let read = written_and_read(header(Some(at)));
            assert_eq!(read.expires_at, Some(at.max(1)));
        }
        assert_eq!(written_and_read(header(None)), header(None));
    }

    #[test]
    fn a_record_is_expired_from_its_expiry_on() {
        assert!(!header(Some(7)).expired(6));
        assert!(header(Some(7)).expired(7));
        assert!(!header(None).expired(Millis::MAX));
    }
}
