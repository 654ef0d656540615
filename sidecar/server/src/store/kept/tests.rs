//! A store on a machine that starts again while the store is away.

use std::{fs, sync::atomic::AtomicBool};

use lunasec_core::{
    derive::SessionTag,
    ids::{Locator, Namespace},
    record::Kind,
};
use tempfile::TempDir;

use super::*;
use crate::{env::FakeClock, store::MemoryStore};

/// A store that can be away, at any of its clones.
#[derive(Clone, Default)]
struct Far {
    inner: Arc<MemoryStore>,
    away: Arc<AtomicBool>,
    /// Whether a write is done, and its answer lost.
    loses: Arc<AtomicBool>,
}

impl Far {
    fn check(&self) -> Result<(), StoreError> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("away".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Far {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.check()?;
        self.inner.put_new(name, bytes).await
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.check()?;
        let version = self.inner.put_if(name, bytes, expected).await?;
        match self.loses.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("lost".into())),
            false => Ok(version),
        }
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        self.check()?;
        self.inner.get(name).await
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
        self.inner.remove_if(name, expected).await
    }
}

struct Machine {
    far: Far,
    clock: Arc<FakeClock>,
    directory: TempDir,
    most: usize,
}

const NOON: Millis = 1_763_985_600_000;

impl Machine {
    fn new() -> Self {
        let (directory, clock) = (tempfile::tempdir().unwrap(), Arc::new(FakeClock::at(NOON)));
        Self { far: Far::default(), clock, directory, most: 1 << 20 }
    }

    async fn start(&self) -> Kept<Far> {
        let path = self.directory.path().join("cache.redb");
        let db = loop {
            match Db::open_copy(&path) {
                // The last one is not quite gone.
                Err(DbError::InUse(_)) => tokio::task::yield_now().await,
                opened => break opened.unwrap(),
            }
        };
        let (far, clock) = (self.far.clone(), Arc::clone(&self.clock) as _);
        Kept::open(far, db, clock, Ages::default(), self.most).await.unwrap()
    }

    fn away(&self, away: bool) {
        self.far.away.store(away, Ordering::SeqCst);
    }
}

fn value(number: u8) -> (Name, Bytes) {
    let mut bytes = vec![number; 128];
    bytes[..4].copy_from_slice(&[1, 1, 1, 0]);
    let name = Name::record(&Namespace::default(), &Locator([number; 32])).of(Kind::Value);
    (name, bytes.into())
}

/// Waits until what was noted is on the disk.
async fn written(kept: &Kept<Far>, name: &Name) {
    while kept.shelf.find(name).await.is_none() {
        tokio::task::yield_now().await;
    }
}

async fn given(kept: &Kept<Far>, name: &Name) -> Result<Option<Bytes>, StoreError> {
    Ok(kept.get(name).await?.map(|object| object.bytes))
}

#[tokio::test]
async fn what_was_seen_is_given_after_a_restart_with_its_age_up_to_its_hard_limit() {
    let machine = Machine::new();
    let ((name, bytes), session) =
        (value(1), Name::session(&Namespace::default(), &SessionTag([7; 32])));
    {
        let kept = machine.start().await;
        kept.put_new(&name, bytes.clone()).await.unwrap();
        kept.put_new(&session, Bytes::from_static(b"state")).await.unwrap();
        written(&kept, &name).await;
        written(&kept, &session).await;
    }
    machine.away(true);
    let kept = machine.start().await;
    machine.clock.pass(Duration::from_secs(5));
    let object = kept.get(&name).await.unwrap().unwrap();
    assert_eq!((&object.bytes, object.age), (&bytes, Some(Duration::from_secs(5))));
    let unseen = value(2).0;
    assert!(matches!(kept.get(&unseen).await, Err(StoreError::Unavailable(_))), "not: not there");
    assert!(kept.get_now(&name).await.is_err(), "what decides a write is not what was kept");
    // Each kind has its own time, and no failure prolongs it.
    machine.clock.pass(limits::CACHED_GRANT_HARD - Duration::from_secs(5));
    assert!(kept.get(&session).await.is_err());
    assert!(kept.get(&name).await.is_ok());
    machine.clock.pass(limits::CACHED_VALUE_HARD - limits::CACHED_GRANT_HARD);
    assert!(kept.get(&name).await.is_err());
}

#[tokio::test]
async fn what_was_replaced_is_not_given_whatever_came_of_the_write() {
    let machine = Machine::new();
    let (name, bytes) = value(1);
    let kept = machine.start().await;
    let version = kept.put_new(&name, bytes.clone()).await.unwrap();
    written(&kept, &name).await;
    machine.far.loses.store(true, Ordering::SeqCst);
    kept.put_if(&name, value(2).1, &version).await.unwrap_err();
    drop(kept);
    machine.away(true);
    let kept = machine.start().await;
    assert!(kept.get(&name).await.is_err());
}

#[tokio::test]
async fn what_was_said_before_a_write_is_not_written_after_it() {
    let machine = Machine::new();
    let (name, bytes) = value(1);
    let kept = machine.start().await;
    let asked = kept.shelf.ask();
    kept.shelf.forget(&name).await;
    let object = Object::new(bytes, Version::number(1));
    kept.note(&name, object, asked);
    // What is noted later is written later.
    let (other, bytes) = value(2);
    kept.put_new(&other, bytes).await.unwrap();
    written(&kept, &other).await;
    assert!(kept.shelf.find(&name).await.is_none());
}

#[tokio::test]
async fn what_is_gone_is_forgotten_when_the_store_says_so() {
    let machine = Machine::new();
    let (name, bytes) = value(1);
    let kept = machine.start().await;
    let version = kept.put_new(&name, bytes).await.unwrap();
    written(&kept, &name).await;
    machine.far.inner.remove_if(&name, &version).await.unwrap();
    assert!(given(&kept, &name).await.unwrap().is_none());
    assert!(kept.shelf.find(&name).await.is_none());
}

/// Whoever was told that something was deleted or taken back is not told otherwise after a restart.
#[tokio::test]
async fn what_was_seen_to_change_is_not_given_as_it_was() {
    let machine = Machine::new();
    let (name, bytes) = value(1);
    for now in [false, true] {
        let kept = machine.start().await;
        let version = match kept.get(&name).await.unwrap() {
            Some(object) => object.version,
            None => kept.put_new(&name, bytes.clone()).await.unwrap(),
        };
        kept.get(&name).await.unwrap();
        written(&kept, &name).await;
        // Another sidecar has written since, and this one has read that.
        let changed = value(7 + u8::from(now)).1;
        machine.far.inner.put_if(&name, changed.clone(), &version).await.unwrap();
        let seen = if now { kept.get_now(&name).await } else { kept.get(&name).await };
        assert_eq!(seen.unwrap().unwrap().bytes, changed);
        drop(kept);
        machine.away(true);
        let kept = machine.start().await;
        let given = given(&kept, &name).await;
        assert!(given.is_err() || given == Ok(Some(changed)), "{given:?}");
        drop(kept);
        machine.away(false);
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_empties_it() {
    let machine = Machine::new();
    let (name, bytes) = value(1);
    {
        let kept = machine.start().await;
        kept.put_new(&name, bytes).await.unwrap();
        written(&kept, &name).await;
    }
    machine.away(true);
    let back = Machine { clock: Arc::new(FakeClock::at(NOON - 1)), ..machine };
    let kept = back.start().await;
    assert!(kept.get(&name).await.is_err());
}

/// One wrong clock does not turn it off for ever, and what was kept by it is never given.
#[tokio::test]
async fn a_clock_that_was_wrong_once_is_not_believed_for_ever() {
    let century = Duration::from_secs(100 * 365 * 24 * 3_600);
    let machine = Machine::new();
    let ((before, bytes), (wrong, other)) = (value(1), value(2));
    {
        let kept = machine.start().await;
        kept.put_new(&before, bytes.clone()).await.unwrap();
        written(&kept, &before).await;
        machine.clock.pass(century);
        kept.put_new(&wrong, other).await.unwrap();
        written(&kept, &wrong).await;
    }
    machine.clock.set(NOON + 1);
    for start in 0..3 {
        let kept = machine.start().await;
        let is_there = kept.shelf.find(&before).await.is_some();
        assert_eq!(is_there, start > 0, "what was kept since is there after the next start");
        assert!(kept.shelf.find(&wrong).await.is_none());
        kept.get(&before).await.unwrap();
        written(&kept, &before).await;
    }
    machine.away(true);
    let kept = machine.start().await;
    assert_eq!(given(&kept, &before).await.unwrap(), Some(bytes));
    machine.clock.set(NOON + 1 + millis(century));
    assert!(kept.get(&wrong).await.is_err(), "nor when its time comes");
}

#[tokio::test]
async fn nor_is_one_that_is_set_right_while_it_runs() {
    let machine = Machine::new();
    let ((before, bytes), (wrong, other), (after, third)) = (value(1), value(2), value(3));
    let year = 365 * 24 * 3_600_000;
    for is_only_read in [false, true] {
        let kept = machine.start().await;
        _ = kept.put_new(&before, bytes.clone()).await;
        kept.get(&before).await.unwrap();
        written(&kept, &before).await;
        machine.clock.set(NOON + year);
        kept.get(&before).await.unwrap();
        if !is_only_read {
            kept.put_new(&wrong, other.clone()).await.unwrap();
            written(&kept, &wrong).await;
        }
        // A little is waited for.
        machine.clock.set(NOON + year - millis(limits::CLOCK_STEP));
        assert!(kept.shelf.find(&before).await.is_none());
        machine.clock.set(NOON + 1);
        _ = kept.put_new(&after, third.clone()).await;
        kept.get(&after).await.unwrap();
        written(&kept, &after).await;
        assert!(
            kept.shelf.find(&before).await.is_none() && kept.shelf.find(&wrong).await.is_none()
        );
        kept.get(&before).await.unwrap();
        written(&kept, &before).await;
        drop(kept);
        machine.away(true);
        let kept = machine.start().await;
        assert_eq!(given(&kept, &before).await.unwrap(), Some(bytes.clone()));
        assert_eq!(given(&kept, &after).await.unwrap(), Some(third.clone()));
        assert!(kept.get(&wrong).await.is_err());
        drop(kept);
        machine.away(false);
    }
}

#[tokio::test]
async fn the_oldest_goes_first() {
    let machine = Machine { most: 10 * 400, ..Machine::new() };
    let kept = machine.start().await;
    for number in 1..=50 {
        let (name, bytes) = value(number);
        machine.clock.pass(Duration::from_millis(1));
        kept.put_new(&name, bytes).await.unwrap();
        written(&kept, &name).await;
    }
    machine.away(true);
    assert!(kept.get(&value(1).0).await.is_err());
    assert!(kept.get(&value(50).0).await.is_ok());
    while kept.shelf.known().len() > 10 {
        tokio::task::yield_now().await;
    }
    assert!(kept.shelf.known().len() >= 5);
}

#[tokio::test]
async fn a_damaged_file_is_begun_anew() {
    let machine = Machine::new();
    fs::write(machine.directory.path().join("cache.redb"), b"no database").unwrap();
    let kept = machine.start().await;
    let (name, bytes) = value(1);
    kept.put_new(&name, bytes).await.unwrap();
    written(&kept, &name).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_while_it_runs_makes_nothing_younger() {
    let machine = Machine::new();
    let (name, bytes) = value(1);
    let kept = machine.start().await;
    kept.put_new(&name, bytes.clone()).await.unwrap();
    written(&kept, &name).await;
    machine.away(true);
    let hour = Duration::from_secs(3_600);
    machine.clock.pass(2 * hour);
    assert_eq!(kept.get(&name).await.unwrap().unwrap().age, Some(2 * hour));
    machine.clock.set(NOON + millis(hour));
    assert!(kept.get(&name).await.is_err(), "nobody knows how old it is");
    machine.clock.pass(hour);
    assert_eq!(given(&kept, &name).await.unwrap(), Some(bytes));
}
