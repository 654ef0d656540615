//! A sidecar as its binary composes it, on a disk that it may lose what was not synced of, and what stays when it
//! is killed.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use aws_sdk_s3::config::Credentials;
use lunasec_core::{ids::Millis, limits, secret::DataKey};
use lunasec_sidecar::{
    app::Opener,
    aws::Aws,
    config::Config,
    db::DbError,
    env::{Clock, Entropy},
    idempotency::{Idempotency, MemoryEntries},
    journal::{Bounds, Draft, Entry, Journal, Ledger, Replayer},
    keyed::KeyedLocks,
    store::{Journaled, Name, Store},
    telemetry::Telemetry,
    vault::{Memory, Turns, Vault},
};
use lunasec_tests::{
    ledger::{Disk, SimLedger},
    world::START,
};
use tokio::{sync::Notify, task::JoinHandle, time::Instant};

use crate::{
    luck::{Draws, Luck},
    network::wire,
    planted::{Plant, Planted},
    scene::{At, Scene, SiteClock, held},
};

pub(crate) const BUCKET: &str = "bucket";
pub(crate) const KEY: &str = "00000000-0000-0000-0000-000000000001";
/// How old a value may be while storage is away: less than unless configured, so that a seed gets there.
pub(crate) const VALUE_HARD: At = At::from_secs(6 * 60);
/// The same of a grant.
pub(crate) const GRANT_HARD: At = At::from_secs(4 * 60);

/// Where a sidecar runs, again and again.
pub(crate) struct Site {
    pub(crate) number: usize,
    scene: Arc<Scene>,
    began: Instant,
    plant: Plant,
    luck: Mutex<Luck>,
    /// What stays of it.
    disk: Mutex<Disk>,
    entries: Arc<MemoryEntries>,
    running: Mutex<Option<Arc<Sidecar>>>,
    /// Whether nobody asks it for anything.
    idle: AtomicBool,
}

/// One life of it.
pub(crate) struct Sidecar {
    pub(crate) site: usize,
    pub(crate) vault: Vault,
    pub(crate) journal: Arc<Journal>,
    pub(crate) born: At,
    alive: Arc<AtomicBool>,
    gone: Notify,
    tasks: Vec<JoinHandle<()>>,
}

impl Sidecar {
    /// Until it is killed.
    pub(crate) async fn gone(&self) {
        let gone = self.gone.notified();
        if self.alive.load(Ordering::SeqCst) {
            gone.await;
        }
    }
}

impl Site {
    pub(crate) fn new(scene: &Arc<Scene>, number: usize, plant: Plant) -> Self {
        Self {
            number,
            scene: Arc::clone(scene),
            began: Instant::now(),
            plant,
            luck: Mutex::new(Luck::of(scene.seed, 100 + number as u64)),
            disk: Mutex::default(),
            entries: Arc::new(MemoryEntries::new(limits::IDEMPOTENCY_ENTRIES_IN_MEMORY)),
            running: Mutex::default(),
            idle: AtomicBool::new(false),
        }
    }

    pub(crate) fn running(&self) -> Option<Arc<Sidecar>> {
        held(&self.running).clone()
    }

    pub(crate) fn idles(&self) -> bool {
        self.idle.load(Ordering::SeqCst)
    }

    pub(crate) fn idle(&self, idle: bool) {
        self.idle.store(idle, Ordering::SeqCst);
    }

    /// Its disk takes no more, or does again.
    pub(crate) fn fill(&self, full: bool) {
        held(&self.disk).fill(full);
    }

    /// At any point: what it has not synced is gone, and whatever it was about to do is not done.
    pub(crate) fn kill(&self) {
        let Some(sidecar) = held(&self.running).take() else { return };
        sidecar.alive.store(false, Ordering::SeqCst);
        sidecar.gone.notify_waiters();
        sidecar.tasks.iter().for_each(JoinHandle::abort);
        let mut disk = held(&self.disk);
        *disk = disk.pull();
    }

    /// Begins again, on what is left; with a clock that may say something else.
    pub(crate) async fn start(&self) {
        let luck = |luck: &mut Luck| (Luck::of(luck.draw(), 1), luck.below(5_000));
        let (luck, skew) = luck(&mut held(&self.luck));
        // Up to a day apart, so that epochs of keys end at any point.
        let then = START + Luck::of(self.scene.seed, 7).below(86_400_000) + skew;
        let clock: Arc<dyn Clock> =
            Arc::new(SiteClock { began: self.began, born: Instant::now(), then });
        let sidecar = Arc::new(self.compose(&clock, luck).await);
        *held(&self.running) = Some(sidecar);
    }

    async fn compose(&self, clock: &Arc<dyn Clock>, luck: Luck) -> Sidecar {
        let alive = Arc::new(AtomicBool::new(true));
        let entropy: Arc<dyn Entropy> = Arc::new(Draws::new(luck.clone()));
        let telemetry = Arc::new(Telemetry::new(Arc::clone(clock)));
        let network = wire(&self.scene, self.number, &alive);
        let aws = Aws::with_network(network, Credentials::new("test", "test", None, None, "tests"));
        let opener = Opener::new(config(), Arc::clone(clock), Arc::clone(&entropy), telemetry);
        let opener = opener.with_aws(aws);
        let below = self.plant.around_storage(opener.store().await.unwrap());
        let keyring = opener.keyring(&below).await.unwrap();
        let mut disk = SimLedger::open(&held(&self.disk));
        disk.unsynced = self.plant == Plant::Unsynced;
        let luck = Mutex::new(luck);
        let ledger = Mortal { disk, luck, alive: Arc::clone(&alive) };
        let bounds = Bounds { bytes: limits::JOURNAL_BYTES, age: limits::JOURNAL_AGE };
        let journal = Journal::open(Arc::new(ledger), Arc::clone(clock), bounds).await.unwrap();
        let journal = Arc::new(journal);
        let breaker = Arc::clone(opener.storage_breaker());
        let journaled =
            |below, journal| Journaled::new(below, journal, Arc::clone(clock), breaker, true);
        let store: Arc<dyn Store> = Arc::new(journaled(Arc::clone(&below), Arc::clone(&journal)));
        let replayer = Replayer {
            store: self.plant.around_replay(below),
            journal: Arc::clone(&journal),
            keyring: Arc::clone(&keyring),
            entropy: Arc::clone(&entropy),
        };
        let tasks = vec![tokio::spawn(replayer.run()), tokio::spawn(self.watch(&journal))];
        let secret = DataKey::take(&mut [self.number as u8; 32]);
        let idempotency = Idempotency::new(secret, self.entries.clone(), Arc::clone(&entropy));
        let vault = Vault {
            store,
            keyring,
            clock: Arc::clone(clock),
            entropy,
            idempotency: Arc::new(idempotency),
            attempts: KeyedLocks::default(),
            turns: Turns::default(),
            memory: Memory::new([7; 16]),
        };
        let (gone, born) = (Notify::new(), self.scene.at());
        Sidecar { site: self.number, vault, journal, born, alive, gone, tasks }
    }

    /// Notes each time at which nothing waits in the journal: all that did is stored by then.
    fn watch(&self, journal: &Journal) -> impl Future<Output = ()> + Send + use<> {
        let (scene, site, mut count) = (Arc::clone(&self.scene), self.number, journal.watch());
        async move {
            while count.wait_for(|count| *count == 0).await.is_ok() {
                let at = scene.at();
                scene.model().drained(site, at);
                if count.changed().await.is_err() {
                    return;
                }
            }
        }
    }
}

/// As the operator of an S3 and KMS has it.
fn config() -> Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    let make = || {
        let (values, grants) = (VALUE_HARD.as_secs(), GRANT_HARD.as_secs());
        let text = format!(
            "[listen]\nsocket = \"/nowhere/lunasec.sock\"\n\
             [storage]\nkind = \"s3\"\nbucket = \"{BUCKET}\"\nregion = \"eu-central-1\"\n\
             endpoint = \"http://127.0.0.1:9\"\npath_style = true\n\
             [keys]\nkind = \"kms\"\nkey_id = \"{KEY}\"\nregion = \"eu-central-1\"\nendpoint = \"http://127.0.0.1:9\"\n\
             [cache.values]\nhard = \"{values}s\"\n[cache.grants]\nhard = \"{grants}s\"\n"
        );
        Config::parse(&text, &[]).unwrap()
    };
    CONFIG.get_or_init(make).clone()
}

/// A ledger that takes time, and does nothing more once its process is dead.
struct Mortal {
    disk: SimLedger,
    luck: Mutex<Luck>,
    alive: Arc<AtomicBool>,
}

impl Mortal {
    async fn step(&self) {
        let time = held(&self.luck).millis(0, 4);
        tokio::time::sleep(time).await;
        self.live().await;
    }

    async fn live(&self) {
        if !self.alive.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Ledger for Mortal {
    async fn append(&self, at: Millis, drafts: Vec<Draft>) -> Result<Vec<Option<u64>>, DbError> {
        self.step().await;
        let numbers = self.disk.append(at, drafts).await;
        self.step().await;
        numbers
    }

    async fn last(&self, name: &Name) -> Result<Option<Entry>, DbError> {
        self.live().await;
        self.disk.last(name).await
    }

    async fn page(&self, after: u64, count: usize, bytes: usize) -> Result<Vec<Entry>, DbError> {
        self.live().await;
        self.disk.page(after, count, bytes).await
    }

    async fn remove(&self, numbers: Vec<u64>) -> Result<(), DbError> {
        self.step().await;
        self.disk.remove(numbers).await
    }

    async fn contents(&self) -> Result<Vec<(u64, Millis, Name, usize)>, DbError> {
        self.disk.contents().await
    }
}

/// What a sidecar's store is wrapped in, if anything.
pub(crate) fn planted(store: Arc<dyn Store>, plant: Plant) -> Arc<dyn Store> {
    Arc::new(Planted::new(store, plant))
}
