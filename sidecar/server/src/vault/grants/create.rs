//! Create: a record for each token and action, under the session's generation.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use lunasec_api::Durability;
use lunasec_core::{
    envelope::Subject,
    grant::{Action, Generation, SessionState},
    ids::{Millis, Session},
    limits,
    policy::Operation,
    token::Token,
};

use super::{Held, Known, Place, Seen, SessionPlace, contended, grant_subject};
use crate::{
    failure::Failure,
    store::{StoreError, Version},
    vault::{Call, Vault, journaled, millis},
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

impl Granted {
    /// Whether it counts will be known when its session is read from storage, as of what waits in a journal.
    fn in_doubt(self) -> Self {
        Self { durability: Durability::Journaled, ..self }
    }
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
        call.asks_for_all(tokens);
        self.authorize_for(call, Operation::Grants, session)?;
        let granted = self.create(call, session, tokens, terms).await?;
        for (token, granted) in tokens.iter().zip(&granted) {
            call.note(token.as_ref().ok(), granted, |granted| journaled(granted.durability));
        }
        Ok(granted)
    }

    async fn create(
        &self,
        call: &Call,
        session: &Session,
        tokens: &[Result<Token, Failure>],
        terms: &Terms,
    ) -> Result<Vec<Result<Granted, Failure>>, Failure> {
        let expires_at = self.clock.now().saturating_add(millis(terms.expires_in));
        for _ in 0..limits::WRITE_ATTEMPTS {
            let under = self.session_for_grants(call, session, expires_at).await?;
            let granted = self.grant_all(call, session, tokens, terms, &under, expires_at).await;
            if !under.remembered {
                return Ok(granted);
            }
            // Storage may have come back between the two; if all was taken back elsewhere meanwhile, this is no grant.
            let now = self.session_now(call, session).await?;
            if now.unknown || now.is_remembered() {
                return Ok(granted.into_iter().map(|granted| Ok(granted?.in_doubt())).collect());
            }
            if now.state.is_some_and(|state| state.holds(under.generation)) {
                return Ok(granted);
            }
        }
        Err(contended())
    }

    async fn grant_all(
        &self,
        call: &Call,
        session: &Session,
        tokens: &[Result<Token, Failure>],
        terms: &Terms,
        under: &Under,
        expires_at: Millis,
    ) -> Vec<Result<Granted, Failure>> {
        let grant = |token, value: Arc<Place<Seen>>| async move {
            self.exists(call, &value, token).await?;
            let actions = terms.actions.iter().map(|action| async move {
                let subject = grant_subject(call, token, &under.place.tag, *action);
                self.grant(call, session, &subject, under, expires_at).await
            });
            let none = Granted { expires_at: Millis::MAX, durability: under.durability };
            let all = try_join_all(actions).await?.into_iter().fold(none, |all, granted| Granted {
                expires_at: all.expires_at.min(granted.expires_at),
                durability: all.durability.max(granted.durability),
            });
            Ok(all)
        };
        let at_once = limits::BATCH_CONCURRENCY / terms.actions.len().max(1);
        self.each(call, tokens, at_once, grant).await
    }

    /// Writes one grant, or leaves a longer one as it is.
    async fn grant(
        &self,
        call: &Call,
        session: &Session,
        subject: &Subject,
        under: &Under,
        expires_at: Millis,
    ) -> Result<Granted, Failure> {
        let generation = under.generation;
        let mut expected = None;
        for _ in 0..limits::WRITE_ATTEMPTS {
            let stamp = self.stamp(self.clock.now(), Some(expires_at));
            let record = self.seal(subject, stamp, self.put_id()?, &[&generation.0]).await?;
            match self.write(subject, record, expected.as_ref()).await {
                Ok(durability) => return Ok(Granted { expires_at, durability }),
                Err(StoreError::Precondition) => {}
                Err(error) => return Err(error.into()),
            }
            // Mostly there is none yet, so it is looked for only now.
            let Some(found) = self.read_for_writing(subject).await? else { continue };
            let live = found.live.as_ref().map(Held::from);
            let durability = found.version.as_ref().map_or(Durability::Stored, Version::durability);
            if let Some(at) = live.and_then(|held| held.expiry(&under.state))
                && at >= expires_at
            {
                return Ok(Granted { expires_at: at, durability });
            }
            // Of two generations one is over. If it is this one, everything was taken back meanwhile, and
            // what was granted since stays: it is as if this grant had been written before that.
            let made_under = live.and_then(|held| held.generation);
            let other = made_under.is_some_and(|other| !under.state.holds(other));
            let holds = |known: Known| known.state.is_some_and(|state| state.holds(generation));
            if other && !holds(self.session_now(call, session).await?) {
                return Ok(Granted { expires_at, durability });
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
    ) -> Result<Under, Failure> {
        for _ in 0..limits::WRITE_ATTEMPTS {
            let known = self.session_now(call, session).await?;
            let state = known.state.unwrap_or_else(|| SessionState::new(0));
            if let Some(generation) = state.generation().filter(|_| state.until >= expires_at) {
                let durability = known.version.as_ref().map(Version::durability);
                let durability = durability.unwrap_or(Durability::Stored);
                let remembered = known.is_remembered();
                return Ok(Under { place: known.place, state, generation, durability, remembered });
            }
            let (state, generation) = match state.generation() {
                Some(generation) => (state, generation),
                None => {
                    let generation = self.generation()?;
                    (state.begin(generation, self.clock.now()), generation)
                }
            };
            // Ahead, so that it is not written again for each grant of a longer life.
            let until = expires_at.saturating_add(millis(limits::SESSION_AHEAD));
            let state = state.lasting(until);
            if let Some(durability) = self.write_session(call, &known, &state).await? {
                let place = known.place;
                return Ok(Under { place, state, generation, durability, remembered: false });
            }
        }
        Err(contended())
    }
}

/// What grants are made under.
struct Under {
    place: Arc<SessionPlace>,
    state: SessionState,
    generation: Generation,
    /// Where that is safe.
    durability: Durability,
    /// Whether storage was not asked for it.
    remembered: bool,
}
