//! Revoke: tombstones for some tokens, or another generation for the whole session.

use std::collections::HashSet;

use lunasec_api::{Code, Durability};
use lunasec_core::{
    envelope::{Stamp, Subject},
    grant::{Action, Generation, SessionState},
    ids::Session,
    limits,
    policy::Operation,
    record::Kind,
    token::Token,
};

use super::{Held, Known, contended, grant_subject, together};
use crate::{
    failure::Failure,
    store::StoreError,
    vault::{Age, Call, Vault},
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
    /// Takes back every grant of a session: one write, however many there are.
    pub async fn grants_revoke_all(
        &self,
        call: &Call,
        session: &Session,
    ) -> Result<Revoked, Failure> {
        self.authorize_for(call, Operation::Grants, session)?;
        let mut first = None;
        for _ in 0..limits::WRITE_ATTEMPTS {
            let known = self.session_to_revoke(call, session).await?;
            // Whoever has changed it meanwhile took back what this one would have.
            let now = known.generation();
            if known.version.is_none() || *first.get_or_insert(now) != now {
                return Ok(self.revoked(None));
            }
            let until = known.state.map_or(self.clock.now(), |state| state.until);
            let state = SessionState { generation: self.generation()?, until };
            if self.write_session(call, &known, &state).await? {
                return Ok(self.revoked(None));
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
        self.authorize_for(call, Operation::Grants, session)?;
        let known = self.session_now(call, session).await?;
        let known = &known;
        // A token that stands there twice is counted once: it would only race with itself.
        let mut seen = HashSet::new();
        let once = |token: &&Token| seen.insert(Self::subject(call, token, Kind::Value).locator());
        let items = tokens.iter().filter(once).map(|token| async move {
            let mut any = false;
            for action in Action::ALL {
                let subject = grant_subject(call, token, known.tag(), action);
                any |= self.revoke(&subject, known.generation()).await?;
            }
            Ok::<_, Failure>(any)
        });
        let revoked = together(items.collect()).await;
        let revoked = revoked.into_iter().collect::<Result<Vec<_>, _>>()?;
        let count = revoked.into_iter().filter(|any| *any).count();
        Ok(self.revoked(Some(count)))
    }

    /// A session whose object does not open can still have everything taken back.
    async fn session_to_revoke(&self, call: &Call, session: &Session) -> Result<Known, Failure> {
        match self.session_now(call, session).await {
            Err(failure) if failure.code == Code::Corrupted => {
                let (place, _) = self.session_place(call, session).await?;
                let version = self.store.get_now(&place.name).await?.map(|object| object.version);
                Ok(Known { place, state: None, version, age: Age::default() })
            }
            known => known,
        }
    }

    fn revoked(&self, count: Option<usize>) -> Revoked {
        Revoked { count, durability: self.durability() }
    }

    /// Whether there was something to take back.
    async fn revoke(
        &self,
        subject: &Subject,
        generation: Option<Generation>,
    ) -> Result<bool, Failure> {
        for _ in 0..limits::WRITE_ATTEMPTS {
            let found = self.read_for_writing(subject).await?;
            let Some(version) = found.version else { return Ok(false) };
            if found.live.as_ref().is_some_and(|found| found.header().tombstone) {
                return Ok(false);
            }
            let ends = found.live.zip(generation);
            let ends = ends.and_then(|(found, now)| Held::from(&found).expiry(now));
            let now = self.clock.now();
            // As long as the grant would have been kept, so that a sweep takes it with the others.
            let stamp = Stamp { tombstone: true, created_at: now, expires_at: ends };
            let record = self.seal(subject, stamp, self.put_id()?, &[]).await?;
            match self.write(subject, record, Some(&version)).await {
                Ok(()) => return Ok(ends.is_some_and(|at| at > now)),
                Err(StoreError::Precondition) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(contended())
    }
}
