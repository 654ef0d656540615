//! A vault in this process, with a clock of its own, and a store whose every step lets others go first.

use std::{
    ops::Deref,
    path::PathBuf,
    sync::{
        Arc, Mutex,
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
    policy::{Caller, Client},
    secret::{DataKey, Plaintext},
    token::Token,
};
use lunasec_sidecar::{
    alarm::Alarm,
    audit::Trail,
    breaker::Breaker,
    db::Db,
    env::{Clock, Entropy, SystemEntropy, random},
    failure::Failure,
    idempotency::{Idempotency, IdempotencyKey, MemoryEntries},
    journal::{Bounds, Journal, Ledger, Replayer},
    keyed::KeyedLocks,
    keys::{Keyring, LocalKeys, Settings, Standby},
    store::{
        Ages, Cached, Guarded, Heads, Journaled, Kept, Name, Object, Store, StoreError, Timed,
        Version,
    },
    telemetry::{Operation, Telemetry},
    vault::{Call, Form, Memory, NewValue, Turns, Vault},
};

use crate::Backend;

/// When every clock begins.
pub const START: Millis = 1_763_942_400_000;
/// One hour.
pub const HOUR: Duration = Duration::from_secs(3600);

/// Moves only when told to.
pub struct FakeClock {
    now: AtomicU64,
    monotonic: AtomicU64,
}

impl Default for FakeClock {
    fn default() -> Self {
        Self { now: AtomicU64::new(START), monotonic: AtomicU64::new(0) }
    }
}

impl FakeClock {
    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        let time = u64::try_from(time.as_millis()).unwrap();
        self.now.fetch_add(time, Ordering::SeqCst);
        self.monotonic.fetch_add(time, Ordering::SeqCst);
    }

    /// Sets the wall clock, also back.
    pub fn set(&self, now: Millis) {
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
#[derive(Clone)]
pub struct Restless {
    inner: Arc<dyn Store>,
    seen: Arc<Seen>,
}

/// What a test sees of its store and makes it do, at any of its clones.
pub struct Seen {
    entropy: SystemEntropy,
    /// The longest head that was asked for.
    pub longest_head: AtomicUsize,
    /// Whether new objects are refused as if the disk were full.
    pub full: AtomicBool,
    /// Calls of `get`, which reads an object whole.
    pub gets: AtomicUsize,
    /// Writes of records that took effect.
    pub writes: AtomicUsize,
    /// Whether requests are taken and never answered.
    pub hangs: AtomicBool,
    /// Whether they fail at once.
    pub away: AtomicBool,
    /// How long a read or a write of an object takes, in milliseconds.
    pub slow: AtomicU64,
    /// Objects that are being created.
    creations: AtomicUsize,
    /// The most of them that ever were at once.
    pub most_creations: AtomicUsize,
    /// Whether too many of them wait already.
    pub crowded: AtomicBool,
    /// What the next read of a name gives, as if it had come before the others.
    pub late: Mutex<Option<(Name, Object)>>,
    /// Writes to this are refused.
    pub refuses: Mutex<Option<Name>>,
    /// Writes of new objects until the disk is full, if that is near.
    pub room: AtomicUsize,
    /// Whether somebody else is always faster to replace an object.
    pub loses: AtomicBool,
    /// Objects of more than 10 KiB that are being read.
    large: AtomicUsize,
    /// The most of them that ever were at once.
    pub most_large: AtomicUsize,
}

impl Deref for Restless {
    type Target = Seen;

    fn deref(&self) -> &Seen {
        &self.seen
    }
}

impl Restless {
    fn count(&self, name: &Name, result: &Result<Version, StoreError>) {
        let counts = result.is_ok() && name.as_str().starts_with(Name::RECORDS);
        self.writes.fetch_add(usize::from(counts), Ordering::SeqCst);
    }

    async fn begin(&self) -> Result<(), StoreError> {
        if let slow @ 1.. = self.slow.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(slow)).await;
        }
        self.turns().await
    }

    async fn turns(&self) -> Result<(), StoreError> {
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        for _ in 0..random::<1>(&self.entropy).unwrap()[0] % 8 {
            tokio::task::yield_now().await;
        }
        if self.crowded.load(Ordering::SeqCst) {
            return Err(StoreError::Overloaded);
        }
        match self.away.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("away".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Store for Restless {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        let at_once = 1 + self.creations.fetch_add(1, Ordering::SeqCst);
        self.most_creations.fetch_max(at_once, Ordering::SeqCst);
        let begun = self.begin().await;
        self.creations.fetch_sub(1, Ordering::SeqCst);
        begun?;
        if self.refuses.lock().unwrap().as_ref() == Some(name) {
            return Err(StoreError::Refused("not this".into()));
        }
        let has_room = |room: usize| room.checked_sub(1);
        let room = self.room.fetch_update(Ordering::SeqCst, Ordering::SeqCst, has_room);
        if self.full.load(Ordering::SeqCst) || room.is_err() {
            return Err(StoreError::Unavailable("full".into()));
        }
        let result = self.inner.put_new(name, bytes).await;
        self.count(name, &result);
        self.turns().await?;
        result
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.begin().await?;
        if self.loses.load(Ordering::SeqCst) {
            return Err(StoreError::Precondition);
        }
        let result = self.inner.put_if(name, bytes, expected).await;
        self.count(name, &result);
        self.turns().await?;
        result
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        self.begin().await?;
        let late = self.late.lock().unwrap().take_if(|(late, _)| late == name);
        if let Some((_, object)) = late {
            return Ok(Some(object));
        }
        let result = self.inner.get(name).await;
        let is_large = matches!(&result, Ok(Some(object)) if object.bytes.len() > 10 << 10);
        let large = self.large.fetch_add(is_large.into(), Ordering::SeqCst) + usize::from(is_large);
        self.most_large.fetch_max(large, Ordering::SeqCst);
        self.turns().await?;
        self.large.fetch_sub(is_large.into(), Ordering::SeqCst);
        result
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        self.turns().await?;
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
        self.turns().await?;
        result
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        self.turns().await?;
        self.inner.remove_if(name, expected).await
    }
}

/// What may bridge an outage, beside the memory.
#[derive(Default)]
pub struct Bridges {
    /// Where writes wait for the store.
    pub journal: Option<(Arc<dyn Ledger>, Bounds)>,
    /// A state directory with a disk cache and a standby key.
    pub disk: Option<PathBuf>,
    /// How long after the beginning of all clocks it starts.
    pub starts: Duration,
}

/// A vault and what it stands on.
pub struct World {
    /// What is tested.
    pub vault: Vault,
    /// Its clock.
    pub clock: Arc<FakeClock>,
    /// Its store.
    pub store: Restless,
    /// What is below the journal.
    below: Option<Arc<dyn Store>>,
    /// Where writes wait for the store, if they do.
    pub journal: Option<Arc<Journal>>,
    /// Its metrics, as far as they are of the journal.
    pub telemetry: Arc<Telemetry>,
    /// Kept for as long as it is used, where nobody else has it.
    backend: Option<Backend>,
}

impl World {
    /// A store of its own, in memory.
    pub fn in_memory() -> Self {
        Self::alone(Backend::memory())
    }

    /// A store of its own, on disk.
    pub fn embedded() -> Self {
        Self::alone(Backend::embedded())
    }

    fn alone(backend: Backend) -> Self {
        let mut world = Self::on(&backend);
        world.backend = Some(backend);
        world
    }

    /// One of the sidecars that share a backend.
    pub fn on(backend: &Backend) -> Self {
        Self::with(backend, |store, _| Arc::new(store))
    }

    /// The same, remembering what it reads as a sidecar on S3 does.
    pub fn remembering(backend: &Backend) -> Self {
        Self::with(backend, |store, clock| {
            Arc::new(Cached::new(store, clock, Ages::default(), Arc::default(), None))
        })
    }

    /// The same behind a breaker, which says when storage is away.
    pub fn guarded(backend: &Backend) -> Self {
        Self::with(backend, |store, clock| {
            let clock: Arc<dyn Clock> = clock;
            let breaker = Arc::new(Breaker::new(Arc::clone(&clock)));
            cached(Guarded::new(store, Arc::clone(&breaker)), &clock, &breaker)
        })
    }

    /// The same with a journal, which takes up what waits in the ledger. Nothing is replayed until
    /// [`World::replayer`] runs.
    pub async fn journaled(backend: &Backend, ledger: Arc<dyn Ledger>, bounds: Bounds) -> Self {
        Self::bridging(backend, Bridges { journal: Some((ledger, bounds)), ..Bridges::default() })
            .await
    }

    /// The same with whatever may bridge an outage.
    pub async fn bridging(backend: &Backend, bridges: Bridges) -> Self {
        let mut world = Self::on(backend);
        world.clock.pass(bridges.starts);
        let clock: Arc<dyn Clock> = world.clock.clone();
        let timed = Timed::new(world.store.clone(), limits::STORAGE_TIME);
        let breaker = Arc::new(Breaker::new(Arc::clone(&clock)));
        let guarded = Guarded::new(timed, Arc::clone(&breaker));
        let below = match &bridges.disk {
            Some(disk) => {
                let ages = Ages::default();
                let db = Db::open_copy(&disk.join("cache.redb")).unwrap();
                let kept = Kept::open(guarded, db, Arc::clone(&clock), ages, 1 << 24).await;
                cached(kept.unwrap(), &clock, &breaker)
            }
            None => cached(guarded, &clock, &breaker),
        };
        if let Some(disk) = &bridges.disk {
            let db = Db::open_copy(&disk.join("standby.redb")).unwrap();
            let key = disk.join("standby.key");
            let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
            if !key.exists() {
                LocalKeys::create(&key, &*entropy).unwrap();
            }
            let standby = Standby::open(db, &key, Arc::clone(&clock), entropy).await.unwrap();
            let shared = Arc::new(Timed::new(world.store.clone(), limits::STORAGE_TIME));
            let wrapper = (backend.wrapper)();
            let keyring = Keyring::new(shared, wrapper, Arc::clone(&clock), Settings::default());
            world.vault.keyring = Arc::new(keyring.with_standby(Some(Arc::new(standby))));
        }
        world.vault.store = Arc::clone(&below);
        if let Some((ledger, bounds)) = bridges.journal {
            let journal = Journal::open(ledger, Arc::clone(&clock), bounds).await.unwrap();
            let journal = Arc::new(journal.counted(world.telemetry.replayed()));
            let (inner, entries) = (Arc::clone(&below), Arc::clone(&journal));
            world.vault.store = Arc::new(Journaled::new(inner, entries, clock, breaker, true));
            world.journal = Some(journal);
        }
        world.below = Some(below);
        world
    }

    /// What brings the journal to the store.
    pub fn replayer(&self) -> Replayer {
        Replayer {
            store: self.below.clone().unwrap(),
            journal: self.journal.clone().unwrap(),
            keyring: Arc::clone(&self.vault.keyring),
            entropy: Arc::new(SystemEntropy::default()),
        }
    }

    fn with(
        backend: &Backend,
        decorate: impl FnOnce(Timed<Restless>, Arc<FakeClock>) -> Arc<dyn Store>,
    ) -> Self {
        let seen = Arc::new(Seen {
            entropy: SystemEntropy::default(),
            longest_head: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            gets: AtomicUsize::new(0),
            writes: AtomicUsize::new(0),
            hangs: AtomicBool::new(false),
            away: AtomicBool::new(false),
            slow: AtomicU64::new(0),
            creations: AtomicUsize::new(0),
            most_creations: AtomicUsize::new(0),
            crowded: AtomicBool::new(false),
            late: Mutex::default(),
            refuses: Mutex::default(),
            room: AtomicUsize::new(usize::MAX),
            loses: AtomicBool::new(false),
            large: AtomicUsize::new(0),
            most_large: AtomicUsize::new(0),
        });
        let store = Restless { inner: (backend.store)(), seen };
        let clock = Arc::new(FakeClock::default());
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let wrapper = (backend.wrapper)();
        let shared = Arc::new(Timed::new(store.clone(), limits::STORAGE_TIME));
        let keyring = Keyring::new(shared, wrapper, clock.clone(), Settings::default());
        let entries = Arc::new(MemoryEntries::new(10_000));
        let idempotency =
            Idempotency::new(DataKey::take(&mut [5; 32]), entries, Arc::clone(&entropy));
        let telemetry = Arc::new(Telemetry::new(clock.clone()));
        let vault = Vault {
            store: decorate(Timed::new(store.clone(), limits::STORAGE_TIME), clock.clone()),
            keyring: Arc::new(keyring),
            clock: clock.clone(),
            entropy,
            idempotency: Arc::new(idempotency),
            attempts: KeyedLocks::default(),
            turns: Turns::default(),
            memory: Memory::new([7; 16]),
            alarm: Alarm::new(Arc::clone(&telemetry), clock.clone()),
        };
        Self { vault, clock, store, below: None, journal: None, telemetry, backend: None }
    }

    /// A token for text.
    pub async fn tokenize(&self, value: &str) -> Token {
        self.vault.tokenize(&call(), new_value(value)).await.unwrap().token
    }

    /// A token for text that expires.
    pub async fn tokenize_for(&self, value: &str, time: Duration) -> Token {
        let value = NewValue { expires_in: Some(time), ..new_value(value) };
        self.vault.tokenize(&call(), value).await.unwrap().token
    }

    /// The text, or why not.
    pub async fn detokenize(&self, token: &Token) -> Result<String, Code> {
        let revealed = self.vault.detokenize(&call(), token).await;
        revealed
            .map(|value| String::from_utf8(value.expose().to_vec()).unwrap())
            .map_err(|failure| failure.code)
    }

    /// Deletes one token.
    pub async fn delete(&self, token: &Token) -> Result<(), Code> {
        let mut items = self.vault.delete(&call(), &[Ok(token.clone())]).await.unwrap();
        items.pop().unwrap().map(|_| ()).map_err(|failure: Failure| failure.code)
    }

    /// How many records lie in the store.
    pub async fn records(&self) -> usize {
        self.store.list(Name::RECORDS, None, 1_000_000).await.unwrap().len()
    }
}

/// Remembering what a breaker guards.
fn cached(
    guarded: impl Store + 'static,
    clock: &Arc<dyn Clock>,
    breaker: &Arc<Breaker>,
) -> Arc<dyn Store> {
    let (clock, breaker) = (Arc::clone(clock), Some(Arc::clone(breaker)));
    Arc::new(Cached::new(guarded, clock, Ages::default(), Arc::default(), breaker))
}

/// A call of the own user, in the default namespace.
pub fn call() -> Call {
    Call {
        caller: Caller { uid: 1, gid: 1, pid: None },
        operation: Operation::Unknown,
        guest: Arc::new(Client::own(1).into()),
        namespace: Namespace::default(),
        session: None,
        proven: false,
        idempotency_key: None,
        trail: Trail::default(),
    }
}

/// The same under an idempotency key.
pub fn call_with(key: &str) -> Call {
    Call { idempotency_key: Some(IdempotencyKey::parse(key).unwrap()), ..call() }
}

/// Text without metadata or expiry.
pub fn new_value(value: &str) -> NewValue {
    NewValue {
        value: Plaintext::new(value.into()),
        form: Form::Value(Encoding::Utf8),
        metadata: None,
        expires_in: None,
    }
}
