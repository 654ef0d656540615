//! Revoke: tombstones for some tokens, or another generation for the whole session.

use std::collections::HashSet;

use lunasec_api::{Code, Durability};
use lunasec_core::{
    envelope::{Stamp, Subject},
    grant::{Action, SessionState},
    ids::Session,
    limits,
    policy::Operation,
    record::Kind,
    token::Token,
};

use super::{Held, Known, ToReplace, contended, grant_subject, together};
use crate::{
    env::random,
    failure::Failure,
    store::StoreError,
    vault::{Age, Call, Found, Vault, journaled, millis},
};

/// What revoking did.
#[derive(Clone, Copy, Debug)]
pub struct Revoked {
    /// Tokens of which something was taken back; unknown for a whole session.
    pub count: Option<usize>,
    /// Where it is safe.
    pub durability: Durability,
}

impl Vault {
    /// Takes back every grant of a session: one write, however many there are, and of those who ask at once.
    pub async fn grants_revoke_all(
        &self,
        call: &Call,
        session: &Session,
    ) -> Result<Revoked, Failure> {
        self.authorize_for(call, Operation::Grants, session)?;
        let (place, _) = self.session_place(call, session).await?;
        place.revoking.share(self.revoke_all(call, session)).await
    }

    async fn revoke_all(&self, call: &Call, session: &Session) -> Result<Revoked, Failure> {
        for _ in 0..limits::WRITE_ATTEMPTS {
            let known = self.session_to_revoke(call, session).await?;
            let stored = Revoked { count: None, durability: Durability::Stored };
            // Another sidecar's journal may hold grants of a session that nobody knows of yet.
            if known.version.is_none() && !known.unknown && !self.store.is_journaled() {
                return Ok(stored);
            }
            let now = self.clock.now();
            let state = known.state.unwrap_or_else(|| SessionState::new(now));
            // It has to outlive every journal in which a grant may wait that this takes back.
            let kept = now.saturating_add(millis(limits::JOURNAL_AGE_MOST));
            let state = state.revoke(random(&*self.entropy)?, now).lasting(kept);
            // Begun now, so that a sidecar that has seen this revoke sees a grant that is made after it at once.
            // Where nobody knows what was there, nothing is valid until a grant is made.
            let state = match known.unknown {
                true => state,
                false => state.begin(self.generation()?, now),
            };
            if let Some(durability) = self.write_session(call, &known, &state).await? {
                return Ok(Revoked { count: None, durability });
            }
        }
        Err(contended())
    }

    /// Takes back what a session may do with these tokens.
    pub async fn grants_revoke(
        &self,
        call: &Call,
        session: &Session,
        tokens: &[Token],
    ) -> Result<Revoked, Failure> {
        call.trail.asked(&call.namespace, tokens.iter().map(Some));
        self.authorize_for(call, Operation::Grants, session)?;
        let known = self.session_now(call, session).await?;
        let known = &known;
        // A token that stands there twice is counted once: it would only race with itself.
        let mut seen = HashSet::new();
        let once = |token: &&Token| seen.insert(Self::subject(call, token, Kind::Value).locator());
        let actions = tokens.iter().filter(once).flat_map(|token| {
            let subjects = Action::ALL.map(|it| grant_subject(call, token, known.tag(), it));
            subjects.map(|subject| async move { self.revoke(&subject, known).await })
        });
        let revoked = together(actions.collect(), limits::BATCH_CONCURRENCY).await;
        let revoked = revoked.into_iter().collect::<Result<Vec<_>, _>>()?;
        let durability = revoked.iter().map(|(_, safe)| *safe).max().unwrap_or(Durability::Stored);
        let of_tokens = revoked.chunks(Action::ALL.len());
        let count = of_tokens.filter(|actions| actions.iter().any(|(taken, _)| *taken)).count();
        for token in tokens {
            call.note(Some(token), &Ok(durability), |durability| journaled(*durability));
        }
        Ok(Revoked { count: Some(count), durability })
    }

    /// A session whose object does not open can still have everything taken back.
    async fn session_to_revoke(&self, call: &Call, session: &Session) -> Result<Known, Failure> {
        match self.session_now(call, session).await {
            Err(failure) if failure.code == Code::Corrupted => {
                let (place, _) = self.session_place(call, session).await?;
                let version = self.store.get_now(&place.name).await?.map(|object| object.version);
                Ok(Known { place, state: None, version, age: Age::default(), unknown: false })
            }
            known => known,
        }
    }

    /// Whether there was something to take back, or may have been, and where it is safe that it is.
    async fn revoke(
        &self,
        subject: &Subject,
        known: &Known,
    ) -> Result<(bool, Durability), Failure> {
        for _ in 0..limits::WRITE_ATTEMPTS {
            let now = self.clock.now();
            let Some(found) = self.read_for_writing(subject).await? else {
                let stamp = Stamp { tombstone: true, created_at: now, expires_at: None };
                let record = self.seal(subject, stamp, self.put_id()?, &[]).await?;
                match self.write_over(subject, record).await {
                    Ok(durability) => return Ok((true, durability)),
                    Err(StoreError::Precondition) => continue,
                    Err(error) => return Err(error.into()),
                }
            };
            // A grant may wait in another sidecar's journal, and must find that it was taken back.
            if found.version.is_none() && !self.store.is_journaled() {
                return Ok((false, Durability::Stored));
            }
            let ToReplace { version, live } = found;
            // There, also a revoke of long ago has to be renewed.
            let dead = live.as_ref().filter(|found| found.header().tombstone);
            let renewed =
                |dead: &&Found| self.store.is_journaled() && dead.header().created_at < now;
            if let Some(dead) = dead.filter(|dead| !renewed(dead)) {
                return Ok((false, dead.version.durability()));
            }
            let ends = live.map(|found| Held::from(&found));
            // Where nobody could be asked for the session, any of its generations may count.
            let ends = ends.and_then(|held| match &known.state {
                Some(state) => held.expiry(state),
                None => held.expires_at.filter(|_| known.unknown),
            });
            // As long as the grant would have been kept, so that a sweep takes it with the others.
            let stamp = Stamp { tombstone: true, created_at: now, expires_at: ends };
            let record = self.seal(subject, stamp, self.put_id()?, &[]).await?;
            match self.write(subject, record, version.as_ref()).await {
                Ok(durability) => return Ok((ends.is_some_and(|at| at > now), durability)),
                Err(StoreError::Precondition) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended())
    }
}
