//! Grants: made, verified, taken back one by one or all of a session.

use std::collections::BTreeSet;

use lunasec_api::Code;
use lunasec_core::limits;
use lunasec_sidecar::vault::Verdict;

use super::{Asked, CLEAR, DOUBT, Fate, Model, Op, Verb};
use crate::{scene::At, site::GRANT_HARD};

type Answer = Result<Verdict, Code>;

impl Model {
    fn grants(&self, session: usize, token: usize) -> impl Iterator<Item = &Op> {
        let is = move |verb: &Verb| matches!(verb, Verb::Grant(who, what, _) if (*who, *what) == (session, token));
        self.writes(is)
    }

    /// Who was granted something, or was meant to be.
    pub(crate) fn sessions(&self, token: usize) -> BTreeSet<usize> {
        let granted = |op: &Op| match op.verb {
            Verb::Grant(session, what, _) => (what == token).then_some(session),
            _ => None,
        };
        self.ops.iter().filter_map(granted).collect()
    }

    fn revokes(&self, session: usize, token: usize) -> impl Iterator<Item = &Op> {
        self.writes(move |verb| {
            *verb == Verb::Revoke(session, token) || *verb == Verb::RevokeAll(session)
        })
    }

    /// Whether a grant may count in spite of a revoke: it was not surely there before.
    fn may_survive(grant: &Op, revoke: &Op) -> bool {
        grant.settled() > revoke.start
    }

    /// Whether a session must be known here to have nothing: all that it was granted was taken back.
    fn is_taken_back(&self, session: usize, token: usize, asked: &Asked) -> bool {
        let (age, hard) = (limits::CACHED_GRANT_AGE, GRANT_HARD);
        let mut known =
            self.revokes(session, token).filter(|revoke| self.is_known(revoke, asked, age, hard));
        known.any(|revoke| {
            !self.grants(session, token).any(|grant| Self::may_survive(grant, revoke))
        })
    }

    /// Whether a grant surely holds: nothing was taken back, or so long before that it is clear.
    fn surely_holds(&self, grant: &Op, session: usize, token: usize, now: At) -> bool {
        let Verb::Grant(.., time) = grant.verb else { return false };
        let lasts = grant.start + time > now + DOUBT;
        // A grant is made under what its sidecar knows of the session, which may be over: while the grant waits in
        // a journal, or while the revoke does. Then the grant falls with it.
        let unseen = |revoke: &Op, grant: &Op| {
            let all = matches!(revoke.verb, Verb::RevokeAll(_));
            let waits = grant.fate == Fate::Journaled || revoke.fate != Fate::Stored;
            // A process does not know what one before it has heard, unless it has a disk cache.
            let elsewhere = revoke.site != grant.site || revoke.end < grant.born;
            all && waits && elsewhere
        };
        // A session's object says which revokes of all of it were known; a record has only its time.
        let followed = |revoke: &Op| {
            let all = matches!(revoke.verb, Verb::RevokeAll(_));
            let here = revoke.site == grant.site && revoke.end >= grant.born;
            all && here && revoke.acknowledged() && revoke.end <= grant.start
        };
        let clear = |revoke: &Op| {
            let late = revoke.settled().saturating_add(CLEAR) < grant.start;
            followed(revoke) || !unseen(revoke, grant) && late
        };
        // Of two grants of the same that did not know of each other the later one stands, also where it is void
        // or ends sooner.
        let sooner = |other: &Op| {
            let Verb::Grant(.., its) = other.verb else { return false };
            let unseen = grant.fate == Fate::Journaled && other.site != grant.site;
            (unseen || other.fate != Fate::Stored)
                && other.settled().saturating_add(DOUBT) > grant.start
                && other.start + its < grant.start + time
        };
        // Also of one sidecar, before and after a restart.
        let rival = |other: &Op| {
            !std::ptr::eq(other, grant)
                && other.end > grant.start
                && self.revokes(session, token).any(|revoke| unseen(revoke, other))
        };
        grant.acknowledged()
            && lasts
            && self.revokes(session, token).all(clear)
            && !self.grants(session, token).any(|other| rival(other) || sooner(other))
    }

    /// Whether something is granted that this sidecar must know of.
    fn is_granted(&self, session: usize, token: usize, asked: &Asked) -> bool {
        let (age, hard) = (limits::CACHED_GRANT_AGE, GRANT_HARD);
        self.grants(session, token).any(|grant| {
            self.surely_holds(grant, session, token, asked.now)
                && self.is_known(grant, asked, age, hard)
        })
    }

    pub(crate) fn verified(
        &mut self,
        asked: &Asked,
        session: usize,
        token: usize,
        answer: &Answer,
    ) {
        let touched = |verb: &Verb| verb.session() == Some(session);
        let said = format!("session {session}, token {token}: {answer:?}");
        match answer {
            Ok(Verdict::Valid(_)) if self.is_taken_back(session, token, asked) => {
                self.violated(asked, format!("what was taken back is granted, {said}"));
            }
            Ok(Verdict::Valid(_)) if self.grants(session, token).next().is_none() => {
                self.violated(asked, format!("what nobody asked for is granted, {said}"));
            }
            Ok(Verdict::Valid(_)) if self.is_too_old(asked, GRANT_HARD, touched) => {
                self.violated(asked, format!("a grant is believed past its hard limit, {said}"));
            }
            Ok(Verdict::Denied | Verdict::Expired) if self.is_granted(session, token, asked) => {
                self.violated(asked, format!("what was granted is denied, {said}"));
            }
            Ok(_) if self.was_never_seen(asked, touched) => {
                self.violated(asked, format!("nobody could know, {said}"));
            }
            _ => {}
        }
        self.found(asked, token, answer.as_ref().err().copied());
    }

    /// Whether a process has had no answer of storage since it began, and nothing of its own in its journal.
    fn was_never_seen(&self, asked: &Asked, touched: impl Fn(&Verb) -> bool) -> bool {
        let own = |op: &Op| op.site == asked.site && op.verb.writes() && touched(&op.verb);
        !asked.keeps && asked.answered < asked.born && !self.ops.iter().any(own)
    }

    /// All is well again.
    pub(crate) fn healed_grant(
        &mut self,
        asked: &Asked,
        session: usize,
        token: usize,
        answer: &Answer,
    ) {
        self.verified(asked, session, token, answer);
        // Of an expired token [`Model::found`] judges.
        if !matches!(answer, Ok(_) | Err(Code::NotFound | Code::Expired)) {
            self.violated(asked, format!("after healing, nobody knows: {answer:?}"));
        }
    }
}
