//! What the log has of entries that wait.

use lunasec_core::ids::{Locator, Namespace};
use tempfile::TempDir;

use super::*;
use crate::{
    env::{FakeClock, SystemEntropy},
    keys::{Keyring, LocalKeys, Settings},
    logged::Lines,
    store::{MemoryStore, Store},
};

/// A disk that answers at once: under a clock that jumps, a thread of its own would always be too late.
struct Quick(redb::Database);

impl Quick {
    fn write<R>(&self, work: impl FnOnce(&redb::WriteTransaction) -> R) -> R {
        let transaction = self.0.begin_write().unwrap();
        let result = work(&transaction);
        transaction.commit().unwrap();
        result
    }

    fn read<R>(&self, work: impl FnOnce(&redb::ReadTransaction) -> R) -> R {
        work(&redb::ReadableDatabase::begin_read(&self.0).unwrap())
    }
}

#[async_trait]
impl Ledger for Quick {
    async fn append(&self, at: Millis, drafts: Vec<Draft>) -> Result<Vec<Option<u64>>, DbError> {
        Ok(self.write(|transaction| table::append(transaction, at, &drafts).unwrap()))
    }

    async fn last(&self, name: &Name) -> Result<Option<Entry>, DbError> {
        Ok(self.read(|transaction| table::last(transaction, name).unwrap()))
    }

    async fn page(&self, after: u64, count: usize, bytes: usize) -> Result<Vec<Entry>, DbError> {
        Ok(self.read(|transaction| table::page(transaction, after, count, bytes).unwrap()))
    }

    async fn remove(&self, numbers: Vec<u64>) -> Result<(), DbError> {
        self.write(|transaction| table::remove(transaction, &numbers).unwrap());
        Ok(())
    }

    async fn contents(&self) -> Result<Vec<(u64, Millis, Name, usize)>, DbError> {
        Ok(self.read(|transaction| table::contents(transaction).unwrap()))
    }

    async fn seen(&self) -> Result<Millis, DbError> {
        Ok(self.read(|transaction| table::seen(transaction).unwrap()))
    }
}

struct Machine {
    clock: Arc<FakeClock>,
    store: Arc<MemoryStore>,
    directory: TempDir,
}

impl Machine {
    fn new() -> Self {
        let (clock, store) = (Arc::new(FakeClock::at(1_763_942_400_000)), Arc::default());
        Self { clock, store, directory: tempfile::tempdir().unwrap() }
    }

    async fn journal(&self) -> Arc<Journal> {
        let memory = redb::backends::InMemoryBackend::new();
        let database = redb::Database::builder().create_with_backend(memory).unwrap();
        self.open(Arc::new(Quick(database))).await
    }

    async fn open(&self, ledger: Arc<dyn Ledger>) -> Arc<Journal> {
        let bounds = Bounds { bytes: limits::JOURNAL_BYTES, age: limits::JOURNAL_AGE };
        let journal = Journal::open(ledger, Arc::clone(&self.clock) as _, bounds).await;
        Arc::new(journal.unwrap())
    }

    /// Replays for this long.
    async fn replay(&self, journal: &Arc<Journal>, time: Duration) {
        let key = self.directory.path().join("local.key");
        let entropy: Arc<SystemEntropy> = Arc::default();
        LocalKeys::create(&key, &*entropy).unwrap();
        let wrapper = LocalKeys::open(&key, Arc::clone(&entropy) as _).unwrap();
        let store: Arc<dyn Store> = Arc::clone(&self.store) as _;
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let keyring =
            Keyring::new(Arc::clone(&store), Arc::new(wrapper), clock, Settings::default());
        let journal = Arc::clone(journal);
        let replayer = Replayer { store, journal, keyring: Arc::new(keyring), entropy };
        let replaying = tokio::spawn(replayer.run());
        let minute = Duration::from_secs(60);
        for _ in 0..time.as_secs() / 60 {
            tokio::time::sleep(minute).await;
            self.clock.pass(minute);
        }
        replaying.abort();
    }
}

fn name(number: u8) -> Name {
    Name::record(&Namespace::default(), &Locator([number; Locator::LEN]))
}

/// A record of version 1, as far as its header goes.
fn value() -> Bytes {
    let mut record = [0; 110];
    record[..3].copy_from_slice(&[1, 1, 1]);
    record.to_vec().into()
}

fn draft(number: u8) -> Draft {
    Draft {
        name: name(number),
        base: Base::Nothing,
        bytes: value(),
        last: None,
        alone: false,
        joined: false,
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_is_named_once_for_each_reason() {
    let (machine, (lines, _gathering)) = (Machine::new(), Lines::gather());
    let journal = machine.journal().await;
    journal.append(vec![draft(1), draft(2)]).await.unwrap();
    // Only a newer version can read that.
    machine.store.put_new(&name(1), Bytes::from(vec![9; 110])).await.unwrap();
    machine.replay(&journal, Duration::from_secs(600)).await;
    let refused = Refused { kind: "value", code: Code::Corrupted };
    assert_eq!(journal.refused(), BTreeMap::from([(1, refused)]));
    let named = lines.with("is refused and waits");
    assert_eq!(named.len(), 1, "{named:#?}");
    assert!(named[0].contains("number=1") && named[0].contains("corrupted"), "{named:#?}");
    assert_eq!(lines.with("wait on").len(), 0, "the others do not");

    assert!(!journal.refuse(1, refused));
    assert!(journal.refuse(1, Refused { code: Code::StorageUnavailable, ..refused }));
    journal.remove(&[1]).await.unwrap();
    assert_eq!(journal.refused(), BTreeMap::new());
    let named = (1..1_000).filter(|number| journal.refuse(*number, refused)).count();
    assert_eq!(named, limits::REFUSED_NAMED);
}

#[tokio::test(start_paused = true)]
async fn what_is_joined_is_added_together_or_not_at_all() {
    let journal = Machine::new().journal().await;
    let joined = |number| Draft { joined: true, ..draft(number) };
    assert_eq!(journal.append(vec![draft(1), joined(2)]).await.unwrap(), [Some(1), Some(2)]);
    // Of each of these pairs one has an entry already.
    for pair in [[3, 2], [2, 3]] {
        let drafts = vec![draft(pair[0]), joined(pair[1]), draft(pair[0] + 10)];
        let numbers = journal.append(drafts).await.unwrap();
        assert_eq!(numbers[..2], [None, None]);
        assert!(numbers[2].is_some(), "it is not joined to them");
        assert!(journal.last(&name(3)).await.unwrap().is_none());
    }
    assert_eq!(journal.pending().count, 4);
}

#[tokio::test(start_paused = true)]
async fn that_a_journal_is_too_old_is_said_at_once_and_then_each_hour() {
    let (machine, (lines, _gathering)) = (Machine::new(), Lines::gather());
    let journal = machine.journal().await;
    journal.append(vec![draft(1)]).await.unwrap();
    machine.clock.pass(limits::JOURNAL_AGE + Duration::from_secs(1));
    machine.replay(&journal, Duration::from_secs(60)).await;
    assert_eq!(lines.with("older than degrade.journal_age").len(), 1);
    std::fs::remove_file(machine.directory.path().join("local.key")).unwrap();
    machine.replay(&journal, 3 * limits::REPLAY_STALE_REMINDER).await;
    assert_eq!(lines.with("older than degrade.journal_age").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_makes_no_entry_younger() {
    let (machine, day) = (Machine::new(), Duration::from_secs(24 * 3600));
    let journal = machine.journal().await;
    let then = machine.clock.now();
    journal.append(vec![draft(1)]).await.unwrap();
    machine.clock.pass(4 * day);
    machine.clock.set(then);
    assert_eq!(journal.pending().age, 4 * day);
    machine.clock.pass(day);
    assert_eq!(journal.pending().age, 5 * day, "nor does it stand still");
    // What was acknowledged later says how late it was, also after it is gone and after a restart.
    journal.append(vec![draft(2)]).await.unwrap();
    journal.remove(&[2]).await.unwrap();
    let again = machine.open(Arc::clone(&journal.ledger)).await;
    assert_eq!(again.pending().age, 5 * day);
    machine.clock.pass(2 * day + Duration::from_millis(1));
    assert!(again.is_stale());
}
