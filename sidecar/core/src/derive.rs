//! Every key, name and tag, and how it comes from a token and a key: HKDF-SHA256 (RFC 5869) and
//! HMAC-SHA256 (RFC 2104).
//!
//! | name | derivation |
//! | --- | --- |
//! | locator | Extract(salt `lunasec/v1/locate`, ikm T), Expand(ns, kind, extra) → 32 bytes |
//! | record key | Extract(salt `lunasec/v1/seal`, ikm K ‖ T), Expand(`key`, ns, kind, extra) → 32 bytes |
//! | commitment | the same extract, Expand(`commit`, ns, kind, extra) → 32 bytes |
//! | session tag | HMAC(index key, ns, session) → 32 bytes |
//! | session mac | HMAC(index key, `session/v1`, ns, tag, the object's bytes) → 32 bytes |
//!
//! T is the token's 16 bytes, K the data key's 32. Each field of an info, and of the tag's message,
//! is preceded by its length as a big-endian u32, so that no two lists of fields share their bytes.

use std::sync::LazyLock;

use hkdf::{Hkdf, HkdfExtract};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use crate::{
    ids::{Locator, Namespace, Session},
    record::Kind,
    secret::DataKey,
    token::Token,
};

/// HKDF can give at most 255 blocks of 32 bytes.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("HKDF-SHA256 gives at most 8,160 bytes")]
pub struct TooLong;

/// HKDF-Extract with its salt already absorbed: salts are constants, so the work is done once.
pub struct Extractor(HkdfExtract<Sha256>);

impl Extractor {
    /// Prepares the extract step for a salt.
    pub fn new(salt: &[u8]) -> Self {
        Self(HkdfExtract::new(Some(salt)))
    }

    /// Extracts from the concatenation of `ikm`.
    pub fn extract(&self, ikm: &[&[u8]]) -> Expander {
        let mut extract = self.0.clone();
        for part in ikm {
            extract.input_ikm(part);
        }
        let (mut prk, expander) = extract.finalize();
        // The expander has absorbed it and wipes itself; this copy would stay behind.
        prk.as_mut_slice().zeroize();
        Expander(expander)
    }
}

/// A pseudorandom key, ready to be expanded.
pub struct Expander(Hkdf<Sha256>);

impl Expander {
    /// Expands with the concatenation of `info`.
    pub fn expand(&self, info: &[&[u8]], out: &mut [u8]) -> Result<(), TooLong> {
        self.0.expand_multi_info(info, out).map_err(|_| TooLong)
    }

    /// Expands to the one size that everything here has.
    fn expand_fields(&self, fields: &[&[u8]], out: &mut [u8; 32]) {
        with_lengths(fields, |info| {
            // Going on would leave a key of zeros.
            let Ok(()) = self.expand(info, out) else {
                unreachable!("32 bytes are far below the 8,160 that HKDF can give")
            };
        });
    }
}

/// The fields one after the other, each preceded by its length: no two lists of fields share their
/// bytes.
pub fn length_prefixed(fields: &[&[u8]]) -> Vec<u8> {
    fields.iter().flat_map(|field| [&length_prefix(field.len())[..], field].concat()).collect()
}

/// How every derivation and the associated data write the length of a field.
pub(crate) fn length_prefix(length: usize) -> [u8; 4] {
    // A saturated or truncated length would let two lists of fields share their bytes.
    let Ok(length) = u32::try_from(length) else {
        unreachable!("every field is bounded far below 4 GiB")
    };
    length.to_be_bytes()
}

/// Calls `use_parts` with each field preceded by its length.
fn with_lengths(fields: &[&[u8]], use_parts: impl FnOnce(&[&[u8]])) {
    const MOST: usize = 4;
    assert!(fields.len() <= MOST, "a derivation has at most {MOST} fields");
    let mut lengths = [[0; 4]; MOST];
    let mut parts: [&[u8]; 2 * MOST] = [&[]; 2 * MOST];
    for (length, field) in lengths.iter_mut().zip(fields) {
        *length = length_prefix(field.len());
    }
    for (at, (length, field)) in lengths.iter().zip(fields).enumerate() {
        parts[2 * at] = length;
        parts[2 * at + 1] = field;
    }
    use_parts(&parts[..2 * fields.len()]);
}

static LOCATE: LazyLock<Extractor> = LazyLock::new(|| Extractor::new(b"lunasec/v1/locate"));
static SEAL: LazyLock<Extractor> = LazyLock::new(|| Extractor::new(b"lunasec/v1/seal"));

/// Where the record of this token, namespace, kind and extra lies.
pub fn locator(token: &Token, namespace: &Namespace, kind: Kind, extra: &[u8]) -> Locator {
    let expander = LOCATE.extract(&[token.expose()]);
    let mut locator = Locator([0; Locator::LEN]);
    let fields = [namespace.as_str().as_bytes(), kind.label(), extra];
    expander.expand_fields(&fields, &mut locator.0);
    locator
}

/// What seals one record, and what commits it to its data key.
pub struct RecordKeys {
    /// The AEAD's key.
    pub key: Zeroizing<[u8; 32]>,
    /// Stored in the record; equal only under the same data key and token.
    pub commitment: [u8; 32],
}

/// Needs both the data key and the token.
pub fn record_keys(
    data_key: &DataKey,
    token: &Token,
    namespace: &Namespace,
    kind: Kind,
    extra: &[u8],
) -> RecordKeys {
    let expander = SEAL.extract(&[data_key.expose(), token.expose()]);
    let expand = |purpose: &[u8], out: &mut [u8; 32]| {
        let fields = [purpose, namespace.as_str().as_bytes(), kind.label(), extra];
        expander.expand_fields(&fields, out);
    };
    let mut keys = RecordKeys { key: Zeroizing::new([0; 32]), commitment: [0; 32] };
    expand(b"key", &mut keys.key);
    expand(b"commit", &mut keys.commitment);
    keys
}

/// Names a session in storage and audit without showing it, even if sessions can be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SessionTag(pub [u8; 32]);

/// Derives a session's tag under the namespace's index key.
pub fn session_tag(index_key: &DataKey, namespace: &Namespace, session: &Session) -> SessionTag {
    SessionTag(mac(index_key, &[namespace.as_str().as_bytes(), session.expose().as_bytes()]))
}

/// Proves that a session's object was made with the index key, for this session; see [`crate::grant`].
pub fn session_mac(
    index_key: &DataKey,
    namespace: &Namespace,
    tag: &SessionTag,
    bytes: &[u8],
) -> [u8; 32] {
    mac(index_key, &[b"session/v1", namespace.as_str().as_bytes(), &tag.0, bytes])
}

fn mac(key: &DataKey, fields: &[&[u8]]) -> [u8; 32] {
    // HMAC takes a key of any length: this cannot fail.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.expose()) else {
        unreachable!("HMAC accepts every key length")
    };
    with_lengths(fields, |parts| {
        for part in parts {
            mac.update(part);
        }
    });
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_four_big_endian_bytes() {
        assert_eq!(length_prefix(0x0102_0304), [1, 2, 3, 4]);
        assert_eq!(length_prefix(0xffff_ffff), [0xff; 4]);
    }

    #[test]
    #[should_panic(expected = "bounded far below 4 GiB")]
    fn a_length_that_does_not_fit_is_never_saturated() {
        length_prefix(0x1_0000_0000);
    }

    #[test]
    #[should_panic(expected = "at most 4 fields")]
    fn a_field_too_many_is_never_dropped() {
        with_lengths(&[b"a".as_slice(); 5], |_| ());
    }
}
