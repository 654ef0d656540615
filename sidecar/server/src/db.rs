//! One redb database, with all of its I/O on two threads of its own: one reads, one writes.
//!
//! Writes that arrive while another is being synced share the next sync (group commit). After an
//! I/O error, such as a full disk, redb refuses further work on an open database; the next job
//! opens it again, which repairs it, so that the store heals with the disk. While it cannot be
//! opened for writing, it is still read.

use std::{
    any::Any,
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, mpsc},
    thread::JoinHandle,
};

use redb::{ReadTransaction, ReadableDatabase, WriteTransaction};
use tokio::sync::oneshot;

use crate::files;

mod overlay;
mod tables;

use overlay::Overlay;
pub use tables::{see, seen, table};

/// Page cache of one database.
const CACHE_BYTES: usize = 32 << 20;
/// Writes that share one sync at most: bounds the wait of the first of them.
const GROUP: usize = 4_096;

/// Why a database did not do its work.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DbError {
    /// Another process has it open.
    #[error("another process has {0} open; stop that one, or use another directory")]
    InUse(String),
    /// Its bytes are damaged.
    #[error("{0} is damaged: {1}; restore it from a backup")]
    Damaged(String, String),
    /// The disk is read-only, or away.
    #[error("{0}: {1}")]
    Io(String, String),
    /// The disk is full.
    #[error("{0}: {1}")]
    Full(String, String),
}

impl DbError {
    /// Whether it is the disk's failure, and may pass.
    fn is_of_the_disk(&self) -> bool {
        matches!(self, Self::Io(..) | Self::Full(..))
    }
}

/// A handle to the two threads. Dropping it ends them.
pub struct Db {
    writes: Option<mpsc::Sender<Box<dyn WriteJob>>>,
    reads: Option<mpsc::Sender<ReadJob>>,
    threads: Vec<JoinHandle<()>>,
}

type ReadJob = Box<dyn FnOnce(&Shared) + Send>;

impl Db {
    /// Opens the file, creating it when it is not there. Reads it once from end to end: a damaged
    /// one is refused, for what is missing from it would look as if it had never been.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let mut shared =
            Shared { path: path.to_owned(), slot: RwLock::new(None), identity: (0, 0) };
        let database = shared.guarded(|| {
            if !path.exists() {
                create(path)?;
            }
            Ok(builder().set_check_integrity_on_open(true).open(path)?)
        })?;
        shared.identity = shared.guarded(|| Ok(identity(path)?))?;
        *shared.slot_mut() = Some(Open { database, mode: Mode::Proven });
        let shared = Arc::new(shared);
        let (writes, write_jobs) = mpsc::channel();
        let (reads, read_jobs) = mpsc::channel();
        let for_reads = Arc::clone(&shared);
        let threads = vec![
            spawn("store-write", path, move || write_loop(&shared, &write_jobs))?,
            spawn("store-read", path, move || {
                read_jobs.iter().for_each(|job: ReadJob| job(&for_reads));
            })?,
        ];
        Ok(Self { writes: Some(writes), reads: Some(reads), threads })
    }

    /// The same of a file that is only a copy of what lies elsewhere: a damaged one is begun anew.
    pub fn open_copy(path: &Path) -> Result<Self, DbError> {
        match Self::open(path) {
            Err(error @ DbError::Damaged(..)) => {
                tracing::warn!(%error, "it is only a copy, and begun anew");
                let removed = fs::remove_file(path);
                removed.map_err(|error| DbError::Io(path.display().to_string(), advise(&error)))?;
                Self::open(path)
            }
            opened => opened,
        }
    }

    /// Reads a file from end to end and changes nothing in it, where opening a damaged one may: for a file of which
    /// there is no second one.
    pub fn prove(path: &Path) -> Result<(), DbError> {
        let shared = Shared { path: path.to_owned(), slot: RwLock::new(None), identity: (0, 0) };
        let proven = shared.guarded(|| {
            let overlay = Overlay::open(path)?;
            let checked =
                builder().set_check_integrity_on_open(true).create_with_backend(overlay)?;
            drop(checked);
            Ok(())
        });
        // What another process writes meanwhile looks damaged. Whoever opens it is told that it is in use.
        let is_in_use = || {
            let locked = fs::File::open(path).map(|file| file.try_lock());
            matches!(locked, Ok(Err(fs::TryLockError::WouldBlock)))
        };
        match proven {
            Err(DbError::Damaged(..)) if is_in_use() => Ok(()),
            proven => proven,
        }
    }

    /// Runs `work` inside a write transaction; answers once it is synced. `work` must change nothing
    /// when it means to refuse: whoever shares the transaction is committed with it.
    pub async fn write<R, F>(&self, work: F) -> Result<R, DbError>
    where
        R: Send + 'static,
        F: FnOnce(&WriteTransaction) -> Result<R, redb::Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = Write { work: Some(work), result: None, reply };
        let sent = self.writes.as_ref().map(|writes| writes.send(Box::new(job)));
        wait(sent.is_some_and(|sent| sent.is_ok()), answer).await
    }

    /// Runs `work` on a snapshot of what is committed, twice if need be.
    pub async fn read<R, F>(&self, work: F) -> Result<R, DbError>
    where
        R: Send + 'static,
        F: Fn(&ReadTransaction) -> Result<R, redb::Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: ReadJob = Box::new(move |shared| {
            let _ = reply.send(shared.read(work));
        });
        let sent = self.reads.as_ref().map(|reads| reads.send(job));
        wait(sent.is_some_and(|sent| sent.is_ok()), answer).await
    }

    /// Waits for what is under way and closes the file, so that the next open needs no repair.
    pub fn close(&mut self) {
        self.writes = None;
        self.reads = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.close();
    }
}

async fn wait<R>(sent: bool, answer: oneshot::Receiver<Result<R, DbError>>) -> Result<R, DbError> {
    let gone = || DbError::Io("the database".into(), "its thread has ended".into());
    if !sent {
        return Err(gone());
    }
    answer.await.unwrap_or_else(|_| Err(gone()))
}

fn spawn(
    name: &str,
    path: &Path,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, DbError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| DbError::Io(path.display().to_string(), error.to_string()))
}

/// The open database, or none after an error.
struct Shared {
    path: PathBuf,
    slot: RwLock<Option<Open>>,
    /// Device and number of the file, which stay the same for as long as it is there.
    identity: (u64, u64),
}

struct Open {
    database: redb::Database,
    mode: Mode,
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
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
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn slot(&self) -> RwLockReadGuard<'_, Option<Open>> {
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot_mut(&self) -> RwLockWriteGuard<'_, Option<Open>> {
        self.slot.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on a snapshot. A write that fails meanwhile closes the database under it, so what
    /// fails is tried once more.
    fn read<R>(
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
    fn write<R>(
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
            view => match self.guarded(|| self.reopen()) {
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
            *slot = Some(match self.guarded(|| self.reopen()) {
                Ok(database) => Open { database, mode: Mode::Unproven },
                Err(error) if error.is_of_the_disk() => Open {
                    database: self.guarded(|| {
                        Ok(builder().create_with_backend(Overlay::open(&self.path)?)?)
                    })?,
                    mode: Mode::View,
                },
                Err(error) => return Err(error),
            });
        }
        Ok(RwLockWriteGuard::downgrade(slot))
    }

    /// Never creates the file: what has vanished is not empty.
    fn reopen(&self) -> Result<redb::Database, redb::Error> {
        Ok(builder().open(&self.path)?)
    }

    /// What was written to a file that has lost its name would be lost with the process.
    fn is_still_there(&self) -> Result<(), DbError> {
        if identity(&self.path).is_ok_and(|now| now == self.identity) {
            return Ok(());
        }
        let why = "it was removed or replaced while it was open; put it back and start again";
        Err(DbError::Io(self.name(), why.into()))
    }

    /// Closing a database does some work on it, which can fail like any other.
    fn close(&self, open: Option<Open>) {
        if let Err(error) = self.guarded(|| {
            drop(open);
            Ok(())
        }) {
            tracing::warn!(%error, "the database could not be closed cleanly");
        }
    }

    /// Runs `work`, with a panic as one more way to fail.
    fn guarded<R>(&self, work: impl FnOnce() -> Result<R, redb::Error>) -> Result<R, DbError> {
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(self.explain(error)),
            Err(panic) => Err(DbError::Damaged(self.name(), words(&*panic))),
        }
    }

    fn explain(&self, error: redb::Error) -> DbError {
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                DbError::InUse(self.name())
            }
            redb::Error::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                DbError::Damaged(self.name(), error.to_string())
            }
            redb::Error::Corrupted(why) => DbError::Damaged(self.name(), why),
            // All that this program writes is of one version and has these tables.
            error @ (redb::Error::UpgradeRequired(_)
            | redb::Error::TableTypeMismatch { .. }
            | redb::Error::TableIsMultimap(_)
            | redb::Error::TypeDefinitionChanged { .. }) => {
                DbError::Damaged(self.name(), error.to_string())
            }
            redb::Error::Io(error) if is_full(&error) => DbError::Full(self.name(), advise(&error)),
            redb::Error::Io(error) => DbError::Io(self.name(), advise(&error)),
            other => DbError::Io(self.name(), other.to_string()),
        }
    }
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Makes an empty database under its name at once: a file that is there and empty is a damaged one.
fn create(path: &Path) -> Result<(), redb::Error> {
    let draft = files::with_suffix(path, ".new");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    drop(builder().create(&draft)?);
    restrict(&draft)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        // Another process was first; which of the two may have it, its lock decides.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => Ok(linked.and_then(|()| files::sync_directory(path))?),
    }
}

fn restrict(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The system's words, and what to do where that is known.
fn advise(error: &io::Error) -> String {
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

/// A write that waits for its group's commit.
trait WriteJob: Send {
    fn run(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error>;
    fn finish(self: Box<Self>, outcome: Result<(), DbError>);
}

struct Write<F, R> {
    work: Option<F>,
    result: Option<R>,
    reply: oneshot::Sender<Result<R, DbError>>,
}

impl<F, R> WriteJob for Write<F, R>
where
    R: Send,
    F: FnOnce(&WriteTransaction) -> Result<R, redb::Error> + Send,
{
    fn run(&mut self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        if let Some(work) = self.work.take() {
            self.result = Some(work(transaction)?);
        }
        Ok(())
    }

    fn finish(self: Box<Self>, outcome: Result<(), DbError>) {
        let answer = match (outcome, self.result) {
            (Ok(()), Some(result)) => Ok(result),
            (Err(error), _) => Err(error),
            (Ok(()), None) => Err(DbError::Io("the database".into(), "nothing was done".into())),
        };
        // Whoever asked may be gone; the write stands.
        let _ = self.reply.send(answer);
    }
}

fn write_loop(shared: &Shared, jobs: &mpsc::Receiver<Box<dyn WriteJob>>) {
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(GROUP - 1));
        let outcome = shared.write(|database| {
            let mut transaction = database.begin_write()?;
            // A second sync for each commit. It buys that damage is never mistaken for a commit cut
            // short, which is rolled back, and that opening anew takes no time after a failure.
            transaction.set_quick_repair(true);
            for job in &mut group {
                job.run(&transaction)?;
            }
            Ok(transaction.commit()?)
        });
        let outcome = outcome.and_then(|()| shared.is_still_there());
        for job in group {
            job.finish(outcome.clone());
        }
    }
}
