//! Keys over a restart: a keyring that begins anew while its keeper is away.

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::time::timeout;

use super::{tests::World, *};
use crate::{
    db::{Db, DbError},
    env::SystemEntropy,
    keys::LocalKeys,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// What never comes is not waited for.
const LONG: Duration = Duration::from_secs(20);

/// A state directory and the operator's key.
struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("standby.key");
        LocalKeys::create(&key, &SystemEntropy::default()).unwrap();
        Self(directory)
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("standby.key")
    }

    /// As the next process opens it.
    async fn open(&self, world: &World) -> Arc<Standby> {
        let entropy = Arc::new(SystemEntropy::default());
        let standby =
            Standby::open(self.db().await, &self.key(), world.clock.clone(), entropy).await;
        Arc::new(standby.unwrap())
    }

    async fn db(&self) -> Db {
        let path = self.0.path().join("standby.redb");
        loop {
            match Db::open_copy(&path) {
                // The last one is not quite gone.
                Err(DbError::InUse(_)) => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
    }
}

fn keyring(world: &World, standby: &Arc<Standby>) -> Arc<Keyring> {
    let (store, keeper) = (world.store.clone(), world.keeper.clone());
    let keyring = Keyring::new(store, keeper, world.clock.clone(), Settings::default());
    Arc::new(keyring.with_standby(Some(Arc::clone(standby))))
}

/// Uses both kinds of keys, and waits until they are kept.
async fn used(world: &World, directory: &Directory) -> (Key, Arc<DataKey>) {
    let standby = directory.open(world).await;
    let keyring = keyring(world, &standby);
    let current = keyring.current(&world.namespace).await.unwrap();
    let index = Arc::clone(&keyring.index(&world.namespace).await.unwrap());
    let names = [Name::key(&world.namespace, current.id), Name::index_key(&world.namespace)];
    for (name, purpose) in names.iter().zip([Purpose::Data, Purpose::Index]) {
        while standby.find(name, purpose).await.is_none() {
            tokio::task::yield_now().await;
        }
    }
    (current, index)
}

#[tokio::test]
async fn after_a_restart_with_the_keeper_away_the_same_keys_open_and_seal() {
    let (world, directory) = (World::new(), Directory::new());
    let (current, index) = used(&world, &directory).await;
    world.keeper.away();
    let without = Arc::new(Keyring::new(
        world.store.clone(),
        world.keeper.clone(),
        world.clock.clone(),
        Settings::default(),
    ));
    assert!(matches!(without.current(&world.namespace).await, Err(KeyError::Unavailable(_))));
    world.clock.pass(Duration::from_secs(60));
    let keyring = keyring(&world, &directory.open(&world).await);
    let again = keyring.current(&world.namespace).await.unwrap();
    assert_eq!((again.id, again.key.expose()), (current.id, current.key.expose()));
    let opening = keyring.opening(&world.namespace, current.id).await.unwrap();
    assert_eq!(opening.expose(), current.key.expose());
    assert_eq!(opening.age, Some(Duration::from_secs(60)), "it says how old it is");
    assert_eq!(keyring.index(&world.namespace).await.unwrap().expose(), index.expose());
}

#[tokio::test]
async fn it_serves_no_longer_than_a_key_in_memory_would() {
    let (world, directory) = (World::new(), Directory::new());
    let (current, _) = used(&world, &directory).await;
    world.keeper.away();
    world.clock.pass(limits::KEY_EXTENSION - Duration::from_millis(1));
    let last = keyring(&world, &directory.open(&world).await);
    assert!(last.opening(&world.namespace, current.id).await.is_ok());
    world.clock.pass(Duration::from_millis(1));
    world.clock.pass(limits::KEY_RETRY);
    assert!(last.opening(&world.namespace, current.id).await.is_err(), "nor in memory");
    drop(last);
    let late = keyring(&world, &directory.open(&world).await);
    assert!(late.opening(&world.namespace, current.id).await.is_err());
    assert!(late.current(&world.namespace).await.is_err());
}

/// Whoever finds the file later finds no key in it that does not serve any more.
#[tokio::test]
async fn what_serves_no_more_is_removed_when_the_file_is_opened_and_when_it_is_written() {
    let (world, directory) = (World::new(), Directory::new());
    let (old, _) = used(&world, &directory).await;
    let is_kept = async |standby: &Arc<Standby>, id| {
        standby.find(&Name::key(&world.namespace, id), Purpose::Data).await.is_some()
    };
    world.clock.pass(limits::KEY_EXTENSION - Duration::from_millis(1));
    let (new, _) = used(&world, &directory).await;
    let standby = directory.open(&world).await;
    assert!(is_kept(&standby, old.id).await && is_kept(&standby, new.id).await);
    world.clock.pass(Duration::from_millis(1));
    let key = Arc::clone(&new.key);
    standby.keep(Name::key(&world.namespace, new.id), Purpose::Data, key);
    while is_kept(&standby, old.id).await {
        tokio::task::yield_now().await;
    }
    assert!(is_kept(&standby, new.id).await);
    drop(standby);
    world.clock.pass(limits::KEY_EXTENSION);
    let standby = directory.open(&world).await;
    while is_kept(&standby, new.id).await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_nothing_younger() {
    let (world, directory) = (World::new(), Directory::new());
    world.clock.pass(DAY);
    let (current, _) = used(&world, &directory).await;
    world.keeper.away();
    let before = World::new();
    before.keeper.away();
    let keyring = keyring(&before, &directory.open(&before).await);
    assert!(keyring.opening(&before.namespace, current.id).await.is_err());
}

/// One wrong clock does not turn them off for ever, and what was kept by it does not serve.
#[tokio::test]
async fn a_clock_that_was_wrong_once_is_not_believed_for_ever() {
    let year = 365 * DAY;
    let is_kept = async |standby: &Arc<Standby>, key: &Key, world: &World| {
        standby.find(&Name::key(&world.namespace, key.id), Purpose::Data).await.is_some()
    };
    for while_it_runs in [false, true] {
        let (world, directory) = (World::new(), Directory::new());
        let start = world.clock.now();
        world.clock.pass(year);
        let (wrong, _) = used(&world, &directory).await;
        let standby = directory.open(&world).await;
        world.clock.set(start);
        assert!(!is_kept(&standby, &wrong, &world).await);
        if while_it_runs {
            let other = keyring(&world, &standby);
            let key = other.current(&world.namespace).await.unwrap();
            let kept = async {
                while !is_kept(&standby, &key, &world).await {
                    tokio::task::yield_now().await;
                }
            };
            timeout(LONG, kept).await.expect("it is not kept");
        }
        drop(standby);
        let kept = timeout(LONG, used(&world, &directory)).await;
        let (right, _) = kept.expect("they are not kept");
        world.keeper.away();
        world.clock.pass(Duration::from_millis(1));
        let standby = directory.open(&world).await;
        let again = keyring(&world, &standby).current(&world.namespace).await.unwrap();
        assert_eq!((again.id, again.key.expose()), (right.id, right.key.expose()));
        world.clock.set(start + millis(year));
        assert!(!is_kept(&standby, &wrong, &world).await, "nor when its time comes");
    }
}

/// What is less than a minute is waited for, or every machine whose clock is put right would lose its keys.
#[tokio::test]
async fn a_clock_that_is_set_back_a_little_while_it_runs_is_waited_for() {
    let (world, directory) = (World::new(), Directory::new());
    let start = world.clock.now();
    world.clock.pass(limits::CLOCK_STEP);
    let (current, _) = used(&world, &directory).await;
    let standby = directory.open(&world).await;
    world.clock.set(start);
    let name = Name::key(&world.namespace, current.id);
    let index = Name::index_key(&world.namespace);
    standby.write(&index, Purpose::Index, &current.key).await.unwrap();
    assert!(standby.find(&name, Purpose::Data).await.is_none());
    world.clock.set(start + millis(limits::CLOCK_STEP));
    assert!(standby.find(&name, Purpose::Data).await.is_some());
}

/// An operator who disables a key means it.
#[tokio::test]
async fn what_the_keeper_refuses_is_forgotten() {
    let (world, directory) = (World::new(), Directory::new());
    let (current, _) = used(&world, &directory).await;
    world.keeper.fail(Some(KeyError::Refused("disabled".into())));
    let standby = directory.open(&world).await;
    let keyring = keyring(&world, &standby);
    let refused = keyring.opening(&world.namespace, current.id).await;
    assert!(matches!(refused, Err(KeyError::Refused(_))));
    let name = Name::key(&world.namespace, current.id);
    while standby.find(&name, Purpose::Data).await.is_some() {
        tokio::task::yield_now().await;
    }
    world.keeper.away();
    world.clock.pass(limits::KEY_REFUSED);
    assert!(keyring.opening(&world.namespace, current.id).await.is_err());
}

#[tokio::test]
async fn another_standby_key_opens_nothing_and_a_missing_one_says_what_to_do() {
    let (world, directory) = (World::new(), Directory::new());
    let (current, _) = used(&world, &directory).await;
    world.keeper.away();
    std::fs::remove_file(directory.key()).unwrap();
    let entropy = Arc::new(SystemEntropy::default());
    let db = directory.db().await;
    let missing = Standby::open(db, &directory.key(), world.clock.clone(), entropy).await;
    assert!(missing.err().unwrap().to_string().contains("standby.key cannot be used"));
    LocalKeys::create(&directory.key(), &SystemEntropy::default()).unwrap();
    let keyring = keyring(&world, &directory.open(&world).await);
    assert!(keyring.opening(&world.namespace, current.id).await.is_err());
}
