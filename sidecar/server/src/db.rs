//! One redb database, with all of its I/O on two threads of its own: one reads, one writes.
//!
//! Writes that arrive while another is being synced share the next sync (group commit). After an
//! I/O error, such as a full disk, redb refuses further work on an open database; the next job
//! opens it again, which repairs it, so that the store heals with the disk. While it cannot be
//! opened for writing, it is still read.

use std::{
    io,
    path::Path,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use redb::{ReadTransaction, WriteTransaction};
use tokio::sync::oneshot;

use crate::files;

mod overlay;
mod place;
mod shared;
mod tables;

use overlay::Overlay;
use place::File;
pub use place::Place;
use shared::{Shared, advise, guarded};
pub use tables::{see, seen, set_back, table};

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

/// A handle to it. Dropping it ends its threads.
pub struct Db {
    shared: Arc<Shared>,
    /// None where the work is done by whoever asks for it.
    threads: Option<Threads>,
}

struct Threads {
    writes: Option<mpsc::Sender<Box<dyn WriteJob>>>,
    reads: Option<mpsc::Sender<ReadJob>>,
    handles: Vec<JoinHandle<()>>,
}

type ReadJob = Box<dyn FnOnce(&Shared) + Send>;

impl Db {
    /// Opens the file, creating it when it is not there. Reads it once from end to end: a damaged
    /// one is refused, for what is missing from it would look as if it had never been. On a full disk it opens, and
    /// is only read until there is room.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let shared = Arc::new(Shared::begin(File::new(path))?);
        let threads = Threads::begin(&shared)?;
        Ok(Self { shared, threads: Some(threads) })
    }

    /// The same of a file that is only a copy of what lies elsewhere: a damaged one is begun anew.
    pub fn open_copy(path: &Path) -> Result<Self, DbError> {
        match Self::open(path) {
            Err(error @ DbError::Damaged(..)) => {
                tracing::warn!(%error, "it is only a copy, and begun anew");
                let removed = File::new(path).remove();
                removed.map_err(|error| DbError::Io(path.display().to_string(), advise(&error)))?;
                Self::open(path)
            }
            opened => opened,
        }
    }

    /// The same of any place, without threads: for a simulation, in which nothing happens at a time of its own.
    pub fn without_threads(place: impl Place) -> Result<Self, DbError> {
        Ok(Self { shared: Arc::new(Shared::begin(place)?), threads: None })
    }

    /// Reads a file from end to end and changes nothing in it, where opening a damaged one may: for a file of which
    /// there is no second one.
    pub fn prove(path: &Path) -> Result<(), DbError> {
        let file = File::new(path);
        match guarded(&file, || file.prove()) {
            // What another process writes meanwhile looks damaged. Whoever opens it is told that it is in use.
            Err(DbError::Damaged(..)) if file.is_in_use() => Ok(()),
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
        match &self.threads {
            Some(threads) => threads.write(Box::new(job)),
            None => {
                self.shared.place().step().await;
                commit(&self.shared, vec![Box::new(job)]);
                self.shared.place().step().await;
            }
        }
        wait(answer).await
    }

    /// Runs `work` on a snapshot of what is committed, twice if need be.
    pub async fn read<R, F>(&self, work: F) -> Result<R, DbError>
    where
        R: Send + 'static,
        F: Fn(&ReadTransaction) -> Result<R, redb::Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job = move |shared: &Shared| {
            let _ = reply.send(shared.read(work));
        };
        match &self.threads {
            Some(threads) => threads.read(Box::new(job)),
            None => {
                job(&self.shared);
                self.shared.place().step().await;
            }
        }
        wait(answer).await
    }

    /// Removes what it lies in, for good: it must not be used any more.
    pub fn remove(&self) -> io::Result<()> {
        self.shared.place().remove()
    }

    /// Waits for what is under way and closes the file, so that the next open needs no repair.
    pub fn close(&mut self) {
        if let Some(mut threads) = self.threads.take() {
            threads.end();
        }
        self.shared.end();
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.close();
    }
}

async fn wait<R>(answer: oneshot::Receiver<Result<R, DbError>>) -> Result<R, DbError> {
    let gone = |_| Err(DbError::Io("the database".into(), "its thread has ended".into()));
    answer.await.unwrap_or_else(gone)
}

impl Threads {
    fn begin(shared: &Arc<Shared>) -> Result<Self, DbError> {
        let (writes, write_jobs) = mpsc::channel();
        let (reads, read_jobs) = mpsc::channel();
        let (for_writes, for_reads) = (Arc::clone(shared), Arc::clone(shared));
        let handles = vec![
            spawn("store-write", shared, move || write_loop(&for_writes, &write_jobs))?,
            spawn("store-read", shared, move || {
                read_jobs.iter().for_each(|job: ReadJob| job(&for_reads));
            })?,
        ];
        Ok(Self { writes: Some(writes), reads: Some(reads), handles })
    }

    /// A thread that has ended drops the job, and with it whoever waits is told.
    fn write(&self, job: Box<dyn WriteJob>) {
        _ = self.writes.as_ref().map(|writes| writes.send(job));
    }

    fn read(&self, job: ReadJob) {
        _ = self.reads.as_ref().map(|reads| reads.send(job));
    }

    fn end(&mut self) {
        (self.writes, self.reads) = (None, None);
        for handle in self.handles.drain(..) {
            let _ = handle.join();
        }
    }
}

fn spawn(
    name: &str,
    shared: &Shared,
    body: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, DbError> {
    std::thread::Builder::new()
        .name(name.into())
        .spawn(body)
        .map_err(|error| DbError::Io(shared.place().name(), error.to_string()))
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
        commit(shared, group);
    }
}

/// Does all of it in one transaction, and tells everybody.
fn commit(shared: &Shared, mut group: Vec<Box<dyn WriteJob>>) {
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
