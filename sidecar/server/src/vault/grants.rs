//! Grants: what a session may do with a token, and until when. How they lie in the store is in
//! [`lunasec_core::grant`].

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use lunasec_api::{Code, Durability};
use lunasec_core::{
    derive::{SessionTag, session_tag},
    envelope::{Stamp, Subject},
    grant::{self, Action, Generation, SessionState},
    ids::{Millis, Session},
    limits,
    policy::{Missing, Operation},
    record::Kind,
    token::Token,
};

use super::{Call, Found, Vault, millis};
use crate::{
    access,
    env::random,
    failure::Failure,
    store::{Name, Object, StoreError, Version},
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

/// What revoking did.
#[derive(Clone, Copy, Debug)]
pub struct Revoked {
    /// Tokens of which something was taken back; unknown for a whole session.
    pub count: Option<usize>,
    /// Where it is safe.
    pub durability: Durability,
}

/// A session as storage knows it.
struct Known {
    tag: SessionTag,
    state: Option<(SessionState, Version)>,
}

impl Known {
    fn generation(&self) -> Option<Generation> {
        Some(self.state.as_ref()?.0.generation)
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
        self.authorize(call, Operation::Grants)?;
        let expires_at = self.clock.now().saturating_add(millis(terms.expires_in));
        let (tag, generation) = self.session_for_grants(call, session, expires_at).await?;
        let tag = &tag;
        let grant = |token| async move {
            self.exists(call, token).await?;
            let mut granted = Millis::MAX;
            for action in &terms.actions {
                let subject = grant_subject(call, token, tag, *action);
                let ends = self.grant(call, session, &subject, generation, expires_at).await?;
                granted = granted.min(ends);
            }
            Ok(Granted { expires_at: granted, durability: self.durability() })
        };
        Ok(each(call, tokens, grant).await)
    }

    /// Whether a session may do this with each token.
    pub async fn grants_verify(
        &self,
        call: &Call,
        session: &Session,
        tokens: &[Result<Token, Failure>],
        action: Action,
    ) -> Result<Vec<Result<Verdict, Failure>>, Failure> {
        self.authorize(call, Operation::Grants)?;
        let known = self.session(call, session).await?;
        let known = &known;
        let verify = |token| async move {
            let verdict = self.verdict(call, known, token, action).await?;
            self.exists(call, token).await?;
            Ok(verdict)
        };
        Ok(each(call, tokens, verify).await)
    }

    /// Takes back every grant of a session: one write, however many there are.
    pub async fn grants_revoke_all(
        &self,
        call: &Call,
        session: &Session,
    ) -> Result<Revoked, Failure> {
        self.authorize(call, Operation::Grants)?;
        let mut first = None;
        for _ in 0..limits::WRITE_ATTEMPTS {
            let known = self.session_now(call, session).await?;
            let Some((state, _)) = &known.state else { return Ok(self.revoked(None)) };
            // Whoever has changed it meanwhile took back what this one would have.
            if *first.get_or_insert(state.generation) != state.generation {
                return Ok(self.revoked(None));
            }
            let state = SessionState { generation: self.generation()?, ..*state };
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
        self.authorize(call, Operation::Grants)?;
        let known = self.session_now(call, session).await?;
        let known = &known;
        // A token that stands there twice is counted once: it would only race with itself.
        let mut seen = HashSet::new();
        let once = |token: &&Token| seen.insert(Self::subject(call, token, Kind::Value).locator());
        let items = tokens.iter().filter(once).map(|token| async move {
            let mut any = false;
            for action in Action::ALL {
                let subject = grant_subject(call, token, &known.tag, action);
                any |= self.revoke(&subject, known.generation()).await?;
            }
            Ok::<_, Failure>(any)
        });
        let revoked = together(items.collect()).await;
        let revoked = revoked.into_iter().collect::<Result<Vec<_>, _>>()?;
        let count = revoked.into_iter().filter(|any| *any).count();
        Ok(self.revoked(Some(count)))
    }

    fn revoked(&self, count: Option<usize>) -> Revoked {
        Revoked { count, durability: self.durability() }
    }

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

    /// Whether a token of a list is alive. Its value is opened for that, so it waits for its turn. Not for
    /// whoever has a turn already.
    async fn exists(&self, call: &Call, token: &Token) -> Result<(), Failure> {
        let _turn = self.turns.take().await;
        self.read_live(&Self::subject(call, token, Kind::Value)).await.map(|_| ())
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
            let live = found.live.as_ref();
            if let Some(at) = live.and_then(|found| expiry(found, generation))
                && at >= expires_at
            {
                return Ok(at);
            }
            // Of two generations one is over. If it is this one, everything was taken back meanwhile, and
            // what was granted since stays: it is as if this grant had been written before that.
            let other = live.and_then(made_under).is_some_and(|other| other != generation);
            if other && self.session_now(call, session).await?.generation() != Some(generation) {
                return Ok(expires_at);
            }
            expected = found.version;
        }
        Err(contended())
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
            let ends = found.live.zip(generation).and_then(|(found, now)| expiry(&found, now));
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
        let Some(object) = object else { return Ok(Known { tag, state: None }) };
        let index = self.keyring.index(&call.namespace).await?;
        let state = SessionState::open(&index, &call.namespace, &tag, &object.bytes)
            .map_err(Failure::corrupted)?;
        Ok(Known { tag, state: Some((state, object.version)) })
    }

    /// The generation to make grants under; its object is there for as long as they last.
    async fn session_for_grants(
        &self,
        call: &Call,
        session: &Session,
        expires_at: Millis,
    ) -> Result<(SessionTag, Generation), Failure> {
        for _ in 0..limits::WRITE_ATTEMPTS {
            let known = self.session_now(call, session).await?;
            let generation = match &known.state {
                Some((state, _)) if state.until >= expires_at => {
                    return Ok((known.tag, state.generation));
                }
                Some((state, _)) => state.generation,
                None => self.generation()?,
            };
            // Ahead, so that it is not written again for each grant of a longer life.
            let until = expires_at.saturating_add(millis(limits::SESSION_AHEAD));
            let state = SessionState { generation, until };
            if self.write_session(call, &known, &state).await? {
                return Ok((known.tag, generation));
            }
        }
        Err(contended())
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
        let written = match &known.state {
            Some((_, version)) => self.store.put_if(&name, bytes, version).await,
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
