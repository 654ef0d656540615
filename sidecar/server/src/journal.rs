//! What storage could not take waits here, on this machine's disk, until it can: sealed records and sessions
//! only, so that whoever has the file knows no more than whoever has the bucket.
//!
//! An entry is acknowledged once it is synced. Which names have entries is known in memory, as a digest of
//! each, so that a read of anything else costs no read of the disk. What is replayed, and what becomes of it
//! when something else lies there by then, is in [`replay`].

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasher,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use foldhash::fast::RandomState;
use lunasec_api::Code;
use lunasec_core::{
    grant::SessionState,
    ids::{Millis, PutId},
    limits,
    record::{Header, Kind},
};
use tokio::sync::watch;

use crate::{
    db::DbError,
    env::{Clock, Forward},
    keyed::KeyedLocks,
    store::{Name, StoreError, Version},
    telemetry::ReplaySeries,
    within::within,
};

mod aside;
mod disk;
mod measured;
mod replay;
pub mod table;

pub use aside::{NotSetAside, choose, set_aside};
pub use disk::DiskLedger;
pub use measured::Measured;
pub use replay::Replayer;

/// Its file in the state directory.
pub const JOURNAL_FILE: &str = "journal.redb";
/// What was taken out of it.
pub const ASIDE_FILE: &str = "journal-aside.redb";

/// What is written.
#[derive(Clone, Debug)]
pub struct Entry {
    /// In the order of their acknowledgement; never used twice.
    pub number: u64,
    /// When it was acknowledged.
    pub at: Millis,
    /// What it is written to.
    pub name: Name,
    /// What is known to lie there.
    pub base: Base,
    /// What is written there.
    pub bytes: Bytes,
}

impl Entry {
    /// Which put it is; none where its bytes are of no known form.
    pub fn put(&self) -> Option<PutId> {
        match self.name.is_session() {
            true => SessionState::peek_put(&self.bytes),
            false => Header::parse(&self.bytes).ok().map(|header| header.put_id),
        }
    }

    /// What it holds, in words for people.
    pub fn kind(&self) -> &'static str {
        if self.name.is_session() {
            return "session";
        }
        let header = Header::parse(&self.bytes).map(|header| (header.kind, header.tombstone));
        match header {
            Ok((Kind::Value, false)) => "value",
            Ok((Kind::Metadata, false)) => "metadata",
            Ok((Kind::Grant, false)) => "grant",
            Ok((Kind::Value, true)) => "value's tombstone",
            Ok((Kind::Metadata, true)) => "metadata's tombstone",
            Ok((Kind::Grant, true)) => "grant's tombstone",
            Ok((Kind::Audit, _)) | Err(_) => "record of an unknown kind",
        }
    }
}

/// What an entry was made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Base {
    /// Nothing.
    Nothing,
    /// This version.
    Version(Version),
    /// What the entry before, of the same name, writes: a put of this id.
    Put(PutId),
    /// Nobody could be asked.
    Unknown,
}

/// An entry to be.
#[derive(Clone, Debug)]
pub struct Draft {
    /// See [`Entry`].
    pub name: Name,
    /// See [`Entry`].
    pub base: Base,
    /// See [`Entry`].
    pub bytes: Bytes,
    /// The last entry of this name must be this one, or there must be none.
    pub last: Option<u64>,
    /// Whether nothing that counts waits for this name. What is on the disk all the same, because it could not be
    /// removed, or was not acknowledged as its write failed, is removed with this.
    pub alone: bool,
    /// Whether it is added only together with the one before it, and neither without the other.
    pub joined: bool,
}

impl Draft {
    /// Whether it deletes or revokes, or is a session, which may.
    fn takes_back(&self) -> bool {
        self.name.is_session() || Header::parse(&self.bytes).is_ok_and(|header| header.tombstone)
    }
}

/// Where entries are kept. Every method is one atomic step.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Adds entries, and answers their numbers once they are durable; none for one whose `last` is another, or for
    /// one that is joined to such a one.
    async fn append(&self, at: Millis, drafts: Vec<Draft>) -> Result<Vec<Option<u64>>, DbError>;
    /// The last entry of a name.
    async fn last(&self, name: &Name) -> Result<Option<Entry>, DbError>;
    /// Entries behind a number, in order, up to about `bytes`, and one at least.
    async fn page(&self, after: u64, count: usize, bytes: usize) -> Result<Vec<Entry>, DbError>;
    /// Forgets entries. It need not be durable at once: replaying one twice has the effect of once.
    async fn remove(&self, numbers: Vec<u64>) -> Result<(), DbError>;
    /// Of each entry its number, when it was acknowledged, its name, and its size.
    async fn contents(&self) -> Result<Vec<(u64, Millis, Name, usize)>, DbError>;
    /// The highest time that an entry was ever acknowledged at; none is known where that is not kept.
    async fn seen(&self) -> Result<Millis, DbError> {
        Ok(0)
    }
}

/// How much may wait, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Bytes of all entries.
    pub bytes: usize,
    /// Of the oldest.
    pub age: Duration,
}

/// See the module.
pub struct Journal {
    ledger: Arc<dyn Ledger>,
    clock: Arc<dyn Clock>,
    /// By which ages go: a clock that is set back makes nothing younger.
    forward: Forward,
    bounds: Bounds,
    hasher: RandomState,
    waiting: Mutex<Waiting>,
    /// How many entries there are: for whoever replays and removes them.
    count: watch::Sender<u64>,
    /// The last entry of a round after which nothing more is expected: what it left waits for a reason of its own.
    exhausted: watch::Sender<u64>,
    /// What became of entries.
    replayed: ReplaySeries,
    /// Writes of one name take turns, so that each knows what the last one left.
    pub turns: KeyedLocks<Name>,
    /// The last entry of those that a process before this one has left.
    left: u64,
    /// For as long as it runs.
    replayer: OnceLock<Weak<Replayer>>,
}

#[derive(Default)]
struct Waiting {
    /// How many entries each name has or is about to have, by a digest of the name.
    names: HashMap<u64, u32>,
    entries: BTreeMap<u64, Waits>,
    /// The first of those that wait for a reason of their own.
    refused: BTreeMap<u64, Refused>,
    /// Of the entries, and of those that are being written.
    bytes: usize,
    /// How many of the entries are spent.
    spent: usize,
}

struct Waits {
    since: Millis,
    bytes: usize,
    name: u64,
    /// Whether it need not wait any more and could not be removed: it is looked past, and only its room is taken.
    spent: bool,
}

/// Why an entry waits, and not just because storage is away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refused {
    /// What it holds.
    pub kind: &'static str,
    /// As an answer would say it.
    pub code: Code,
}

/// What waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pending {
    /// How many entries. Those that storage has, and a full disk could not forget yet, do not wait any more.
    pub count: u64,
    /// What all of them take, and those.
    pub bytes: u64,
    /// Of the oldest.
    pub age: Duration,
}

/// What an entry takes on the disk, about.
fn size(name: &Name, bytes: &Bytes) -> usize {
    64 + 2 * name.as_str().len() + bytes.len()
}

impl Journal {
    /// Takes up what waits in the ledger.
    pub async fn open(
        ledger: Arc<dyn Ledger>,
        clock: Arc<dyn Clock>,
        bounds: Bounds,
    ) -> Result<Self, DbError> {
        let (contents, seen) = (ledger.contents().await?, ledger.seen().await?);
        let seen = contents.iter().fold(seen, |seen, (_, at, ..)| seen.max(*at));
        let journal = Self {
            ledger,
            forward: Forward::from(seen, Arc::clone(&clock)),
            clock,
            bounds,
            hasher: RandomState::default(),
            waiting: Mutex::default(),
            count: watch::Sender::new(0),
            exhausted: watch::Sender::new(0),
            replayed: ReplaySeries::default(),
            turns: KeyedLocks::default(),
            left: contents.iter().map(|(number, ..)| *number).max().unwrap_or(0),
            replayer: OnceLock::new(),
        };
        for (number, since, name, bytes) in contents {
            let name = journal.digest(&name);
            let mut waiting = journal.waiting();
            waiting.bytes += bytes;
            *waiting.names.entry(name).or_default() += 1;
            waiting.entries.insert(number, Waits { since, bytes, name, spent: false });
        }
        journal.tell();
        Ok(journal)
    }

    /// The same, where what becomes of its entries is counted.
    pub fn counted(self, replayed: ReplaySeries) -> Self {
        Self { replayed, ..self }
    }

    /// Makes entries durable, all of them or none: their numbers, or none for one whose `last` is another.
    /// What is not written in time may be all the same.
    pub async fn append(
        self: &Arc<Self>,
        mut drafts: Vec<Draft>,
    ) -> Result<Vec<Option<u64>>, StoreError> {
        let weigh = |draft: &Draft| (self.digest(&draft.name), size(&draft.name, &draft.bytes));
        let sizes: Vec<(u64, usize)> = drafts.iter().map(weigh).collect();
        // However much is tokenized, there is room to take something back.
        let share = match drafts.iter().all(Draft::takes_back) {
            true => self.bounds.bytes,
            false => self.bounds.bytes / 8 * 7,
        };
        for (draft, alone) in drafts.iter_mut().zip(self.reserve(&sizes, share)?) {
            draft.alone = alone;
        }
        let journal = Arc::clone(self);
        // To its end, also when nobody waits for it any more: what is on the disk has to be known here.
        let written = tokio::spawn(async move {
            let at = journal.forward.now();
            let numbers = journal.ledger.append(at, drafts).await;
            journal.settle(at, &sizes, numbers.as_deref().unwrap_or_default());
            numbers
        });
        match within(limits::JOURNAL_TIME, written).await {
            Some(Ok(Err(full @ DbError::Full(..)))) => Err(StoreError::Full(full.to_string())),
            Some(Ok(numbers)) => Ok(numbers?),
            Some(Err(_)) => Err(StoreError::Unavailable("the journal's task has ended".into())),
            None => Err(StoreError::Unavailable(format!(
                "the journal's disk did not answer within {} s",
                limits::JOURNAL_TIME.as_secs_f32()
            ))),
        }
    }

    /// The last entry of a name; no disk is asked for a name that has none.
    pub async fn last(&self, name: &Name) -> Result<Option<Entry>, StoreError> {
        if !self.may_hold(name) {
            return Ok(None);
        }
        match within(limits::JOURNAL_TIME, self.ledger.last(name)).await {
            Some(entry) => Ok(entry?.filter(|entry| !self.is_spent(entry.number))),
            None => Err(StoreError::Unavailable("the journal's disk does not answer".into())),
        }
    }

    /// Whether a process before this one has left an entry. It may have been stored since, and something else been written
    /// there: on a full disk, what is stored cannot be removed.
    pub fn is_left(&self, entry: &Entry) -> bool {
        entry.number <= self.left
    }

    /// Brings what waits for a name to storage at once, if it answers and something lies there.
    pub async fn bring(&self, name: &Name) {
        if let Some(replayer) = self.replayer.get().and_then(Weak::upgrade)
            && !self.is_stale()
        {
            replayer.bring(name).await;
        }
    }

    /// Whether a name has entries, or, seldom, another one.
    pub fn may_hold(&self, name: &Name) -> bool {
        let waiting = self.waiting();
        !waiting.names.is_empty() && waiting.names.contains_key(&self.digest(name))
    }

    /// What waits.
    pub fn pending(&self) -> Pending {
        let waiting = self.waiting();
        Pending {
            count: (waiting.entries.len() - waiting.spent) as u64,
            bytes: waiting.bytes as u64,
            age: self.age(&waiting),
        }
    }

    /// Whether so many entries wait of a draft's name that more would not be caught up with. What takes something back
    /// is not refused so soon.
    pub fn is_crowded(&self, draft: &Draft) -> bool {
        let most = limits::JOURNAL_CROWD * if draft.takes_back() { 4 } else { 1 };
        let waiting = self.waiting();
        !waiting.names.is_empty()
            && waiting.names.get(&self.digest(&draft.name)).is_some_and(|count| *count >= most)
    }

    /// Whether half of its room is taken.
    pub fn is_half_full(&self) -> bool {
        self.waiting().bytes >= self.bounds.bytes / 2
    }

    /// Whether it has waited for too long to be replayed without an operator's word: a sweep may have
    /// removed the tombstones of what was deleted meanwhile.
    pub fn is_stale(&self) -> bool {
        self.age(&self.waiting()) > self.bounds.age
    }

    /// How many entries there are, also such as only have to be removed, and each change of it.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// Waits until nothing waits any more, or only what an operator has to look at. While storage or keys are away it
    /// waits for them: whoever stops has a time for that, and what it leaves may lie on a disk that goes with the pod.
    pub async fn drain(&self) {
        let (mut count, mut exhausted) = (self.count.subscribe(), self.exhausted.subscribe());
        exhausted.mark_unchanged();
        if self.is_stale() {
            return;
        }
        let last = self.last_number();
        let nothing_more = async {
            // A round that began before the last write says nothing of it.
            while exhausted.changed().await.is_ok() && *exhausted.borrow_and_update() < last {}
        };
        tokio::select! {
            _ = count.wait_for(|count| *count == 0) => {}
            () = nothing_more => {}
        }
    }

    /// Entries that wait for a reason of their own, by their numbers; the first of them, where they are many.
    pub fn refused(&self) -> BTreeMap<u64, Refused> {
        self.waiting().refused.clone()
    }

    /// Notes why an entry waits; whether that is news that the log should have.
    fn refuse(&self, number: u64, why: Refused) -> bool {
        let mut waiting = self.waiting();
        let is_room = waiting.refused.len() < limits::REFUSED_NAMED;
        let known = waiting.refused.get(&number);
        let is_news = known.map_or(is_room, |known| *known != why);
        if is_news {
            waiting.refused.insert(number, why);
        }
        is_news
    }

    /// Tells who drains it that nothing more is expected of the entries up to this one.
    fn exhausted(&self, last: u64) {
        self.exhausted.send_replace(last);
    }

    async fn page(&self, after: u64) -> Result<Vec<Entry>, DbError> {
        let last = self.last_number();
        let page = self.ledger.page(after, limits::REPLAY_PAGE, limits::REPLAY_PAGE_BYTES).await?;
        // A disk that failed to remove entries may have done so all the same.
        if after == 0 && page.is_empty() {
            self.forget(last);
        }
        Ok(page)
    }

    /// Of the last entry; nothing where there is none.
    fn last_number(&self) -> u64 {
        self.waiting().entries.last_key_value().map_or(0, |(number, _)| *number)
    }

    /// All entries of a name.
    async fn of(&self, name: &Name) -> Result<Vec<Entry>, DbError> {
        let digest = self.digest(name);
        let numbers: Vec<u64> = {
            let waiting = self.waiting();
            let of_it = waiting.entries.iter().filter(|(_, it)| it.name == digest && !it.spent);
            of_it.map(|(number, _)| *number).collect()
        };
        let mut entries = Vec::new();
        for number in numbers {
            let found = self.ledger.page(number - 1, 1, 0).await?;
            entries.extend(found.into_iter().filter(|entry| entry.name == *name));
        }
        Ok(entries)
    }

    /// Of all entries up to this one nothing is on the disk.
    fn forget(&self, last: u64) {
        let mut waiting = self.waiting();
        while let Some(number) = waiting.entries.first_key_value().map(|(number, _)| *number)
            && number <= last
        {
            waiting.forget(number);
        }
        drop(waiting);
        self.tell();
    }

    /// Looks past entries that need not wait any more, and could not be removed.
    fn spend(&self, numbers: &[u64]) {
        let mut waiting = self.waiting();
        numbers.iter().for_each(|number| waiting.spend(*number));
    }

    fn is_spent(&self, number: u64) -> bool {
        self.waiting().entries.get(&number).is_some_and(|waits| waits.spent)
    }

    async fn remove(&self, numbers: &[u64]) -> Result<(), DbError> {
        self.ledger.remove(numbers.to_vec()).await?;
        let mut waiting = self.waiting();
        numbers.iter().for_each(|number| waiting.forget(*number));
        drop(waiting);
        self.tell();
        Ok(())
    }

    fn age(&self, waiting: &Waiting) -> Duration {
        let oldest = waiting.entries.values().find(|waits| !waits.spent).map(|waits| waits.since);
        oldest.map_or(Duration::ZERO, |oldest| self.waited(oldest))
    }

    /// How long ago that was.
    pub fn waited(&self, since: Millis) -> Duration {
        Duration::from_millis(self.forward.now().saturating_sub(since))
    }

    /// Makes room; for each whether its name has nothing else.
    fn reserve(&self, sizes: &[(u64, usize)], share: usize) -> Result<Vec<bool>, StoreError> {
        let mut waiting = self.waiting();
        let bytes: usize = sizes.iter().map(|(_, bytes)| bytes).sum();
        if waiting.bytes + bytes > share {
            return Err(StoreError::Full("degrade.journal_bytes is used up".into()));
        }
        if self.age(&waiting) > self.bounds.age {
            return Err(StoreError::Full(
                "its oldest entry is older than degrade.journal_age; `lunasec serve --replay-stale-journal` replays it"
                    .into(),
            ));
        }
        waiting.bytes += bytes;
        let mut count = |name: &u64| {
            let count = waiting.names.entry(*name).or_default();
            *count += 1;
            *count == 1
        };
        Ok(sizes.iter().map(|(name, _)| count(name)).collect())
    }

    /// Takes over what came of writing. After a failure it may be on the disk: then it is replayed as well.
    fn settle(&self, at: Millis, sizes: &[(u64, usize)], numbers: &[Option<u64>]) {
        let mut waiting = self.waiting();
        for (place, (name, bytes)) in sizes.iter().enumerate() {
            match numbers.get(place).copied().flatten() {
                Some(number) => {
                    let waits = Waits { since: at, bytes: *bytes, name: *name, spent: false };
                    waiting.entries.insert(number, waits);
                }
                None => waiting.release(Some(*name), *bytes),
            }
        }
        drop(waiting);
        self.tell();
    }

    fn digest(&self, name: &Name) -> u64 {
        self.hasher.hash_one(name)
    }

    fn tell(&self) {
        let count = self.waiting().entries.len() as u64;
        self.count.send_replace(count);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Of an entry that is not on the disk any more.
    fn forget(&mut self, number: u64) {
        self.refused.remove(&number);
        if let Some(Waits { bytes, name, spent, .. }) = self.entries.remove(&number) {
            self.spent -= usize::from(spent);
            self.release((!spent).then_some(name), bytes);
        }
    }

    fn spend(&mut self, number: u64) {
        self.refused.remove(&number);
        if let Some(waits) = self.entries.get_mut(&number).filter(|waits| !waits.spent) {
            waits.spent = true;
            self.spent += 1;
            let name = waits.name;
            self.release(Some(name), 0);
        }
    }

    fn release(&mut self, name: Option<u64>, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(name) = name
            && let Some(count) = self.names.get_mut(&name)
        {
            *count -= 1;
            if *count == 0 {
                self.names.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
