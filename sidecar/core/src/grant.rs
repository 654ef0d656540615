//! Grants: that a session may do one thing with one token, until a time. And the object that makes
//! all grants of a session void at once.
//!
//! A grant is a record of kind `grant`, so it needs the token and the data key to be read or made. Its
//! `extra` is the session's tag and the action, so that each (session, token, action) has a name of its
//! own and a grant moved to another name does not open. What it seals is the generation that the
//! session had when it was made; a grant of another generation does not count.
//!
//! The generations that count lie in an object named by the session's tag. There is one, as long as storage
//! answers. A sidecar that makes grants while it cannot know what lies there begins another, and keeps it in its
//! journal; the two are then merged, see [`SessionState::merge`]. Version 2 of the object's bytes, integers
//! big-endian:
//!
//! | offset | bytes | field | |
//! | --- | --- | --- | --- |
//! | 0 | 1 | version | 2 |
//! | 1 | 8 | until | milliseconds since the Unix epoch; no grant of this session ends later |
//! | 9 | 8 | revoked at | the same: when all grants were last taken back; 0 for never |
//! | 17 | 24 n | generations | n is 0 to 8; each 16 random bytes, and 8 of when it was begun |
//! | 17 + 24 n | 32 | mac | HMAC-SHA256(index key, `session/v1`, namespace, tag, all bytes before) |
//!
//! Fields of the MAC's message are length-prefixed as in [`crate::derive`]; its first one holds a
//! slash, which no namespace does, so it is never the message of a tag.

use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::{
    derive::{self, SessionTag},
    ids::{Millis, Namespace, PutId},
    limits,
    replay::SKEW,
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

/// A generation, and when it was begun.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Begun {
    at: Millis,
    generation: Generation,
}

/// A session, as its object says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionState {
    /// No grant of the session ends later; afterwards nothing is lost with the object.
    pub until: Millis,
    /// When all of its grants were last taken back; 0 for never.
    pub revoked_at: Millis,
    /// What its grants must have sealed, one of them: the oldest first, then none.
    generations: [Option<Begun>; limits::SESSION_GENERATIONS],
}

/// The bytes are not this session's object: damaged, moved, or made without the index key.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("the session's object was changed")]
pub struct Forged;

const VERSION: u8 = 2;
const UNTIL: usize = 1;
const REVOKED_AT: usize = 9;
const GENERATIONS: usize = 17;
const BEGUN: usize = Generation::LEN + 8;
const MAC: usize = 32;

impl SessionState {
    /// The most bytes of a session's object.
    pub const MOST: usize = GENERATIONS + limits::SESSION_GENERATIONS * BEGUN + MAC;

    /// Of a session without grants.
    pub fn new(until: Millis) -> Self {
        Self { until, revoked_at: 0, generations: [None; limits::SESSION_GENERATIONS] }
    }

    /// What grants are made under; none where all were taken back since.
    pub fn generation(&self) -> Option<Generation> {
        self.generations[0].map(|begun| begun.generation)
    }

    /// Whether grants of this generation count.
    pub fn holds(&self, generation: Generation) -> bool {
        self.begun().any(|begun| begun.generation == generation)
    }

    /// Begins a generation.
    #[must_use]
    pub fn begin(self, generation: Generation, at: Millis) -> Self {
        self.with(Begun { at, generation })
    }

    /// The same, until then at least.
    #[must_use]
    pub fn lasting(self, until: Millis) -> Self {
        Self { until: self.until.max(until), ..self }
    }

    /// Takes back all of its grants.
    #[must_use]
    pub fn revoke(self, at: Millis) -> Self {
        Self { revoked_at: at.max(self.revoked_at + 1), ..Self::new(self.until) }
    }

    /// What comes of two states that were written without knowledge of each other, in whichever order. Of
    /// what may not have known of the other's last revoke, only what was begun after it counts, by more than
    /// two clocks may differ: in doubt, a grant is taken back.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        let revoked_at = self.revoked_at.max(other.revoked_at);
        let mut merged = Self { revoked_at, ..Self::new(self.until.max(other.until)) };
        for (state, opposite) in [(self, other), (other, self)] {
            let knows = opposite.revoked_at == 0 || opposite.revoked_at == state.revoked_at;
            let clear = opposite.revoked_at.saturating_add(SKEW);
            for begun in state.begun() {
                if knows || begun.at > clear {
                    merged = merged.with(*begun);
                } else if state.revoked_at == revoked_at {
                    // So that merging the same once more does not bring it back.
                    merged.revoked_at = revoked_at + 1;
                }
            }
        }
        merged
    }

    fn begun(&self) -> impl Iterator<Item = &Begun> {
        self.generations.iter().flatten()
    }

    /// With one more; where there are too many, without the oldest.
    fn with(self, begun: Begun) -> Self {
        if self.holds(begun.generation) {
            return self;
        }
        let mut all: Vec<_> = self.begun().copied().chain([begun]).collect();
        all.sort_unstable_by_key(|begun| (begun.at, begun.generation.0));
        let surplus = all.len().saturating_sub(limits::SESSION_GENERATIONS);
        let mut generations = [None; limits::SESSION_GENERATIONS];
        for (place, begun) in generations.iter_mut().zip(all.into_iter().skip(surplus)) {
            *place = Some(begun);
        }
        Self { generations, ..self }
    }

    /// The object's bytes.
    pub fn seal(&self, index_key: &DataKey, namespace: &Namespace, tag: &SessionTag) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::MOST);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.until.to_be_bytes());
        bytes.extend_from_slice(&self.revoked_at.to_be_bytes());
        for begun in self.begun() {
            bytes.extend_from_slice(&begun.generation.0);
            bytes.extend_from_slice(&begun.at.to_be_bytes());
        }
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
        let signed = bytes.len().checked_sub(MAC).ok_or(Forged)?;
        let (signed, mac) = bytes.split_at(signed);
        if bytes.len() > Self::MOST || signed.first() != Some(&VERSION) {
            return Err(Forged);
        }
        let expected = derive::session_mac(index_key, namespace, tag, signed);
        if !bool::from(expected.ct_eq(mac)) {
            return Err(Forged);
        }
        let until = time(signed, UNTIL).ok_or(Forged)?;
        let mut state =
            Self { revoked_at: time(signed, REVOKED_AT).ok_or(Forged)?, ..Self::new(until) };
        for begun in signed[GENERATIONS..].chunks(BEGUN) {
            let (generation, at) = begun.split_at_checked(Generation::LEN).ok_or(Forged)?;
            let generation = Generation::from_slice(generation).ok_or(Forged)?;
            state = state.begin(generation, time(at, 0).ok_or(Forged)?);
        }
        Ok(state)
    }

    /// Tells the writes of an object apart: the end of its MAC.
    pub fn peek_put(bytes: &[u8]) -> Option<PutId> {
        bytes.last_chunk().map(|end| PutId(*end))
    }

    /// What the bytes say of when the object may go, unproven; for a sweep, which has no keys. A forged
    /// one leads to a session without grants at worst, which whoever can write can bring about anyway.
    pub fn peek_until(bytes: &[u8]) -> Option<Millis> {
        time(bytes, UNTIL).filter(|_| bytes[0] == VERSION)
    }
}

fn time(bytes: &[u8], at: usize) -> Option<Millis> {
    let bytes = bytes.get(at..at + 8)?;
    Some(Millis::from_be_bytes(bytes.try_into().ok()?))
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
        fn an_object_opens_as_itself_and_nowhere_else(parts in parts(), flip in 0usize..10_000) {
            let state = state(&parts);
            let namespace = Namespace::default();
            let (tag, other) = (SessionTag([7; 32]), SessionTag([8; 32]));
            let bytes = state.seal(&key(1), &namespace, &tag);
            prop_assert_eq!(SessionState::peek_until(&bytes), Some(state.until));
            let open = |key_byte, namespace: &Namespace, tag, bytes: &[u8]| {
                SessionState::open(&key(key_byte), namespace, tag, bytes).ok()
            };
            prop_assert!(open(1, &namespace, &tag, &bytes) == Some(state));
            prop_assert!(open(2, &namespace, &tag, &bytes).is_none());
            prop_assert!(open(1, &namespace, &other, &bytes).is_none());
            prop_assert!(open(1, &Namespace::parse("shop").unwrap(), &tag, &bytes).is_none());
            let mut flipped = bytes.clone();
            let flip = flip % (8 * bytes.len());
            flipped[flip / 8] ^= 1 << (flip % 8);
            prop_assert!(open(1, &namespace, &tag, &flipped).is_none());
            prop_assert!(open(1, &namespace, &tag, &bytes[..bytes.len() - 1]).is_none());
        }

        #[test]
        fn merging_knows_no_order_and_brings_nothing_back(a in parts(), b in parts()) {
            let (a, b) = (state(&a), state(&b));
            prop_assert!(a.merge(&b) == b.merge(&a));
            prop_assert!(a.merge(&a) == a);
            let (once, twice) = (a.merge(&b), a.merge(&b).merge(&b));
            prop_assert!(twice.begun().all(|begun| once.holds(begun.generation)));
            prop_assert!(twice.merge(&a).begun().all(|begun| once.holds(begun.generation)));
        }

        /// Nothing that a revoke took back comes back by merging, whatever it is merged with.
        #[test]
        fn what_was_taken_back_stays_taken_back(before in parts(), late in 0..=SKEW) {
            let before = state(&before);
            let at = before.begun().map(|begun| begun.at).max().unwrap_or(1).max(before.revoked_at + 1);
            let revoked = before.revoke(at - late.min(at - before.revoked_at - 1));
            prop_assert_eq!(revoked.generation().is_none(), true);
            for merged in [revoked.merge(&before), before.merge(&revoked)] {
                prop_assert!(before.begun().all(|begun| !merged.holds(begun.generation)));
                prop_assert_eq!(merged.until, before.until);
            }
        }
    }

    /// Until, revoked at, and the generations.
    type Parts = (u64, u64, Vec<([u8; 16], u64)>);

    fn parts() -> impl Strategy<Value = Parts> {
        let begun = (any::<[u8; 16]>(), 1u64..1_000_000);
        let begun = proptest::collection::vec(begun, 0..=limits::SESSION_GENERATIONS);
        (0u64..1 << 50, 0u64..1_000_000, begun)
    }

    fn state((until, revoked_at, begun): &Parts) -> SessionState {
        let state = SessionState { revoked_at: *revoked_at, ..SessionState::new(*until) };
        begun
            .iter()
            .fold(state, |state, (generation, at)| state.begin(Generation(*generation), *at))
    }

    #[test]
    fn grants_that_two_made_without_knowing_of_each_other_both_count() {
        let one = SessionState::new(5).begin(Generation([1; 16]), 1_000);
        let other = SessionState::new(9).begin(Generation([2; 16]), 2_000);
        let merged = one.merge(&other);
        assert!([1, 2].iter().all(|byte| merged.holds(Generation([*byte; 16]))));
        assert_eq!(merged.until, 9);
        // What is granted after a revoke that the other did not know of, and in knowledge of it.
        let revoked = one.revoke(3_000);
        assert!(!revoked.merge(&other).holds(Generation([2; 16])));
        let again = revoked.begin(Generation([3; 16]), 3_001);
        assert!(again.merge(&revoked).holds(Generation([3; 16])));
        let late = SessionState::new(9).begin(Generation([4; 16]), 3_001 + SKEW);
        assert!(again.merge(&late).holds(Generation([4; 16])));
        let doubtful = SessionState::new(9).begin(Generation([4; 16]), 3_000 + SKEW);
        assert!(!again.merge(&doubtful).holds(Generation([4; 16])));
    }

    #[test]
    fn of_too_many_generations_the_oldest_goes() {
        let begin = |state: SessionState, at: u8| state.begin(Generation([at; 16]), at.into());
        let state = (0..=8).fold(SessionState::new(1), begin);
        assert!(
            !state.holds(Generation([0; 16])) && state.generation() == Some(Generation([1; 16]))
        );
    }
}
