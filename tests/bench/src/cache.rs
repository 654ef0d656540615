//! What a million remembered records take of memory, each of 134 bytes, with a version as S3 gives it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use lunasec_core::{
    envelope::{Fresh, Stamp, Subject, seal},
    ids::{KeyId, Locator, Namespace, PutId},
    limits,
    record::Kind,
    secret::DataKey,
    token::Token,
};
use lunasec_sidecar::{
    env::SystemClock,
    store::{Ages, Cached, Caches, Heads, Name, Object, Store, StoreError, Version},
    telemetry::CacheSeries,
};

use crate::{process, row};

const ENTRIES: u64 = 1_000_000;
const RECORD: usize = 134;
/// As many bytes as a sidecar remembers of values.
const BOUND: usize = limits::CACHED_VALUE_BYTES;
const MIB: f64 = 1_048_576.0;
/// Objects that are written together.
const BATCH: u64 = 1_000;

/// Takes everything and keeps nothing.
#[derive(Default)]
struct Sink(AtomicU64);

#[async_trait]
impl Store for Sink {
    async fn put_new(&self, _: &Name, _: Bytes) -> Result<Version, StoreError> {
        let number = u128::from(self.0.fetch_add(1, Ordering::Relaxed));
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        Ok(Version::tag(&format!("\"{spread:032x}\"")))
    }

    async fn put_if(&self, name: &Name, bytes: Bytes, _: &Version) -> Result<Version, StoreError> {
        self.put_new(name, bytes).await
    }

    async fn get(&self, _: &Name) -> Result<Option<Object>, StoreError> {
        Ok(None)
    }

    async fn list(&self, _: &str, _: Option<&Name>, _: usize) -> Result<Vec<Name>, StoreError> {
        Ok(Vec::new())
    }

    async fn heads(
        &self,
        _: &str,
        _: Option<&Name>,
        _: usize,
        _: usize,
    ) -> Result<Heads, StoreError> {
        Ok(Heads { objects: Vec::new(), next: None, requests: 0 })
    }

    async fn remove_if(&self, _: &Name, _: &Version) -> Result<bool, StoreError> {
        Ok(false)
    }
}

pub(crate) fn measure() -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(fill())
}

async fn fill() -> Vec<String> {
    let record = record();
    let batch = |batch: u64| {
        let objects = (batch * BATCH..(batch + 1) * BATCH).map(|at| (name(at), record.clone()));
        objects.collect::<Vec<_>>()
    };
    let fill = async |cached: &Cached<Sink>, caches: &Caches| {
        // What the first ones need besides.
        cached.put_new_many(batch(ENTRIES / BATCH)).await;
        let (before, first) = (resident(), caches.values());
        for at in 0..ENTRIES / BATCH {
            cached.put_new_many(batch(at)).await.into_iter().for_each(|put| _ = put.unwrap());
        }
        let (after, used) = (resident(), caches.values());
        (after - before, used.entries - first.entries, used.bytes - first.bytes)
    };
    let (full, bounded) = remembering(BOUND);
    let (grown, ..) = fill(&full, &bounded).await;
    let (cached, caches) = remembering(4 << 30);
    let (all, entries, said) = fill(&cached, &caches).await;
    assert_eq!(entries, ENTRIES, "something was pushed out");
    let (each, said) = (all / ENTRIES as f64, said as f64 / ENTRIES as f64);
    let object = cached.get(&name(7)).await.unwrap().expect("it is remembered");
    assert!(object.bytes == record);
    vec![
        row(
            "cache bytes per entry in all, a million of 134 B",
            &format!("{each:.0} ({said:.0} as accounted)"),
            "≤ 240",
            "≤ 220",
        ),
        row(
            "the same beside the sealed bytes",
            &format!("{:.0}", each - RECORD as f64),
            "≤ 110",
            "",
        ),
        row(
            "memory of a cache bounded to 64 MiB, after a million entries",
            &format!("{:.0} MiB", grown / MIB),
            "≤ 64 MiB",
            "",
        ),
    ]
}

fn remembering(bytes: usize) -> (Cached<Sink>, Arc<Caches>) {
    let (values, grants) = (CacheSeries::default(), CacheSeries::default());
    let caches = Arc::new(Caches::new(bytes, values, MIB as usize, grants));
    let (clock, sink) = (Arc::new(SystemClock::default()), Sink::default());
    (Cached::new(sink, clock, Ages::default(), Arc::clone(&caches), None), caches)
}

fn resident() -> f64 {
    process::resident(std::process::id()) * MIB
}

fn name(at: u64) -> Name {
    let mut locator = [0; Locator::LEN];
    for (part, salt) in locator.chunks_exact_mut(8).zip(1..) {
        let spread = (at + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        part.copy_from_slice(&spread.to_be_bytes());
    }
    Name::record(&Namespace::default(), &Locator(locator)).of(Kind::Value)
}

fn record() -> Bytes {
    let (mut key, id) = ([7; 32], KeyId { epoch: 1, generation: 0 });
    let subject = Subject::new(Token::from_random([7; 16]), Namespace::default(), Kind::Value, &[]);
    let stamp = Stamp { tombstone: false, created_at: 1, expires_at: None };
    let fresh = Fresh { nonce: [7; 12], put_id: PutId([7; 16]) };
    let value = [b'v'; 32];
    let mut length = value.len();
    loop {
        let parts: [&[u8]; 1] = [&value[..length]];
        let record = seal(&subject, id, &DataKey::take(&mut key), stamp, &fresh, &parts).unwrap();
        match record.len() {
            RECORD => return record.into(),
            more => length -= more - RECORD,
        }
    }
}
