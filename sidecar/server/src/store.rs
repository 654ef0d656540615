//! Where sealed bytes lie, by name. The adapters hold no secrets and know no tokens.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lunasec_api::Durability;
use lunasec_core::{
    derive::SessionTag,
    ids::{KeyId, Locator, Namespace},
    limits,
};

mod cached;
mod embedded;
mod guarded;
mod hedged;
mod journaled;
mod measured;
mod memory;
mod retried;
mod s3;
mod timed;

pub use cached::{Ages, Cached, Clocks};
pub use embedded::EmbeddedStore;
pub use guarded::Guarded;
pub use hedged::Hedged;
pub use journaled::Journaled;
pub use measured::Measured;
pub use memory::MemoryStore;
pub use retried::Retried;
pub use s3::S3Store;
pub use timed::Timed;

/// A narrow store of small objects. Every method is one atomic step at the store.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes an object under a name that has none; [`StoreError::Precondition`] if it has.
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError>;

    /// Many `put_new` at once, for stores that can share the work; each succeeds or fails by itself.
    async fn put_new_many(&self, objects: Vec<(Name, Bytes)>) -> Vec<Result<Version, StoreError>> {
        let puts = objects
            .into_iter()
            .map(|(name, bytes)| async move { self.put_new(&name, bytes).await });
        stream::iter(puts).buffered(limits::BATCH_CONCURRENCY).collect().await
    }

    /// Replaces exactly the version `expected`; [`StoreError::Precondition`] otherwise.
    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError>;

    /// Reads an object.
    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError>;

    /// The same, past whatever a store in front of this one remembers; only such a one differs.
    async fn get_now(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        self.get(name).await
    }

    /// What a store in front of this one remembers, for as long as it may be believed while nobody can be asked.
    fn remembered(&self, _name: &Name) -> Option<Object> {
        None
    }

    /// Replaces whatever lies there, which nobody could be asked about ([`StoreError::Unknown`]). Only a journal
    /// takes that.
    async fn put_over(&self, _name: &Name, _bytes: Bytes) -> Result<Version, StoreError> {
        Err(StoreError::Unavailable("it cannot be asked what lies there".into()))
    }

    /// Names that start with `prefix`, in order, behind `after`.
    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError>;

    /// Like `list`, with the first `length` bytes of each object and never its rest; maybe fewer at once.
    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError>;

    /// Removes exactly the version `expected`; whether it was there.
    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError>;
}

/// What a store says when it cannot.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum StoreError {
    /// The name is taken, or the version is another one.
    #[error("the precondition does not hold")]
    Precondition,
    /// It does not answer; the effect is unknown.
    #[error("storage is unavailable: {0}")]
    Unavailable(String),
    /// The same, and what lies there was not seen here, but a write would be taken by the journal.
    #[error("storage is unavailable: {0}")]
    Unknown(String),
    /// It does not answer, and the journal takes no more.
    #[error("the journal is full: {0}")]
    Full(String),
    /// It answers, and will not until something is changed: permissions, the bucket, a clock.
    #[error("storage refuses: {0}")]
    Refused(String),
    /// It answers, and does not do it because it is asked too much.
    #[error("storage throttles: {0}")]
    Throttled(String),
    /// It answers, and this time it came to nothing: another write was under way, or what was sent came in
    /// damaged, either way.
    #[error("storage did not do it this time: {0}")]
    Again(String),
    /// It was not asked: too many requests wait for it already.
    #[error("too many requests to storage wait")]
    Overloaded,
    /// What it holds is damaged.
    #[error("storage is damaged: {0}")]
    Corrupted(String),
}

/// What follows from a failure, wherever it is decided; `docs/failures.md` has it as a table.
impl StoreError {
    /// Whether it says that the store is away: opens the breaker, and what is remembered is given instead.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether another attempt may succeed.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Throttled(_) | Self::Again(_))
    }

    /// Whether a write that failed so has surely changed nothing.
    pub fn changed_nothing(&self) -> bool {
        use StoreError::{Again, Overloaded, Refused, Throttled};
        matches!(self, Throttled(_) | Again(_) | Refused(_) | Overloaded)
    }
}

/// An object and the version it has.
#[derive(Clone, Debug)]
pub struct Object {
    /// The whole, or its head.
    pub bytes: Bytes,
    /// For a conditional write.
    pub version: Version,
    /// How old it is, where it is older than it should be, or the store is away.
    pub age: Option<Duration>,
}

impl Object {
    /// As the store has it now.
    pub fn new(bytes: Bytes, version: Version) -> Self {
        Self { bytes, version, age: None }
    }
}

/// Heads of a page of objects.
pub struct Heads {
    /// In order of their names. One that is removed meanwhile is left out.
    pub objects: Vec<(Name, Object)>,
    /// Behind which to go on; none behind the last.
    pub next: Option<Name>,
    /// What reading them cost.
    pub requests: u64,
}

impl Heads {
    /// Where to go on behind a page that leaves nothing out.
    fn full(page: &[(Name, Object)], limit: usize) -> Option<Name> {
        page.last().filter(|_| page.len() == limit).map(|(name, _)| name.clone())
    }
}

/// Opaque: equal only for the same write of an object, or for another write of the very same bytes,
/// which sealed bytes never are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Version(pub(crate) Mark);

/// As the store gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Mark {
    Number(u64),
    Tag(Arc<str>),
    /// Of an entry that waits in the journal.
    Entry(u64),
}

impl Version {
    fn number(number: u64) -> Self {
        Self(Mark::Number(number))
    }

    fn tag(tag: &str) -> Self {
        Self(Mark::Tag(tag.into()))
    }

    /// The tag, if it is one: another store's version is no version here.
    fn as_tag(&self) -> Option<&str> {
        match &self.0 {
            Mark::Tag(tag) => Some(tag),
            Mark::Number(_) | Mark::Entry(_) => None,
        }
    }

    /// Where an object of this version is safe.
    pub fn durability(&self) -> Durability {
        match self.0 {
            Mark::Number(_) | Mark::Tag(_) => Durability::Stored,
            Mark::Entry(_) => Durability::Journaled,
        }
    }
}

/// An object's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Before every record.
    pub const RECORDS: &'static str = "r/";
    const RECORD_BYTES: usize =
        Self::RECORDS.len() + limits::NAMESPACE_BYTES + 1 + Locator::TEXT_LEN;
    /// Before every session's object.
    pub const SESSIONS: &'static str = "s/";
    /// Before every wrapped key.
    pub const KEYS: &'static str = "k/";

    /// A record's.
    pub fn record(namespace: &Namespace, locator: &Locator) -> Self {
        // On the way of every request, so without the machinery of formatting.
        let mut text = [0; Self::RECORD_BYTES];
        let mut length = 0;
        for part in [Self::RECORDS.as_bytes(), namespace.as_str().as_bytes(), b"/", &locator.hex()]
        {
            text[length..length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        let Ok(text) = str::from_utf8(&text[..length]) else {
            unreachable!("all of its parts are text")
        };
        Self(text.into())
    }

    /// A session's.
    pub fn session(namespace: &Namespace, tag: &SessionTag) -> Self {
        let tag = Locator(tag.0);
        Self(format!("{}{}/{tag}", Self::SESSIONS, namespace.as_str()).into())
    }

    /// A wrapped data key's.
    pub fn key(namespace: &Namespace, id: KeyId) -> Self {
        Self(format!("{}{}/{id}", Self::KEYS, namespace.as_str()).into())
    }

    /// The wrapped index key's.
    pub fn index_key(namespace: &Namespace) -> Self {
        Self(format!("{}{}/index", Self::KEYS, namespace.as_str()).into())
    }

    /// Before the wrapped keys of one epoch.
    pub fn epoch_prefix(namespace: &Namespace, id: KeyId) -> String {
        format!("{}{}/{:010}-", Self::KEYS, namespace.as_str(), id.epoch)
    }

    /// A name that came out of a store or a cursor.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the last slash.
    pub fn last_part(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// The namespace that a record or key lies in.
    pub fn namespace(&self) -> Option<Namespace> {
        Namespace::parse(self.0.split('/').nth(1)?).ok()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
