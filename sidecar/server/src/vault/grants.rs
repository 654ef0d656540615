//! Grants: what a session may do with a token, and until when. How they lie in the store is in
//! [`lunasec_core::grant`].

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use lunasec_api::Code;
use lunasec_core::{
    derive::{SessionTag, session_tag},
    envelope::Subject,
    grant::{self, Action, Generation, SessionState},
    ids::{Millis, Session},
    limits,
    policy::Missing,
    record::Kind,
    token::Token,
};

use super::{Call, Found, Vault};
use crate::{
    access,
    env::random,
    failure::Failure,
    store::{Name, Object, StoreError, Version},
};

mod create;
mod revoke;
mod verify;

pub use create::{Granted, Terms};
pub use revoke::Revoked;

/// What a session may do with a token that exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may, until then.
    Valid(Millis),
    /// It was never allowed, or not any more.
    Denied,
    /// It was allowed until a time that is over.
    Expired,
}

/// A session as storage knows it.
struct Known {
    tag: SessionTag,
    /// None where nothing lies that opens.
    state: Option<SessionState>,
    /// None where nothing lies.
    version: Option<Version>,
}

impl Known {
    fn generation(&self) -> Option<Generation> {
        Some(self.state?.generation)
    }
}

impl Vault {
    /// Refuses what the policy makes depend on a grant and the caller's session has none for. A token
    /// that does not exist is told from one that is not granted.
    pub(super) async fn require_grant(
        &self,
        call: &Call,
        token: &Token,
        action: Action,
    ) -> Result<(), Failure> {
        if !call.guest.client.require_grant {
            return Ok(());
        }
        let session = call.session.as_ref().ok_or_else(|| access::missing(Missing::Session))?;
        let known = self.session(call, session).await?;
        let verdict = self.verdict(call, &known, token, action).await?;
        if let Verdict::Valid(_) = verdict {
            return Ok(());
        }
        self.read_live(&Self::subject(call, token, Kind::Value)).await?;
        Err(match verdict {
            Verdict::Expired => {
                Failure::new(Code::GrantExpired, "the session's grant for this token has expired")
            }
            _ => Failure::new(Code::GrantDenied, "the session has no grant for this token"),
        })
    }

    async fn verdict(
        &self,
        call: &Call,
        known: &Known,
        token: &Token,
        action: Action,
    ) -> Result<Verdict, Failure> {
        let Some(generation) = known.generation() else { return Ok(Verdict::Denied) };
        let subject = grant_subject(call, token, &known.tag, action);
        let Some(found) = self.read(&subject).await? else { return Ok(Verdict::Denied) };
        Ok(match expiry(&found, generation) {
            None => Verdict::Denied,
            Some(at) if at <= self.clock.now() => Verdict::Expired,
            Some(at) => Verdict::Valid(at),
        })
    }

    /// Whether a token of a list is alive. Its value is opened for that, so it waits for its turn. Not for
    /// whoever has a turn already.
    async fn exists(&self, call: &Call, token: &Token) -> Result<(), Failure> {
        let _turn = self.turns.take().await;
        self.read_live(&Self::subject(call, token, Kind::Value)).await.map(|_| ())
    }

    /// What lies there now, whatever is remembered. What does not open can still be replaced.
    async fn read_for_writing(&self, subject: &Subject) -> Result<ToReplace, Failure> {
        match self.read_now(subject).await {
            Ok(Some(found)) => {
                Ok(ToReplace { version: Some(found.version.clone()), live: Some(found) })
            }
            Ok(None) => Ok(ToReplace { version: None, live: None }),
            Err(failure) if failure.code == Code::Corrupted => {
                Ok(ToReplace { version: self.version(subject).await?, live: None })
            }
            Err(failure) => Err(failure),
        }
    }

    async fn session(&self, call: &Call, session: &Session) -> Result<Known, Failure> {
        let (tag, name) = self.session_name(call, session).await?;
        let object = self.store.get(&name).await?;
        self.known(call, tag, object).await
    }

    /// The same, whatever is remembered.
    async fn session_now(&self, call: &Call, session: &Session) -> Result<Known, Failure> {
        let (tag, name) = self.session_name(call, session).await?;
        let object = self.store.get_now(&name).await?;
        self.known(call, tag, object).await
    }

    async fn session_name(
        &self,
        call: &Call,
        session: &Session,
    ) -> Result<(SessionTag, Name), Failure> {
        let index = self.keyring.index(&call.namespace).await?;
        let tag = session_tag(&index, &call.namespace, session);
        Ok((tag, Name::session(&call.namespace, &tag)))
    }

    async fn known(
        &self,
        call: &Call,
        tag: SessionTag,
        object: Option<Object>,
    ) -> Result<Known, Failure> {
        let Some(object) = object else { return Ok(Known { tag, state: None, version: None }) };
        let index = self.keyring.index(&call.namespace).await?;
        let state = SessionState::open(&index, &call.namespace, &tag, &object.bytes)
            .map_err(Failure::corrupted)?;
        Ok(Known { tag, state: Some(state), version: Some(object.version) })
    }

    /// Whether nobody else wrote it meanwhile.
    async fn write_session(
        &self,
        call: &Call,
        known: &Known,
        state: &SessionState,
    ) -> Result<bool, Failure> {
        let index = self.keyring.index(&call.namespace).await?;
        let name = Name::session(&call.namespace, &known.tag);
        let bytes = state.seal(&index, &call.namespace, &known.tag).into();
        let written = match &known.version {
            Some(version) => self.store.put_if(&name, bytes, version).await,
            None => self.store.put_new(&name, bytes).await,
        };
        match written {
            Ok(_) => Ok(true),
            Err(StoreError::Precondition) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn generation(&self) -> Result<Generation, Failure> {
        Ok(Generation(random(&*self.entropy)?))
    }
}

/// Answers each token of a list. One that stands there twice is asked about once: it would only race
/// with itself.
async fn each<'a, T: Clone, F: Future<Output = Result<T, Failure>>>(
    call: &Call,
    tokens: &'a [Result<Token, Failure>],
    ask: impl Fn(&'a Token) -> F,
) -> Vec<Result<T, Failure>> {
    let (mut asked, mut first) = (Vec::new(), HashMap::new());
    let places = tokens.iter().map(|token| {
        let token = token.as_ref().map_err(Clone::clone)?;
        let name = Vault::subject(call, token, Kind::Value).locator();
        Ok(*first.entry(name).or_insert_with(|| {
            asked.push(ask(token));
            asked.len() - 1
        }))
    });
    let places: Vec<Result<usize, Failure>> = places.collect();
    let answers = together(asked).await;
    places.into_iter().map(|place| answers[place?].clone()).collect()
}

/// The items of a list, a few at a time, in order. Collected before, because a future that holds the
/// iterator's closure cannot be sent to a task.
async fn together<T>(items: Vec<impl Future<Output = T>>) -> Vec<T> {
    stream::iter(items).buffered(limits::BATCH_CONCURRENCY).collect().await
}

/// A record that is about to be replaced.
struct ToReplace {
    /// None where nothing lies.
    version: Option<Version>,
    /// None where nothing lies that opens.
    live: Option<Found>,
}

fn grant_subject(call: &Call, token: &Token, tag: &SessionTag, action: Action) -> Subject {
    let extra = grant::extra(tag, action);
    Subject::new(token.clone(), call.namespace.clone(), Kind::Grant, &extra)
}

/// When a grant ends; none for one that was taken back, or made under another generation.
fn expiry(found: &Found, generation: Generation) -> Option<Millis> {
    found.header().expires_at.filter(|_| made_under(found) == Some(generation))
}

/// The generation that a grant was made under; none for one that was taken back.
fn made_under(found: &Found) -> Option<Generation> {
    Generation::from_slice(&found.opened.plaintext).filter(|_| !found.header().tombstone)
}

fn contended() -> Failure {
    Failure::new(
        Code::Overloaded,
        "too many writers change the grants of this session at once; try again later",
    )
}
