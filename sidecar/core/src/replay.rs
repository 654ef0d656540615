//! What becomes of a record that waited in a journal, when another lies under its name by then. It is decided
//! by the two headers alone, in the clear, so that whoever replays needs no token.
//!
//! | waited | lies there | what stands |
//! | --- | --- | --- |
//! | any | the same put | that one: the answer was lost, and not the write |
//! | a delete | a live record | the delete |
//! | a value, metadata | a delete | the delete: nothing that was deleted comes back |
//! | a value | another value | that one |
//! | metadata | metadata | the one that was set later |
//! | a grant | a grant | the one that was made later: under which generation each was made is sealed, and the later one knows more of what was taken back |
//! | a grant | a revoke | the grant, if it was made later by more than clocks may differ |
//! | a revoke | a revoke | the later: a grant that waits elsewhere has to find when it was last taken back |
//! | a revoke | a grant | the revoke, unless the grant was made later by more than that |

use crate::{
    ids::Millis,
    limits,
    record::{Header, Kind},
};

/// How far two sidecars' clocks may be apart, in milliseconds.
pub(crate) const SKEW: Millis = limits::CLOCK_SKEW.as_secs() * 1_000;

/// What to do with a record that waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is there already.
    Done,
    /// Write it over what is there.
    Write,
    /// What is there stands.
    Superseded,
}

/// Decides between a record that waited and the one that lies there.
pub fn judge(waited: &Header, there: &Header) -> Verdict {
    if waited.put_id == there.put_id {
        return Verdict::Done;
    }
    let later = |one: &Header, other: &Header| one.created_at > other.created_at;
    let surely_later =
        |one: &Header, other: &Header| one.created_at > other.created_at.saturating_add(SKEW);
    let writes = match (waited.kind, waited.tombstone, there.tombstone) {
        (Kind::Grant, true, true) => later(waited, there),
        (_, true, true) => false,
        (Kind::Grant, false, true) => surely_later(waited, there),
        (Kind::Grant, true, false) => !surely_later(there, waited),
        (Kind::Grant | Kind::Metadata, false, false) => later(waited, there),
        (_, true, false) => true,
        (_, false, _) => false,
    };
    if writes { Verdict::Write } else { Verdict::Superseded }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{KeyId, PutId};

    const THEN: Millis = 1_763_942_400_000;

    fn header(kind: Kind, tombstone: bool, created_at: Millis, put: u8) -> Header {
        let key_id = KeyId { epoch: 1, generation: 1 };
        let put_id = PutId([put; PutId::LEN]);
        Header { kind, tombstone, created_at, expires_at: None, key_id, put_id }
    }

    fn judged(kind: Kind, waited: (bool, Millis), there: (bool, Millis)) -> Verdict {
        let (waited, there) =
            (header(kind, waited.0, waited.1, 1), header(kind, there.0, there.1, 2));
        judge(&waited, &there)
    }

    #[test]
    fn a_put_that_is_there_is_done_whatever_it_is() {
        for kind in [Kind::Value, Kind::Metadata, Kind::Grant] {
            for tombstone in [false, true] {
                let waited = header(kind, tombstone, THEN, 1);
                assert_eq!(judge(&waited, &waited), Verdict::Done);
            }
        }
    }

    #[test]
    fn nothing_that_was_deleted_comes_back_whichever_was_first() {
        for kind in [Kind::Value, Kind::Metadata] {
            for (delete, write) in [(THEN, THEN + 1), (THEN, THEN), (THEN + 1, THEN)] {
                assert_eq!(judged(kind, (false, write), (true, delete)), Verdict::Superseded);
                assert_eq!(judged(kind, (true, delete), (false, write)), Verdict::Write);
            }
            assert_eq!(judged(kind, (true, THEN), (true, THEN)), Verdict::Superseded);
        }
    }

    #[test]
    fn of_two_values_the_one_that_is_there_stands_and_of_others_the_later() {
        let (early, late) = ((false, THEN), (false, THEN + 1));
        assert_eq!(judged(Kind::Value, late, early), Verdict::Superseded);
        for kind in [Kind::Metadata, Kind::Grant] {
            assert_eq!(judged(kind, late, early), Verdict::Write);
            assert_eq!(judged(kind, early, late), Verdict::Superseded);
            assert_eq!(judged(kind, early, early), Verdict::Superseded);
        }
    }

    #[test]
    fn in_doubt_a_grant_is_taken_back() {
        for (grant, revoke) in [(THEN, THEN), (THEN + SKEW, THEN), (THEN, THEN + 1)] {
            let (grant, revoke) = ((false, grant), (true, revoke));
            assert_eq!(judged(Kind::Grant, grant, revoke), Verdict::Superseded);
            assert_eq!(judged(Kind::Grant, revoke, grant), Verdict::Write);
        }
        let (grant, revoke) = ((false, THEN + SKEW + 1), (true, THEN));
        assert_eq!(judged(Kind::Grant, grant, revoke), Verdict::Write);
        assert_eq!(judged(Kind::Grant, revoke, grant), Verdict::Superseded);
    }

    /// A grant that waits elsewhere was made in knowledge of the first.
    #[test]
    fn of_two_revokes_the_later_stands() {
        let (early, late) = ((true, THEN), (true, THEN + 1));
        assert_eq!(judged(Kind::Grant, late, early), Verdict::Write);
        assert_eq!(judged(Kind::Grant, early, late), Verdict::Superseded);
        assert_eq!(judged(Kind::Grant, early, early), Verdict::Superseded);
    }
}
