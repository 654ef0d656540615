//! The only door to the verbs. Each verb is one file, and none calls another.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use lunasec_api::Durability;
use lunasec_core::{
    envelope::{self, Fresh, Opened, Stamp, Subject},
    ids::{Millis, Namespace, PutId, Session},
    policy::{Caller, Operation},
    record::{Header, Kind},
    token::Token,
};

use crate::{
    access::{self, Guest},
    alarm::Alarm,
    audit::Trail,
    env::{Clock, Entropy, millis, random},
    failure::Failure,
    idempotency::{Idempotency, IdempotencyKey},
    keyed::KeyedLocks,
    keys::Keyring,
    store::{Name, Object, Store, StoreError, Version},
    telemetry,
};

mod age;
mod canary;
mod delete;
mod detokenize;
mod form;
mod grants;
mod metadata;
mod sweep;
mod tokenize;

pub use age::Age;
pub use detokenize::{Revealed, Turns};
pub use form::Form;
pub use grants::{Granted, Memory, Revoked, Terms, Verdict, Verified};
pub use metadata::{Described, Written};
pub use sweep::{Graces, sweep_page};
pub use tokenize::{Given, NewValue};

/// Who asks, where, and as which attempt.
#[derive(Clone, Debug)]
pub struct Call {
    /// As the kernel reports it.
    pub caller: Caller,
    /// What is asked for.
    pub operation: telemetry::Operation,
    /// Who that is in the policy.
    pub guest: Arc<Guest>,
    /// The namespace of everything in the request.
    pub namespace: Namespace,
    /// The end user's session, where the caller tells it.
    pub session: Option<Session>,
    /// Whether sessions are proven: then the caller's word for one is not enough.
    pub proven: bool,
    /// Makes a tokenize safe to retry.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Where what becomes of it is noted.
    pub trail: Trail,
}

impl Call {
    /// Notes which tokens it is about, before anything is done.
    fn asks_for(&self, token: &Token) {
        self.trail.asked(&self.namespace, [Some(token)]);
    }

    fn asks_for_all(&self, tokens: &[Result<Token, Failure>]) {
        self.trail.asked(&self.namespace, tokens.iter().map(|token| token.as_ref().ok()));
    }

    /// Notes what became of a token, or of an item that has none.
    fn note<T>(
        &self,
        token: Option<&Token>,
        result: &Result<T, Failure>,
        age: impl FnOnce(&T) -> Age,
    ) {
        if !self.trail.is_on() {
            return;
        }
        let (code, age) = match result {
            Ok(done) => (None, age(done)),
            Err(failure) => (Some(failure.code), Age::default()),
        };
        self.trail.note(&self.namespace, token, code, age.reason());
    }
}

/// Of a write that waits in a journal: it says that storage is away.
fn journaled(durability: Durability) -> Age {
    let away = (durability == Durability::Journaled).then_some(Duration::ZERO);
    Age { storage: away, ..Age::default() }
}

/// What the verbs work with.
pub struct Vault {
    /// Where records lie.
    pub store: Arc<dyn Store>,
    /// What seals and opens them.
    pub keyring: Arc<Keyring>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where randomness comes from.
    pub entropy: Arc<dyn Entropy>,
    /// What retries get.
    pub idempotency: Arc<Idempotency>,
    /// Concurrent duplicates wait here for the first.
    pub attempts: KeyedLocks<crate::idempotency::EntryName>,
    /// Bounds what batches hold in the clear.
    pub turns: Turns,
    /// What sessions and grants opened to.
    pub memory: Memory,
    /// What a canary raises.
    pub alarm: Alarm,
}

/// A record as it lies in the store, opened.
struct Found {
    opened: Opened,
    version: Version,
    age: Age,
}

/// What a write is made from.
enum Basis {
    /// What lies there, or that nothing does.
    Known(Option<Found>),
    /// Nobody can be asked, and a journal takes the write all the same.
    Unknown,
}

impl Found {
    fn header(&self) -> &Header {
        &self.opened.header
    }
}

impl Vault {
    /// The first step of every verb, so that none can be reached around the policy.
    fn authorize(&self, call: &Call, operation: Operation) -> Result<(), Failure> {
        call.guest.client.may(operation, &call.namespace).map_err(access::forbidden)
    }

    /// The same for a verb about a session.
    fn authorize_for(
        &self,
        call: &Call,
        operation: Operation,
        session: &Session,
    ) -> Result<(), Failure> {
        self.authorize(call, operation)?;
        match call.proven {
            true => call.guest.may_name(session, call.session.as_ref(), true),
            false => Ok(()),
        }
    }

    fn subject(call: &Call, token: &Token, kind: Kind) -> Subject {
        Subject::new(token.clone(), call.namespace.clone(), kind, &[])
    }

    /// What a write is to be made from: what lies there now, or that nobody can be asked and the journal takes it.
    async fn basis(&self, subject: &Subject) -> Result<Basis, Failure> {
        let name = Name::record(subject.namespace(), &subject.locator());
        match self.store.get_now(&name).await {
            Err(StoreError::Unknown(_)) => Ok(Basis::Unknown),
            object => Ok(Basis::Known(self.open(subject, object?).await?)),
        }
    }

    /// Reads and opens a record, tombstone or not.
    async fn read(&self, subject: &Subject) -> Result<Option<Found>, Failure> {
        let name = name_of(subject);
        self.open(subject, self.store.get(&name).await?).await
    }

    async fn open(
        &self,
        subject: &Subject,
        object: Option<Object>,
    ) -> Result<Option<Found>, Failure> {
        let Some(object) = object else { return Ok(None) };
        let header = Header::parse(&object.bytes).map_err(Failure::corrupted)?;
        let key = self.keyring.opening(subject.namespace(), header.key_id).await?;
        let opened = envelope::open(subject, &key, &object.bytes).map_err(Failure::corrupted)?;
        let age = Age { storage: object.age, keys: key.age };
        Ok(Some(Found { opened, version: object.version, age }))
    }

    /// The version of what lies there, whatever it is.
    async fn version(&self, subject: &Subject) -> Result<Option<Version>, Failure> {
        let name = name_of(subject);
        Ok(self.store.get_now(&name).await?.map(|object| object.version))
    }

    /// Reads a token's value, which must be alive. A canary has none.
    async fn read_value(&self, call: &Call, token: &Token) -> Result<Found, Failure> {
        let found = self.read(&Self::subject(call, token, Kind::Value)).await?;
        self.value(call, token, found).await
    }

    /// Whether there is a value, for a refusal. Storage is asked as it is for a token that does not exist, also where the
    /// value is remembered, so that the time does not tell the two apart; where it does not answer, what is remembered counts.
    async fn expect_value(&self, call: &Call, token: &Token) -> Result<(), Failure> {
        let subject = Self::subject(call, token, Kind::Value);
        let found = match self.store.get_now(&name_of(&subject)).await {
            Ok(object) => self.open(&subject, object).await?,
            Err(_) => self.read(&subject).await?,
        };
        self.value(call, token, found).await.map(drop)
    }

    async fn value(
        &self,
        call: &Call,
        token: &Token,
        mut found: Option<Found>,
    ) -> Result<Found, Failure> {
        if found.as_ref().is_some_and(|found| self.touched(call, token, &found.opened)) {
            found = self.as_unknown(call, token).await?;
        }
        let found = found.ok_or_else(Failure::not_found)?;
        self.live(found.header())?;
        Ok(found)
    }

    /// Whether what has this header is alive.
    fn live(&self, header: &Header) -> Result<(), Failure> {
        match header {
            header if header.tombstone => Err(Failure::not_found()),
            header if header.expired(self.clock.now()) => Err(Failure::expired()),
            _ => Ok(()),
        }
    }

    /// Seals a record under the namespace's current key.
    async fn seal(
        &self,
        subject: &Subject,
        stamp: Stamp,
        put_id: PutId,
        plaintext: &[&[u8]],
    ) -> Result<Bytes, Failure> {
        let key = self.keyring.current(subject.namespace()).await?;
        let fresh = Fresh { nonce: random(&*self.entropy)?, put_id };
        let record = envelope::seal(subject, key.id, &key.key, stamp, &fresh, plaintext)
            .map_err(Failure::internal)?;
        Ok(record.into())
    }

    /// What an answer to a write says: that storage is away, which was just found; and how old the key is that
    /// seals in the namespace, where it should be a newer one or its keeper is away.
    pub fn writing_age(&self, namespace: &Namespace) -> Age {
        let storage = self.store.is_away().then_some(Duration::ZERO);
        Age { storage, keys: self.keyring.sealing_age(namespace) }
    }

    /// Writes over what was read, or where nothing was; where that is safe.
    async fn write(
        &self,
        subject: &Subject,
        record: Bytes,
        expected: Option<&Version>,
    ) -> Result<Durability, StoreError> {
        let name = name_of(subject);
        let version = match expected {
            Some(version) => self.store.put_if(&name, record, version).await?,
            None => self.store.put_new(&name, record).await?,
        };
        Ok(version.durability())
    }

    /// Writes over what nobody can be asked about.
    async fn write_over(&self, subject: &Subject, record: Bytes) -> Result<Durability, StoreError> {
        let name = Name::record(subject.namespace(), &subject.locator());
        Ok(self.store.put_over(&name, record).await?.durability())
    }

    fn put_id(&self) -> Result<PutId, Failure> {
        Ok(PutId(random(&*self.entropy)?))
    }

    fn stamp(&self, created_at: Millis, expires_at: Option<Millis>) -> Stamp {
        Stamp { tombstone: false, created_at, expires_at }
    }
}

/// Where a record lies.
fn name_of(subject: &Subject) -> Name {
    Name::record(subject.namespace(), &subject.locator()).of(subject.kind())
}
