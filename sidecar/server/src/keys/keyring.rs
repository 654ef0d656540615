//! The keyring: one data key for each namespace and epoch, shared by all sidecars through the store.
//!
//! `k/{namespace}/{key id}` holds the wrapped key. Whoever needs an epoch's key first creates it
//! (`put_new`); whoever loses that race reads the winner's. The next epoch's key is made ahead of its
//! time. While a new key cannot be had, the last one goes on sealing up to a hard limit. Nothing
//! here runs on a timer: an idle sidecar makes no calls.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use lunasec_core::{
    ids::{KeyId, Millis, Namespace},
    limits,
    secret::DataKey,
};

use super::{Context, KeyError, Purpose, Standby, Wrapper};
use crate::{
    env::{Clock, millis},
    keyed::KeyedLocks,
    seldom::Seldom,
    store::{Name, Store, StoreError},
    telemetry::CacheSeries,
};

mod upkeep;

pub use upkeep::Rewrapped;

/// The clocks of the keyring.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long one key seals.
    pub epoch: Duration,
    /// How long before its epoch the next key is made.
    pub ahead: Duration,
    /// How old an epoch's beginning may be while its key still seals, with no newer one to be had.
    pub extension: Duration,
    /// When an unwrapped key is unwrapped anew; while that fails it serves up to `extension`.
    pub age: Duration,
    /// Unwrapped keys in memory.
    pub capacity: usize,
    /// After a failure, how long until the next attempt.
    pub retry: Duration,
    /// How often to look whether the epoch has a newer key.
    pub refresh: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epoch: limits::KEY_EPOCH,
            ahead: limits::KEY_AHEAD,
            extension: limits::KEY_EXTENSION,
            age: limits::KEY_AGE,
            capacity: limits::KEYS_IN_MEMORY,
            retry: limits::KEY_RETRY,
            refresh: limits::KEY_REFRESH,
        }
    }
}

/// A data key and its name.
#[derive(Clone, Debug)]
pub struct Key {
    /// What records say.
    pub id: KeyId,
    /// What seals and opens them.
    pub key: Arc<DataKey>,
}

/// A key that opens, or that names sessions.
#[derive(Clone)]
pub struct Opening {
    key: Arc<DataKey>,
    /// How long ago it was unwrapped, where that is longer than it should be, or the keeper is away.
    pub age: Option<Duration>,
}

impl Opening {
    /// As the keeper has just said.
    fn new(key: Arc<DataKey>) -> Self {
        Self { key, age: None }
    }
}

impl Deref for Opening {
    type Target = Arc<DataKey>;

    fn deref(&self) -> &Arc<DataKey> {
        &self.key
    }
}

/// Names a held key without the text that the store needs.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Slot {
    namespace: Namespace,
    /// None for the index key.
    id: Option<KeyId>,
}

impl Slot {
    fn data(namespace: &Namespace, id: KeyId) -> Self {
        Self { namespace: namespace.clone(), id: Some(id) }
    }

    fn index(namespace: &Namespace) -> Self {
        Self { namespace: namespace.clone(), id: None }
    }

    /// Reads the slot out of a name; none for what is no key's name.
    fn of(name: &Name) -> Option<Self> {
        let namespace = name.namespace()?;
        match name.last_part() {
            INDEX => Some(Self { namespace, id: None }),
            id => Some(Self { namespace, id: Some(KeyId::parse(id).ok()?) }),
        }
    }

    fn name(&self) -> Name {
        match self.id {
            Some(id) => Name::key(&self.namespace, id),
            None => Name::index_key(&self.namespace),
        }
    }

    fn purpose(&self) -> Purpose {
        if self.id.is_some() { Purpose::Data } else { Purpose::Index }
    }
}

/// Of an unwrapped key beside its entry: itself, its counts, and what the allocator adds.
const KEY_BYTES: usize = 32 + 16 + 16;

const INDEX: &str = "index";

struct Unwrapped {
    key: Arc<DataKey>,
    at: Duration,
    /// How old it was then.
    before: Duration,
    /// Past its age it serves until then, while one request tries to unwrap it anew or has failed to.
    pause: Duration,
}

#[derive(Default)]
struct Held {
    unwrapped: HashMap<Slot, Unwrapped>,
    current: HashMap<Namespace, Key>,
    /// The newest epoch for which a key is known to be there.
    prepared: HashMap<Namespace, u32>,
    /// No attempt to make a newer key before this.
    pause: HashMap<Namespace, Duration>,
    /// When the epoch's keys were last looked at.
    looked: HashMap<Namespace, Duration>,
    /// Keys that the keeper has refused, why, and until when that is not asked again.
    refused: HashMap<Slot, (KeyError, Duration)>,
}

impl Held {
    fn make_current(&mut self, namespace: &Namespace, key: &Key, capacity: usize) {
        if self.current.len() >= capacity && !self.current.contains_key(namespace) {
            let oldest = self.current.iter().min_by_key(|(_, key)| key.id);
            if let Some(oldest) = oldest.map(|(namespace, _)| namespace.clone()) {
                self.current.remove(&oldest);
                self.prepared.remove(&oldest);
                self.pause.remove(&oldest);
                self.looked.remove(&oldest);
            }
        }
        self.pause.remove(namespace);
        self.current.insert(namespace.clone(), key.clone());
    }
}

/// See the module.
pub struct Keyring {
    store: Arc<dyn Store>,
    wrapper: Arc<dyn Wrapper>,
    clock: Arc<dyn Clock>,
    settings: Settings,
    held: Mutex<Held>,
    /// What outlives a restart, where the operator wants that.
    standby: Option<Arc<Standby>>,
    /// Many requests that miss the same key make one call.
    flights: KeyedLocks<Slot>,
    preparing: AtomicBool,
    looking: AtomicBool,
    /// When the keeper was last known to be away, and for how long that counts: milliseconds.
    away_until: AtomicU64,
    series: CacheSeries,
    lines: Lines,
}

/// What is logged while keys cannot be had. Of any namespace, of which there may be any number.
struct Lines {
    extended: Seldom,
    not_prepared: Seldom,
    not_looked: Seldom,
}

impl Lines {
    fn new(clock: &Arc<dyn Clock>) -> Self {
        let seldom = || Seldom::new(Arc::clone(clock));
        Self { extended: seldom(), not_prepared: seldom(), not_looked: seldom() }
    }
}

impl Keyring {
    /// Holds nothing yet.
    pub fn new(
        store: Arc<dyn Store>,
        wrapper: Arc<dyn Wrapper>,
        clock: Arc<dyn Clock>,
        settings: Settings,
    ) -> Self {
        Self {
            lines: Lines::new(&clock),
            store,
            wrapper,
            clock,
            settings,
            held: Mutex::default(),
            standby: None,
            flights: KeyedLocks::default(),
            preparing: AtomicBool::new(false),
            looking: AtomicBool::new(false),
            away_until: AtomicU64::new(0),
            series: CacheSeries::default(),
        }
    }

    /// The same, counting how often memory has the key.
    pub fn counted(self, series: CacheSeries) -> Self {
        Self { series, ..self }
    }

    /// The same, keeping keys for a restart.
    pub fn with_standby(self, standby: Option<Arc<Standby>>) -> Self {
        Self { standby, ..self }
    }

    /// The key to seal with now.
    pub async fn current(self: &Arc<Self>, namespace: &Namespace) -> Result<Key, KeyError> {
        let now = self.clock.now();
        let due = KeyId::at(now, self.settings.epoch);
        if let Some(key) = self.held_current(namespace, due) {
            match key.id.epoch < due.epoch || self.keeper_is_away() {
                true => self.series.stale(),
                false => self.series.hit(),
            }
            self.prepare_next(namespace, now);
            if key.id.epoch >= due.epoch {
                self.look_for_newer(namespace, &key);
            }
            return Ok(key);
        }
        self.series.miss();
        let _flight = self.flights.lock(Slot::data(namespace, due)).await;
        if let Some(key) = self.held_current(namespace, due) {
            return Ok(key);
        }
        match self.fetch_or_make(namespace, due).await {
            Ok(key) => {
                self.make_current(namespace, &key);
                Ok(key)
            }
            Err(error) => match self.extend(namespace, now, error) {
                Err(error) => self.kept_current(namespace, now, error).await,
                extended => extended,
            },
        }
    }

    /// The newest key that was kept for a restart, while nobody can be asked for any.
    async fn kept_current(
        &self,
        namespace: &Namespace,
        now: Millis,
        error: KeyError,
    ) -> Result<Key, KeyError> {
        let Some(standby) = self.standby.as_ref().filter(|_| error.is_no_answer()) else {
            return Err(error);
        };
        let Some(id) = standby.newest(namespace).await.filter(|id| self.may_extend(*id, now))
        else {
            return Err(error);
        };
        let key = self.kept(&Slot::data(namespace, id), error).await?;
        let key = Key { id, key: Arc::clone(&key) };
        let mut held = self.held();
        held.make_current(namespace, &key, self.settings.capacity);
        held.pause.insert(namespace.clone(), self.clock.monotonic() + self.settings.retry);
        Ok(key)
    }

    /// A key that was kept for a restart, while nobody can be asked for it, for as long as if there had been none.
    async fn kept(&self, slot: &Slot, error: KeyError) -> Result<Opening, KeyError> {
        let Some(standby) = self.standby.as_ref().filter(|_| error.is_no_answer()) else {
            return Err(error);
        };
        let Some(kept) = standby.find(&slot.name(), slot.purpose()).await else {
            return Err(error);
        };
        let age = Duration::from_millis(self.clock.now().saturating_sub(kept.at));
        if age >= self.settings.extension {
            return Err(error);
        }
        let key = self.hold_since(slot, kept.key, age);
        Ok(Opening { key, age: Some(age) })
    }

    /// The key that a record names.
    pub async fn opening(&self, namespace: &Namespace, id: KeyId) -> Result<Opening, KeyError> {
        self.unwrapped(Slot::data(namespace, id)).await
    }

    /// The key that names the namespace's sessions; made where there is none.
    pub async fn index(&self, namespace: &Namespace) -> Result<Opening, KeyError> {
        self.unwrapped(Slot::index(namespace)).await
    }

    async fn unwrapped(&self, slot: Slot) -> Result<Opening, KeyError> {
        let key = self.held_or_unwrapped(slot).await?;
        if key.age.is_some() {
            self.series.stale();
        }
        Ok(key)
    }

    async fn held_or_unwrapped(&self, slot: Slot) -> Result<Opening, KeyError> {
        if let Some(key) = self.held_key(&slot) {
            if key.as_ref().is_ok_and(|key| key.age.is_none()) {
                self.series.hit();
            }
            return key;
        }
        self.series.miss();
        let renews = self.begin_to_renew(&slot);
        let _flight = self.flights.lock(slot.clone()).await;
        if let Some(key) = self.held_key(&slot).filter(|_| !renews) {
            return key;
        }
        match (self.unwrap_stored(&slot).await, slot.purpose()) {
            (Ok(Some(key)), _) => Ok(Opening::new(key)),
            (Ok(None), Purpose::Index) => self.make(&slot).await.map(Opening::new),
            (Ok(None), Purpose::Data) => {
                Err(KeyError::Corrupted(format!("the keyring has no {:?}", slot.name())))
            }
            (Err(error), _) => match self.aged(&slot, error) {
                Err(error) => self.kept(&slot, error).await,
                aged => aged,
            },
        }
    }

    /// Unwraps stored keys, up to `most` of them: whether the keeper holds the right key is known
    /// before the first request, not after. `Ok(false)` for a store without keys.
    pub async fn probe(&self, most: usize) -> Result<bool, KeyError> {
        let names = self.store.list(Name::KEYS, None, most).await?;
        for name in &names {
            self.open_stored(name).await?;
        }
        Ok(!names.is_empty())
    }

    /// Unwraps the stored key of that name, as a request that needs it would.
    pub async fn open_stored(&self, name: &Name) -> Result<(), KeyError> {
        let slot = Slot::of(name)
            .ok_or_else(|| KeyError::Corrupted(format!("{name:?} is no key's name")))?;
        match slot.id {
            // One that comes meanwhile waits for the same call.
            Some(id) => _ = self.opening(&slot.namespace, id).await?,
            None => _ = self.unwrap_stored(&slot).await?,
        }
        Ok(())
    }

    /// How long ago the epoch of the newest key that seals began.
    pub fn age(&self) -> Option<Duration> {
        let newest = self.held().current.values().map(|key| key.id).max()?;
        Some(Duration::from_millis(self.clock.now().saturating_sub(newest.starts_at())))
    }

    /// How many unwrapped keys are held.
    pub fn held_count(&self) -> usize {
        self.held().unwrapped.len()
    }

    /// The memory for them.
    pub fn held_bytes(&self) -> usize {
        self.held_count() * (size_of::<Slot>() + size_of::<Unwrapped>() + KEY_BYTES)
    }

    /// Whether any namespace seals under a key whose epoch is over.
    pub fn extended(&self) -> bool {
        let due = KeyId::at(self.clock.now(), self.settings.epoch);
        let held = self.held();
        // An idle namespace holds an old key too; only a failed attempt makes it an extension.
        held.current
            .iter()
            .any(|(namespace, key)| key.id.epoch < due.epoch && held.pause.contains_key(namespace))
    }

    /// How long ago the epoch began under whose key this namespace seals, where the key should be a newer one
    /// or the keeper is away.
    pub fn sealing_age(&self, namespace: &Namespace) -> Option<Duration> {
        let now = self.clock.now();
        let id = self.held().current.get(namespace)?.id;
        let is_over = id.epoch < KeyId::at(now, self.settings.epoch).epoch;
        let age = Duration::from_millis(now.saturating_sub(id.starts_at()));
        (is_over || self.keeper_is_away()).then_some(age)
    }

    /// Whether the keeper of keys is known to be away. Nobody asks it while all keys are in memory, so a
    /// failure counts only until another attempt would have had its time.
    fn keeper_is_away(&self) -> bool {
        let until = self.away_until.load(Ordering::Relaxed);
        until > 0 && self.clock.monotonic() < Duration::from_millis(until)
    }

    /// What the keeper says, and whether it says anything.
    async fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, KeyError>>,
    ) -> Result<T, KeyError> {
        let result = request.await;
        let until = match &result {
            Err(KeyError::Unavailable(_)) => {
                millis(self.clock.monotonic() + 2 * self.settings.retry)
            }
            _ => 0,
        };
        self.away_until.store(until, Ordering::Relaxed);
        result
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Every change is one insert or remove: a panic elsewhere leaves nothing half done.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_current(&self, namespace: &Namespace, due: KeyId) -> Option<Key> {
        let held = self.held();
        let key = held.current.get(namespace)?;
        let paused = || {
            held.pause.get(namespace).is_some_and(|until| self.clock.monotonic() < *until)
                && self.may_extend(key.id, self.clock.now())
        };
        (key.id.epoch >= due.epoch || paused()).then(|| key.clone())
    }

    fn may_extend(&self, id: KeyId, now: Millis) -> bool {
        now.saturating_sub(id.starts_at()) < millis(self.settings.extension)
    }

    /// The last key again, while a newer one cannot be had; where nothing was sealed yet, the newest that has opened
    /// something. A keeper that refuses is not away: an operator who disables a key means it.
    fn extend(&self, namespace: &Namespace, now: Millis, error: KeyError) -> Result<Key, KeyError> {
        let mut held = self.held();
        let last = held.current.get(namespace).cloned();
        let Some(key) = last.or_else(|| self.newest_opened(&held, namespace)) else {
            return Err(error);
        };
        if is_refusal(&error) || !self.may_extend(key.id, now) {
            return Err(error);
        }
        if let Some(left_out) = self.lines.extended.admit() {
            let name = namespace.as_str();
            tracing::warn!(namespace = name, %error, left_out, "the data key's epoch is extended");
        }
        held.make_current(namespace, &key, self.settings.capacity);
        held.pause.insert(namespace.clone(), self.clock.monotonic() + self.settings.retry);
        Ok(key)
    }

    fn newest_opened(&self, held: &Held, namespace: &Namespace) -> Option<Key> {
        let serves = |slot: &Slot, unwrapped: &Unwrapped| {
            slot.namespace == *namespace
                && !held.refused.contains_key(slot)
                && self.held_for(unwrapped) < self.settings.extension
        };
        let keys = held.unwrapped.iter().filter(|(slot, unwrapped)| serves(slot, unwrapped));
        let keys =
            keys.filter_map(|(slot, it)| Some(Key { id: slot.id?, key: Arc::clone(&it.key) }));
        keys.max_by_key(|key| key.id)
    }

    /// The key, where it serves now; or why it was refused a moment ago, which asking again would not change.
    fn held_key(&self, slot: &Slot) -> Option<Result<Opening, KeyError>> {
        let (now, held) = (self.clock.monotonic(), self.held());
        if let Some((error, until)) = held.refused.get(slot)
            && now < *until
        {
            return Some(Err(error.clone()));
        }
        let unwrapped = held.unwrapped.get(slot)?;
        let age = self.held_for(unwrapped);
        let paused = age < self.settings.extension && now < unwrapped.pause;
        let young = age < self.settings.age;
        (young || paused).then(|| {
            let told = !young || self.keeper_is_away();
            Ok(Opening { key: Arc::clone(&unwrapped.key), age: told.then_some(age) })
        })
    }

    /// Whether there is a key past its age. It goes on serving everybody but this one, who finds out whether
    /// it still may: a keeper that hangs keeps one request waiting, and not all.
    fn begin_to_renew(&self, slot: &Slot) -> bool {
        let mut held = self.held();
        let Some(unwrapped) = held.unwrapped.get_mut(slot) else { return false };
        let serves = self.held_for(unwrapped) < self.settings.extension;
        if serves {
            unwrapped.pause = self.clock.monotonic() + self.settings.retry;
        }
        serves
    }

    /// A key past its age, while it cannot be unwrapped anew; see `extend`.
    fn aged(&self, slot: &Slot, error: KeyError) -> Result<Opening, KeyError> {
        let (now, mut held) = (self.clock.monotonic(), self.held());
        if is_refusal(&error) {
            if let Some(standby) = &self.standby {
                standby.forget(slot.name());
            }
            // What is refused to so many is none of theirs to remember.
            if held.refused.len() >= self.settings.capacity {
                held.refused.clear();
            }
            held.refused.insert(slot.clone(), (error.clone(), now + limits::KEY_REFUSED));
            return Err(error);
        }
        match held.unwrapped.get_mut(slot) {
            Some(unwrapped) if self.held_for(unwrapped) < self.settings.extension => {
                unwrapped.pause = now + self.settings.retry;
                let age = Some(self.held_for(unwrapped));
                Ok(Opening { key: Arc::clone(&unwrapped.key), age })
            }
            _ => Err(error),
        }
    }

    fn held_for(&self, unwrapped: &Unwrapped) -> Duration {
        self.clock.monotonic().saturating_sub(unwrapped.at) + unwrapped.before
    }

    /// A key that the keeper has just given.
    fn hold(&self, slot: &Slot, key: DataKey) -> Arc<DataKey> {
        let key = self.hold_since(slot, key, Duration::ZERO);
        if let Some(standby) = &self.standby {
            standby.keep(slot.name(), slot.purpose(), Arc::clone(&key));
        }
        key
    }

    /// A key that the keeper gave so long ago.
    fn hold_since(&self, slot: &Slot, key: DataKey, before: Duration) -> Arc<DataKey> {
        let key = Arc::new(key);
        let mut held = self.held();
        if held.unwrapped.len() >= self.settings.capacity && !held.unwrapped.contains_key(slot) {
            let oldest = held.unwrapped.iter().min_by_key(|(_, key)| key.at);
            if let Some(oldest) = oldest.map(|(slot, _)| slot.clone()) {
                held.unwrapped.remove(&oldest);
            }
        }
        let at = self.clock.monotonic();
        held.refused.remove(slot);
        let unwrapped = Unwrapped { key: Arc::clone(&key), at, before, pause: at };
        held.unwrapped.insert(slot.clone(), unwrapped);
        key
    }

    async fn unwrap_stored(&self, slot: &Slot) -> Result<Option<Arc<DataKey>>, KeyError> {
        let name = slot.name();
        let Some(object) = self.store.get(&name).await? else { return Ok(None) };
        let key = self.ask(self.wrapper.unwrap(&context(slot, &name), &object.bytes)).await?;
        Ok(Some(self.hold(slot, key)))
    }

    /// The newest generation of the epoch, made if there is none.
    async fn fetch_or_make(&self, namespace: &Namespace, due: KeyId) -> Result<Key, KeyError> {
        let id = self.newest(namespace, due).await?.unwrap_or(due);
        let slot = Slot::data(namespace, id);
        if let Some(key) = self.held_key(&slot) {
            return Ok(Key { id, key: key?.key });
        }
        let key = match self.unwrap_stored(&slot).await? {
            Some(key) => key,
            None => self.make(&slot).await?,
        };
        Ok(Key { id, key })
    }

    async fn newest(&self, namespace: &Namespace, due: KeyId) -> Result<Option<KeyId>, KeyError> {
        let prefix = Name::epoch_prefix(namespace, due);
        let names = self.store.list(&prefix, None, limits::PAGE).await?;
        Ok(names.iter().filter_map(|name| KeyId::parse(name.last_part()).ok()).max())
    }

    fn make_current(&self, namespace: &Namespace, key: &Key) {
        let now = self.clock.monotonic();
        let mut held = self.held();
        held.make_current(namespace, key, self.settings.capacity);
        held.looked.insert(namespace.clone(), now);
    }

    async fn make(&self, slot: &Slot) -> Result<Arc<DataKey>, KeyError> {
        let name = slot.name();
        let (key, wrapped) = self.ask(self.wrapper.make(&context(slot, &name))).await?;
        match self.store.put_new(&name, wrapped.into()).await {
            Ok(_) => Ok(self.hold(slot, key)),
            // Another sidecar was first: its key is the one that counts.
            Err(StoreError::Precondition) => {
                let winner = self.unwrap_stored(slot).await?;
                winner.ok_or_else(|| KeyError::Corrupted(format!("{name:?} has vanished")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the next epoch's key in the background, so that no request waits for it.
    fn prepare_next(self: &Arc<Self>, namespace: &Namespace, now: Millis) {
        let next = KeyId::at(now + millis(self.settings.ahead), self.settings.epoch);
        if next.epoch == KeyId::at(now, self.settings.epoch).epoch
            || self.held().prepared.get(namespace).is_some_and(|epoch| *epoch >= next.epoch)
            || self.paused(namespace)
            || self.preparing.swap(true, Ordering::AcqRel)
        {
            return;
        }
        let (keyring, namespace) = (Arc::clone(self), namespace.clone());
        tokio::spawn(async move {
            let _flight = keyring.flights.lock(Slot::data(&namespace, next)).await;
            match keyring.fetch_or_make(&namespace, next).await {
                Ok(key) => {
                    let mut held = keyring.held();
                    held.pause.remove(&namespace);
                    held.prepared.insert(namespace, key.id.epoch);
                }
                Err(error) => {
                    if let Some(left_out) = keyring.lines.not_prepared.admit() {
                        let name = namespace.as_str();
                        tracing::warn!(namespace = name, %error, left_out, "no key for the next epoch yet");
                    }
                    let until = keyring.clock.monotonic() + keyring.settings.retry;
                    keyring.held().pause.insert(namespace, until);
                }
            }
            keyring.preparing.store(false, Ordering::Release);
        });
    }

    /// Looks now and then, in the background, whether an operator has made a newer key for the epoch:
    /// one listing, and one call of the keeper only if there is one.
    fn look_for_newer(self: &Arc<Self>, namespace: &Namespace, key: &Key) {
        let now = self.clock.monotonic();
        let due = |at: &Duration| now.saturating_sub(*at) >= self.settings.refresh;
        if !self.held().looked.get(namespace).is_none_or(due)
            || self.looking.swap(true, Ordering::AcqRel)
        {
            return;
        }
        self.held().looked.insert(namespace.clone(), now);
        let (keyring, namespace, id) = (Arc::clone(self), namespace.clone(), key.id);
        tokio::spawn(async move {
            if let Err(error) = keyring.take_newer(&namespace, id).await
                && let Some(left_out) = keyring.lines.not_looked.admit()
            {
                let name = namespace.as_str();
                tracing::warn!(namespace = name, %error, left_out, "no look for a newer data key");
            }
            keyring.looking.store(false, Ordering::Release);
        });
    }

    async fn take_newer(&self, namespace: &Namespace, id: KeyId) -> Result<(), KeyError> {
        if self.newest(namespace, id).await?.is_none_or(|newest| newest <= id) {
            return Ok(());
        }
        let key = self.fetch_or_make(namespace, id).await?;
        tracing::info!(namespace = namespace.as_str(), key = %key.id, "a newer data key seals");
        self.make_current(namespace, &key);
        Ok(())
    }

    fn paused(&self, namespace: &Namespace) -> bool {
        let now = self.clock.monotonic();
        self.held().pause.get(namespace).is_some_and(|until| now < *until)
    }
}

fn is_refusal(error: &KeyError) -> bool {
    matches!(error, KeyError::Refused(_))
}

fn context<'a>(slot: &'a Slot, name: &'a Name) -> Context<'a> {
    Context { namespace: &slot.namespace, key: name.last_part(), purpose: slot.purpose() }
}

#[cfg(test)]
mod standby_tests;
#[cfg(test)]
mod tests;
