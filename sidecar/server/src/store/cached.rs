//! Remembers objects for as long as they may be believed: ciphertext and versions, so it knows no more
//! than the store does.
//!
//! Three clocks run on each. Until its *soft* limit an object is given as it is; after that it is read again on
//! the side, once however many ask. Past its *revocation* deadline nobody is given it while the store may
//! answer: what others deleted or took back is seen by then. While the store is away it is given up to its
//! *hard* limit, which counts from the last time that the store said so, and which no failure moves.
//!
//! Values are written once and deleted once, and metadata changes seldom; grants and sessions say who may see
//! them, so they are believed for less long; that nothing lies under a name, hardly at all. Wrapped keys, which
//! the keyring holds, are not remembered. What this sidecar writes it sees at once.

use std::{
    collections::HashMap,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, future::Shared};
use lunasec_core::limits;
use tokio::sync::oneshot;

use super::{
    Caches, Heads, Name, Object, Store, StoreError, Version,
    caches::{Remembered, Remembering, kind},
};
use crate::{breaker::Breaker, env::Clock, keyed::KeyedLocks};

/// How long what is remembered may be believed; see the module.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// Then it is read again on the side.
    pub soft: Duration,
    /// Then whoever asks waits for that.
    pub revocation: Duration,
    /// Then it is gone.
    pub hard: Duration,
}

/// The clocks of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Ages {
    /// The value of a token, and its metadata.
    pub value: Clocks,
    /// A grant, and a session.
    pub grant: Clocks,
    /// That there is nothing.
    pub nothing: Duration,
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            value: Clocks {
                soft: limits::CACHED_VALUE_SOFT,
                revocation: limits::CACHED_VALUE_AGE,
                hard: limits::CACHED_VALUE_HARD,
            },
            grant: Clocks {
                soft: limits::CACHED_GRANT_SOFT,
                revocation: limits::CACHED_GRANT_AGE,
                hard: limits::CACHED_GRANT_HARD,
            },
            nothing: limits::CACHED_NOTHING_AGE,
        }
    }
}

impl Ages {
    pub(super) fn of(&self, what: Remembering) -> Clocks {
        match what {
            Remembering::Value => self.value,
            Remembering::Grant => self.grant,
            Remembering::Nothing => {
                let age = self.nothing;
                Clocks { soft: age, revocation: age, hard: age }
            }
        }
    }
}

type Found = Result<Option<Object>, StoreError>;

/// What a reading found, and when it began. Those who wait for it are woken in the order in which they came.
type Reading = Shared<oneshot::Receiver<(Duration, Found)>>;

/// A reading that is under way, for all who ask meanwhile.
struct Flight {
    number: u64,
    reading: Reading,
}

#[derive(Default)]
struct Flights {
    under_way: HashMap<Name, Flight>,
    last: u64,
}

/// See the module.
pub struct Cached<S> {
    shared: Arc<Common<S>>,
    /// Writes of one name take turns, so that the last one is what is remembered.
    writes: KeyedLocks<Name>,
}

struct Common<S> {
    inner: S,
    clock: Arc<dyn Clock>,
    ages: Ages,
    caches: Arc<Caches>,
    flights: Mutex<Flights>,
    /// Says whether the store is away; none for one that nobody watches.
    breaker: Option<Arc<Breaker>>,
}

/// Whatever a write that is given up came to, what was there before is not believed any more.
struct Forget<'a, S: Store>(&'a Common<S>, &'a Name);

impl<S: Store> Drop for Forget<'_, S> {
    fn drop(&mut self) {
        self.0.settle(self.1, || {
            self.0.caches.put(self.1, None);
        });
    }
}

impl<S: Store> Common<S> {
    /// What may be believed while nobody can be asked.
    fn remembered(&self, name: &Name) -> Option<Object> {
        let remembered = self.caches.get(name)?;
        let age = self.clock.monotonic().saturating_sub(remembered.asked());
        let believed = age < self.ages.of(remembered.what()).hard;
        believed.then(|| remembered.give(Some(age)))?
    }

    fn is_away(&self) -> bool {
        self.breaker.as_ref().is_some_and(|breaker| breaker.is_open())
    }

    fn flights(&self) -> MutexGuard<'_, Flights> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn knows_it_there(&self, name: &Name) -> bool {
        self.caches.get(name).is_some_and(|it| it.what() != Remembering::Nothing)
    }

    /// Takes over what is newer than any reading that is under way: of what that one finds, nothing is
    /// remembered, and whoever asks from now on does not get it.
    fn settle(&self, name: &Name, learn: impl FnOnce()) {
        let mut flights = self.flights();
        flights.under_way.remove(name);
        learn();
    }

    /// Whether what the store said then may still be given as it is.
    fn is_believed(&self, name: &Name, object: Option<&Object>, asked: Duration) -> bool {
        let age = self.clock.monotonic().saturating_sub(asked);
        kind(name, object).is_some_and(|what| age < self.ages.of(what).revocation)
    }

    /// `asked` is when the store was: what came of it may be as old as that.
    fn learn(&self, name: &Name, object: Option<Object>, asked: Duration) {
        let remembered =
            kind(name, object.as_ref()).map(|what| Remembered::new(object, what, asked));
        self.caches.put(name, remembered);
    }

    /// What a reading found. A failure changes nothing: neither is what was there forgotten, nor is its time
    /// prolonged.
    fn landed(&self, name: &Name, number: u64, asked: Duration, found: &Found) {
        let mut flights = self.flights();
        if flights.under_way.get(name).is_none_or(|flight| flight.number != number) {
            return;
        }
        flights.under_way.remove(name);
        match found {
            // It comes from a disk, because the store is away: that makes it no younger.
            Ok(Some(Object { age: Some(_), .. })) => {}
            Ok(object) => self.learn(name, object.clone(), asked),
            Err(StoreError::Corrupted(_)) => self.caches.put(name, None),
            Err(_) => {}
        }
    }

    /// Takes over what a write came to. One that was to be the first changes nothing where something is known to lie,
    /// whatever became of it.
    fn written(
        &self,
        (name, bytes, new): (&Name, &Bytes, bool),
        result: &Result<Version, StoreError>,
        asked: Duration,
    ) {
        self.settle(name, || match result {
            Ok(version) => {
                self.learn(name, Some(Object::new(bytes.clone(), version.clone())), asked);
            }
            Err(error) if error.changed_nothing() => {}
            Err(_) if new && self.knows_it_there(name) => {}
            // Somebody else's is there, or nobody knows what is.
            Err(_) => self.caches.put(name, None),
        });
    }
}

/// Ends a reading whose task does not come to its end.
struct Landing<S: Store> {
    shared: Arc<Common<S>>,
    name: Name,
    number: u64,
}

impl<S: Store> Drop for Landing<S> {
    fn drop(&mut self) {
        let lost = Err(StoreError::Unavailable("the reading was given up".into()));
        self.shared.landed(&self.name, self.number, Duration::ZERO, &lost);
    }
}

impl<S: Store + 'static> Cached<S> {
    /// Remembers in `caches`, for as long as `ages` say.
    pub fn new(
        inner: S,
        clock: Arc<dyn Clock>,
        ages: Ages,
        caches: Arc<Caches>,
        breaker: Option<Arc<Breaker>>,
    ) -> Self {
        let flights = Mutex::default();
        let shared = Arc::new(Common { inner, clock, ages, caches, flights, breaker });
        Self { shared, writes: KeyedLocks::default() }
    }

    /// Reads a name, unless that is under way: one reading for all who ask meanwhile. It goes on when its first
    /// asker is gone. Whether it began just now, and what comes of it.
    fn read(&self, name: &Name) -> (bool, Reading) {
        let mut flights = self.shared.flights();
        if let Some(flight) = flights.under_way.get(name) {
            return (false, flight.reading.clone());
        }
        flights.last += 1;
        let (number, (sender, reading)) = (flights.last, oneshot::channel());
        let reading = reading.shared();
        flights.under_way.insert(name.clone(), Flight { number, reading: reading.clone() });
        let landing = Landing { shared: Arc::clone(&self.shared), name: name.clone(), number };
        tokio::spawn(async move {
            let Landing { shared, name, .. } = &landing;
            let asked = shared.clock.monotonic();
            let found = shared.inner.get(name).await;
            shared.landed(name, number, asked, &found);
            // Nobody may wait for it any more.
            let _ = sender.send((asked, found));
        });
        (true, reading)
    }

    async fn wait(&self, name: &Name) -> Found {
        let (own, reading) = self.read(name);
        let Ok((asked, found)) = reading.await else {
            return Err(StoreError::Unavailable("the reading was given up".into()));
        };
        // What began before it was asked for is like something remembered, and may be too old for that.
        match &found {
            Ok(object) if !own && !self.shared.is_believed(name, object.as_ref(), asked) => {
                self.shared.inner.get(name).await
            }
            _ => found,
        }
    }

    /// Writes, in turn with others of the same name, and takes over what it came to.
    async fn write(
        &self,
        name: &Name,
        bytes: &Bytes,
        new: bool,
        write: impl Future<Output = Result<Version, StoreError>>,
    ) -> Result<Version, StoreError> {
        let _turn = self.writes.lock(name.clone()).await;
        // If it is taken back, nobody knows what became of it.
        let forget =
            (!new || !self.shared.knows_it_there(name)).then(|| Forget(&self.shared, name));
        let asked = self.shared.clock.monotonic();
        let result = write.await;
        std::mem::forget(forget);
        self.shared.written((name, bytes, new), &result, asked);
        result
    }
}

#[async_trait]
impl<S: Store + 'static> Store for Cached<S> {
    fn is_away(&self) -> bool {
        self.shared.is_away()
    }

    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.write(name, &bytes, true, self.shared.inner.put_new(name, bytes.clone())).await
    }

    async fn put_new_many(&self, objects: Vec<(Name, Bytes)>) -> Vec<Result<Version, StoreError>> {
        // Names of new tokens: nobody else writes them, so they need no turns.
        let asked = self.shared.clock.monotonic();
        let results = self.shared.inner.put_new_many(objects.clone()).await;
        for ((name, bytes), result) in objects.iter().zip(&results) {
            self.shared.written((name, bytes, true), result, asked);
        }
        results
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.write(name, &bytes, false, self.shared.inner.put_if(name, bytes.clone(), expected))
            .await
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        if name.short().is_none() {
            return self.wait(name).await;
        }
        let shared = &self.shared;
        let series = shared.caches.series(name);
        let Some(remembered) = shared.caches.get(name) else {
            series.miss();
            return self.wait(name).await;
        };
        let clocks = shared.ages.of(remembered.what());
        let asked = remembered.asked();
        let age = || shared.clock.monotonic().saturating_sub(asked);
        match age() {
            young if young < clocks.soft && !shared.is_away() => {
                series.hit();
                return Ok(remembered.give(None));
            }
            old if shared.is_away() && old < clocks.hard => {
                series.stale();
                // Where all that is asked for is remembered, nothing else would find out that the store is back.
                if shared.breaker.as_ref().is_some_and(|breaker| breaker.wants_a_probe()) {
                    drop(self.read(name));
                }
                return Ok(remembered.give(Some(old)));
            }
            old if old < clocks.revocation => {
                series.stale();
                drop(self.read(name));
                return Ok(remembered.give(Some(old)));
            }
            _ => {}
        }
        match self.wait(name).await {
            // Nobody knows better, so it counts for as long as it may.
            Err(error) if error.is_away() && age() < clocks.hard => {
                series.stale();
                Ok(remembered.give(Some(age())))
            }
            found => {
                series.miss();
                found
            }
        }
    }

    async fn get_now(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        // In turn with writes, so that what is remembered of it is never older than theirs.
        let _turn = self.writes.lock(name.clone()).await;
        let asked = self.shared.clock.monotonic();
        let object = self.shared.inner.get_now(name).await?;
        self.shared.settle(name, || self.shared.learn(name, object.clone(), asked));
        Ok(object)
    }

    async fn remembered(&self, name: &Name) -> Option<Object> {
        match self.shared.remembered(name) {
            Some(object) => Some(object),
            None => self.shared.inner.remembered(name).await,
        }
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        self.shared.inner.list(prefix, after, limit).await
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        self.shared.inner.heads(prefix, after, limit, length).await
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        let _forget = Forget(&self.shared, name);
        self.shared.inner.remove_if(name, expected).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use futures_util::{
        FutureExt,
        future::{join, join_all},
    };
    use lunasec_core::{derive::SessionTag, ids::Namespace};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::{
        env::{FakeClock, SystemClock},
        store::MemoryStore,
    };

    /// A store whose answers take time, which passes only then, or are on their way until they are let
    /// through.
    #[derive(Default)]
    struct Slow {
        inner: MemoryStore,
        clock: Arc<FakeClock>,
        gets: AtomicUsize,
        gate: Option<Arc<Semaphore>>,
        /// What comes of writes instead.
        fails: Mutex<Option<StoreError>>,
        /// Whether nothing comes of a create.
        hangs: AtomicBool,
    }

    const READ: Duration = Duration::from_secs(2);

    #[async_trait]
    impl Store for Slow {
        async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
            if self.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if let Some(error) = self.fails.lock().unwrap().clone() {
                return Err(error);
            }
            self.inner.put_new(name, bytes).await
        }

        async fn put_if(
            &self,
            name: &Name,
            bytes: Bytes,
            expected: &Version,
        ) -> Result<Version, StoreError> {
            if let Some(error) = self.fails.lock().unwrap().clone() {
                return Err(error);
            }
            self.inner.put_if(name, bytes, expected).await
        }

        async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
            let object = self.inner.get(name).await;
            self.gets.fetch_add(1, Ordering::SeqCst);
            match &self.gate {
                Some(gate) => gate.acquire().await.unwrap().forget(),
                None => self.clock.pass(READ),
            }
            object
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

    fn session() -> Name {
        Name::session(&Namespace::default(), &SessionTag([7; 32]))
    }

    fn bytes(object: Option<Object>) -> Bytes {
        object.unwrap().bytes
    }

    /// Behind a gate that is shut, with one object there.
    async fn gated(name: &Name) -> (Arc<Semaphore>, Version, Cached<Slow>) {
        let gate = Arc::new(Semaphore::new(0));
        let slow = Slow { gate: Some(Arc::clone(&gate)), ..Slow::default() };
        let version = slow.put_new(name, Bytes::from_static(b"old")).await.unwrap();
        let clock = Arc::clone(&slow.clock);
        (gate, version, Cached::new(slow, clock, Ages::default(), Arc::default(), None))
    }

    async fn turns() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn all_who_ask_at_once_share_one_reading() {
        let name = session();
        let (gate, _, cached) = gated(&name).await;
        let all = async { join_all((0..100).map(|_| cached.get(&name))).await };
        let (found, ()) = join(all, async {
            turns().await;
            gate.add_permits(1);
        })
        .await;
        assert!(found.into_iter().all(|found| bytes(found.unwrap()) == "old"));
        assert_eq!(cached.shared.inner.gets.load(Ordering::SeqCst), 1);
        assert!(cached.shared.flights().under_way.is_empty());
    }

    /// What is remembered for a while may come of a reading that was under way; what is not, may not.
    #[tokio::test]
    async fn a_reading_that_began_before_is_no_answer_for_what_is_never_remembered() {
        let (session, strange) = (session(), Name::from_text("r/default/strange"));
        for (name, shared) in [(&session, true), (&strange, false)] {
            let (gate, version, cached) = gated(name).await;
            let (first, (second, ())) = join(cached.get(name), async {
                turns().await;
                // Somebody else writes, and only then this one asks.
                let elsewhere = &cached.shared.inner.inner;
                elsewhere.put_if(name, Bytes::from_static(b"new"), &version).await.unwrap();
                join(cached.get(name), async {
                    turns().await;
                    gate.add_permits(2);
                })
                .await
            })
            .await;
            assert_eq!(bytes(first.unwrap()), "old");
            assert_eq!(bytes(second.unwrap()), if shared { "old" } else { "new" }, "{name:?}");
        }
    }

    #[tokio::test]
    async fn a_reading_under_way_is_not_remembered_over_a_write() {
        let name = session();
        let (gate, version, cached) = gated(&name).await;
        let (read, ()) = join(cached.get(&name), async {
            turns().await;
            cached.put_if(&name, Bytes::from_static(b"new"), &version).await.unwrap();
            gate.add_permits(1);
        })
        .await;
        assert_eq!(bytes(read.unwrap()), "old");
        turns().await;
        assert_eq!(bytes(cached.get(&name).await.unwrap()), "new");
    }

    /// What was refused has changed nothing; what was not answered may have.
    #[tokio::test]
    async fn a_write_that_was_refused_evicts_nothing() {
        let name = session();
        let slow = Slow::default();
        let version = slow.put_new(&name, Bytes::from_static(b"old")).await.unwrap();
        let clock = Arc::clone(&slow.clock);
        let cached = Cached::new(slow, clock, Ages::default(), Arc::default(), None);
        for (error, reads) in [
            (StoreError::Refused("403".into()), 0),
            (StoreError::Unavailable("lost".into()), 1),
            (StoreError::Precondition, 1),
        ] {
            cached.get(&name).await.unwrap();
            let before = cached.shared.inner.gets.load(Ordering::SeqCst);
            *cached.shared.inner.fails.lock().unwrap() = Some(error.clone());
            let written = cached.put_if(&name, Bytes::from_static(b"new"), &version).await;
            assert_eq!(written, Err(error.clone()));
            assert_eq!(bytes(cached.get(&name).await.unwrap()), "old");
            assert_eq!(cached.shared.inner.gets.load(Ordering::SeqCst) - before, reads, "{error}");
        }
    }

    /// As `docs/failures.md` says it of a broken condition.
    #[tokio::test]
    async fn a_create_that_meets_something_forgets_only_that_there_was_nothing() {
        for known in [true, false] {
            let (slow, name) = (Slow::default(), session());
            let clock = Arc::clone(&slow.clock);
            let cached = Cached::new(slow, clock, Ages::default(), Arc::default(), None);
            let elsewhere = &cached.shared.inner.inner;
            if !known {
                assert!(cached.get(&name).await.unwrap().is_none());
            }
            elsewhere.put_new(&name, Bytes::from_static(b"there")).await.unwrap();
            if known {
                cached.get(&name).await.unwrap();
            }
            let before = cached.shared.inner.gets.load(Ordering::SeqCst);
            let written = cached.put_new(&name, Bytes::from_static(b"mine")).await;
            assert_eq!(written, Err(StoreError::Precondition));
            assert_eq!(bytes(cached.get(&name).await.unwrap()), "there");
            let reads = cached.shared.inner.gets.load(Ordering::SeqCst) - before;
            assert_eq!(reads, usize::from(!known));
        }
    }

    /// It may well be a retry of what was deleted since, which an outage must not bring back.
    #[tokio::test(start_paused = true)]
    async fn a_create_that_is_lost_forgets_nothing_of_what_is_known_to_lie_there() {
        for taken_back in [true, false] {
            let (slow, name) = (Slow::default(), session());
            let clock = Arc::clone(&slow.clock);
            let cached = Cached::new(slow, clock, Ages::default(), Arc::default(), None);
            cached.put_new(&name, Bytes::from_static(b"there")).await.unwrap();
            let store = &cached.shared.inner;
            store.hangs.store(taken_back, Ordering::SeqCst);
            *store.fails.lock().unwrap() = Some(StoreError::Unavailable("as told".into()));
            let mut lost = cached.put_new(&name, Bytes::from_static(b"mine"));
            match taken_back {
                true => assert!((&mut lost).now_or_never().is_none()),
                false => assert!(lost.await.is_err()),
            }
            let remembered = cached.remembered(&name).await;
            assert_eq!(bytes(remembered), "there", "{taken_back}");
        }
    }

    /// What a slow answer says may be as old as the question.
    #[tokio::test]
    async fn an_age_counts_from_the_question() {
        let (slow, name) = (Slow::default(), session());
        let clock = Arc::clone(&slow.clock);
        slow.put_new(&name, Bytes::from_static(b"state")).await.unwrap();
        let cached =
            Cached::new(slow, Arc::clone(&clock) as _, Ages::default(), Arc::default(), None);
        for read in [true, false] {
            let before = clock.monotonic();
            let found = if read { cached.get(&name).await } else { cached.get_now(&name).await };
            assert!(found.unwrap().is_some());
            assert_eq!(clock.monotonic(), before + READ);
            clock.pass(limits::CACHED_GRANT_AGE - READ - Duration::from_millis(1));
            let remembered = clock.monotonic();
            cached.get(&name).await.unwrap();
            assert_eq!(clock.monotonic(), remembered, "it was asked again too early");
            clock.pass(Duration::from_millis(1));
            cached.get(&name).await.unwrap();
            assert_eq!(clock.monotonic(), before + limits::CACHED_GRANT_AGE + READ);
            clock.pass(limits::CACHED_GRANT_AGE);
        }
    }

    /// Bytes that somebody else's buffer is kept for.
    struct Piece(Arc<[u8]>);

    impl AsRef<[u8]> for Piece {
        fn as_ref(&self) -> &[u8] {
            &self.0[..57]
        }
    }

    #[test]
    fn what_is_remembered_keeps_no_buffer_that_it_came_in() {
        let clock = Arc::new(SystemClock::default());
        let cached =
            Cached::new(MemoryStore::default(), clock, Ages::default(), Arc::default(), None);
        let name = session();
        let buffer: Arc<[u8]> = vec![1; 65_536].into();
        let bytes = Bytes::from_owner(Piece(Arc::clone(&buffer)));
        let object = Object::new(bytes, Version::number(1));
        cached.shared.learn(&name, Some(object), Duration::ZERO);
        let remembered =
            cached.shared.caches.get(&name).and_then(|remembered| remembered.give(None));
        assert_eq!(remembered.map(|object| object.bytes.len()), Some(57));
        assert_eq!(Arc::strong_count(&buffer), 1);
    }
}
