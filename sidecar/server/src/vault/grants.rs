//! Grants: what a session may do with a token, and until when. How they lie in the store is in
//! [`lunasec_core::grant`].

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lunasec_api::{Code, Durability};
use lunasec_core::{
    derive::SessionTag,
    envelope::{self, Subject},
    grant::{self, Action, Generation, SessionState},
    ids::{Millis, Session},
    limits,
    policy::Missing,
    record::Kind,
    token::Token,
};

use super::{Age, Basis, Call, Found, Vault};
use crate::{
    access,
    env::random,
    failure::Failure,
    store::{Object, StoreError, Version},
};

mod create;
mod memory;
mod revoke;
mod verify;

pub use create::{Granted, Terms};
pub use memory::Memory;
use memory::{Place, Seen, SessionPlace};
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

impl Verdict {
    /// As a record of it says.
    fn code(self) -> &'static str {
        match self {
            Self::Valid(_) => "ok",
            Self::Denied => Code::GrantDenied.as_str(),
            Self::Expired => Code::GrantExpired.as_str(),
        }
    }
}

/// A verdict, and how old what it was made from is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// Whether the session may.
    pub verdict: Verdict,
    /// Of the oldest of session, grant and value.
    pub age: Age,
}

/// A session as storage knows it.
pub(super) struct Known {
    place: Arc<SessionPlace>,
    /// None where nothing lies that opens.
    state: Option<SessionState>,
    /// None where nothing lies.
    version: Option<Version>,
    age: Age,
    /// Whether nobody could be asked.
    unknown: bool,
}

impl Known {
    fn tag(&self) -> &SessionTag {
        &self.place.tag
    }

    /// Whether storage was not asked for it just now.
    fn is_remembered(&self) -> bool {
        self.age.storage.is_some()
    }
}

/// A grant as its record says.
#[derive(Clone, Copy)]
struct Held {
    /// What it was made under; none for one that was taken back.
    generation: Option<Generation>,
    made_at: Millis,
    expires_at: Option<Millis>,
}

impl From<&Found> for Held {
    fn from(found: &Found) -> Self {
        let header = found.header();
        let generation =
            Generation::from_slice(&found.opened.plaintext).filter(|_| !header.tombstone);
        Self { generation, made_at: header.created_at, expires_at: header.expires_at }
    }
}

impl Held {
    /// When it ends; none for one that was taken back, or made under a generation that does not count.
    fn expiry(&self, state: &SessionState) -> Option<Millis> {
        let counts = self.generation.is_some_and(|generation| state.holds(generation));
        self.expires_at.filter(|_| counts)
    }
}

/// The session that a request's grants must be of; none where the policy asks for no grants.
pub(super) type Standing = Result<Option<Known>, Failure>;

impl Vault {
    /// Notes whose session a call is made in, where nothing else does.
    pub async fn note_session(&self, call: &Call, session: &Session) {
        if call.trail.is_on() {
            // It is noted where it is found; without the key of the namespace it has no name.
            let _ = self.session_place(call, session).await;
        }
    }

    /// What [`Vault::require_grant`] needs to know once for a request, however many tokens it names.
    pub(super) async fn standing(&self, call: &Call) -> Standing {
        if !call.guest.client.require_grant {
            return Ok(None);
        }
        let session = call.session.as_ref().ok_or_else(|| access::missing(Missing::Session))?;
        self.session(call, session).await.map(Some)
    }

    /// Refuses what the policy makes depend on a grant and the caller's session has none for; otherwise says
    /// how old that one is. A token that does not exist is told from one that is not granted.
    pub(super) async fn require_grant(
        &self,
        call: &Call,
        standing: &Standing,
        token: &Token,
        action: Action,
    ) -> Result<Age, Failure> {
        let Some(known) = standing.as_ref().map_err(Clone::clone)? else {
            return Ok(Age::default());
        };
        let Verified { verdict, age } = self.verdict(call, known, token, action).await?;
        if let Verdict::Valid(_) = verdict {
            return Ok(age);
        }
        self.expect_value(call, token).await?;
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
    ) -> Result<Verified, Failure> {
        let denied = Verified { verdict: Verdict::Denied, age: known.age };
        let Some(state) = known.state.as_ref().filter(|state| state.generation().is_some()) else {
            return Ok(denied);
        };
        let Some((held, age)) = self.held(call, known, token, action).await? else {
            return Ok(denied);
        };
        let mut age = age.older(known.age);
        let mut ends = held.expiry(state);
        if ends.is_none() && held.generation.is_some() && !state.has_revoked(held.made_at) {
            // What is known of the session may be older than what is known of the grant.
            let now = self.known_now(call, known).await?;
            age = age.older(now.age);
            ends = now.state.and_then(|state| held.expiry(&state));
        }
        let verdict = match ends {
            None => Verdict::Denied,
            Some(at) if at <= self.clock.now() => Verdict::Expired,
            Some(at) => Verdict::Valid(at),
        };
        Ok(Verified { verdict, age })
    }

    /// The record of a grant; opened only if it has other bytes than the last time.
    async fn held(
        &self,
        call: &Call,
        known: &Known,
        token: &Token,
        action: Action,
    ) -> Result<Option<(Held, Age)>, Failure> {
        let subject = || grant_subject(call, token, known.tag(), action);
        let place = self.memory.grant(&known.place, token, action, subject);
        let Some(object) = self.store.get(&place.name).await? else { return Ok(None) };
        let age = of_storage(&object);
        if let Some(held) = place.opened.recall(&object.bytes) {
            return Ok(Some((held, age)));
        }
        let bytes = object.bytes.clone();
        let Some(found) = self.open(&subject(), Some(object)).await? else { return Ok(None) };
        let held = Held::from(&found);
        place.opened.learn(&bytes, held);
        Ok(Some((held, found.age)))
    }

    /// Whether a token of a list is alive. Unless its value is known to be small, it waits for its turn, so as
    /// not to hold many large ones. Not for whoever has a turn already.
    async fn exists(
        &self,
        call: &Call,
        place: &Place<Seen>,
        token: &Token,
    ) -> Result<Age, Failure> {
        let is_small = |seen: Seen| seen.bytes <= limits::SMALL_RECORD;
        let _turn = match place.opened.last().is_some_and(is_small) {
            true => None,
            false => self.turns.take().await,
        };
        let Some(object) = self.store.get(&place.name).await? else {
            return Err(Failure::not_found());
        };
        let (proof, age) = (envelope::header_proof(&object.bytes), of_storage(&object));
        if let Some(seen) = proof.as_ref().and_then(|proof| place.opened.recall(proof)) {
            return self.live(&seen.header).map(|()| age);
        }
        let bytes = object.bytes.len();
        let subject = Self::subject(call, token, Kind::Value);
        let found = self.open(&subject, Some(object)).await?.ok_or_else(Failure::not_found)?;
        if self.touched(call, token, &found.opened) {
            // Nothing is learnt of it, so that each use of it is seen.
            let nothing = self.as_unknown(call, token).await?.ok_or_else(Failure::not_found)?;
            return self.live(nothing.header()).map(|()| nothing.age);
        }
        if let Some(proof) = proof {
            place.opened.learn(&proof, Seen { header: *found.header(), bytes });
        }
        self.live(found.header()).map(|()| found.age)
    }

    /// What lies there now, whatever is remembered; none where nobody can be asked and a journal takes what is
    /// written. What does not open can still be replaced.
    async fn read_for_writing(&self, subject: &Subject) -> Result<Option<ToReplace>, Failure> {
        match self.basis(subject).await {
            Ok(Basis::Known(found)) => {
                let version = found.as_ref().map(|found| found.version.clone());
                Ok(Some(ToReplace { version, live: found }))
            }
            Ok(Basis::Unknown) => Ok(None),
            Err(failure) if failure.code == Code::Corrupted => {
                Ok(Some(ToReplace { version: self.version(subject).await?, live: None }))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn session(&self, call: &Call, session: &Session) -> Result<Known, Failure> {
        let (place, keys) = self.session_place(call, session).await?;
        let object = self.store.get(&place.name).await?;
        self.known(call, place, keys, object).await
    }

    /// The same session as it lies in storage now; nothing where that cannot be found out.
    async fn known_now(&self, call: &Call, known: &Known) -> Result<Known, Failure> {
        let object = self.store.get_now(&known.place.name).await?;
        let waits = object.as_ref().is_some_and(|it| it.version.durability() != Durability::Stored);
        if waits || self.store.is_away() {
            let cause = "the session was read before the grant, and cannot be read again";
            return Err(StoreError::Unknown(cause.into()).into());
        }
        self.known(call, Arc::clone(&known.place), known.age.keys, object).await
    }

    /// The same, whatever is remembered. Where nobody can be asked and a journal takes what is written, it is
    /// as if there were none: what others have written is merged with that.
    async fn session_now(&self, call: &Call, session: &Session) -> Result<Known, Failure> {
        let (place, keys) = self.session_place(call, session).await?;
        match self.store.get_now(&place.name).await {
            // What this sidecar knew last is merged with what others have written, as if it had been read.
            Err(StoreError::Unknown(_)) => Ok(Known {
                state: place.opened.last(),
                place,
                version: None,
                age: Age { storage: None, keys },
                unknown: true,
            }),
            object => self.known(call, place, keys, object?).await,
        }
    }

    /// With the age of the key that it was found by.
    async fn session_place(
        &self,
        call: &Call,
        session: &Session,
    ) -> Result<(Arc<SessionPlace>, Option<Duration>), Failure> {
        let index = self.keyring.index(&call.namespace).await?;
        let place = self.memory.session(&index, &call.namespace, session);
        call.trail.about(place.tag);
        Ok((place, index.age))
    }

    async fn known(
        &self,
        call: &Call,
        place: Arc<SessionPlace>,
        keys: Option<Duration>,
        object: Option<Object>,
    ) -> Result<Known, Failure> {
        let Some(Object { bytes, version, age: storage }) = object else {
            let age = Age { storage: None, keys };
            return Ok(Known { place, state: None, version: None, age, unknown: false });
        };
        let age = Age { storage, keys };
        let state = match place.opened.recall(&bytes) {
            Some(state) => state,
            None => {
                let index = self.keyring.index(&call.namespace).await?;
                let state = SessionState::open(&index, &call.namespace, &place.tag, &bytes)
                    .map_err(Failure::corrupted)?;
                place.opened.learn(&bytes, state);
                state
            }
        };
        Ok(Known { place, state: Some(state), version: Some(version), age, unknown: false })
    }

    /// Where it is safe; none where somebody else wrote it meanwhile.
    async fn write_session(
        &self,
        call: &Call,
        known: &Known,
        state: &SessionState,
    ) -> Result<Option<Durability>, Failure> {
        let index = self.keyring.index(&call.namespace).await?;
        let name = &known.place.name;
        let bytes = Bytes::from(state.seal(&index, &call.namespace, known.tag()));
        let sealed = bytes.clone();
        let written = match &known.version {
            _ if known.unknown => self.store.put_over(name, bytes).await,
            Some(version) => self.store.put_if(name, bytes, version).await,
            None => self.store.put_new(name, bytes).await,
        };
        match written {
            Ok(version) => {
                known.place.opened.learn(&sealed, *state);
                Ok(Some(version.durability()))
            }
            Err(StoreError::Precondition) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn generation(&self) -> Result<Generation, Failure> {
        Ok(Generation(random(&*self.entropy)?))
    }

    /// Answers each token of a list, so many at once. One that stands there twice is asked about once: it would only
    /// race with itself.
    async fn each<'a, T: Clone, F: Future<Output = Result<T, Failure>>>(
        &self,
        call: &Call,
        tokens: &'a [Result<Token, Failure>],
        at_once: usize,
        ask: impl Fn(&'a Token, Arc<Place<Seen>>) -> F,
    ) -> Vec<Result<T, Failure>> {
        let (mut asked, mut first) = (Vec::new(), HashMap::new());
        let places = tokens.iter().map(|token| {
            let token = token.as_ref().map_err(Clone::clone)?;
            let subject = || Self::subject(call, token, Kind::Value);
            let place = self.memory.value(&call.namespace, token, subject);
            Ok(*first.entry(place.name.clone()).or_insert_with(|| {
                asked.push(ask(token, place));
                asked.len() - 1
            }))
        });
        let places: Vec<Result<usize, Failure>> = places.collect();
        let answers = together(asked, at_once).await;
        places.into_iter().map(|place| answers[place?].clone()).collect()
    }
}

/// The items of a list, a few at a time, in order. Collected before, because a future that holds the
/// iterator's closure cannot be sent to a task.
async fn together<T>(items: Vec<impl Future<Output = T>>, at_once: usize) -> Vec<T> {
    stream::iter(items).buffered(at_once).collect().await
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

/// Of an object that is not opened.
fn of_storage(object: &Object) -> Age {
    Age { storage: object.age, ..Age::default() }
}

fn contended() -> Failure {
    Failure::new(
        Code::Overloaded,
        "too many writers change the grants of this session at once; try again later",
    )
}
