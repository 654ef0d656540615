//! A journal's disk that can be pulled out: the real database on a file in memory, of which only what was
//! synced is there again.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use lunasec_core::ids::Millis;
use lunasec_sidecar::{
    db::DbError,
    journal::{Draft, Entry, Ledger, table},
    store::Name,
};
use redb::{Database, ReadableDatabase, StorageBackend};

/// What a disk holds, at any of its clones.
#[derive(Clone, Debug, Default)]
pub struct Disk(Arc<State>);

#[derive(Debug, Default)]
struct State {
    bytes: Mutex<Bytes>,
    /// Whether writes fail, as on a full one.
    full: AtomicBool,
}

#[derive(Debug, Default)]
struct Bytes {
    written: Vec<u8>,
    synced: Vec<u8>,
}

impl Disk {
    /// The power fails: what was not synced is gone.
    pub fn pull(&self) -> Self {
        let synced = self.bytes().synced.clone();
        let state = State::default();
        *state.bytes.lock().unwrap() = Bytes { written: synced.clone(), synced };
        Self(Arc::new(state))
    }

    /// From now on it takes no more, or does again.
    pub fn fill(&self, full: bool) {
        self.0.full.store(full, Ordering::SeqCst);
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
        self.bytes().written.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        let mut bytes = self.bytes();
        bytes.synced = bytes.written.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        let from = usize::try_from(offset).unwrap();
        self.bytes().written[from..from + data.len()].copy_from_slice(data);
        Ok(())
    }
}

/// The journal's tables on such a disk, without threads, so that what a seed does it does again.
pub struct SimLedger {
    disk: Disk,
    database: Mutex<Option<Database>>,
    /// Whether entries are acknowledged before they are synced: the defect that tests have to find.
    pub unsynced: bool,
}

impl SimLedger {
    /// Opens what is on the disk.
    pub fn open(disk: &Disk) -> Self {
        Self { disk: disk.clone(), database: Mutex::new(None), unsynced: false }
    }

    fn with<R>(
        &self,
        work: impl FnOnce(&Database) -> Result<R, redb::Error>,
    ) -> Result<R, DbError> {
        let mut slot = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        let explain = |error: redb::Error| match &error {
            redb::Error::Io(why) if why.kind() == io::ErrorKind::StorageFull => {
                DbError::Full("the disk".into(), error.to_string())
            }
            error => DbError::Io("the disk".into(), error.to_string()),
        };
        let database = match slot.take() {
            Some(database) => database,
            None => Database::builder()
                .create_with_backend(self.disk.clone())
                .map_err(|error| explain(error.into()))?,
        };
        let result = work(&database);
        // After a failure it has to be opened anew, as a file would have to.
        if result.is_ok() {
            *slot = Some(database);
        }
        result.map_err(explain)
    }

    fn write<R>(
        &self,
        durable: bool,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<R, redb::Error>,
    ) -> Result<R, DbError> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            let level = if durable { redb::Durability::Immediate } else { redb::Durability::None };
            transaction.set_durability(level)?;
            let result = work(&transaction)?;
            transaction.commit()?;
            Ok(result)
        })
    }
}

#[async_trait]
impl Ledger for SimLedger {
    async fn append(&self, at: Millis, drafts: Vec<Draft>) -> Result<Vec<Option<u64>>, DbError> {
        self.write(!self.unsynced, |transaction| table::append(transaction, at, &drafts))
    }

    async fn last(&self, name: &Name) -> Result<Option<Entry>, DbError> {
        self.with(|database| table::last(&database.begin_read()?, name))
    }

    async fn page(&self, after: u64, count: usize, bytes: usize) -> Result<Vec<Entry>, DbError> {
        self.with(|database| table::page(&database.begin_read()?, after, count, bytes))
    }

    async fn remove(&self, numbers: Vec<u64>) -> Result<(), DbError> {
        self.write(true, |transaction| table::remove(transaction, &numbers))
    }

    async fn contents(&self) -> Result<Vec<(u64, Millis, Name, usize)>, DbError> {
        self.with(|database| table::contents(&database.begin_read()?))
    }
}
