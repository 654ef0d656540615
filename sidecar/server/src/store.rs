//! Where sealed bytes lie, by name. The adapters hold no secrets and know no tokens.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use lunasec_core::limits;

use crate::breaker::Failing;

mod cached;
mod caches;
mod embedded;
mod guarded;
mod hedged;
mod journaled;
mod kept;
mod measured;
mod memory;
mod name;
mod retried;
mod s3;
mod timed;
mod version;

pub use cached::{Ages, Cached, Clocks};
pub use caches::{Caches, Used};
pub use embedded::EmbeddedStore;
pub use guarded::Guarded;
pub use hedged::Hedged;
pub use journaled::Journaled;
pub use kept::Kept;
pub use measured::Measured;
pub use memory::MemoryStore;
pub use name::Name;
pub use retried::Retried;
pub use s3::S3Store;
pub use timed::Timed;
pub use version::Version;

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
    async fn remembered(&self, _name: &Name) -> Option<Object> {
        None
    }

    /// Whether writes may wait in journals, here and, as sidecars of one bucket are configured alike, elsewhere.
    fn is_journaled(&self) -> bool {
        false
    }

    /// Whether something waits in a journal to be written there.
    fn waits(&self, _name: &Name) -> bool {
        false
    }

    /// Whether it is known to be away.
    fn is_away(&self) -> bool {
        false
    }

    /// Replaces whatever lies there, which nobody could be asked about ([`StoreError::Unknown`]). Only a journal
    /// takes that, and only as the first that waits for this name: what waits already has to be looked at.
    async fn put_over(&self, _name: &Name, _bytes: Bytes) -> Result<Version, StoreError> {
        Err(StoreError::Unavailable("it cannot be asked what lies there".into()))
    }

    /// Creates objects that belong to others, which wait in a journal: they wait behind them, and nobody finds the
    /// ones without the others.
    async fn put_new_many_behind(
        &self,
        objects: Vec<(Name, Bytes)>,
    ) -> Vec<Result<Version, StoreError>> {
        self.put_new_many(objects).await
    }

    /// Tombstones that belong together, one after the other. None is tried after one that failed, so there may be fewer
    /// answers. What a journal takes of them, it takes all or nothing of.
    async fn put_together(&self, writes: Vec<Write>) -> Vec<Result<Version, StoreError>> {
        let mut done = Vec::new();
        for write in writes {
            if done.last().is_some_and(Result::is_err) {
                break;
            }
            done.push(match &write.over {
                Over::Nothing => self.put_new(&write.name, write.bytes).await,
                Over::Version(version) => self.put_if(&write.name, write.bytes, version).await,
                Over::Unknown => self.put_over(&write.name, write.bytes).await,
            });
        }
        done
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

/// A write of which it is known what it goes over.
#[derive(Clone, Debug)]
pub struct Write {
    /// Where to.
    pub name: Name,
    /// What.
    pub bytes: Bytes,
    /// In the place of what.
    pub over: Over,
}

/// What lies where something is to be written.
#[derive(Clone, Debug)]
pub enum Over {
    /// Nothing: [`Store::put_new`].
    Nothing,
    /// This: [`Store::put_if`].
    Version(Version),
    /// What nobody could be asked about: [`Store::put_over`].
    Unknown,
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
    /// It was not asked: it is known to be away.
    #[error("storage is away, and is probed")]
    Away,
    /// It does not answer, and what lies there was not seen here, but a write would be taken by the journal.
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
        matches!(self, Self::Unavailable(_) | Self::Away)
    }

    /// Whether another attempt may succeed.
    pub fn may_pass(&self) -> bool {
        self.is_away() || matches!(self, Self::Throttled(_) | Self::Again(_))
    }

    /// Whether a write that failed so has surely changed nothing.
    pub fn changed_nothing(&self) -> bool {
        use StoreError::{Again, Away, Overloaded, Refused, Throttled};
        matches!(self, Throttled(_) | Again(_) | Refused(_) | Overloaded | Away)
    }
}

impl Failing for StoreError {
    fn lost(&self) -> Option<&str> {
        match self {
            Self::Unavailable(why) => Some(why),
            _ => None,
        }
    }

    fn is_shed(&self) -> bool {
        *self == Self::Overloaded
    }

    fn may_pass(&self) -> bool {
        Self::may_pass(self)
    }

    fn given_up(why: String) -> Self {
        Self::Unavailable(why)
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
