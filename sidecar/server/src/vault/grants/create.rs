//! Create: a record for each token and action, under the session's generation.

use std::{sync::Arc, time::Duration};

use lunasec_api::Durability;
use lunasec_core::{
    envelope::Subject,
    grant::{Action, Generation, SessionState},
    ids::{Millis, Session},
    limits,
    policy::Operation,
    token::Token,
};

use super::{Held, Place, Seen, SessionPlace, contended, grant_subject};
use crate::{
    failure::Failure,
    store::StoreError,
    vault::{Call, Vault, millis},
};

/// What a grant allows, and for how long.
#[derive(Clone)]
pub struct Terms {
    /// Not empty, none twice.
    pub actions: Vec<Action>,
    /// Within the maximum.
    pub expires_in: Duration,
}

/// What creating a grant gives.
#[derive(Clone, Copy, Debug)]
pub struct Granted {
    /// When the first of its actions ends; an earlier grant may have had more time left.
    pub expires_at: Millis,
    /// Where it is safe.
    pub durability: Durability,
}

impl Vault {
    /// Grants to a session what `terms` say for each token; each succeeds or fails by itself. Never
    /// shortens a grant.
    pub async fn grants_create(
        &self,
        call: &Call,
        session: &Session,
        tokens: &[Result<Token, Failure>],
        terms: &Terms,
    ) -> Result<Vec<Result<Granted, Failure>>, Failure> {
        self.authorize_for(call, Operation::Grants, session)?;
        let expires_at = self.clock.now().saturating_add(millis(terms.expires_in));
        let (place, generation) = self.session_for_grants(call, session, expires_at).await?;
        let tag = &place.tag;
        let grant = |token, value: Arc<Place<Seen>>| async move {
            self.exists(call, &value, token).await?;
            let mut granted = Millis::MAX;
            for action in &terms.actions {
                let subject = grant_subject(call, token, tag, *action);
                let ends = self.grant(call, session, &subject, generation, expires_at).await?;
                granted = granted.min(ends);
            }
            Ok(Granted { expires_at: granted, durability: self.durability() })
        };
        Ok(self.each(call, tokens, grant).await)
    }

    /// Writes one grant, or leaves a longer one as it is; when it ends.
    async fn grant(
        &self,
        call: &Call,
        session: &Session,
        subject: &Subject,
        generation: Generation,
        expires_at: Millis,
    ) -> Result<Millis, Failure> {
        let mut expected = None;
        for _ in 0..limits::WRITE_ATTEMPTS {
            let stamp = self.stamp(self.clock.now(), Some(expires_at));
            let record = self.seal(subject, stamp, self.put_id()?, &[&generation.0]).await?;
            match self.write(subject, record, expected.as_ref()).await {
                Ok(()) => return Ok(expires_at),
                Err(StoreError::Precondition) => {}
                Err(error) => return Err(error.into()),
            }
            // Mostly there is none yet, so it is looked for only now.
            let found = self.read_for_writing(subject).await?;
            let live = found.live.as_ref().map(Held::from);
            if let Some(at) = live.and_then(|held| held.expiry(generation))
                && at >= expires_at
            {
                return Ok(at);
            }
            // Of two generations one is over. If it is this one, everything was taken back meanwhile, and
            // what was granted since stays: it is as if this grant had been written before that.
            let made_under = live.and_then(|held| held.generation);
            let other = made_under.is_some_and(|other| other != generation);
            if other && self.session_now(call, session).await?.generation() != Some(generation) {
                return Ok(expires_at);
            }
            expected = found.version;
        }
        Err(contended())
    }

    /// The generation to make grants under; its object is there for as long as they last.
    async fn session_for_grants(
        &self,
        call: &Call,
        session: &Session,
        expires_at: Millis,
    ) -> Result<(Arc<SessionPlace>, Generation), Failure> {
        for _ in 0..limits::WRITE_ATTEMPTS {
            let known = self.session_now(call, session).await?;
            let generation = match &known.state {
                Some(state) if state.until >= expires_at => {
                    return Ok((known.place, state.generation));
                }
                Some(state) => state.generation,
                None => self.generation()?,
            };
            // Ahead, so that it is not written again for each grant of a longer life.
            let until = expires_at.saturating_add(millis(limits::SESSION_AHEAD));
            let state = SessionState { generation, until };
            if self.write_session(call, &known, &state).await? {
                return Ok((known.place, generation));
            }
        }
        Err(contended())
    }
}
