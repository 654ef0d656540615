//! Syncs of the spool, in a thread of their own: while one is under way, what is written next need not wait for it.

use std::{
    fs::File,
    io,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lunasec_core::limits;
use tokio::sync::mpsc;

use super::{
    pieces::{Fate, Told},
    spool::{Spool, Synced},
};
use crate::files;

/// A sync that is asked for.
pub(super) struct Sync {
    /// Of which segment, its number and path.
    pub(super) number: u64,
    /// How many bytes of it.
    pub(super) length: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    /// Whether its name was not synced yet.
    pub(super) is_new: bool,
    /// Since when something of it is written.
    pub(super) since: Duration,
    /// The end of the chain in it.
    pub(super) end: Synced,
    /// Of those who wait.
    pub(super) fates: Vec<Arc<Fate>>,
}

impl Sync {
    fn run(&self, spool: &Spool) -> io::Result<()> {
        if self.is_new {
            files::sync_directory(&self.path)?;
        }
        self.file.sync_data()?;
        // What has no name any more is gone with the process; unless its sinks have it all.
        match files::is_named(&self.file, &self.path) || !spool.needs(self.number) {
            true => Ok(()),
            false => Err(io::Error::other("somebody has removed its file")),
        }
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Syncs {
    asked: Mutex<Asked>,
    changed: Condvar,
    /// The last segment of which one failed.
    failed: AtomicU64,
}

#[derive(Default)]
struct Asked {
    next: Option<Sync>,
    ended: bool,
}

impl Syncs {
    /// Runs what is asked for until there will be no more, and tells those who wait.
    pub(super) fn run(&self, spool: &Spool, told: &mpsc::UnboundedSender<Told>) {
        while let Some(sync) = self.next() {
            let result = sync.run(spool);
            let fates = match result {
                Ok(()) => {
                    spool.synced(sync.end);
                    Told::Synced(sync.fates)
                }
                Err(error) => {
                    // It is written on in another file.
                    self.failed.fetch_max(sync.number, Ordering::Relaxed);
                    Told::Failed(sync.fates, spool.troubled(&error))
                }
            };
            // Also where it failed: the sinks are told of no other.
            spool.settled(sync.number, sync.length);
            // Nobody waits any more where the runtime is gone.
            let _ = told.send(fates);
        }
    }

    fn next(&self) -> Option<Sync> {
        let none = |asked: &mut Asked| asked.next.is_none() && !asked.ended;
        let asked = self.changed.wait_while(self.asked(), none);
        let next = asked.unwrap_or_else(PoisonError::into_inner).next.take();
        self.changed.notify_all();
        next
    }

    /// Asks for one. What is due has begun when this returns: where a disk takes long, nothing is written that would be
    /// unsynced for longer still.
    pub(super) fn ask(&self, mut sync: Sync, now: Duration) {
        let number = sync.number;
        let of_another =
            |asked: &mut Asked| asked.next.as_ref().is_some_and(|it| it.number != number);
        let asked = self.changed.wait_while(self.asked(), of_another);
        let mut asked = asked.unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = asked.next.take() {
            sync.since = before.since;
            sync.is_new |= before.is_new;
            sync.fates.extend(before.fates);
        }
        let due = now >= sync.since + limits::AUDIT_SYNC;
        asked.next = Some(sync);
        self.changed.notify_all();
        if due {
            drop(self.changed.wait_while(asked, |asked| asked.next.is_some()));
        }
    }

    /// Whether the last sync of a segment, or of a later one, failed: what the disk has of it nobody knows.
    pub(super) fn has_failed(&self, number: u64) -> bool {
        self.failed.load(Ordering::Relaxed) >= number
    }

    /// No more are asked for.
    pub(super) fn end(&self) {
        self.asked().ended = true;
        self.changed.notify_all();
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use lunasec_core::audit::ChainId;

    use super::*;

    const DUE: Duration = limits::AUDIT_SYNC;

    fn sync(number: u64, since: Duration, seq: u64) -> Sync {
        let end = Synced { chain: ChainId([7; 16]), seq, head: [0; 32] };
        Sync {
            number,
            length: 0,
            path: PathBuf::new(),
            file: Arc::new(tempfile::tempfile().unwrap()),
            is_new: seq == 0,
            since,
            end,
            fates: vec![Arc::default()],
        }
    }

    #[test]
    fn what_has_not_begun_takes_up_what_follows() {
        let (syncs, since) = (Syncs::default(), Duration::from_secs(1));
        syncs.ask(sync(1, since, 0), since);
        syncs.ask(sync(1, since + DUE / 4, 1), since + DUE / 2);
        let next = syncs.next().unwrap();
        assert_eq!((next.since, next.end.seq, next.is_new, next.fates.len()), (since, 1, true, 2));
        syncs.end();
        assert!(syncs.next().is_none());
    }

    #[test]
    fn what_is_due_and_what_is_of_another_segment_waits_until_the_last_one_has_begun() {
        let since = Duration::from_secs(1);
        for (number, now) in [(1, since + DUE), (2, since)] {
            let syncs = Syncs::default();
            syncs.ask(sync(1, since, 0), since);
            let (asked, returned) = std::sync::mpsc::channel();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    syncs.ask(sync(number, since, 1), now);
                    asked.send(())
                });
                assert!(
                    returned.recv_timeout(Duration::from_millis(50)).is_err(),
                    "none has begun"
                );
                assert_eq!(syncs.next().unwrap().number, 1);
                assert_eq!(returned.recv(), Ok(()));
            });
        }
    }
}
