use std::sync::atomic::AtomicUsize;

use async_trait::async_trait;
use futures_util::future::join_all;
use lunasec_core::{
    envelope::{self, Fresh, Stamp, Subject},
    ids::PutId,
    record::{Header, Kind},
    token::Token,
};

use super::*;
use crate::{env::FakeClock, logged::Lines, store::MemoryStore};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// 2025-11-24T00:00:00Z, the beginning of an epoch.
const MIDNIGHT: Millis = 1_763_942_400_000;

/// Counts what it does, answers only after others had their turn, and fails when told to.
#[derive(Default)]
pub(super) struct FakeKeeper {
    failure: Mutex<Option<KeyError>>,
    /// The lock that `make` waits for: a keeper that hangs while it is held.
    hang: tokio::sync::Mutex<()>,
    /// The same for `unwrap`.
    hang_unwraps: tokio::sync::Mutex<()>,
    made: AtomicUsize,
    unwrapped: AtomicUsize,
    calls: AtomicUsize,
}

impl FakeKeeper {
    pub(super) fn fail(&self, error: Option<KeyError>) {
        *self.failure.lock().unwrap() = error;
    }

    pub(super) fn away(&self) {
        self.fail(Some(KeyError::Unavailable("away".into())));
    }

    fn count(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::SeqCst)
    }

    fn calls(&self) -> usize {
        Self::count(&self.calls)
    }

    async fn call(&self) -> Result<(), KeyError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.failure.lock().unwrap().clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Wrapper for FakeKeeper {
    async fn make(&self, context: &Context<'_>) -> Result<(DataKey, Vec<u8>), KeyError> {
        self.call().await?;
        drop(self.hang.lock().await);
        let serial = u8::try_from(self.made.fetch_add(1, Ordering::SeqCst)).unwrap();
        let wrapped = [&[serial][..], context.key.as_bytes()].concat();
        Ok((DataKey::take(&mut [serial; 32]), wrapped))
    }

    async fn unwrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        self.call().await?;
        drop(self.hang_unwraps.lock().await);
        self.unwrapped.fetch_add(1, Ordering::SeqCst);
        match wrapped.split_first() {
            Some((serial, key)) if key == context.key.as_bytes() => {
                Ok(DataKey::take(&mut [*serial; 32]))
            }
            _ => Err(KeyError::Corrupted("another context".into())),
        }
    }

    async fn rewrap(&self, _: &Context<'_>, wrapped: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(wrapped.to_vec())
    }

    fn wrapped_under(&self, _: &[u8]) -> Result<String, KeyError> {
        Ok("the fake".into())
    }
}

/// Shared by all the keyrings of a test.
pub(super) struct World {
    pub(super) store: Arc<MemoryStore>,
    pub(super) keeper: Arc<FakeKeeper>,
    pub(super) clock: Arc<FakeClock>,
    pub(super) namespace: Namespace,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = FakeClock::at(MIDNIGHT);
        Self {
            store: Arc::default(),
            keeper: Arc::default(),
            clock: Arc::new(clock),
            namespace: Namespace::default(),
        }
    }

    fn keyring(&self) -> Arc<Keyring> {
        self.keyring_with(Settings::default())
    }

    fn keyring_with(&self, settings: Settings) -> Arc<Keyring> {
        let (store, keeper) = (self.store.clone(), self.keeper.clone());
        Arc::new(Keyring::new(store, keeper, self.clock.clone(), settings))
    }

    async fn stored(&self) -> Vec<String> {
        let names = self.store.list(Name::KEYS, None, 100).await.unwrap();
        names.iter().map(|name| name.as_str().to_owned()).collect()
    }

    fn made(&self) -> usize {
        FakeKeeper::count(&self.keeper.made)
    }

    fn unwrapped(&self) -> usize {
        FakeKeeper::count(&self.keeper.unwrapped)
    }
}

/// Until what was spawned in the background has come to its end.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_callers_make_one_key() {
    let world = World::new();
    let keyring = world.keyring();
    let keys = join_all((0..50).map(|_| keyring.current(&world.namespace))).await;
    assert!(keys.into_iter().all(|key| key.unwrap().key.expose() == &[0; 32]));
    assert_eq!((world.made(), world.stored().await.len()), (1, 1));
    assert_eq!(world.keeper.calls(), 1);
}

#[tokio::test]
async fn of_racing_keyrings_one_wins_and_all_use_its_key() {
    let world = World::new();
    let keyrings: Vec<_> = (0..16).map(|_| world.keyring()).collect();
    let keys = join_all(keyrings.iter().map(|keyring| keyring.current(&world.namespace))).await;
    let keys: Vec<_> = keys.into_iter().map(Result::unwrap).collect();
    assert_eq!(world.stored().await, ["k/default/0029399040-00000"]);
    assert!(world.made() > 1, "they did not race");
    for key in &keys {
        assert_eq!((key.id, key.key.expose()), (keys[0].id, keys[0].key.expose()));
    }
    // And whoever comes later reads that key too.
    let late = world.keyring().current(&world.namespace).await.unwrap();
    assert_eq!(late.key.expose(), keys[0].key.expose());
}

#[tokio::test]
async fn the_index_key_is_made_once_by_whoever_is_first() {
    let world = World::new();
    let keyrings: Vec<_> = (0..16).map(|_| world.keyring()).collect();
    let keys = join_all(keyrings.iter().map(|keyring| keyring.index(&world.namespace))).await;
    let keys: Vec<_> = keys.into_iter().map(|key| *key.unwrap().expose()).collect();
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(world.stored().await, ["k/default/index"]);
    assert_eq!(*world.keyring().index(&world.namespace).await.unwrap().expose(), keys[0]);
}

#[tokio::test]
async fn the_next_key_is_made_ahead_and_nobody_waits_for_it() {
    let world = World::new();
    let keyring = world.keyring();
    let first = keyring.current(&world.namespace).await.unwrap();
    world.clock.pass(DAY - limits::KEY_AHEAD - MINUTE);
    keyring.current(&world.namespace).await.unwrap();
    settle().await;
    assert_eq!(world.made(), 1, "too early");
    world.clock.pass(MINUTE);
    let hang = world.keeper.hang.lock().await;
    for _ in 0..10 {
        assert_eq!(keyring.current(&world.namespace).await.unwrap().id, first.id);
        settle().await;
    }
    drop(hang);
    settle().await;
    keyring.current(&world.namespace).await.unwrap();
    settle().await;
    assert_eq!(world.made(), 2, "once, however often it was due");
    // The turn of the epoch costs no call.
    let calls = world.keeper.calls();
    world.clock.pass(limits::KEY_AHEAD);
    let second = keyring.current(&world.namespace).await.unwrap();
    assert_eq!((second.id.epoch, world.keeper.calls()), (first.id.epoch + 24 * 60, calls));
    assert_ne!(second.key.expose(), first.key.expose());
    assert!(!keyring.extended());
}

/// There may be any number of namespaces, and each is a reason to log that there is no key.
#[tokio::test]
async fn that_no_key_can_be_had_is_logged_once_in_a_while_for_all_namespaces() {
    let (world, (lines, _gathering)) = (World::new(), Lines::gather());
    let keyring = world.keyring();
    let namespaces: Vec<_> =
        (0..50).map(|number| Namespace::parse(&format!("n{number}")).unwrap()).collect();
    let ask_all = async || {
        for namespace in &namespaces {
            keyring.current(namespace).await.unwrap();
            settle().await;
        }
    };
    ask_all().await;
    // Near the end of the epoch, and past it.
    for (pass, words) in [
        (DAY - MINUTE, "no key for the next epoch yet"),
        (MINUTE, "the data key's epoch is extended"),
    ] {
        world.keeper.away();
        world.clock.pass(pass);
        world.clock.pass(limits::KEY_RETRY);
        ask_all().await;
        assert_eq!(lines.with(words).len(), 1, "{words}");
        world.clock.pass(limits::KEY_RETRY + limits::LOG_PAUSE);
        ask_all().await;
        let written = lines.with(words);
        assert_eq!(written.len(), 2, "{words}");
        assert!(written[0].contains("left_out=0") && written[1].contains("left_out=49"));
    }
}

#[tokio::test]
async fn a_restart_within_the_epoch_finds_its_key() {
    let world = World::new();
    let first = world.keyring().current(&world.namespace).await.unwrap();
    world.clock.pass(DAY - MINUTE);
    let again = world.keyring().current(&world.namespace).await.unwrap();
    assert_eq!((again.id, again.key.expose()), (first.id, first.key.expose()));
    assert_eq!((world.made(), world.unwrapped()), (1, 1));
    world.clock.pass(MINUTE);
    let next = world.keyring().current(&world.namespace).await.unwrap();
    assert_ne!(next.id, first.id);
}

#[tokio::test]
async fn the_newest_generation_of_an_epoch_seals() {
    let world = World::new();
    let first = KeyId::at(MIDNIGHT, DAY);
    for generation in [0u16, 2, 1] {
        let id = KeyId { generation, ..first };
        let name = Name::key(&world.namespace, id);
        let serial = u8::try_from(generation).unwrap() + 40;
        let wrapped = [&[serial][..], id.to_string().as_bytes()].concat();
        world.store.put_new(&name, wrapped.into()).await.unwrap();
    }
    let keyring = world.keyring();
    let current = keyring.current(&world.namespace).await.unwrap();
    assert_eq!((current.id.generation, current.key.expose()), (2, &[42; 32]));
    let old = keyring.opening(&world.namespace, KeyId { generation: 1, ..first }).await.unwrap();
    assert_eq!((old.expose(), world.made()), (&[41; 32], 0));
}

#[tokio::test]
async fn an_epoch_is_extended_up_to_its_limit_and_no_longer() {
    let world = World::new();
    let keyring = world.keyring();
    let first = keyring.current(&world.namespace).await.unwrap();
    world.clock.pass(DAY);
    assert!(!keyring.extended(), "idle is not extended");
    world.keeper.away();
    assert_eq!(keyring.current(&world.namespace).await.unwrap().id, first.id);
    assert!(keyring.extended());
    // A new sidecar has nothing to extend.
    let fresh = world.keyring().current(&world.namespace).await;
    assert!(matches!(fresh, Err(KeyError::Unavailable(_))));
    world.clock.pass(limits::KEY_EXTENSION - DAY - Duration::from_millis(1));
    assert_eq!(keyring.current(&world.namespace).await.unwrap().id, first.id);
    world.clock.pass(Duration::from_millis(1));
    for _ in 0..2 {
        let error = keyring.current(&world.namespace).await;
        assert!(matches!(error, Err(KeyError::Unavailable(_))), "{error:?}");
    }
    world.keeper.fail(None);
    world.clock.pass(limits::KEY_RETRY);
    let healed = keyring.current(&world.namespace).await.unwrap();
    assert_eq!(healed.id, KeyId::at(world.clock.now(), DAY));
    assert!(!keyring.extended());
}

#[tokio::test]
async fn a_store_that_is_away_extends_too() {
    struct Away;
    #[async_trait]
    impl Store for Away {
        async fn put_new(&self, _: &Name, _: bytes::Bytes) -> Result<Version, StoreError> {
            Err(StoreError::Unavailable("away".into()))
        }
        async fn put_if(
            &self,
            _: &Name,
            _: bytes::Bytes,
            _: &Version,
        ) -> Result<Version, StoreError> {
            Err(StoreError::Unavailable("away".into()))
        }
        async fn get(&self, _: &Name) -> Result<Option<Object>, StoreError> {
            Err(StoreError::Unavailable("away".into()))
        }
        async fn list(&self, _: &str, _: Option<&Name>, _: usize) -> Result<Vec<Name>, StoreError> {
            Err(StoreError::Unavailable("away".into()))
        }
        async fn heads(
            &self,
            _: &str,
            _: Option<&Name>,
            _: usize,
            _: usize,
        ) -> Result<Heads, StoreError> {
            Err(StoreError::Unavailable("away".into()))
        }
        async fn remove_if(&self, _: &Name, _: &Version) -> Result<bool, StoreError> {
            Err(StoreError::Unavailable("away".into()))
        }
    }
    use crate::store::{Heads, Object, Version};
    let world = World::new();
    let key = world.keyring().current(&world.namespace).await.unwrap();
    let keyring = Keyring::new(
        Arc::new(Away),
        world.keeper.clone(),
        world.clock.clone(),
        Settings::default(),
    );
    let keyring = Arc::new(keyring);
    let error = keyring.current(&world.namespace).await;
    assert!(matches!(error, Err(KeyError::Store(StoreError::Unavailable(_)))));
    keyring.held().make_current(&world.namespace, &key, 1);
    world.clock.pass(2 * DAY);
    assert_eq!(keyring.current(&world.namespace).await.unwrap().id, key.id);
}

#[tokio::test]
async fn while_extended_the_keeper_is_asked_once_per_pause() {
    let world = World::new();
    let keyring = world.keyring();
    keyring.current(&world.namespace).await.unwrap();
    world.clock.pass(DAY);
    world.keeper.away();
    let before = world.keeper.calls();
    for _ in 0..100 {
        keyring.current(&world.namespace).await.unwrap();
    }
    assert_eq!(world.keeper.calls() - before, 1);
    world.clock.pass(limits::KEY_RETRY - Duration::from_millis(1));
    keyring.current(&world.namespace).await.unwrap();
    assert_eq!(world.keeper.calls() - before, 1);
    world.clock.pass(Duration::from_millis(1));
    join_all((0..50).map(|_| keyring.current(&world.namespace))).await;
    assert_eq!(world.keeper.calls() - before, 2);
}

#[tokio::test]
async fn a_failure_to_prepare_is_retried_after_a_pause_and_leaves_no_trace() {
    let world = World::new();
    let keyring = world.keyring();
    keyring.current(&world.namespace).await.unwrap();
    world.clock.pass(DAY - HOUR);
    world.keeper.away();
    let before = world.keeper.calls();
    for _ in 0..10 {
        keyring.current(&world.namespace).await.unwrap();
        settle().await;
    }
    assert_eq!(world.keeper.calls() - before, 1);
    world.keeper.fail(None);
    world.clock.pass(limits::KEY_RETRY);
    keyring.current(&world.namespace).await.unwrap();
    settle().await;
    assert_eq!(world.made(), 2);
    // Idle over the turn of the epoch: the prepared key is there, so nothing is extended.
    world.clock.pass(HOUR);
    assert!(!keyring.extended());
    assert_eq!(keyring.current(&world.namespace).await.unwrap().key.expose(), &[1; 32]);
}

#[tokio::test]
async fn a_keeper_that_refuses_is_not_away() {
    let world = World::new();
    let keyring = world.keyring();
    let first = keyring.current(&world.namespace).await.unwrap();
    keyring.index(&world.namespace).await.unwrap();
    world.keeper.fail(Some(KeyError::Refused("disabled".into())));
    // Within its age and epoch the key goes on.
    world.clock.pass(DAY - Duration::from_millis(1));
    keyring.current(&world.namespace).await.unwrap();
    keyring.opening(&world.namespace, first.id).await.unwrap();
    world.clock.pass(Duration::from_millis(1));
    let refused = Err(KeyError::Refused("disabled".into()));
    assert_eq!(keyring.current(&world.namespace).await.map(|key| key.id), refused);
    let opened = keyring.opening(&world.namespace, first.id).await;
    assert!(matches!(opened, Err(KeyError::Refused(_))));
    assert!(matches!(keyring.index(&world.namespace).await, Err(KeyError::Refused(_))));
    // A refusal is no longer asked for by every request, and not for ever either.
    let calls = world.keeper.calls();
    for _ in 0..100 {
        assert!(keyring.opening(&world.namespace, first.id).await.is_err());
        assert!(keyring.index(&world.namespace).await.is_err());
    }
    assert_eq!(world.keeper.calls(), calls);
    world.keeper.fail(None);
    world.clock.pass(limits::KEY_RETRY);
    keyring.opening(&world.namespace, first.id).await.unwrap();
    keyring.index(&world.namespace).await.unwrap();
    keyring.current(&world.namespace).await.unwrap();
}

#[tokio::test]
async fn while_the_keeper_hangs_one_request_waits_and_not_all() {
    let world = World::new();
    let keyring = world.keyring();
    let first = keyring.current(&world.namespace).await.unwrap();
    world.clock.pass(limits::KEY_AGE);
    let hangs = world.keeper.hang_unwraps.lock().await;
    let ask = || keyring.opening(&world.namespace, first.id);
    let mut waits = std::pin::pin!(ask());
    assert!(futures_util::FutureExt::now_or_never(waits.as_mut()).is_none());
    for _ in 0..100 {
        let served = futures_util::FutureExt::now_or_never(ask());
        assert_eq!(served.expect("it does not wait").unwrap().expose(), first.key.expose());
    }
    drop(hangs);
    waits.await.unwrap();
}

#[tokio::test]
async fn old_epochs_open_and_past_their_age_are_unwrapped_anew() {
    let world = World::new();
    let keyring = world.keyring();
    let first = keyring.current(&world.namespace).await.unwrap();
    world.clock.pass(3 * DAY);
    keyring.current(&world.namespace).await.unwrap();
    let restarted = world.keyring();
    let opened = restarted.opening(&world.namespace, first.id).await.unwrap();
    assert_eq!((opened.expose(), world.unwrapped()), (&[0; 32], 1));
    world.clock.pass(limits::KEY_AGE - Duration::from_millis(1));
    restarted.opening(&world.namespace, first.id).await.unwrap();
    assert_eq!(world.unwrapped(), 1, "still young");
    world.clock.pass(Duration::from_millis(1));
    let flights = (0..20).map(|_| restarted.opening(&world.namespace, first.id));
    assert!(join_all(flights).await.iter().all(Result::is_ok));
    assert_eq!(world.unwrapped(), 2, "one call for all");
}

#[tokio::test]
async fn an_aged_key_serves_while_the_keeper_is_away_up_to_the_limit() {
    let world = World::new();
    let keyring = world.keyring();
    let first = keyring.current(&world.namespace).await.unwrap();
    world.keeper.away();
    world.clock.pass(limits::KEY_EXTENSION - Duration::from_millis(1));
    assert_eq!(
        keyring.opening(&world.namespace, first.id).await.unwrap().expose(),
        first.key.expose()
    );
    world.clock.pass(Duration::from_millis(1));
    let opened = keyring.opening(&world.namespace, first.id).await;
    assert!(matches!(opened, Err(KeyError::Unavailable(_))));
}

/// One request in a while finds out whether the keeper is back, and the others need not wait for that.
#[tokio::test]
async fn while_the_keeper_is_away_an_aged_key_is_not_unwrapped_by_every_request() {
    let world = World::new();
    let keyring = world.keyring();
    let first = keyring.current(&world.namespace).await.unwrap();
    keyring.index(&world.namespace).await.unwrap();
    world.keeper.away();
    world.clock.pass(limits::KEY_AGE);
    let before = world.keeper.calls();
    for _ in 0..100 {
        let flights = (0..5).map(|_| keyring.opening(&world.namespace, first.id));
        assert!(join_all(flights).await.iter().all(Result::is_ok));
        keyring.index(&world.namespace).await.unwrap();
    }
    assert_eq!(world.keeper.calls() - before, 2, "one for each key");
    world.clock.pass(limits::KEY_RETRY);
    world.keeper.fail(None);
    let unwrapped = world.unwrapped();
    keyring.opening(&world.namespace, first.id).await.unwrap();
    assert_eq!(world.unwrapped() - unwrapped, 1, "it is back, and the key is young again");
    world.clock.pass(limits::KEY_AGE - Duration::from_millis(1));
    keyring.opening(&world.namespace, first.id).await.unwrap();
    assert_eq!(world.unwrapped() - unwrapped, 1);
}

/// What opens says how old it is past its age, and any key while the keeper is known to be away.
#[tokio::test]
async fn a_key_says_its_age_where_it_should_not_be_that_old_or_its_keeper_is_away() {
    let world = World::new();
    let keyring = world.keyring();
    let first = keyring.current(&world.namespace).await.unwrap();
    let open = async || keyring.opening(&world.namespace, first.id).await.unwrap().age;
    let index = async || keyring.index(&world.namespace).await.unwrap().age;
    let sealing = || keyring.sealing_age(&world.namespace);
    assert_eq!((open().await, index().await, sealing()), (None, None, None));
    world.clock.pass(MINUTE);
    world.keeper.away();
    // Nobody has asked it yet.
    assert_eq!((open().await, index().await, sealing()), (None, None, None));
    let other = Namespace::parse("other").unwrap();
    assert!(keyring.current(&other).await.is_err());
    assert_eq!(
        (open().await, index().await, sealing()),
        (Some(MINUTE), Some(MINUTE), Some(MINUTE))
    );
    world.clock.pass(2 * limits::KEY_RETRY);
    assert_eq!((open().await, index().await, sealing()), (None, None, None));
    assert!(keyring.current(&other).await.is_err());
    assert!(open().await.is_some());
    world.keeper.fail(None);
    keyring.current(&other).await.unwrap();
    assert_eq!((open().await, index().await, sealing()), (None, None, None));

    // A keeper that refuses is there.
    world.keeper.fail(Some(KeyError::Refused("no".into())));
    assert!(keyring.current(&Namespace::parse("third").unwrap()).await.is_err());
    assert_eq!((open().await, index().await, sealing()), (None, None, None));

    world.keeper.away();
    world.clock.pass(limits::KEY_AGE);
    let old = MINUTE + 2 * limits::KEY_RETRY + limits::KEY_AGE;
    for _ in 0..3 {
        assert_eq!(open().await, Some(old));
        // Past its epoch and not made anew.
        assert_eq!(keyring.current(&world.namespace).await.unwrap().id, first.id);
        assert_eq!(sealing(), Some(old));
    }
    world.keeper.fail(None);
    world.clock.pass(limits::KEY_RETRY);
    assert_ne!(keyring.current(&world.namespace).await.unwrap().id, first.id);
    assert_eq!((open().await, sealing()), (None, None));
}

#[tokio::test]
async fn a_key_that_is_not_there_or_damaged_is_said_to_be() {
    let world = World::new();
    let keyring = world.keyring();
    let id = KeyId::at(MIDNIGHT, DAY);
    let missing = keyring.opening(&world.namespace, id).await;
    assert!(matches!(missing, Err(KeyError::Corrupted(_))));
    let name = Name::key(&world.namespace, id);
    world.store.put_new(&name, bytes::Bytes::from_static(b"garbage")).await.unwrap();
    assert!(matches!(keyring.opening(&world.namespace, id).await, Err(KeyError::Corrupted(_))));
    assert!(matches!(keyring.current(&world.namespace).await, Err(KeyError::Corrupted(_))));
    assert_eq!(world.made(), 0, "a damaged key is never replaced");
}

#[tokio::test]
async fn memory_is_bounded() {
    let world = World::new();
    let keyring = world.keyring_with(Settings { capacity: 4, ..Settings::default() });
    let namespaces: Vec<_> =
        (0..10).map(|at| Namespace::parse(&format!("n{at}")).unwrap()).collect();
    for namespace in &namespaces {
        keyring.current(namespace).await.unwrap();
        world.clock.pass(Duration::from_millis(1));
    }
    assert_eq!(keyring.held_count(), 4);
    assert_eq!(keyring.held().current.len(), 4);
    // The oldest were forgotten and are read again, not made again.
    for (at, namespace) in namespaces.iter().enumerate() {
        let key = keyring.current(namespace).await.unwrap();
        assert_eq!(key.key.expose(), &[u8::try_from(at).unwrap(); 32]);
    }
    assert_eq!((world.made(), keyring.held_count()), (10, 4));
    // Unwrapping anew what is held already pushes nothing out.
    world.clock.pass(limits::KEY_AGE);
    let id = KeyId::at(MIDNIGHT, DAY);
    keyring.opening(&namespaces[9], id).await.unwrap();
    assert_eq!(keyring.held_count(), 4);
}

#[tokio::test]
async fn a_probe_unwraps_one_stored_key() {
    let world = World::new();
    assert_eq!(world.keyring().probe(10).await, Ok(false));
    world.keyring().current(&world.namespace).await.unwrap();
    assert_eq!(world.keyring().probe(10).await, Ok(true));
    world.keeper.fail(Some(KeyError::Refused("another key".into())));
    assert!(matches!(world.keyring().probe(10).await, Err(KeyError::Refused(_))));
    world.keeper.away();
    assert!(matches!(world.keyring().probe(10).await, Err(KeyError::Unavailable(_))));
    // An index key alone will do as well.
    let other = World::new();
    other.keyring().index(&other.namespace).await.unwrap();
    assert_eq!(other.keyring().probe(10).await, Ok(true));
    let name = Name::from_text("k/default/strange");
    let strange = World::new();
    strange.store.put_new(&name, bytes::Bytes::from_static(b"?")).await.unwrap();
    assert!(matches!(strange.keyring().probe(10).await, Err(KeyError::Corrupted(_))));
}

#[tokio::test]
async fn a_clock_that_goes_backwards_makes_no_key() {
    let world = World::new();
    let keyring = world.keyring();
    let first = keyring.current(&world.namespace).await.unwrap();
    world.clock.set(world.clock.now() - millis(30 * DAY));
    assert_eq!(keyring.current(&world.namespace).await.unwrap().id, first.id);
    assert_eq!(world.made(), 1);
}

#[tokio::test]
async fn what_an_extended_epoch_sealed_opens_elsewhere() {
    let world = World::new();
    let keyring = world.keyring();
    keyring.current(&world.namespace).await.unwrap();
    world.clock.pass(3 * DAY);
    world.keeper.away();
    let key = keyring.current(&world.namespace).await.unwrap();
    assert!(keyring.extended());
    let token = Token::from_random([7; 16]);
    let subject = Subject::new(token, world.namespace.clone(), Kind::Value, &[]);
    let stamp = Stamp { tombstone: false, created_at: world.clock.now(), expires_at: None };
    let fresh = Fresh { nonce: [1; 12], put_id: PutId([2; 16]) };
    let record = envelope::seal(&subject, key.id, &key.key, stamp, &fresh, &[b"4111"]).unwrap();
    world.keeper.fail(None);
    let id = Header::parse(&record).unwrap().key_id;
    let elsewhere = world.keyring().opening(&world.namespace, id).await.unwrap();
    let opened = envelope::open(&subject, &elsewhere, &record).unwrap();
    assert_eq!(&opened.plaintext[..], b"4111");
}

#[tokio::test]
async fn a_rotated_key_seals_at_once_here_and_elsewhere_after_a_look() {
    let world = World::new();
    let (running, operator) = (world.keyring(), world.keyring());
    let first = running.current(&world.namespace).await.unwrap();
    let id = operator.rotate(&world.namespace).await.unwrap();
    assert_eq!(id, KeyId { generation: 1, ..first.id });
    assert_eq!(operator.rotate(&world.namespace).await.unwrap().generation, 2);
    let calls = world.keeper.calls();
    world.clock.pass(limits::KEY_REFRESH - Duration::from_millis(1));
    running.current(&world.namespace).await.unwrap();
    settle().await;
    assert_eq!(running.current(&world.namespace).await.unwrap().id, first.id);
    world.clock.pass(Duration::from_millis(1));
    // Nobody waits for the look.
    assert_eq!(running.current(&world.namespace).await.unwrap().id, first.id);
    settle().await;
    let newest = running.current(&world.namespace).await.unwrap();
    assert_eq!((newest.id.generation, world.keeper.calls() - calls), (2, 1));
    // A look that finds nothing new asks the keeper nothing; the old key goes on opening.
    world.clock.pass(limits::KEY_REFRESH);
    running.current(&world.namespace).await.unwrap();
    settle().await;
    let opened = running.opening(&world.namespace, first.id).await.unwrap();
    assert_eq!((opened.expose(), world.keeper.calls() - calls), (first.key.expose(), 1));
}

#[tokio::test]
async fn many_operators_rotate_and_every_key_is_one_of_theirs() {
    let world = World::new();
    let first = world.keyring().current(&world.namespace).await.unwrap();
    let operators: Vec<_> = (0..16).map(|_| world.keyring()).collect();
    let ids = join_all(operators.iter().map(|one| one.rotate(&world.namespace))).await;
    let newest = ids.into_iter().map(Result::unwrap).max().unwrap();
    assert!(newest > first.id);
    let seals = world.keyring().current(&world.namespace).await.unwrap();
    assert_eq!(seals.id, newest);
    for operator in &operators {
        let opened = operator.opening(&world.namespace, newest).await.unwrap();
        assert_eq!(opened.expose(), seals.key.expose());
    }
}

/// Two wrapping keys, as first bytes; can be told to give another key than it was given.
struct TwoKeys {
    current: AtomicUsize,
    wrong: AtomicUsize,
}

#[async_trait]
impl Wrapper for TwoKeys {
    async fn make(&self, _: &Context<'_>) -> Result<(DataKey, Vec<u8>), KeyError> {
        let under = u8::try_from(self.current.load(Ordering::SeqCst)).unwrap();
        Ok((DataKey::take(&mut [7; 32]), vec![under, 7]))
    }

    async fn unwrap(&self, _: &Context<'_>, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        Ok(DataKey::take(&mut [wrapped[1]; 32]))
    }

    async fn rewrap(&self, _: &Context<'_>, wrapped: &[u8]) -> Result<Vec<u8>, KeyError> {
        let under = u8::try_from(self.current.load(Ordering::SeqCst)).unwrap();
        Ok(vec![under, wrapped[1] + u8::try_from(self.wrong.load(Ordering::SeqCst)).unwrap()])
    }

    fn wrapped_under(&self, wrapped: &[u8]) -> Result<String, KeyError> {
        Ok(format!("key {}", wrapped[0]))
    }
}

#[tokio::test]
async fn a_rewrapped_key_replaces_the_old_only_if_it_opens_to_the_same() {
    let world = World::new();
    let keeper = Arc::new(TwoKeys { current: AtomicUsize::new(1), wrong: AtomicUsize::new(0) });
    let keyring = Arc::new(Keyring::new(
        world.store.clone(),
        keeper.clone(),
        world.clock.clone(),
        Settings::default(),
    ));
    let key = keyring.current(&world.namespace).await.unwrap();
    let name = Name::key(&world.namespace, key.id);
    let stored = async || world.store.get(&name).await.unwrap().unwrap().bytes.to_vec();
    assert_eq!(keyring.rewrap(&name).await, Ok(Rewrapped::Already("key 1".into())));
    keeper.current.store(2, Ordering::SeqCst);
    keeper.wrong.store(1, Ordering::SeqCst);
    assert!(matches!(keyring.rewrap(&name).await, Err(KeyError::Corrupted(_))));
    assert_eq!(stored().await, [1, 7], "the old one is gone");
    keeper.wrong.store(0, Ordering::SeqCst);
    let moved = Rewrapped::Moved("key 1".into(), "key 2".into());
    assert_eq!(keyring.rewrap(&name).await, Ok(moved));
    assert_eq!(stored().await, [2, 7]);
    assert_eq!(keyring.rewrap(&name).await, Ok(Rewrapped::Already("key 2".into())));
    let nothing = Name::key(&world.namespace, KeyId { generation: 9, ..key.id });
    assert!(matches!(keyring.rewrap(&nothing).await, Err(KeyError::Corrupted(_))));
}
