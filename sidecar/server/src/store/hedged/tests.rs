use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::*;
use crate::store::MemoryStore;

const MS: Duration = Duration::from_millis(1);
const USUAL: Duration = Duration::from_millis(20);
const SLOW: Duration = Duration::from_millis(1_500);
const NAME: &str = "r/default/x";

/// Goes with the runtime's time, which stands still unless all wait for it.
struct Paused(Instant);

impl Clock for Paused {
    fn now(&self) -> u64 {
        0
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A store whose next reads take these times and come to this; then the usual time, and to nothing.
#[derive(Default)]
struct Timed {
    inner: MemoryStore,
    next: Mutex<VecDeque<(Duration, Result<(), StoreError>)>>,
    /// Instead of the usual time.
    time: Mutex<Option<Duration>>,
    reads: AtomicUsize,
}

#[async_trait]
impl Store for Timed {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.inner.put_new(name, bytes).await
    }

    async fn put_if(&self, name: &Name, bytes: Bytes, of: &Version) -> Result<Version, StoreError> {
        self.inner.put_if(name, bytes, of).await
    }

    async fn get(&self, _: &Name) -> Result<Option<Object>, StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let next = self.next.lock().unwrap().pop_front();
        let usual = self.time.lock().unwrap().unwrap_or(USUAL);
        let (time, result) = next.unwrap_or((usual, Ok(())));
        sleep(time).await;
        result.map(|()| None)
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

fn cold() -> Hedged<Timed> {
    let clock: Arc<dyn Clock> = Arc::new(Paused(Instant::now()));
    let breaker = Arc::new(Breaker::new(Arc::clone(&clock)));
    Hedged::new(Timed::default(), clock, breaker, Arc::new(Gate::new(2, 0)))
}

/// One that knows what is usual.
async fn warm() -> Hedged<Timed> {
    let hedged = cold();
    for _ in 0..limits::HEDGE_SAMPLES {
        hedged.get(&Name::from_text(NAME)).await.unwrap();
    }
    hedged
}

/// How long a read takes, how many requests, and what it comes to.
async fn read(
    hedged: &Hedged<Timed>,
    next: impl IntoIterator<Item = (Duration, Result<(), StoreError>)>,
) -> (Duration, usize, Result<(), StoreError>) {
    hedged.inner.next.lock().unwrap().extend(next);
    let (began, before) = (Instant::now(), hedged.inner.reads.load(Ordering::SeqCst));
    let result = hedged.get(&Name::from_text(NAME)).await;
    let reads = hedged.inner.reads.load(Ordering::SeqCst) - before;
    (began.elapsed(), reads, result.map(|_| ()))
}

#[tokio::test(start_paused = true)]
async fn what_is_slow_is_asked_again_once_it_is_known_what_that_is() {
    assert_eq!(read(&cold(), [(SLOW, Ok(()))]).await, (SLOW, 1, Ok(())));
    let hedged = warm().await;
    assert_eq!(read(&hedged, []).await, (USUAL, 1, Ok(())));
    // A timer rings within the millisecond after its time.
    let (took, reads, result) = read(&hedged, [(SLOW, Ok(()))]).await;
    assert!((2 * USUAL..2 * USUAL + 3 * MS).contains(&took), "{took:?}");
    assert_eq!((reads, result), (2, Ok(())));
    // The first one may still be the first to answer.
    let (took, reads, _) = read(&hedged, [(USUAL + 10 * MS, Ok(())), (SLOW, Ok(()))]).await;
    assert_eq!((took, reads), (USUAL + 10 * MS, 2));
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_one_is_not_the_other_ones() {
    let away = || Err(StoreError::Unavailable("away".into()));
    let refused = || Err(StoreError::Refused("no".into()));
    let later = USUAL * 5;
    for (first, second, expected) in [
        ((later, away()), (later, Ok(())), Ok(())),
        ((later, Ok(())), (USUAL, away()), Ok(())),
        ((later, Ok(())), (USUAL, Err(StoreError::Overloaded)), Ok(())),
        ((later, away()), (USUAL, away()), away()),
        // That is an answer.
        ((later, refused()), (SLOW, Ok(())), refused()),
    ] {
        let hedged = warm().await;
        let (_, reads, result) = read(&hedged, [first, second]).await;
        assert_eq!((reads, result), (2, expected));
    }
}

#[tokio::test(start_paused = true)]
async fn it_keeps_to_its_budget_and_learns_what_has_become_usual() {
    const READS: usize = 1_000;
    let hedged = warm().await;
    *hedged.inner.time.lock().unwrap() = Some(SLOW);
    let before = hedged.inner.reads.load(Ordering::SeqCst);
    let name = Name::from_text(NAME);
    join_all((0..READS).map(|_| hedged.get(&name))).await;
    let extra = hedged.inner.reads.load(Ordering::SeqCst) - before - READS;
    let most = usize::try_from(limits::HEDGES.at_once).unwrap() + READS / 20;
    assert!((1..=most).contains(&extra), "{extra}");
    // From now on that is nothing special.
    assert_eq!(read(&hedged, []).await.1, 1);
}

#[tokio::test(start_paused = true)]
async fn it_makes_nothing_worse() {
    let hedged = warm().await;
    let turns = [hedged.gate.enter().await, hedged.gate.enter().await];
    assert_eq!(read(&hedged, [(SLOW, Ok(()))]).await, (SLOW, 1, Ok(())), "many are under way");
    drop(turns);
    (0..limits::BREAKER_FAILURES).for_each(|_| hedged.breaker.failed("as told"));
    assert_eq!(read(&hedged, [(SLOW, Ok(()))]).await, (SLOW, 1, Ok(())), "storage is away");
    hedged.breaker.answered();
    assert_eq!(read(&hedged, [(SLOW, Ok(()))]).await.1, 2);
}
