use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use lunasec_core::audit::Chain;
use tokio::{sync::oneshot, time::sleep};

use super::*;
use crate::{
    audit::spool::Settings,
    env::SystemClock,
    store::{Heads, MemoryStore, Object, Version},
    telemetry::Telemetry,
};

/// Takes anchors where it is not away.
#[derive(Default)]
struct Shaky {
    inner: MemoryStore,
    away: AtomicBool,
    refused: AtomicUsize,
}

#[async_trait]
impl Store for Shaky {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            self.refused.fetch_add(1, Ordering::SeqCst);
            return Err(StoreError::Unavailable("away".into()));
        }
        self.inner.put_new(name, bytes).await
    }

    async fn put_if(&self, name: &Name, bytes: Bytes, on: &Version) -> Result<Version, StoreError> {
        self.inner.put_if(name, bytes, on).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
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

    async fn remove_if(&self, name: &Name, version: &Version) -> Result<bool, StoreError> {
        self.inner.remove_if(name, version).await
    }
}

/// A sidecar's trail for as long as it runs.
struct Running {
    spool: Arc<Spool>,
    stop: oneshot::Sender<()>,
    anchors: tokio::task::JoinHandle<()>,
}

fn start(directory: &Path, chain: u8, store: &Arc<Shaky>) -> Running {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let dependency = Telemetry::new(Arc::clone(&clock)).dependency("audit");
    let directory = directory.to_owned();
    let settings = Settings { directory, bytes: 1 << 20, instance: "here".into() };
    let spool =
        Spool::open(settings, ChainId([chain; 16]), Arc::clone(&clock), dependency).unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let store: Arc<dyn Store> = Arc::clone(store) as _;
    let anchors = tokio::spawn(run(Arc::clone(&spool), store, clock, async {
        let _ = stopped.await;
    }));
    Running { spool, stop, anchors }
}

impl Running {
    async fn stop(self) {
        let spool = self.spool;
        tokio::task::spawn_blocking(move || spool.end()).await.unwrap();
        self.stop.send(()).unwrap();
        self.anchors.await.unwrap();
    }
}

/// What a process that was killed has left: two lines of a chain.
fn leave(directory: &Path, chain: u8) {
    let (mut chain, mut lines) = (Chain::new(ChainId([chain; 16])), Vec::new());
    for _ in 0..2 {
        chain.add(&mut lines, |line| line.extend_from_slice(b",\"time\":\"then\""));
    }
    fs::write(directory.join(format!("{:016}.jsonl", 1)), lines).unwrap();
}

/// Whether the end of that chain is anchored: its second line, or the third, by which it was ended.
async fn is_anchored(store: &Shaky, chain: u8, seq: u64) -> bool {
    store.inner.get(&Name::anchor(ChainId([chain; 16]), seq)).await.unwrap().is_some()
}

async fn eventually(mut condition: impl AsyncFnMut() -> bool) {
    while !condition().await {
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_storage_does_not_take_is_tried_again_until_it_does() {
    let directory = tempfile::tempdir().unwrap();
    leave(directory.path(), 1);
    let store = Arc::new(Shaky::default());
    store.away.store(true, Ordering::SeqCst);
    let running = start(directory.path(), 2, &store);
    eventually(async || store.refused.load(Ordering::SeqCst) >= 6).await;
    assert!(!is_anchored(&store, 1, 2).await);
    store.away.store(false, Ordering::SeqCst);
    eventually(async || is_anchored(&store, 1, 2).await && is_anchored(&store, 2, 0).await).await;
    running.stop().await;
    assert!(is_anchored(&store, 2, 1).await, "its own end");
}

/// The least and the most that it waits between two of what `count` attempts are refused.
async fn pauses(store: &Shaky, count: usize) -> Vec<Duration> {
    let (mut pauses, mut seen) = (Vec::new(), store.refused.load(Ordering::SeqCst));
    let mut last = tokio::time::Instant::now();
    while pauses.len() < count {
        eventually(async || store.refused.load(Ordering::SeqCst) > seen).await;
        seen = store.refused.load(Ordering::SeqCst);
        pauses.push(last.elapsed());
        last = tokio::time::Instant::now();
    }
    pauses
}

#[tokio::test(start_paused = true)]
async fn it_is_tried_again_after_longer_and_longer_times_and_never_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Shaky::default());
    store.away.store(true, Ordering::SeqCst);
    let running = start(directory.path(), 1, &store);
    let pauses = pauses(&store, 16).await;
    let (last, before) = (pauses[15], &pauses[1..15]);
    assert!(before.iter().all(|pause| *pause <= last + Duration::from_secs(1)), "{pauses:?}");
    assert!(last >= limits::AUDIT_ANCHOR, "{pauses:?}");
    running.stop().await;
}

/// Not in paused time, which does not wait for the thread that syncs.
#[tokio::test]
async fn its_own_chain_is_anchored_before_those_of_others() {
    let directory = tempfile::tempdir().unwrap();
    leave(directory.path(), 1);
    let store = Arc::new(Shaky::default());
    let running = start(directory.path(), 2, &store);
    eventually(async || is_anchored(&store, 1, 2).await).await;
    assert!(is_anchored(&store, 2, 0).await);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_one_process_could_not_anchor_another_does_though_the_sinks_have_it() {
    let directory = tempfile::tempdir().unwrap();
    leave(directory.path(), 1);
    let store = Arc::new(Shaky::default());
    store.away.store(true, Ordering::SeqCst);
    start(directory.path(), 2, &store).stop().await;
    for segment in 1..=2 {
        fs::remove_file(directory.path().join(format!("{segment:016}.jsonl"))).unwrap();
    }
    start(directory.path(), 3, &store).stop().await;
    assert!(!is_anchored(&store, 1, 2).await);
    store.away.store(false, Ordering::SeqCst);
    // As it stops, at the latest.
    start(directory.path(), 4, &store).stop().await;
    for (chain, seq) in [(1, 2), (3, 1), (4, 1)] {
        assert!(is_anchored(&store, chain, seq).await, "{chain}");
    }
    // Of that one nobody has seen more than its beginning: its end was removed before another process came.
    assert!(!is_anchored(&store, 2, 1).await);
}
