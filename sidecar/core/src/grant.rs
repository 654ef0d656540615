//! Grants: that a session may do one thing with one token, until a time. And the object that makes
//! all grants of a session void at once.
//!
//! A grant is a record of kind `grant`, so it needs the token and the data key to be read or made. Its
//! `extra` is the session's tag and the action, so that each (session, token, action) has a name of its
//! own and a grant moved to another name does not open. What it seals is the generation that the
//! session had when it was made; a grant of another generation does not count.
//!
//! The session's generation lies in an object named by the session's tag. Version 1 of its bytes,
//! integers big-endian:
//!
//! | offset | bytes | field | |
//! | --- | --- | --- | --- |
//! | 0 | 1 | version | 1 |
//! | 1 | 16 | generation | random |
//! | 17 | 8 | until | milliseconds since the Unix epoch; no grant of this session ends later |
//! | 25 | 32 | mac | HMAC-SHA256(index key, `session/v1`, namespace, tag, the 25 bytes before) |
//!
//! Fields of the MAC's message are length-prefixed as in [`crate::derive`]; its first one holds a
//! slash, which no namespace does, so it is never the message of a tag.

use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::{
    derive::{self, SessionTag},
    ids::{Millis, Namespace},
    secret::DataKey,
};

/// What a grant allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Reveal the value.
    Detokenize,
    /// Read the metadata.
    Metadata,
    /// Replace the metadata.
    Update,
    /// Delete the token.
    Delete,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Detokenize, Self::Metadata, Self::Update, Self::Delete];
    /// What a grant allows unless it says otherwise.
    pub const DEFAULT: [Self; 2] = [Self::Detokenize, Self::Metadata];

    /// As requests write it, and as it enters derivations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Detokenize => "detokenize",
            Self::Metadata => "metadata",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// Reads one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

/// The `extra` of a grant's record.
pub fn extra(tag: &SessionTag, action: Action) -> Vec<u8> {
    [&tag.0, action.as_str().as_bytes()].concat()
}

/// Changed to make every grant of a session void.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Generation(pub [u8; Generation::LEN]);

impl Generation {
    /// Bytes of a generation.
    pub const LEN: usize = 16;

    /// Reads what a grant sealed.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }
}

/// A session, as its object says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionState {
    /// What its grants must have sealed.
    pub generation: Generation,
    /// No grant of the session ends later; afterwards nothing is lost with the object.
    pub until: Millis,
}

/// The bytes are not this session's object: damaged, moved, or made without the index key.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("the session's object was changed")]
pub struct Forged;

const VERSION: u8 = 1;
const SIGNED: usize = 1 + Generation::LEN + 8;
const MAC: usize = 32;

impl SessionState {
    /// Bytes of a session's object.
    pub const LEN: usize = SIGNED + MAC;

    /// The object's bytes.
    pub fn seal(&self, index_key: &DataKey, namespace: &Namespace, tag: &SessionTag) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEN);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.generation.0);
        bytes.extend_from_slice(&self.until.to_be_bytes());
        let mac = derive::session_mac(index_key, namespace, tag, &bytes);
        bytes.extend_from_slice(&mac);
        bytes
    }

    /// Reads the object's bytes.
    pub fn open(
        index_key: &DataKey,
        namespace: &Namespace,
        tag: &SessionTag,
        bytes: &[u8],
    ) -> Result<Self, Forged> {
        if bytes.len() != Self::LEN || bytes[0] != VERSION {
            return Err(Forged);
        }
        let (signed, mac) = bytes.split_at(SIGNED);
        let expected = derive::session_mac(index_key, namespace, tag, signed);
        if !bool::from(expected.ct_eq(mac)) {
            return Err(Forged);
        }
        let generation = Generation::from_slice(&signed[1..=Generation::LEN]).ok_or(Forged)?;
        Ok(Self { generation, until: Self::peek_until(bytes).ok_or(Forged)? })
    }

    /// What the bytes say of when the object may go, unproven; for a sweep, which has no keys. A forged
    /// one leads to a session without grants at worst, which whoever can write can bring about anyway.
    pub fn peek_until(bytes: &[u8]) -> Option<Millis> {
        let until = bytes.get(1 + Generation::LEN..SIGNED)?;
        Some(Millis::from_be_bytes(until.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::Session;

    fn key(byte: u8) -> DataKey {
        DataKey::take(&mut [byte; 32])
    }

    #[test]
    fn actions_are_read_as_they_are_written() {
        for action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(action));
        }
        assert_eq!(Action::parse("Detokenize"), None);
    }

    #[test]
    fn a_session_tag_is_never_a_mac() {
        // The same bytes behind both, were it not for the first field.
        let namespace = Namespace::default();
        let tag = derive::session_tag(&key(1), &namespace, &Session::parse("s").unwrap());
        let mac = derive::session_mac(&key(1), &namespace, &tag, b"s");
        assert_ne!(tag.0, mac);
    }

    proptest! {
        #[test]
        fn an_object_opens_as_itself_and_nowhere_else(generation: [u8; 16], until: u64, flip in 0usize..57 * 8) {
            let state = SessionState { generation: Generation(generation), until };
            let namespace = Namespace::default();
            let (tag, other) = (SessionTag([7; 32]), SessionTag([8; 32]));
            let bytes = state.seal(&key(1), &namespace, &tag);
            prop_assert_eq!(bytes.len(), SessionState::LEN);
            prop_assert_eq!(SessionState::peek_until(&bytes), Some(until));
            let open = |key_byte, namespace: &Namespace, tag, bytes: &[u8]| {
                SessionState::open(&key(key_byte), namespace, tag, bytes).ok()
            };
            prop_assert!(open(1, &namespace, &tag, &bytes) == Some(state));
            prop_assert!(open(2, &namespace, &tag, &bytes).is_none());
            prop_assert!(open(1, &namespace, &other, &bytes).is_none());
            prop_assert!(open(1, &Namespace::parse("shop").unwrap(), &tag, &bytes).is_none());
            let mut flipped = bytes.clone();
            flipped[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(open(1, &namespace, &tag, &flipped).is_none());
            prop_assert!(open(1, &namespace, &tag, &bytes[..56]).is_none());
        }
    }
}
