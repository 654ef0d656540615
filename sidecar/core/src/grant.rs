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
//! journal; the two are then merged, see [`SessionState::merge`]. So that each state says which revokes it was
//! written in knowledge of, they are listed. Version 3 of the object's bytes, integers big-endian:
//!
//! | offset | bytes | field | |
//! | --- | --- | --- | --- |
//! | 0 | 1 | version | 3 |
//! | 1 | 8 | until | milliseconds since the Unix epoch; no grant of this session ends later |
//! | 9 | 1 | r | how many revokes follow, 0 to 8 |
//! | 10 | 24 r | revokes | of all grants; each 16 random bytes, and 8 of when |
//! | 10 + 24 r | 24 n | generations | n is 0 to 8; each 16 random bytes, and 8 of when it was begun |
//! | 10 + 24 (r + n) | 32 | mac | HMAC-SHA256(index key, `session/v1`, namespace, tag, all bytes before) |
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

/// What happened to a session, and when.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Event {
    at: Millis,
    id: [u8; Generation::LEN],
}

/// The last events of a kind: the oldest first, then none.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Events<const MOST: usize>([Option<Event>; MOST]);

impl<const MOST: usize> Events<MOST> {
    const NONE: Self = Self([None; MOST]);

    fn iter(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.0.iter().flatten()
    }

    fn holds(&self, id: &[u8; Generation::LEN]) -> bool {
        self.iter().any(|event| event.id == *id)
    }

    /// With one more; where there are too many, without the oldest.
    fn with(self, event: Event) -> Self {
        if self.holds(&event.id) {
            return self;
        }
        let mut all: Vec<_> = self.iter().copied().chain([event]).collect();
        all.sort_unstable();
        let surplus = all.len().saturating_sub(MOST);
        let mut last = Self::NONE;
        for (place, event) in last.0.iter_mut().zip(all.into_iter().skip(surplus)) {
            *place = Some(event);
        }
        last
    }

    /// Behind which there may have been older ones.
    fn oldest_of_many(&self) -> Option<&Event> {
        self.iter().next().filter(|_| self.0.last().is_some_and(Option::is_some))
    }
}

/// A session, as its object says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionState {
    /// No grant of the session ends later; afterwards nothing is lost with the object.
    pub until: Millis,
    /// When all of its grants were taken back.
    revokes: Events<{ limits::SESSION_REVOKES }>,
    /// What its grants must have sealed, one of them.
    generations: Events<{ limits::SESSION_GENERATIONS }>,
}

/// The bytes are not this session's object: damaged, moved, or made without the index key.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("the session's object was changed")]
pub struct Forged;

const VERSION: u8 = 3;
const UNTIL: usize = 1;
const REVOKES: usize = 9;
const EVENTS: usize = 10;
const EVENT: usize = Generation::LEN + 8;
const MAC: usize = 32;

impl SessionState {
    /// The most bytes of a session's object.
    pub const MOST: usize =
        EVENTS + (limits::SESSION_REVOKES + limits::SESSION_GENERATIONS) * EVENT + MAC;

    /// Of a session without grants.
    pub fn new(until: Millis) -> Self {
        Self { until, revokes: Events::NONE, generations: Events::NONE }
    }

    /// What grants are made under; none where all were taken back since.
    pub fn generation(&self) -> Option<Generation> {
        self.generations.iter().next().map(|begun| Generation(begun.id))
    }

    /// Whether grants of this generation count.
    pub fn holds(&self, generation: Generation) -> bool {
        self.generations.holds(&generation.0)
    }

    /// Whether all grants were taken back at that time or later, as far as the list goes.
    pub fn has_revoked(&self, made_at: Millis) -> bool {
        self.revokes.iter().any(|revoke| revoke.at >= made_at)
    }

    /// Begins a generation: behind whatever was taken back, also in the same millisecond.
    #[must_use]
    pub fn begin(self, generation: Generation, at: Millis) -> Self {
        let revoked = self.revokes.iter().next_back().map_or(0, |last| last.at.saturating_add(1));
        let begun = Event { at: at.max(revoked), id: generation.0 };
        Self { generations: self.generations.with(begun), ..self }
    }

    /// The same, until then at least.
    #[must_use]
    pub fn lasting(self, until: Millis) -> Self {
        Self { until: self.until.max(until), ..self }
    }

    /// Takes back all of its grants; later than they were begun, also where a clock was ahead.
    #[must_use]
    pub fn revoke(self, id: [u8; Generation::LEN], at: Millis) -> Self {
        let before = self.generations.iter().chain(self.revokes.iter());
        let at = before.fold(at, |at, event| at.max(event.at.saturating_add(1)));
        let revoke = Event { at, id };
        Self { revokes: self.revokes.with(revoke), generations: Events::NONE, ..self }
    }

    /// What comes of two states that were written without knowledge of each other, in whichever order. Of each
    /// that counts which was begun in knowledge of the other's revokes, or later than they by more than two clocks
    /// may differ: in doubt, a grant is taken back.
    #[must_use]
    pub fn merge(&self, other: &Self) -> Self {
        if self == other {
            return *self;
        }
        let revokes = other.revokes.iter().fold(self.revokes, |all, one| all.with(*one));
        let begun = self.outliving(other).chain(other.outliving(self));
        let generations = begun.fold(Events::NONE, |all, one| all.with(*one));
        Self { until: self.until.max(other.until), revokes, generations }
    }

    /// The generations of this that another state's revokes leave.
    fn outliving(&self, other: &Self) -> impl Iterator<Item = &Event> {
        let unknown = other.revokes.iter().filter(|revoke| !self.revokes.holds(&revoke.id));
        // One that has no place in the list any more was earlier than the oldest that has.
        let last = unknown.chain(other.revokes.oldest_of_many()).map(|revoke| revoke.at).max();
        let clear = last.map_or(0, |at| at.saturating_add(SKEW));
        self.generations.iter().filter(move |begun| last.is_none() || begun.at > clear)
    }

    /// The object's bytes.
    pub fn seal(&self, index_key: &DataKey, namespace: &Namespace, tag: &SessionTag) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::MOST);
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.until.to_be_bytes());
        bytes.push(self.revokes.iter().count() as u8);
        for event in self.revokes.iter().chain(self.generations.iter()) {
            bytes.extend_from_slice(&event.id);
            bytes.extend_from_slice(&event.at.to_be_bytes());
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
        let revokes = EVENT * usize::from(*signed.get(REVOKES).ok_or(Forged)?);
        let (revokes, generations) = signed[EVENTS..].split_at_checked(revokes).ok_or(Forged)?;
        let (revokes, generations) = (events(revokes)?, events(generations)?);
        Ok(Self { until, revokes, generations })
    }

    /// Whether the bytes say of themselves that only a newer version can read them.
    pub fn is_newer(bytes: &[u8]) -> bool {
        bytes.first().is_some_and(|version| *version > VERSION)
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

fn events<const MOST: usize>(bytes: &[u8]) -> Result<Events<MOST>, Forged> {
    let (whole, rest) = bytes.as_chunks::<EVENT>();
    if !rest.is_empty() {
        return Err(Forged);
    }
    whole.iter().try_fold(Events::NONE, |all, bytes| {
        let id = *bytes.first_chunk().ok_or(Forged)?;
        Ok(all.with(Event { at: time(bytes, Generation::LEN).ok_or(Forged)?, id }))
    })
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
            prop_assert!(twice.generations.iter().all(|begun| once.generations.holds(&begun.id)));
            let thrice = twice.merge(&a);
            prop_assert!(thrice.generations.iter().all(|begun| once.generations.holds(&begun.id)));
        }

        /// Nothing that a revoke took back comes back by merging, whatever it is merged with.
        #[test]
        fn what_was_taken_back_stays_taken_back(before in parts(), others in parts(), at in times()) {
            let (before, others) = (state(&before), state(&others));
            let revoked = before.revoke([0xff; 16], at);
            prop_assert!(revoked.generation().is_none());
            let merged = others.merge(&revoked);
            for merged in [revoked.merge(&before), before.merge(&revoked), before.merge(&merged)] {
                let taken = |begun: &Event| {
                    !merged.generations.holds(&begun.id) || others.generations.holds(&begun.id)
                };
                prop_assert!(before.generations.iter().all(taken));
                prop_assert!(merged.until >= before.until);
            }
        }

        /// What one who knows of all revokes has granted stands, whatever is written once more of what came before.
        #[test]
        fn what_is_replayed_once_more_takes_nothing_back(steps in steps()) {
            let mut state = SessionState::new(0);
            let mut all = vec![state];
            for (at, (revokes, id)) in (1..).zip(steps) {
                state = match revokes {
                    true => state.revoke([id; 16], at),
                    false => state.begin(Generation([id; 16]), at),
                };
                all.push(state);
            }
            for earlier in all {
                prop_assert!(state.merge(&earlier) == state);
            }
        }
    }

    /// Until, the revokes, and the generations.
    type Parts = (u64, Vec<Millis>, Vec<Millis>);

    fn times() -> impl Strategy<Value = Millis> {
        // Around what makes a difference, and few, so that two states know the same.
        (1u64..=32).prop_map(|eighth| eighth * SKEW / 8)
    }

    fn parts() -> impl Strategy<Value = Parts> {
        let revokes = proptest::collection::vec(times(), 0..=limits::SESSION_REVOKES);
        let begun = proptest::collection::vec(times(), 0..=limits::SESSION_GENERATIONS);
        (0u64..1 << 50, revokes, begun)
    }

    fn state((until, revokes, begun): &Parts) -> SessionState {
        let event = |kind: u8, at: &Millis| {
            let id = [[kind; 8], at.to_be_bytes()].concat();
            Event { at: *at, id: id.try_into().unwrap() }
        };
        let mut state = SessionState::new(*until);
        for at in revokes {
            state.revokes = state.revokes.with(event(1, at));
        }
        for at in begun {
            state.generations = state.generations.with(event(2, at));
        }
        state
    }

    /// Whether it revokes, and an id that is used once; no more revokes than are listed.
    fn steps() -> impl Strategy<Value = Vec<(bool, u8)>> {
        let few = |steps: &Vec<bool>| steps.iter().filter(|revokes| **revokes).count();
        proptest::collection::vec(any::<bool>(), 0..20)
            .prop_filter("too many", move |steps| few(steps) < limits::SESSION_REVOKES)
            .prop_map(|steps| steps.into_iter().zip(1..).collect())
    }

    #[test]
    fn grants_that_two_made_without_knowing_of_each_other_both_count() {
        let one = SessionState::new(5).begin(Generation([1; 16]), 1_000);
        let other = SessionState::new(9).begin(Generation([2; 16]), 2_000);
        let merged = one.merge(&other);
        assert!([1, 2].iter().all(|byte| merged.holds(Generation([*byte; 16]))));
        assert_eq!(merged.until, 9);
        // What is granted after a revoke that the other did not know of, and in knowledge of it.
        let revoked = one.revoke([9; 16], 3_000);
        assert!(!revoked.merge(&other).holds(Generation([2; 16])));
        let again = revoked.begin(Generation([3; 16]), 3_001);
        assert!(again.merge(&revoked).holds(Generation([3; 16])));
        let late = SessionState::new(9).begin(Generation([4; 16]), 3_001 + SKEW);
        assert!(again.merge(&late).holds(Generation([4; 16])));
        let doubtful = SessionState::new(9).begin(Generation([4; 16]), 3_000 + SKEW);
        assert!(!again.merge(&doubtful).holds(Generation([4; 16])));
    }

    /// Two revokes in the same millisecond are two.
    #[test]
    fn a_revoke_is_known_by_more_than_its_time() {
        let one = SessionState::new(5).revoke([8; 16], 1_000).begin(Generation([1; 16]), 1_001);
        let other = SessionState::new(5).revoke([9; 16], 1_000);
        assert!(!one.merge(&other).holds(Generation([1; 16])));
    }

    /// One that has no place in the list any more may have been unknown to the other.
    #[test]
    fn where_there_were_too_many_revokes_a_grant_is_taken_back_in_doubt() {
        let revoked = |count: u8| {
            (0..count).fold(SessionState::new(1), |state, id| state.revoke([id; 16], 1_000))
        };
        for (count, holds) in [(7, true), (8, false), (9, false)] {
            let granted = revoked(count).begin(Generation([0xaa; 16]), 2_000);
            let merged = granted.merge(&revoked(count));
            assert_eq!(merged.holds(Generation([0xaa; 16])), holds, "{count}");
            let late = revoked(count).begin(Generation([0xbb; 16]), 2_000 + SKEW);
            assert!(late.merge(&revoked(count)).holds(Generation([0xbb; 16])));
        }
    }

    /// A clock that was ahead begins what is taken back all the same.
    #[test]
    fn a_revoke_is_later_than_what_it_takes_back() {
        let ahead = SessionState::new(1).begin(Generation([1; 16]), 10 * SKEW);
        let revoked = ahead.revoke([9; 16], 1_000);
        assert!(ahead.merge(&revoked).generation().is_none());
        let again = revoked.begin(Generation([2; 16]), 1_001);
        assert!(again.merge(&ahead) == again);
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
