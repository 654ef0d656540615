//! A vault with a clock of its own, and a store whose every step lets others go first.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use lunasec_api::{Code, Encoding};
use lunasec_core::{
    ids::{Millis, Namespace},
    limits,
    policy::{Caller, Policy},
    secret::{DataKey, Plaintext},
    token::Token,
};
use lunasec_sidecar::{
    env::{Clock, Entropy, SystemEntropy, random},
    failure::Failure,
    idempotency::{Idempotency, IdempotencyKey, MemoryEntries},
    keyed::KeyedLocks,
    keys::{Keyring, LocalKeys, Settings},
    store::{EmbeddedStore, Heads, MemoryStore, Name, Object, Store, StoreError, Timed, Version},
    vault::{Call, NewValue, Vault},
};
use tempfile::TempDir;

pub(crate) const START: Millis = 1_763_942_400_000;
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Moves only when told to.
pub(crate) struct FakeClock {
    now: AtomicU64,
    monotonic: AtomicU64,
}

impl FakeClock {
    pub(crate) fn pass(&self, time: Duration) {
        let time = u64::try_from(time.as_millis()).unwrap();
        self.now.fetch_add(time, Ordering::SeqCst);
        self.monotonic.fetch_add(time, Ordering::SeqCst);
    }

    pub(crate) fn set(&self, now: Millis) {
        self.now.store(now, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Millis {
        self.now.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic.load(Ordering::SeqCst))
    }
}

/// Lets others go first, for a random number of turns before and after each step. On one thread
/// this finds interleavings that threads find once in a million runs.
pub(crate) struct Restless {
    inner: Arc<dyn Store>,
    entropy: SystemEntropy,
    /// The longest head that was asked for.
    pub(crate) longest_head: AtomicUsize,
    /// Whether new objects are refused as if the disk were full.
    pub(crate) full: AtomicBool,
    /// Calls of `get`, which reads an object whole.
    pub(crate) gets: AtomicUsize,
    /// Whether requests are taken and never answered.
    pub(crate) hangs: AtomicBool,
    /// Writes of new objects until the disk is full, if that is near.
    pub(crate) room: AtomicUsize,
}

impl Restless {
    async fn turns(&self) {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        for _ in 0..random::<1>(&self.entropy).unwrap()[0] % 8 {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Store for Restless {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.turns().await;
        let has_room = |room: usize| room.checked_sub(1);
        let room = self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, has_room);
        if self.full.load(Ordering::SeqCst) || room.is_err() {
            return Err(StoreError::Unavailable("full".into()));
        }
        let result = self.inner.put_new(name, bytes).await;
        self.turns().await;
        result
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.turns().await;
        let result = self.inner.put_if(name, bytes, expected).await;
        self.turns().await;
        result
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.turns().await;
        let result = self.inner.get(name).await;
        self.turns().await;
        result
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        self.turns().await;
        self.inner.list(prefix, after, limit).await
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        self.longest_head.fetch_max(length, Ordering::SeqCst);
        let result = self.inner.heads(prefix, after, limit, length).await;
        self.turns().await;
        result
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        self.turns().await;
        self.inner.remove_if(name, expected).await
    }
}

/// A vault and what it stands on.
pub(crate) struct World {
    pub(crate) vault: Vault,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) store: Arc<Restless>,
    _directory: TempDir,
}

impl World {
    pub(crate) fn in_memory() -> Self {
        Self::on(|_| Arc::new(MemoryStore::default()))
    }

    pub(crate) fn embedded() -> Self {
        Self::on(|directory| {
            Arc::new(EmbeddedStore::open(&directory.path().join("store.redb")).unwrap())
        })
    }

    fn on(store: impl FnOnce(&TempDir) -> Arc<dyn Store>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Restless {
            inner: store(&directory),
            entropy: SystemEntropy::default(),
            longest_head: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            gets: AtomicUsize::new(0),
            hangs: AtomicBool::new(false),
            room: AtomicUsize::new(usize::MAX),
        });
        let clock =
            Arc::new(FakeClock { now: AtomicU64::new(START), monotonic: AtomicU64::new(0) });
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let key_file = directory.path().join("local.key");
        LocalKeys::create(&key_file, &*entropy).unwrap();
        let wrapper = LocalKeys::open(&key_file, Arc::clone(&entropy)).unwrap();
        let keyring =
            Keyring::new(store.clone(), Arc::new(wrapper), clock.clone(), Settings::default());
        let entries = Arc::new(MemoryEntries::new(10_000));
        let idempotency =
            Idempotency::new(DataKey::take(&mut [5; 32]), entries, Arc::clone(&entropy));
        let vault = Vault {
            store: Arc::new(Timed::new(store.clone(), limits::STORAGE_TIME)),
            keyring: Arc::new(keyring),
            clock: clock.clone(),
            entropy,
            policy: Policy { own_uid: 1 },
            idempotency: Arc::new(idempotency),
            attempts: KeyedLocks::default(),
        };
        Self { vault, clock, store, _directory: directory }
    }

    pub(crate) async fn tokenize(&self, value: &str) -> Token {
        self.vault.tokenize(&call(), new_value(value)).await.unwrap().token
    }

    pub(crate) async fn tokenize_for(&self, value: &str, time: Duration) -> Token {
        let value = NewValue { expires_in: Some(time), ..new_value(value) };
        self.vault.tokenize(&call(), value).await.unwrap().token
    }

    pub(crate) async fn detokenize(&self, token: &Token) -> Result<String, Code> {
        let revealed = self.vault.detokenize(&call(), token).await;
        revealed
            .map(|value| String::from_utf8(value.expose().to_vec()).unwrap())
            .map_err(|failure| failure.code)
    }

    pub(crate) async fn delete(&self, token: &Token) -> Result<(), Code> {
        let mut items = self.vault.delete(&call(), &[Ok(token.clone())]).await.unwrap();
        items.pop().unwrap().map(|_| ()).map_err(|failure: Failure| failure.code)
    }

    /// How many records lie in the store.
    pub(crate) async fn records(&self) -> usize {
        self.store.list(Name::RECORDS, None, 1_000_000).await.unwrap().len()
    }
}

pub(crate) fn call() -> Call {
    Call {
        caller: Caller { uid: 1, gid: 1, pid: None },
        namespace: Namespace::default(),
        idempotency_key: None,
    }
}

pub(crate) fn call_with(key: &str) -> Call {
    Call { idempotency_key: Some(IdempotencyKey::parse(key).unwrap()), ..call() }
}

pub(crate) fn new_value(value: &str) -> NewValue {
    NewValue {
        value: Plaintext::new(value.into()),
        encoding: Encoding::Utf8,
        metadata: None,
        expires_in: None,
    }
}
