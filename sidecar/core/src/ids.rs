//! Identifiers, parsed once at the edge and trusted inside.

use std::{
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::limits;

/// Milliseconds since the Unix epoch.
pub type Millis = u64;

/// A namespace: its own keys, its own locators; a token of one means nothing in another.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Namespace(Arc<str>);

/// Why a namespace's name was refused.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("a namespace is 1 to 63 characters of a-z, 0-9 and -, and starts with a letter or digit")]
pub struct InvalidNamespace;

impl Namespace {
    /// What a caller without a namespace of its own uses.
    pub const DEFAULT: &'static str = "default";

    /// Parses a name.
    pub fn parse(name: &str) -> Result<Self, InvalidNamespace> {
        let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
        let fits = (1..=limits::NAMESPACE_BYTES).contains(&name.len());
        if fits && !name.starts_with('-') && name.bytes().all(allowed) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidNamespace)
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Namespace {
    fn default() -> Self {
        static DEFAULT: LazyLock<Arc<str>> = LazyLock::new(|| Namespace::DEFAULT.into());
        Self(Arc::clone(&DEFAULT))
    }
}

/// An end user's session, as the application names it. It may be guessable or sensitive, so it is
/// never printed, only its tag is stored, and it is wiped when dropped.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Session(Box<str>);

/// Why a session was refused.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error(
    "a session is 1 to 1,024 bytes of text without control characters, and with no space at either end"
)]
pub struct InvalidSession;

impl Session {
    /// Parses a session. What a header cannot carry, or loses on its way, would be another session there
    /// than in a body or a claim.
    pub fn parse(text: &str) -> Result<Self, InvalidSession> {
        let fits = (1..=limits::SESSION_BYTES).contains(&text.len());
        if fits && text.trim() == text && !text.chars().any(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidSession)
        }
    }

    /// The text, for the tag only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(…)")
    }
}

/// Names a data key: the epoch it was made for, and which of that epoch's keys it is.
///
/// The epoch is its first minute since the Unix epoch, so that ids sort by age and stay unique if
/// an operator changes the epoch's length.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct KeyId {
    /// First minute of the epoch.
    pub epoch: u32,
    /// 0, and one more for every rotation within the epoch.
    pub generation: u16,
}

/// The text is not a key id.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("not a key id")]
pub struct InvalidKeyId;

impl KeyId {
    /// Bytes of a key id inside a record.
    pub const LEN: usize = 6;

    /// The first key of the epoch that `now` lies in.
    pub fn at(now: Millis, epoch: Duration) -> Self {
        let length = (epoch.as_secs() / 60).max(1);
        let minutes = now / 60_000;
        // A u32 of minutes reaches the year 10136; saturating keeps the arithmetic total.
        Self { epoch: u32::try_from(minutes - minutes % length).unwrap_or(u32::MAX), generation: 0 }
    }

    /// When the epoch begins.
    pub fn starts_at(self) -> Millis {
        u64::from(self.epoch) * 60_000
    }

    /// As stored inside a record: big-endian.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let [a, b, c, d] = self.epoch.to_be_bytes();
        let [e, f] = self.generation.to_be_bytes();
        [a, b, c, d, e, f]
    }

    /// Reads what [`KeyId::to_bytes`] wrote.
    pub fn from_bytes([a, b, c, d, e, f]: [u8; Self::LEN]) -> Self {
        Self { epoch: u32::from_be_bytes([a, b, c, d]), generation: u16::from_be_bytes([e, f]) }
    }

    /// Parses the text form.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyId> {
        let (epoch, generation) = text.split_once('-').ok_or(InvalidKeyId)?;
        let id = Self {
            epoch: epoch.parse().map_err(|_| InvalidKeyId)?,
            generation: generation.parse().map_err(|_| InvalidKeyId)?,
        };
        if id.to_string() == text { Ok(id) } else { Err(InvalidKeyId) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}-{:05}", self.epoch, self.generation)
    }
}

/// Where a record lies: derived from its token, and not leading back to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locator(pub [u8; Locator::LEN]);

impl Locator {
    /// Bytes of a locator.
    pub const LEN: usize = 32;

    /// Bytes of a locator's text.
    pub const TEXT_LEN: usize = 2 * Self::LEN;

    /// Reads what [`Self::hex`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| (byte as char).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
        let mut locator = [0; Self::LEN];
        let (pairs, rest) = text.as_bytes().as_chunks();
        if pairs.len() != Self::LEN || !rest.is_empty() {
            return None;
        }
        for (byte, [high, low]) in locator.iter_mut().zip(pairs) {
            *byte = u8::try_from(16 * digit(*high)? + digit(*low)?).ok()?;
        }
        Some(Self(locator))
    }

    /// Lower-case hexadecimal digits.
    pub fn hex(&self) -> [u8; Self::TEXT_LEN] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; Self::TEXT_LEN];
        for (pair, byte) in text.chunks_exact_mut(2).zip(&self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }
}

impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.hex()))
    }
}

impl fmt::Debug for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Locator({self})")
    }
}

/// Chosen at random for each put, so that a put whose answer was lost is told from someone else's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PutId(pub [u8; PutId::LEN]);

impl PutId {
    /// Bytes of a put id.
    pub const LEN: usize = 16;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces() {
        for good in ["default", "a", "0", "shop-eu-1", &"x".repeat(63)] {
            assert_eq!(Namespace::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "A", "a/b", "a.b", "a b", "é", "..", &"x".repeat(64)] {
            assert_eq!(Namespace::parse(bad), Err(InvalidNamespace), "{bad}");
        }
    }

    #[test]
    fn sessions() {
        assert!(Session::parse(&"s".repeat(1024)).is_ok());
        assert_eq!(Session::parse(""), Err(InvalidSession));
        assert_eq!(Session::parse(&"s".repeat(1025)), Err(InvalidSession));
        for good in ["alice", "a b", "a\u{e9}", "=+/\"%"] {
            assert_eq!(Session::parse(good).unwrap().expose(), good);
        }
        for bad in [" ", " a", "a ", "\ta", "a\u{a0}", "a\0b", "a\nb", "a\u{7f}", "a\u{85}b"] {
            assert_eq!(Session::parse(bad), Err(InvalidSession), "{bad:?}");
        }
        assert_eq!(format!("{:?}", Session::parse("alice").unwrap()), "Session(…)");
    }

    #[test]
    fn key_ids_sort_by_age_as_text_and_as_bytes() {
        let day = Duration::from_secs(86_400);
        let now = 1_763_942_400_000; // 2025-11-24T00:00:00Z
        let ids = [
            KeyId::at(now - 1, day),
            KeyId::at(now, day),
            KeyId { generation: 1, ..KeyId::at(now + 86_399_999, day) },
            KeyId::at(now + 86_400_000, day),
        ];
        assert_eq!(ids[1].starts_at(), now);
        assert_eq!(ids[2].epoch, ids[1].epoch);
        assert_eq!(ids[1].to_string(), "0029399040-00000");
        for pair in ids.windows(2) {
            assert!(pair[0].to_string() < pair[1].to_string());
            assert!(pair[0].to_bytes() < pair[1].to_bytes());
            assert_eq!(KeyId::from_bytes(pair[0].to_bytes()), pair[0]);
            assert_eq!(KeyId::parse(&pair[0].to_string()), Ok(pair[0]));
        }
        for bad in ["", "1-1", "0029399040", "0029399040-0", "+029399040-00000", "index"] {
            assert_eq!(KeyId::parse(bad), Err(InvalidKeyId), "{bad}");
        }
    }
}
