//! A sidecar as its binary composes it, on disks that may lose what was not synced, and what stays when it is killed.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use aws_sdk_s3::config::Credentials;
use futures_util::future::BoxFuture;
use lunasec_core::{limits, secret::DataKey};
use lunasec_sidecar::{
    alarm::Alarm,
    app::{Copies, Opener},
    aws::Aws,
    config::Config,
    db::Db,
    env::{Clock, Entropy, SystemEntropy},
    idempotency::{Idempotency, MemoryEntries},
    journal::{Bounds, DiskLedger, Journal, Replayer},
    keyed::KeyedLocks,
    keys::LocalKeys,
    store::{Journaled, Store},
    telemetry::Telemetry,
    vault::{Memory, Turns, Vault},
};
use lunasec_tests::{disk::Disk, world::START};
use tempfile::TempDir;
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

/// Bytes of a journal that gets full.
const LITTLE: usize = 4_096;

/// Where a sidecar runs, again and again.
pub(crate) struct Site {
    pub(crate) number: usize,
    /// Whether it has a disk cache and a standby key.
    pub(crate) keeps: bool,
    bounds: Bounds,
    scene: Arc<Scene>,
    began: Instant,
    plant: Plant,
    luck: Mutex<Luck>,
    /// What its wall clock says that it said when all began.
    clock: Arc<AtomicU64>,
    /// What stays of it.
    disks: Mutex<Disks>,
    entries: Arc<MemoryEntries>,
    running: Mutex<Option<Arc<Sidecar>>>,
    /// Whether nobody asks it for anything.
    idle: AtomicBool,
}

/// The databases of its state directory.
#[derive(Clone, Default)]
struct Disks {
    journal: Disk,
    cache: Disk,
    standby: Disk,
}

impl Disks {
    fn all(&self) -> [&Disk; 3] {
        [&self.journal, &self.cache, &self.standby]
    }

    fn pull(&self) -> Self {
        let [journal, cache, standby] = self.all().map(Disk::pull);
        Self { journal, cache, standby }
    }
}

/// One life of it.
pub(crate) struct Sidecar {
    pub(crate) site: usize,
    /// See [`Site`].
    pub(crate) keeps: bool,
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
        let mut luck = Luck::of(scene.seed, 100 + number as u64);
        let keeps = luck.percent(50);
        let bytes = if luck.percent(25) { LITTLE } else { limits::JOURNAL_BYTES };
        Self {
            number,
            keeps,
            bounds: Bounds { bytes, age: limits::JOURNAL_AGE },
            scene: Arc::clone(scene),
            began: Instant::now(),
            plant,
            luck: Mutex::new(luck),
            clock: Arc::default(),
            disks: Mutex::default(),
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
        held(&self.disks).all().iter().for_each(|disk| disk.fill(full));
    }

    /// Its wall clock says something else from now on, by less than clocks may differ.
    pub(crate) fn step(&self) {
        let skew = held(&self.luck).below(5_000);
        // Up to a day apart, so that epochs of keys end at any point.
        let then = START + Luck::of(self.scene.seed, 7).below(86_400_000) + skew;
        self.clock.store(then, Ordering::SeqCst);
    }

    /// At any point: what it has not synced is gone, and whatever it was about to do is not done.
    pub(crate) fn kill(&self) {
        let Some(sidecar) = held(&self.running).take() else { return };
        sidecar.alive.store(false, Ordering::SeqCst);
        sidecar.gone.notify_waiters();
        sidecar.tasks.iter().for_each(JoinHandle::abort);
        let mut disks = held(&self.disks);
        *disks = disks.pull();
    }

    /// Begins again, on what is left; with a clock that may say something else.
    pub(crate) async fn start(&self) {
        let luck = Luck::of(held(&self.luck).draw(), 1);
        self.step();
        let (born, then) = (Instant::now(), Arc::clone(&self.clock));
        let clock: Arc<dyn Clock> = Arc::new(SiteClock { began: self.began, born, then });
        let sidecar = Arc::new(self.compose(&clock, luck).await);
        *held(&self.running) = Some(sidecar);
    }

    async fn compose(&self, clock: &Arc<dyn Clock>, luck: Luck) -> Sidecar {
        let alive = Arc::new(AtomicBool::new(true));
        let entropy: Arc<dyn Entropy> = Arc::new(Draws::new(luck.clone()));
        let telemetry = Arc::new(Telemetry::new(Arc::clone(clock)));
        let network = wire(&self.scene, self.number, &alive);
        let aws = Aws::with_network(network, Credentials::new("test", "test", None, None, "tests"));
        let opener = Opener::new(
            config(self.keeps),
            Arc::clone(clock),
            Arc::clone(&entropy),
            Arc::clone(&telemetry),
        );
        let step = steps(luck, &alive);
        let disks = held(&self.disks).clone();
        let opener = opener.with_aws(aws).with_copies(copies(&disks, &step));
        let below = self.plant.around_storage(opener.store().await.unwrap());
        let keyring = opener.keyring(&below).await.unwrap();
        let ledger = DiskLedger::new(open(&disks.journal, &step));
        if self.plant == Plant::Unsynced {
            disks.journal.lag();
        }
        let journal =
            Journal::open(Arc::new(ledger), Arc::clone(clock), self.bounds).await.unwrap();
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
            alarm: Alarm::new(telemetry, Arc::clone(clock)),
        };
        let (gone, born) = (Notify::new(), self.scene.at());
        let (site, keeps) = (self.number, self.keeps);
        Sidecar { site, keeps, vault, journal, born, alive, gone, tasks }
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

/// What each piece of a disk's work waits for: time, and for ever once its process is dead.
type Steps = Arc<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

fn steps(luck: Luck, alive: &Arc<AtomicBool>) -> Steps {
    let (luck, alive) = (Mutex::new(luck), Arc::clone(alive));
    Arc::new(move || {
        let (time, alive) = (held(&luck).millis(0, 4), Arc::clone(&alive));
        Box::pin(async move {
            tokio::time::sleep(time).await;
            if !alive.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
        })
    })
}

fn open(disk: &Disk, step: &Steps) -> Db {
    let step = Arc::clone(step);
    disk.open_with(move || step())
}

fn copies(disks: &Disks, step: &Steps) -> Copies {
    let (disks, step) = (disks.clone(), Arc::clone(step));
    Box::new(move |path| {
        let disk = if path.ends_with("cache.redb") { &disks.cache } else { &disks.standby };
        Ok(open(disk, &step))
    })
}

/// As the operator of an S3 and KMS has it.
fn config(keeps: bool) -> Config {
    static PLAIN: OnceLock<Config> = OnceLock::new();
    static KEEPS: OnceLock<Config> = OnceLock::new();
    let (values, grants) = (VALUE_HARD.as_secs(), GRANT_HARD.as_secs());
    let text = format!(
        "[listen]\nsocket = \"/nowhere/lunasec.sock\"\n\
         [storage]\nkind = \"s3\"\nbucket = \"{BUCKET}\"\nregion = \"eu-central-1\"\n\
         endpoint = \"http://127.0.0.1:9\"\npath_style = true\n\
         [keys]\nkind = \"kms\"\nkey_id = \"{KEY}\"\nregion = \"eu-central-1\"\nendpoint = \"http://127.0.0.1:9\"\n\
         [cache.values]\nhard = \"{values}s\"\n[cache.grants]\nhard = \"{grants}s\"\n"
    );
    let plain = || Config::parse(&text, &[]).unwrap();
    let keeping = || {
        let key = standby_key();
        let degrade = format!(
            "[degrade]\nstate_dir = \"/nowhere\"\ndisk_cache = true\nstandby_key_file = \"{key}\"\n"
        );
        Config::parse(&(text.clone() + &degrade), &[]).unwrap()
    };
    if keeps { KEEPS.get_or_init(keeping) } else { PLAIN.get_or_init(plain) }.clone()
}

/// The operator's, for all who have one.
fn standby_key() -> String {
    static DIRECTORY: OnceLock<TempDir> = OnceLock::new();
    let path = DIRECTORY.get_or_init(|| tempfile::tempdir().unwrap()).path().join("standby.key");
    LocalKeys::create(&path, &SystemEntropy::default()).unwrap();
    path.display().to_string()
}

/// What a sidecar's store is wrapped in, if anything.
pub(crate) fn planted(store: Arc<dyn Store>, plant: Plant) -> Arc<dyn Store> {
    Arc::new(Planted::new(store, plant))
}
