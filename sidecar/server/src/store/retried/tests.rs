use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, atomic::AtomicUsize},
};

use super::*;
use crate::{
    env::{FakeClock, SystemEntropy},
    store::MemoryStore,
};

/// What becomes of one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// Done and answered.
    Answered,
    /// Done, and the answer lost.
    AnswerLost,
    /// Neither done nor answered.
    RequestLost,
    /// Not done, and said so: the store is asked too much.
    Throttled,
    /// First another writes over it or before it, then done and answered.
    Overtaken,
}

use Fate::{AnswerLost, Answered, Overtaken, RequestLost, Throttled};

/// A store to which the fates happen, in turn; then all is well.
struct Fated {
    inner: MemoryStore,
    fates: Mutex<VecDeque<Fate>>,
    requests: AtomicUsize,
}

const OTHERS: Bytes = Bytes::from_static(b"another's");
const OURS: Bytes = Bytes::from_static(b"ours");

fn lost<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable("lost".into()))
}

impl Fated {
    async fn happen<T>(
        &self,
        name: &Name,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let fate = self.fates.lock().unwrap().pop_front().unwrap_or(Answered);
        match fate {
            Answered => request.await,
            AnswerLost => {
                let _ = request.await;
                lost()
            }
            RequestLost => lost(),
            Throttled => Err(StoreError::Throttled("slow down".into())),
            Overtaken => {
                match self.inner.get(name).await? {
                    Some(found) => self.inner.put_if(name, OTHERS, &found.version).await?,
                    None => self.inner.put_new(name, OTHERS).await?,
                };
                request.await
            }
        }
    }
}

#[async_trait]
impl Store for Fated {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.happen(name, self.inner.put_new(name, bytes)).await
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.happen(name, self.inner.put_if(name, bytes, expected)).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        self.happen(name, self.inner.get(name)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        self.happen(&name(), self.inner.list(prefix, after, limit)).await
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        self.happen(&name(), self.inner.heads(prefix, after, limit, length)).await
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        self.happen(name, self.inner.remove_if(name, expected)).await
    }
}

fn name() -> Name {
    Name::from_text("r/default/x")
}

fn store(fates: &[Fate]) -> Retried<Fated> {
    let inner = Fated {
        inner: MemoryStore::default(),
        fates: Mutex::new(fates.iter().copied().collect()),
        requests: AtomicUsize::new(0),
    };
    Retried::new(inner, attempts())
}

fn attempts() -> Attempts {
    let clock: Arc<dyn crate::env::Clock> = Arc::new(FakeClock::default());
    let breaker = Arc::new(crate::breaker::Breaker::new(Arc::clone(&clock)));
    Attempts::new(Arc::new(SystemEntropy::default()), clock, breaker)
}

async fn lies_there(store: &Retried<Fated>) -> Option<Bytes> {
    store.inner.inner.get(&name()).await.unwrap().map(|object| object.bytes)
}

#[tokio::test(start_paused = true)]
async fn a_create_whose_answer_was_lost_is_ours() {
    for fates in [&[][..], &[AnswerLost], &[AnswerLost, AnswerLost], &[RequestLost, AnswerLost]] {
        let store = store(fates);
        let version = store.put_new(&name(), OURS).await.unwrap();
        let object = store.inner.inner.get(&name()).await.unwrap().unwrap();
        assert_eq!((object.bytes, object.version), (OURS, version), "{fates:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn anothers_create_is_never_taken_for_ours() {
    for fates in
        [&[Overtaken][..], &[RequestLost, Overtaken], &[RequestLost, RequestLost, Overtaken]]
    {
        let store = store(fates);
        assert_eq!(store.put_new(&name(), OURS).await, Err(StoreError::Precondition), "{fates:?}");
        assert_eq!(lies_there(&store).await, Some(OTHERS));
    }
}

#[tokio::test(start_paused = true)]
async fn a_collision_without_a_lost_answer_costs_no_second_request() {
    let store = store(&[Overtaken]);
    assert_eq!(store.put_new(&name(), OURS).await, Err(StoreError::Precondition));
    assert_eq!(store.inner.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_is_ours_or_anothers_in_the_same_way() {
    for (fates, ours) in [
        (&[AnswerLost][..], true),
        (&[RequestLost], true),
        (&[RequestLost, Overtaken], false),
        (&[AnswerLost, Overtaken], false),
    ] {
        let store = store(&[]);
        let first = store.put_new(&name(), Bytes::from_static(b"before")).await.unwrap();
        store.inner.fates.lock().unwrap().extend(fates);
        let result = store.put_if(&name(), OURS, &first).await;
        assert_eq!(result.is_ok(), ours, "{fates:?}");
        let expected = if ours { OURS } else { OTHERS };
        assert_eq!(lies_there(&store).await, Some(expected), "{fates:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_never_answered_is_reported_as_unknown() {
    let store = store(&[RequestLost; 20]);
    assert_eq!(store.put_new(&name(), OURS).await, lost());
    assert_eq!(store.inner.requests.load(Ordering::SeqCst), 3);
    assert_eq!(store.get(&name()).await.map(|_| ()), lost());
    // The write took effect, nobody knows, and nobody is told otherwise.
    store.inner.fates.lock().unwrap().clear();
    store.inner.fates.lock().unwrap().extend([AnswerLost, RequestLost, RequestLost]);
    assert_eq!(store.put_new(&name(), OURS).await, lost());
}

#[tokio::test(start_paused = true)]
async fn a_throttle_is_tried_again_and_hides_no_lost_answer() {
    let throttled = Err(StoreError::Throttled("slow down".into()));
    for (fates, ok, effect) in [
        (&[Throttled, Throttled][..], true, true),
        (&[Throttled; 3], false, false),
        (&[AnswerLost, Throttled, Throttled], false, true),
        (&[AnswerLost, Throttled], true, true),
    ] {
        let store = store(fates);
        let result = store.put_new(&name(), OURS).await;
        assert_eq!((result.is_ok(), lies_there(&store).await.is_some()), (ok, effect), "{fates:?}");
        // Of a write that may have taken effect nobody is told that it did not.
        assert!(ok || (result == throttled) != effect, "{fates:?}: {result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn reads_are_tried_again_and_refusals_are_not() {
    struct Refusing(AtomicUsize);
    #[async_trait]
    impl Store for Refusing {
        async fn put_new(&self, _: &Name, _: Bytes) -> Result<Version, StoreError> {
            self.refuse()
        }
        async fn put_if(&self, _: &Name, _: Bytes, _: &Version) -> Result<Version, StoreError> {
            self.refuse()
        }
        async fn get(&self, _: &Name) -> Result<Option<Object>, StoreError> {
            self.refuse()
        }
        async fn list(&self, _: &str, _: Option<&Name>, _: usize) -> Result<Vec<Name>, StoreError> {
            self.refuse()
        }
        async fn heads(
            &self,
            _: &str,
            _: Option<&Name>,
            _: usize,
            _: usize,
        ) -> Result<Heads, StoreError> {
            self.refuse()
        }
        async fn remove_if(&self, _: &Name, _: &Version) -> Result<bool, StoreError> {
            self.refuse()
        }
    }
    impl Refusing {
        fn refuse<T>(&self) -> Result<T, StoreError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            Err(StoreError::Refused("no".into()))
        }
    }
    let refusing = Retried::new(Refusing(AtomicUsize::new(0)), attempts());
    assert!(matches!(refusing.put_new(&name(), OURS).await, Err(StoreError::Refused(_))));
    assert_eq!(refusing.inner.0.load(Ordering::SeqCst), 1);
    let store = store(&[]);
    store.put_new(&name(), OURS).await.unwrap();
    store.inner.fates.lock().unwrap().extend([RequestLost, RequestLost]);
    assert_eq!(store.get(&name()).await.unwrap().unwrap().bytes, OURS);
    store.inner.fates.lock().unwrap().extend([AnswerLost, RequestLost]);
    assert_eq!(store.list("r/", None, 9).await.unwrap().len(), 1);
}
