//! Remembers objects for as long as they may be believed: ciphertext and versions, so it knows no more
//! than the store does.
//!
//! Values are written once and deleted once; grants and sessions say who may see them, so they are
//! believed for less long; that nothing lies under a name, hardly at all. Metadata, which changes, and
//! wrapped keys, which the keyring holds, are not remembered. What this sidecar writes it sees at once;
//! what others write, when its time is over.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use lunasec_core::{
    limits,
    record::{Header, Kind},
};
use quick_cache::{
    Weighter,
    sync::{Cache, EntryAction, EntryResult},
};

use super::{Heads, Name, Object, Store, StoreError, Version};
use crate::{env::Clock, keyed::KeyedLocks};

/// How long what is remembered may be believed.
#[derive(Clone, Copy, Debug)]
pub struct Ages {
    /// The value of a token.
    pub value: Duration,
    /// A grant, and a session.
    pub grant: Duration,
    /// That there is nothing.
    pub nothing: Duration,
}

impl Default for Ages {
    fn default() -> Self {
        Self {
            value: limits::CACHED_VALUE_AGE,
            grant: limits::CACHED_GRANT_AGE,
            nothing: limits::CACHED_NOTHING_AGE,
        }
    }
}

impl Ages {
    /// For this object; none for what is not remembered.
    fn of(&self, name: &Name, object: Option<&Object>) -> Option<Duration> {
        if name.as_str().starts_with(Name::SESSIONS) {
            return Some(if object.is_some() { self.grant } else { self.nothing });
        }
        if !name.as_str().starts_with(Name::RECORDS) {
            return None;
        }
        let Some(object) = object else { return Some(self.nothing) };
        match Header::parse(&object.bytes).ok()?.kind {
            Kind::Value => Some(self.value),
            Kind::Grant => Some(self.grant),
            Kind::Metadata | Kind::Audit => None,
        }
    }
}

/// What a name held, and until when that may be believed.
#[derive(Clone)]
struct Remembered {
    object: Option<Object>,
    until: Duration,
}

/// By the bytes that an entry takes, its share of the table included.
#[derive(Clone)]
struct ByBytes;

impl Weighter<Name, Remembered> for ByBytes {
    fn weight(&self, name: &Name, remembered: &Remembered) -> u64 {
        let bytes = remembered.object.as_ref().map_or(0, |object| object.bytes.len());
        (ENTRY_BYTES + name.as_str().len() + bytes) as u64
    }
}

/// Of an entry beside its name and its object: headers, pointers, and its place in the table.
const ENTRY_BYTES: usize = 160;

type Objects = Cache<Name, Remembered, ByBytes>;

/// Whatever a write that is given up came to, what was there before is not believed any more.
struct Forget<'a> {
    cache: &'a Objects,
    name: &'a Name,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.cache.remove(self.name);
    }
}

/// See the module.
pub struct Cached<S> {
    inner: S,
    clock: Arc<dyn Clock>,
    ages: Ages,
    cache: Objects,
    /// Writes of one name take turns, so that the last one is what is remembered.
    writes: KeyedLocks<Name>,
}

impl<S: Store> Cached<S> {
    /// Remembers nothing yet, and never more than `bytes`.
    pub fn new(inner: S, clock: Arc<dyn Clock>, ages: Ages, bytes: usize) -> Self {
        let cache = Cache::with_weighter(bytes / (2 * ENTRY_BYTES), bytes as u64, ByBytes);
        Self { inner, clock, ages, cache, writes: KeyedLocks::default() }
    }

    /// `asked` is when the store was: what came of it may be as old as that.
    fn remember(&self, name: &Name, object: Option<Object>, asked: Duration) -> Option<Remembered> {
        let age = self.ages.of(name, object.as_ref())?;
        // Copied: what comes from a network is a piece of a large buffer, which it would keep.
        let copied =
            |object: Object| Object { bytes: Bytes::copy_from_slice(&object.bytes), ..object };
        let object = object.map(copied);
        Some(Remembered { object, until: asked + age })
    }

    /// Writes, in turn with others of the same name, and takes over what it came to.
    async fn write(
        &self,
        name: &Name,
        bytes: &Bytes,
        write: impl Future<Output = Result<Version, StoreError>>,
    ) -> Result<Version, StoreError> {
        let _turn = self.writes.lock(name.clone()).await;
        let forget = Forget { cache: &self.cache, name };
        let asked = self.clock.monotonic();
        let result = write.await;
        std::mem::forget(forget);
        self.written(name, bytes, &result, asked);
        result
    }

    /// Takes over what a write came to.
    fn written(
        &self,
        name: &Name,
        bytes: &Bytes,
        result: &Result<Version, StoreError>,
        asked: Duration,
    ) {
        match result {
            Ok(version) => {
                let object = Object { bytes: bytes.clone(), version: version.clone() };
                self.learn(name, Some(object), asked);
            }
            // Somebody else's is there, or nobody knows what is.
            Err(_) => _ = self.cache.remove(name),
        }
    }

    /// Replaces what is remembered.
    fn learn(&self, name: &Name, object: Option<Object>, asked: Duration) {
        match self.remember(name, object, asked) {
            Some(remembered) => self.cache.insert(name.clone(), remembered),
            None => _ = self.cache.remove(name),
        }
    }
}

#[async_trait]
impl<S: Store> Store for Cached<S> {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.write(name, &bytes, self.inner.put_new(name, bytes.clone())).await
    }

    async fn put_new_many(&self, objects: Vec<(Name, Bytes)>) -> Vec<Result<Version, StoreError>> {
        // Names of new tokens: nobody else writes them, so they need no turns.
        let asked = self.clock.monotonic();
        let results = self.inner.put_new_many(objects.clone()).await;
        for ((name, bytes), result) in objects.iter().zip(&results) {
            self.written(name, bytes, result, asked);
        }
        results
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.write(name, &bytes, self.inner.put_if(name, bytes.clone(), expected)).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        let asked = self.clock.monotonic();
        if let Some(remembered) = self.cache.get(name)
            && asked < remembered.until
        {
            return Ok(remembered.object);
        }
        // Whoever is not the first to ask reads for itself: what fails or hangs does so for each alone.
        let vacate = |_: &_, _: &mut _| EntryAction::<()>::ReplaceWithGuard;
        let place = match self.cache.entry(name, Some(Duration::ZERO), vacate) {
            EntryResult::Vacant(place) | EntryResult::Replaced(place, _) => place,
            _ => return self.inner.get(name).await,
        };
        let object = self.inner.get(name).await?;
        if let Some(remembered) = self.remember(name, object.clone(), asked) {
            // It has no place any more where it was written meanwhile: this is older.
            let _ = place.insert(remembered);
        }
        Ok(object)
    }

    async fn get_now(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        // In turn with writes, so that what is remembered of it is never older than theirs.
        let _turn = self.writes.lock(name.clone()).await;
        let asked = self.clock.monotonic();
        let object = self.inner.get_now(name).await?;
        self.learn(name, object.clone(), asked);
        Ok(object)
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
        let _forget = Forget { cache: &self.cache, name };
        self.inner.remove_if(name, expected).await
    }
}

#[cfg(test)]
mod tests {
    use lunasec_core::ids::Namespace;

    use super::*;
    use crate::{env::SystemClock, store::MemoryStore};

    /// Time that passes only while the store is asked.
    #[derive(Default)]
    struct Slow {
        inner: MemoryStore,
        now: Arc<Now>,
    }

    #[derive(Default)]
    struct Now(std::sync::Mutex<Duration>);

    impl Now {
        fn pass(&self, time: Duration) {
            *self.0.lock().unwrap() += time;
        }
    }

    impl Clock for Now {
        fn now(&self) -> lunasec_core::ids::Millis {
            0
        }

        fn monotonic(&self) -> Duration {
            *self.0.lock().unwrap()
        }
    }

    const READ: Duration = Duration::from_secs(2);

    #[async_trait]
    impl Store for Slow {
        async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
            self.inner.put_new(name, bytes).await
        }

        async fn put_if(
            &self,
            name: &Name,
            bytes: Bytes,
            expected: &Version,
        ) -> Result<Version, StoreError> {
            self.inner.put_if(name, bytes, expected).await
        }

        async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
            let object = self.inner.get(name).await;
            self.now.pass(READ);
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

    /// What a slow answer says may be as old as the question.
    #[tokio::test]
    async fn an_age_counts_from_the_question() {
        let (slow, tag) = (Slow::default(), lunasec_core::derive::SessionTag([7; 32]));
        let now = Arc::clone(&slow.now);
        let name = Name::session(&Namespace::default(), &tag);
        slow.put_new(&name, Bytes::from_static(b"state")).await.unwrap();
        let cached = Cached::new(slow, Arc::clone(&now) as _, Ages::default(), 1 << 20);
        for read in [true, false] {
            let before = now.monotonic();
            let found = if read { cached.get(&name).await } else { cached.get_now(&name).await };
            assert!(found.unwrap().is_some());
            assert_eq!(now.monotonic(), before + READ);
            now.pass(limits::CACHED_GRANT_AGE - READ - Duration::from_millis(1));
            let remembered = now.monotonic();
            cached.get(&name).await.unwrap();
            assert_eq!(now.monotonic(), remembered, "it was asked again too early");
            now.pass(Duration::from_millis(1));
            cached.get(&name).await.unwrap();
            assert_eq!(now.monotonic(), before + limits::CACHED_GRANT_AGE + READ);
            now.pass(limits::CACHED_GRANT_AGE);
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
        let cached = Cached::new(MemoryStore::default(), clock, Ages::default(), 1 << 20);
        let tag = lunasec_core::derive::SessionTag([7; 32]);
        let name = Name::session(&Namespace::default(), &tag);
        let buffer: Arc<[u8]> = vec![1; 65_536].into();
        let bytes = Bytes::from_owner(Piece(Arc::clone(&buffer)));
        cached.learn(&name, Some(Object { bytes, version: Version::number(1) }), Duration::ZERO);
        let remembered = cached.cache.get(&name).and_then(|remembered| remembered.object);
        assert_eq!(remembered.map(|object| object.bytes.len()), Some(57));
        assert_eq!(Arc::strong_count(&buffer), 1);
    }
}
