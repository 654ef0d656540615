//! The open database behind a handle, which is opened anew after an error.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use redb::{ReadTransaction, ReadableDatabase};

use super::{DbError, Place};
use crate::{env::SystemClock, seldom::Seldom};

/// The open database, or none after an error.
pub(super) struct Shared {
    place: Box<dyn Place>,
    slot: RwLock<Option<Open>>,
    /// What is logged of closing it: on a full disk each job may have to.
    unclean: Seldom,
}

struct Open {
    database: redb::Database,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// On an [`Overlay`].
    View,
    /// Nothing was written to it yet.
    Unproven,
    /// It has taken a write.
    Proven,
}

impl Shared {
    /// Opens it, creating it when it is not there, and reads it once from end to end. On a full disk it is read, and
    /// written as soon as there is room: what ended on a full disk has to begin on one.
    pub(super) fn begin(place: impl Place) -> Result<Self, DbError> {
        let place: Box<dyn Place> = Box::new(place);
        let open = match guarded(&*place, || place.begin()) {
            Ok(database) => Open { database, mode: Mode::Proven },
            Err(error @ DbError::Full(..)) => {
                tracing::error!(%error, "it can only be read until there is room");
                let database = guarded(&*place, || place.view())?;
                Open { database, mode: Mode::View }
            }
            Err(error) => return Err(error),
        };
        let unclean = Seldom::new(Arc::new(SystemClock::default()));
        Ok(Self { place, slot: RwLock::new(Some(open)), unclean })
    }

    pub(super) fn place(&self) -> &dyn Place {
        &*self.place
    }

    fn name(&self) -> String {
        self.place.name()
    }

    fn slot(&self) -> RwLockReadGuard<'_, Option<Open>> {
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot_mut(&self) -> RwLockWriteGuard<'_, Option<Open>> {
        self.slot.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a snapshot. A write that fails meanwhile closes the database under it, so what
    /// fails is tried once more.
    pub(super) fn read<R>(
        &self,
        work: impl Fn(&ReadTransaction) -> Result<R, redb::Error>,
    ) -> Result<R, DbError> {
        let attempt = || {
            let slot = self.readable()?;
            let Some(open) = slot.as_ref() else {
                return Err(DbError::Io(self.name(), "it is not open".into()));
            };
            let result = self.guarded(|| work(&open.database.begin_read()?));
            drop(slot);
            if result.is_err() {
                self.close(self.slot_mut().take());
            }
            result
        };
        match attempt() {
            Err(error) if error.is_of_the_disk() => attempt(),
            result => result,
        }
    }

    /// Runs `work`; a failure closes the database, to be opened anew.
    pub(super) fn write<R>(
        &self,
        work: impl FnOnce(&redb::Database) -> Result<R, redb::Error>,
    ) -> Result<R, DbError> {
        let slot = self.slot();
        if let Some(Open { database, mode: Mode::Proven }) = slot.as_ref() {
            let result = self.guarded(|| work(database));
            drop(slot);
            if result.is_err() {
                self.close(self.slot_mut().take());
            }
            return result;
        }
        drop(slot);
        // The first write after a failure runs alone: should it fail too, no read is hit by it.
        let mut slot = self.slot_mut();
        let database = match slot.take() {
            Some(Open { database, mode: Mode::Unproven }) => database,
            view => match self.guarded(|| self.place.reopen()) {
                Ok(database) => {
                    self.close(view);
                    database
                }
                Err(error) => {
                    *slot = view;
                    return Err(error);
                }
            },
        };
        let result = self.guarded(|| work(&database));
        let open = Open { database, mode: Mode::Proven };
        match result {
            Ok(_) => *slot = Some(open),
            Err(_) => self.close(Some(open)),
        }
        result
    }

    /// The database, opened anew if it has to be, and if it cannot be written, then to be read.
    fn readable(&self) -> Result<RwLockReadGuard<'_, Option<Open>>, DbError> {
        let slot = self.slot();
        if slot.is_some() {
            return Ok(slot);
        }
        drop(slot);
        let mut slot = self.slot_mut();
        if slot.is_none() {
            *slot = Some(match self.guarded(|| self.place.reopen()) {
                Ok(database) => Open { database, mode: Mode::Unproven },
                Err(error) if error.is_of_the_disk() => {
                    Open { database: self.guarded(|| self.place.view())?, mode: Mode::View }
                }
                Err(error) => return Err(error),
            });
        }
        Ok(RwLockWriteGuard::downgrade(slot))
    }

    /// Whether what was written is kept under its name.
    pub(super) fn is_still_there(&self) -> Result<(), DbError> {
        if self.place.is_still_there() {
            return Ok(());
        }
        let why = "it was removed or replaced while it was open; put it back and start again";
        Err(DbError::Io(self.name(), why.into()))
    }

    /// Closes it, until it is asked for something again.
    pub(super) fn end(&self) {
        self.close(self.slot_mut().take());
    }

    /// Closing a database does some work on it, which can fail like any other.
    fn close(&self, open: Option<Open>) {
        if let Err(error) = self.guarded(|| {
            drop(open);
            Ok(())
        }) && let Some(left_out) = self.unclean.admit()
        {
            tracing::warn!(%error, left_out, "the database could not be closed cleanly");
        }
    }

    fn guarded<R>(&self, work: impl FnOnce() -> Result<R, redb::Error>) -> Result<R, DbError> {
        guarded(&*self.place, work)
    }
}

/// Runs `work`, with a panic as one more way to fail.
pub(super) fn guarded<R>(
    place: &dyn Place,
    work: impl FnOnce() -> Result<R, redb::Error>,
) -> Result<R, DbError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(error)) => Err(explain(place.name(), error)),
        Err(panic) => Err(DbError::Damaged(place.name(), words(&*panic))),
    }
}

fn explain(name: String, error: redb::Error) -> DbError {
    match error {
        redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
            DbError::InUse(name)
        }
        redb::Error::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            DbError::Damaged(name, error.to_string())
        }
        redb::Error::Corrupted(why) => DbError::Damaged(name, why),
        // All that this program writes is of one version and has these tables.
        error @ (redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. }) => DbError::Damaged(name, error.to_string()),
        redb::Error::Io(error) if is_full(&error) => DbError::Full(name, advise(&error)),
        redb::Error::Io(error) => DbError::Io(name, advise(&error)),
        other => DbError::Io(name, other.to_string()),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The system's words, and what to do where that is known.
pub(super) fn advise(error: &io::Error) -> String {
    let advice = match error.kind() {
        _ if is_full(error) => "; make room on that disk",
        io::ErrorKind::ReadOnlyFilesystem => "; make it writable",
        io::ErrorKind::PermissionDenied => "; its owner must be the sidecar's user",
        _ => "",
    };
    format!("{error}{advice}")
}

fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "a check inside the database failed".into())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures_util::future::BoxFuture;
    use redb::{StorageBackend, TableDefinition, backends::InMemoryBackend};

    use super::*;
    use crate::{db::Db, logged::Lines};

    /// A disk on which whatever is to be written ends in a panic, when told to.
    #[derive(Clone, Debug, Default)]
    struct Brittle {
        breaks: Arc<AtomicBool>,
        inner: Arc<InMemoryBackend>,
    }

    impl Brittle {
        fn check(&self) {
            assert!(!self.breaks.load(Ordering::SeqCst), "it broke");
        }
    }

    impl StorageBackend for Brittle {
        fn len(&self) -> io::Result<u64> {
            self.inner.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.inner.read(offset, out)
        }

        fn set_len(&self, length: u64) -> io::Result<()> {
            self.inner.set_len(length)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.check();
            self.inner.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            self.check();
            self.inner.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.check();
            Ok(())
        }
    }

    impl Place for Brittle {
        fn name(&self) -> String {
            "a database".into()
        }

        fn begin(&self) -> Result<redb::Database, redb::Error> {
            self.reopen()
        }

        fn reopen(&self) -> Result<redb::Database, redb::Error> {
            let broke = self.breaks.swap(false, Ordering::SeqCst);
            let opened = redb::Builder::new().create_with_backend(self.clone());
            self.breaks.store(broke, Ordering::SeqCst);
            Ok(opened?)
        }

        fn view(&self) -> Result<redb::Database, redb::Error> {
            self.reopen()
        }

        fn is_still_there(&self) -> bool {
            true
        }

        fn remove(&self) -> io::Result<()> {
            Ok(())
        }

        fn step(&self) -> BoxFuture<'static, ()> {
            Box::pin(std::future::ready(()))
        }
    }

    #[tokio::test]
    async fn that_it_cannot_be_closed_is_logged_once_in_a_while_and_not_for_each_job() {
        let ((lines, _gathering), disk) = (Lines::gather(), Brittle::default());
        let db = Db::without_threads(disk.clone()).unwrap();
        let write = || {
            db.write(|transaction| {
                let table = TableDefinition::<u64, u64>::new("numbers");
                transaction.open_table(table)?.insert(1, 1)?;
                Ok(())
            })
        };
        write().await.unwrap();
        disk.breaks.store(true, Ordering::SeqCst);
        for _ in 0..5 {
            write().await.unwrap_err();
        }
        assert_eq!(lines.with("could not be closed cleanly").len(), 1);
        disk.breaks.store(false, Ordering::SeqCst);
        write().await.unwrap();
    }
}
