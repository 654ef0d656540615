//! Keeps what was read and written on this machine's disk, so that after a restart with the store away it still
//! opens: sealed objects and versions, as in the store.
//!
//! It is asked only when the store gives no answer, and gives nothing past its hard limit, which counts by the wall
//! clock from when the store last said so. Where that clock was set back, everything is past it, and removed: at the
//! next start, or, where it was by more than a minute, with the next write; so what is kept after that counts again. What
//! is about to be replaced is forgotten before, durably; where the disk does not even take that, the whole file goes.
//! Everything else is written on the side, and what there is no time for is not kept.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `objects` | name | when the store was asked (u64, milliseconds), what [`Version::write`] writes, the object |
//! | `ages` | when, name | nothing |
//! | `counters` | `seen` | the highest time of the wall clock that was seen |
//! | | `bytes` | of all rows, with their names |

use std::{
    collections::HashMap,
    future::Future,
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use foldhash::fast::RandomState;
use lunasec_core::{ids::Millis, limits};
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};
use tokio::sync::mpsc;

use super::{Ages, Heads, Name, Object, Store, StoreError, Version, caches::kind};
use crate::{
    db::{Db, DbError, see, seen, set_back, table},
    env::{Clock, millis},
    seldom::Seldom,
    within::within,
};

const OBJECTS: TableDefinition<&str, &[u8]> = TableDefinition::new("objects");
const AGES: TableDefinition<(u64, &str), ()> = TableDefinition::new("ages");
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const BYTES: &str = "bytes";
const TIME_LEN: usize = 8;

/// See the module.
pub struct Kept<S> {
    inner: S,
    shelf: Arc<Shelf>,
    news: mpsc::Sender<News>,
}

/// What is to be written on the side.
struct News {
    name: Name,
    object: Object,
    asked: Asked,
}

/// When the store was asked, by the wall clock, and behind how many replacements.
#[derive(Clone, Copy)]
struct Asked {
    at: Millis,
    after: u64,
}

/// What is on the disk.
struct Shelf {
    db: Db,
    clock: Arc<dyn Clock>,
    ages: Ages,
    most: u64,
    hasher: RandomState,
    /// By a digest of each name: when the store was asked for what is kept of it, and a digest of its version.
    known: Mutex<HashMap<u64, (Millis, u64)>>,
    /// The highest time of the wall clock that was seen since the start, or since what was kept by it was removed.
    seen: AtomicU64,
    replaced: Mutex<Replaced>,
    /// The disk has failed at what it must not fail at.
    off: Arc<AtomicBool>,
    /// What is logged of reads that fail, and of writes.
    lines: [Seldom; 2],
}

/// What was replaced of late: what the store said before that is not written any more.
#[derive(Default)]
struct Replaced {
    count: u64,
    /// By a digest of each name: the number of its last replacement, and when that was.
    names: HashMap<u64, (u64, Duration)>,
}

impl<S: Store> Kept<S> {
    /// Keeps up to `most` bytes in a database that is only a copy.
    pub async fn open(
        inner: S,
        db: Db,
        clock: Arc<dyn Clock>,
        ages: Ages,
        most: usize,
    ) -> Result<Self, DbError> {
        let now = clock.now();
        let (back, seen, rows) = match db.write(move |transaction| begin(transaction, now)).await {
            // There is no room to note the time, and none is needed to read what is there.
            Err(DbError::Full(..)) => db.read(rows_there).await?,
            begun => begun?,
        };
        if back {
            tell_emptied();
        }
        let hasher = RandomState::default();
        let known = rows.iter().map(|(name, asked, version)| {
            (hasher.hash_one(name.as_str()), (*asked, version_digest(&hasher, version)))
        });
        let known = Mutex::new(known.collect());
        let (off, most) = (Arc::default(), most as u64);
        let replaced = Mutex::default();
        let lines = [(); 2].map(|()| Seldom::new(Arc::clone(&clock)));
        let seen = AtomicU64::new(now.max(seen));
        let shelf = Shelf { db, clock, ages, most, hasher, known, replaced, off, lines, seen };
        let shelf = Arc::new(shelf);
        let (news, queue) = mpsc::channel(limits::KEPT_QUEUE);
        tokio::spawn(keep(Arc::clone(&shelf), queue));
        Ok(Self { inner, shelf, news })
    }

    /// Whether it is given up until the next start.
    pub fn off(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.shelf.off)
    }

    /// Takes over what the store has said: what it says otherwise now is forgotten before anybody is told, and
    /// what it says is kept, if there is time for that.
    async fn learn(&self, name: &Name, object: Option<&Object>, asked: Asked) {
        if self.shelf.has_another(name, object) {
            self.shelf.forget(name).await;
            // What is said now was asked for before that.
            return;
        }
        if let Some(object) = object {
            self.note(name, object.clone(), asked);
        }
    }

    fn note(&self, name: &Name, object: Object, asked: Asked) {
        let version = version_digest(&self.shelf.hasher, &object.version);
        let news = self.shelf.is_news(name, &object, asked.at);
        if news && self.news.try_send(News { name: name.clone(), object, asked }).is_ok() {
            self.shelf.know(self.shelf.digest(name), Some((asked.at, version)));
        }
    }

    async fn replace(
        &self,
        name: &Name,
        bytes: &Bytes,
        write: impl Future<Output = Result<Version, StoreError>>,
    ) -> Result<Version, StoreError> {
        // Before it is written: a crash between the two must not leave what was there.
        self.shelf.forget(name).await;
        let asked = self.shelf.ask();
        let version = write.await?;
        self.note(name, Object::new(bytes.clone(), version.clone()), asked);
        Ok(version)
    }
}

impl Shelf {
    fn known(&self) -> MutexGuard<'_, HashMap<u64, (Millis, u64)>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replaced(&self) -> MutexGuard<'_, Replaced> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn know(&self, name: u64, kept: Option<(Millis, u64)>) {
        match kept {
            Some(kept) => _ = self.known().insert(name, kept),
            None => _ = self.known().remove(&name),
        }
    }

    fn ask(&self) -> Asked {
        let at = self.clock.now();
        self.seen.fetch_max(at, Ordering::Relaxed);
        Asked { at, after: self.replaced().count }
    }

    /// What time it is; none where the clock was set back, so that nobody knows how old anything is.
    fn now(&self) -> Option<Millis> {
        let now = self.clock.now();
        (self.seen.fetch_max(now, Ordering::Relaxed) <= now).then_some(now)
    }

    /// From now on nothing is written that the store said before.
    fn replace(&self, name: u64) {
        let (now, mut replaced) = (self.clock.monotonic(), self.replaced());
        replaced.count += 1;
        let number = replaced.count;
        // No answer takes longer than a minute.
        if replaced.names.len() >= limits::KEPT_QUEUE {
            let minute = Duration::from_secs(60);
            replaced.names.retain(|_, (_, at)| now.saturating_sub(*at) < minute);
        }
        replaced.names.insert(name, (number, now));
    }

    /// Whether nothing was written to the name since the store was asked.
    fn is_current(&self, name: u64, asked: Asked) -> bool {
        self.replaced().names.get(&name).is_none_or(|(number, _)| asked.after >= *number)
    }

    fn digest(&self, name: &Name) -> u64 {
        self.hasher.hash_one(name.as_str())
    }

    /// How long an object may be given; none for what is not kept.
    fn hard(&self, name: &Name, object: &Object) -> Option<Duration> {
        Some(self.ages.of(kind(name, Some(object))?).hard)
    }

    /// Whether it is worth a write: what is kept need not be younger than an eighth of its time.
    fn is_news(&self, name: &Name, object: &Object, asked: Millis) -> bool {
        let Some(hard) = self.hard(name, object) else { return false };
        let known = self.known().get(&self.digest(name)).map(|(at, _)| *at);
        // What was kept at a time that is still to come, by a clock that was wrong, is as good as gone.
        let age = known.and_then(|at| asked.checked_sub(at));
        let is_young = age.is_some_and(|age| age < millis(hard) / 8);
        !is_young && !self.off.load(Ordering::Relaxed)
    }

    /// Whether something else is kept of a name than what lies there.
    fn has_another(&self, name: &Name, object: Option<&Object>) -> bool {
        let version = object.map(|object| version_digest(&self.hasher, &object.version));
        let known = self.known().get(&self.digest(name)).map(|(_, version)| *version);
        known.is_some_and(|known| version != Some(known))
    }

    /// Forgets what is about to be replaced.
    async fn forget(&self, name: &Name) {
        let digest = self.digest(name);
        self.replace(digest);
        if self.off.load(Ordering::Relaxed) || !self.known().contains_key(&digest) {
            return;
        }
        let doomed = name.clone();
        let work = self.db.write(move |transaction| remove(transaction, &doomed));
        match within(limits::JOURNAL_TIME, work).await {
            Some(Ok(())) => self.know(digest, None),
            failed => {
                let cause =
                    failed.map_or_else(|| "no answer in time".into(), |it| format!("{it:?}"));
                self.off.store(true, Ordering::Relaxed);
                let removed = self.db.remove();
                tracing::error!(
                    cause,
                    ?removed,
                    "the disk cache cannot forget what was replaced; it was removed, and nothing is kept until the next start"
                );
            }
        }
    }

    /// What is kept of a name, and how old that is.
    async fn find(&self, name: &Name) -> Option<Object> {
        if self.off.load(Ordering::Relaxed) || !self.known().contains_key(&self.digest(name)) {
            return None;
        }
        let began = self.now()?;
        let wanted = name.clone();
        let work = self.db.read(move |transaction| read(transaction, &wanted));
        let row = match within(limits::JOURNAL_TIME, work).await {
            Some(Ok(row)) => row?,
            failed => {
                if let Some(left_out) = self.lines[0].admit() {
                    tracing::warn!(?failed, left_out, "the disk cache cannot be read");
                }
                return None;
            }
        };
        let (asked, version, bytes) = split(&row)?;
        let object = Object::new(Bytes::copy_from_slice(bytes), version);
        // It may have been set back, and all been removed, since the row was read.
        let now = self.now().filter(|now| *now >= began)?;
        let age = Duration::from_millis(now.checked_sub(asked)?);
        let hard = self.hard(name, &object)?;
        (age < hard).then(|| Object { age: Some(age), ..object })
    }

    async fn write(self: &Arc<Self>, news: Vec<News>) -> Result<(), DbError> {
        let shelf = Arc::clone(self);
        // Judged where it is written, in turn with what forgets.
        let write = move |transaction: &WriteTransaction| {
            // Also what was only looked at.
            see(transaction, COUNTERS, shelf.seen.load(Ordering::Relaxed))?;
            let now = shelf.clock.now();
            let back = set_back(transaction, COUNTERS, now, limits::CLOCK_STEP)?;
            if back {
                empty(transaction)?;
            }
            let current = |it: &News| {
                it.asked.at <= now && shelf.is_current(shelf.digest(&it.name), it.asked)
            };
            let rows: Vec<Row> = news
                .into_iter()
                .filter(current)
                .map(|News { name, object, asked }| {
                    let row = encode(asked.at, &object);
                    (name, asked.at, row)
                })
                .collect();
            Ok((back.then_some(now), insert(transaction, &rows, shelf.most)?))
        };
        let (back, dropped) = self.db.write(write).await?;
        if let Some(now) = back {
            self.seen.store(now, Ordering::Relaxed);
            // Which names there are stays: of one too many nothing is found, of one too few nothing would be forgotten.
            self.known().values_mut().for_each(|(at, _)| *at = 0);
            tell_emptied();
        }
        for name in dropped {
            self.know(self.hasher.hash_one(name.as_str()), None);
        }
        Ok(())
    }
}

fn tell_emptied() {
    tracing::warn!(
        "the wall clock was set back since the disk cache was written, so that nobody knows how old what is in it is: it was emptied, and is filled again"
    );
}

/// Writes what has come, as much of it at once as there is.
async fn keep(shelf: Arc<Shelf>, mut queue: mpsc::Receiver<News>) {
    let mut news = Vec::new();
    while queue.recv_many(&mut news, limits::KEPT_QUEUE).await > 0 {
        if let Err(error) = shelf.write(std::mem::take(&mut news)).await
            && let Some(left_out) = shelf.lines[1].admit()
        {
            tracing::warn!(%error, left_out, "the disk cache cannot be written");
        }
    }
}

/// What is kept of a name: when the store was asked for it, and its version.
type Known = (String, Millis, Version);

/// Whether all was removed, the highest time that was seen, and what there is.
type Begun = (bool, Millis, Vec<Known>);

/// Empties what the clock says nothing about any more.
fn begin(transaction: &WriteTransaction, now: Millis) -> Result<Begun, redb::Error> {
    let back = set_back(transaction, COUNTERS, now, Duration::ZERO)?;
    if back {
        empty(transaction)?;
    }
    Ok((back, now, rows(&transaction.open_table(OBJECTS)?)?))
}

/// The same where nothing can be removed: while the clock says nothing about what is there, that is known all the same,
/// to be forgotten.
fn rows_there(transaction: &ReadTransaction) -> Result<Begun, redb::Error> {
    let rows = table(transaction, OBJECTS)?.map_or(Ok(Vec::new()), |objects| rows(&objects))?;
    Ok((false, seen(transaction, COUNTERS)?.unwrap_or_default(), rows))
}

fn rows(
    objects: &impl ReadableTable<&'static str, &'static [u8]>,
) -> Result<Vec<Known>, redb::Error> {
    let mut rows = Vec::new();
    for row in objects.iter()? {
        let (name, row) = row?;
        if let Some((asked, version, _)) = split(row.value()) {
            rows.push((name.value().to_owned(), asked, version));
        }
    }
    Ok(rows)
}

fn empty(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.delete_table(OBJECTS)?;
    transaction.delete_table(AGES)?;
    transaction.open_table(COUNTERS)?.remove(BYTES)?;
    Ok(())
}

/// Forgets a name.
fn remove(transaction: &WriteTransaction, name: &Name) -> Result<(), redb::Error> {
    let mut objects = transaction.open_table(OBJECTS)?;
    let Some(row) = objects.remove(name.as_str())? else { return Ok(()) };
    transaction.open_table(AGES)?.remove((asked(row.value()), name.as_str()))?;
    let mut counters = transaction.open_table(COUNTERS)?;
    let bytes = counters.get(BYTES)?.map_or(0, |bytes| bytes.value());
    counters.insert(BYTES, bytes.saturating_sub(size(name.as_str(), row.value())))?;
    Ok(())
}

/// Of a row and its name, in both tables.
fn size(name: &str, row: &[u8]) -> u64 {
    (row.len() + 3 * name.len()) as u64
}

type Row = (Name, Millis, Vec<u8>);

/// Writes rows, and drops the oldest where there are too many bytes: their names.
fn insert(
    transaction: &WriteTransaction,
    rows: &[Row],
    most: u64,
) -> Result<Vec<String>, redb::Error> {
    let mut added = 0;
    for (name, asked, row) in rows {
        remove(transaction, name)?;
        added += size(name.as_str(), row);
        transaction.open_table(OBJECTS)?.insert(name.as_str(), row.as_slice())?;
        transaction.open_table(AGES)?.insert((*asked, name.as_str()), ())?;
    }
    let (mut objects, mut ages) = (transaction.open_table(OBJECTS)?, transaction.open_table(AGES)?);
    let mut counters = transaction.open_table(COUNTERS)?;
    let mut bytes = counters.get(BYTES)?.map_or(0, |bytes| bytes.value()) + added;
    let mut dropped = Vec::new();
    while bytes > most {
        let Some(name) = ages.pop_first()?.map(|(key, _)| key.value().1.to_owned()) else { break };
        if let Some(row) = objects.remove(name.as_str())? {
            bytes = bytes.saturating_sub(size(&name, row.value()));
        }
        dropped.push(name);
    }
    counters.insert(BYTES, bytes)?;
    Ok(dropped)
}

fn read(transaction: &ReadTransaction, name: &Name) -> Result<Option<Vec<u8>>, redb::Error> {
    let Some(objects) = table(transaction, OBJECTS)? else { return Ok(None) };
    Ok(objects.get(name.as_str())?.map(|row| row.value().to_vec()))
}

fn encode(asked: Millis, object: &Object) -> Vec<u8> {
    let mut row = Vec::with_capacity(TIME_LEN + 32 + object.bytes.len());
    row.extend_from_slice(&asked.to_be_bytes());
    object.version.write(&mut row);
    row.extend_from_slice(&object.bytes);
    row
}

fn asked(row: &[u8]) -> Millis {
    row.first_chunk().map_or(0, |asked| Millis::from_be_bytes(*asked))
}

/// When the store was asked, the version, and the object.
fn split(row: &[u8]) -> Option<(Millis, Version, &[u8])> {
    let (asked, rest) = row.split_first_chunk()?;
    let (version, length) = Version::split(rest)?;
    Some((Millis::from_be_bytes(*asked), version, &rest[length..]))
}

fn version_digest(hasher: &RandomState, version: &Version) -> u64 {
    let mut bytes = Vec::with_capacity(32);
    version.write(&mut bytes);
    hasher.hash_one(bytes)
}

#[async_trait]
impl<S: Store> Store for Kept<S> {
    fn is_away(&self) -> bool {
        self.inner.is_away()
    }

    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.replace(name, &bytes, self.inner.put_new(name, bytes.clone())).await
    }

    async fn put_new_many(&self, objects: Vec<(Name, Bytes)>) -> Vec<Result<Version, StoreError>> {
        let asked = self.shelf.ask();
        let results = self.inner.put_new_many(objects.clone()).await;
        for ((name, bytes), result) in objects.into_iter().zip(&results) {
            if let Ok(version) = result {
                self.note(&name, Object::new(bytes, version.clone()), asked);
            }
        }
        results
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.replace(name, &bytes, self.inner.put_if(name, bytes.clone(), expected)).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        let asked = self.shelf.ask();
        match self.inner.get(name).await {
            Ok(object) => {
                self.learn(name, object.as_ref(), asked).await;
                Ok(object)
            }
            Err(error) if error.is_away() => match self.shelf.find(name).await {
                Some(object) => Ok(Some(object)),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn remembered(&self, name: &Name) -> Option<Object> {
        match self.inner.remembered(name).await {
            Some(object) => Some(object),
            None => self.shelf.find(name).await,
        }
    }

    /// What is kept is not what lies there now.
    async fn get_now(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        let asked = self.shelf.ask();
        let object = self.inner.get_now(name).await?;
        self.learn(name, object.as_ref(), asked).await;
        Ok(object)
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        self.inner.list(prefix, after, limit).await
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        self.inner.heads(prefix, after, limit, length).await
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        self.shelf.forget(name).await;
        self.inner.remove_if(name, expected).await
    }
}

#[cfg(test)]
mod tests;
