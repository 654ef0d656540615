//! Seal and open one record.
//!
//! The record key needs the data key and the token, so neither the bucket with the KMS key nor the
//! application's database alone opens anything. The associated data binds the header, the namespace
//! and the locator: a record that was moved, or whose expiry was edited, does not open. AES-GCM
//! does not commit to its key; the stored commitment does.

use std::fmt;

use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    aead::{self, NONCE_LEN, TAG_LEN},
    derive,
    ids::{KeyId, Locator, Millis, Namespace, PutId},
    record::{ASSOCIATED_LEN, HEADER_LEN, Header, Kind, Malformed, OVERHEAD, Parts},
    secret::DataKey,
    token::Token,
};

/// What a record is about. Two records with the same subject have the same name.
#[derive(Clone)]
pub struct Subject {
    token: Token,
    namespace: Namespace,
    kind: Kind,
    extra: Vec<u8>,
    locator: Locator,
}

impl Subject {
    /// A token's record of one kind. `extra` is empty but for grants.
    pub fn new(token: Token, namespace: Namespace, kind: Kind, extra: &[u8]) -> Self {
        let locator = derive::locator(&token, &namespace, kind, extra);
        Self { token, namespace, kind, extra: extra.to_vec(), locator }
    }

    /// Where the record lies.
    pub fn locator(&self) -> Locator {
        self.locator
    }

    /// What it holds.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The namespace it lies in.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    fn keys(&self, data_key: &DataKey) -> derive::RecordKeys {
        derive::record_keys(data_key, &self.token, &self.namespace, self.kind, &self.extra)
    }

    /// The first bytes of the record, then the length-prefixed namespace and locator.
    fn associated(&self, first: &[u8]) -> Associated {
        let namespace = self.namespace.as_str().as_bytes();
        let mut associated = Associated { bytes: [0; ASSOCIATED_MOST], length: 0 };
        associated.push(first);
        for field in [namespace, &self.locator.0] {
            associated.push(&derive::length_prefix(field.len()));
            associated.push(field);
        }
        associated
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subject({:?}, {:?})", self.kind, self.locator)
    }
}

const ASSOCIATED_MOST: usize =
    ASSOCIATED_LEN + 4 + crate::limits::NAMESPACE_BYTES + 4 + Locator::LEN;

/// Associated data has a small bound, so it needs no allocation.
struct Associated {
    bytes: [u8; ASSOCIATED_MOST],
    length: usize,
}

impl Associated {
    fn push(&mut self, part: &[u8]) {
        self.bytes[self.length..self.length + part.len()].copy_from_slice(part);
        self.length += part.len();
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The randomness of one seal, drawn by the caller.
#[derive(Clone, Copy)]
pub struct Fresh {
    /// Never used twice with the same record key: random, and a record key seals few records.
    pub nonce: [u8; NONCE_LEN],
    /// Names this put.
    pub put_id: PutId,
}

/// What the header will say, beside the key.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Whether this stands for a deleted record.
    pub tombstone: bool,
    /// Now.
    pub created_at: Millis,
    /// When to stop serving it.
    pub expires_at: Option<Millis>,
}

/// The record could not be sealed: the plaintext is larger than the cipher can take.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("the plaintext is too large to seal")]
pub struct TooLarge;

/// Seals the concatenation of `plaintext` into the bytes of a record.
pub fn seal(
    subject: &Subject,
    key_id: KeyId,
    data_key: &DataKey,
    stamp: Stamp,
    fresh: &Fresh,
    plaintext: &[&[u8]],
) -> Result<Vec<u8>, TooLarge> {
    let keys = subject.keys(data_key);
    let length: usize = plaintext.iter().map(|part| part.len()).sum();
    let mut record = Vec::with_capacity(OVERHEAD + length);
    Header {
        kind: subject.kind,
        tombstone: stamp.tombstone,
        created_at: stamp.created_at,
        expires_at: stamp.expires_at,
        key_id,
        put_id: fresh.put_id,
    }
    .write(&mut record);
    record.extend_from_slice(&keys.commitment);
    let associated = subject.associated(&record);
    record.extend_from_slice(&fresh.nonce);
    let body = record.len();
    for part in plaintext {
        record.extend_from_slice(part);
    }
    let tag = aead::encrypt(&keys.key, &fresh.nonce, associated.as_slice(), &mut record[body..])
        .map_err(|_| TooLarge)?;
    record.extend_from_slice(&tag);
    debug_assert_eq!(record.len(), OVERHEAD + length);
    debug_assert_eq!(tag.len(), TAG_LEN);
    Ok(record)
}

/// Why a record does not open. All of them mean that what is stored is not what was sealed.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum OpenError {
    /// Not a record.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A record of another kind lies under this name.
    #[error("the record is of another kind")]
    OtherKind,
    /// Sealed under another data key or token.
    #[error("the record is committed to another key")]
    OtherKey,
    /// Header, name or ciphertext were changed.
    #[error("the record was changed")]
    Changed,
}

/// An opened record: authenticated header and plaintext.
pub struct Opened {
    /// Now proven.
    pub header: Header,
    /// Wiped when dropped.
    pub plaintext: Zeroizing<Vec<u8>>,
}

/// Bytes of a [`header_proof`].
pub const HEADER_PROOF_LEN: usize = HEADER_LEN + TAG_LEN + 8;

/// What proves a record's header once the record was opened: header, commitment, nonce, tag and length. A record that
/// has the same ones has the same header, or it could not have been opened; of its ciphertext they say nothing.
pub fn header_proof(record: &[u8]) -> Option<[u8; HEADER_PROOF_LEN]> {
    let rest = record.len().checked_sub(TAG_LEN).filter(|rest| *rest >= HEADER_LEN)?;
    let mut proof = [0; HEADER_PROOF_LEN];
    let (head, end) = proof.split_at_mut(HEADER_LEN);
    head.copy_from_slice(&record[..HEADER_LEN]);
    let (tag, length) = end.split_at_mut(TAG_LEN);
    tag.copy_from_slice(&record[rest..]);
    length.copy_from_slice(&(record.len() as u64).to_be_bytes());
    Some(proof)
}

/// Opens a record.
pub fn open(subject: &Subject, data_key: &DataKey, record: &[u8]) -> Result<Opened, OpenError> {
    let parts = Parts::parse(record)?;
    if parts.header.kind != subject.kind {
        return Err(OpenError::OtherKind);
    }
    let keys = subject.keys(data_key);
    if !bool::from(keys.commitment.ct_eq(&parts.commitment)) {
        return Err(OpenError::OtherKey);
    }
    let associated = subject.associated(parts.associated);
    let mut plaintext = Zeroizing::new(parts.ciphertext.to_vec());
    aead::decrypt(&keys.key, &parts.nonce, associated.as_slice(), &mut plaintext, &parts.tag)
        .map_err(|_| OpenError::Changed)?;
    Ok(Opened { header: parts.header, plaintext })
}
