//! A disk that can be pulled out: the real database on a file in memory, of which only what was synced is there
//! again. All of its work is done without threads, so that what a seed does it does again.

use std::{
    io, mem,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::future::{BoxFuture, ready};
use lunasec_sidecar::{
    db::{Db, Place},
    journal::DiskLedger,
};
use redb::{Database, StorageBackend};

/// What a disk holds, at any of its clones.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<State>);

#[derive(Debug, Default)]
struct State {
    bytes: Mutex<Bytes>,
    /// Whether writes fail, as on a full one.
    full: AtomicBool,
    /// Whether its file was removed: whoever has it open goes on, and nobody opens it again.
    removed: AtomicBool,
    /// Whether a sync makes durable only what the sync before was asked for.
    behind: AtomicBool,
}

#[derive(Debug, Default)]
struct Bytes {
    written: Vec<u8>,
    synced: Vec<u8>,
    /// What the two differ in, at most.
    dirty: Vec<Range<usize>>,
    /// What was written at the last sync, on a disk that is behind.
    promised: Vec<u8>,
}

impl Bytes {
    fn sync(&mut self) {
        self.synced.resize(self.written.len(), 0);
        for range in self.dirty.drain(..) {
            // It may have been cut off since.
            let range = range.start.min(self.written.len())..range.end.min(self.written.len());
            self.synced[range.clone()].copy_from_slice(&self.written[range]);
        }
    }
}

impl Disk {
    /// The power fails: what was not synced is gone.
    pub fn pull(&self) -> Self {
        let removed = self.0.removed.load(Ordering::SeqCst);
        let synced = if removed { Vec::new() } else { self.bytes().synced.clone() };
        let state = State::default();
        *state.bytes.lock().unwrap() =
            Bytes { written: synced.clone(), synced, ..Bytes::default() };
        Self(Arc::new(state))
    }

    /// From now on it takes no more, or does again.
    pub fn fill(&self, full: bool) {
        self.0.full.store(full, Ordering::SeqCst);
    }

    /// Its syncs are one late: the defect of an answer before the sync.
    pub fn lag(&self) {
        self.0.behind.store(true, Ordering::SeqCst);
    }

    /// The database on it.
    pub fn open(&self) -> Db {
        self.open_with(|| Box::pin(ready(())))
    }

    /// The same, where each piece of work takes a step of a caller's time.
    pub fn open_with(
        &self,
        step: impl Fn() -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Db {
        Db::without_threads(Pulled { disk: self.clone(), step: Box::new(step) }).unwrap()
    }

    /// A journal on it.
    pub fn ledger(&self) -> Arc<DiskLedger> {
        Arc::new(DiskLedger::new(self.open()))
    }

    fn bytes(&self) -> MutexGuard<'_, Bytes> {
        self.0.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> io::Result<()> {
        match self.0.full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes().written.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.bytes().written[from..from + out.len()]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check()?;
        let (mut bytes, length) = (self.bytes(), usize::try_from(length).unwrap());
        let range = bytes.written.len().min(length)..length;
        bytes.written.resize(length, 0);
        bytes.dirty.push(range);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        let mut bytes = self.bytes();
        if self.0.behind.load(Ordering::SeqCst) {
            let written = bytes.written.clone();
            bytes.synced = mem::replace(&mut bytes.promised, written);
        } else {
            bytes.sync();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        let from = usize::try_from(offset).unwrap();
        let (mut bytes, range) = (self.bytes(), from..from + data.len());
        bytes.written[range.clone()].copy_from_slice(data);
        bytes.dirty.push(range);
        Ok(())
    }
}

/// Where such a database lies.
struct Pulled {
    disk: Disk,
    step: Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Place for Pulled {
    fn name(&self) -> String {
        "the disk".into()
    }

    fn begin(&self) -> Result<Database, redb::Error> {
        self.reopen()
    }

    fn reopen(&self) -> Result<Database, redb::Error> {
        if self.disk.0.removed.load(Ordering::SeqCst) {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        Ok(Database::builder().create_with_backend(self.disk.clone())?)
    }

    fn view(&self) -> Result<Database, redb::Error> {
        let copy = Disk::default();
        copy.bytes().written = self.disk.bytes().written.clone();
        Ok(Database::builder().create_with_backend(copy)?)
    }

    fn is_still_there(&self) -> bool {
        !self.disk.0.removed.load(Ordering::SeqCst)
    }

    fn remove(&self) -> io::Result<()> {
        self.disk.0.removed.store(true, Ordering::SeqCst);
        Ok(())
    }

    fn step(&self) -> BoxFuture<'static, ()> {
        (self.step)()
    }
}
