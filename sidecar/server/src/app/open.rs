//! Opens what the configuration names: the store and the keeper of keys, each with its decorators.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use lunasec_core::limits;
use tokio::sync::OnceCell;

use super::{StartError, prepare_directory};
use crate::{
    attempts::Attempts,
    aws::{Aws, ClockSkew},
    breaker::Breaker,
    config::{self, Config, Keys, KmsKeys, OnOutage, Remember, Storage},
    db::{Db, DbError},
    env::{Clock, Entropy},
    journal::{self, Bounds, DiskLedger, Journal},
    keys::{self, KeyError, Keyring, Kms, LocalKeys, Standby, Wrapper},
    store::{self, Ages, Cached, Caches, Clocks, EmbeddedStore, MemoryStore, Name, S3Store, Store},
    telemetry::{Dependency, Remembered, Telemetry},
};

/// What the disk cache lies in, in the state directory.
pub(super) const CACHE_FILE: &str = "cache.redb";

/// Opens a database that is only a copy.
pub type Copies = Box<dyn Fn(&Path) -> Result<Db, StartError> + Send + Sync>;

/// Opens the adapters of one configuration, for a sidecar and for the commands that work beside one.
pub struct Opener {
    config: Config,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    telemetry: Arc<Telemetry>,
    /// Made when something of AWS is opened, and only then.
    aws: OnceCell<Aws>,
    copies: Copies,
    storage_breaker: Arc<Breaker>,
    keys_breaker: Arc<Breaker>,
    /// What is remembered of the store; nothing, where that is in memory itself.
    caches: Arc<Caches>,
}

impl Opener {
    /// Opens nothing yet.
    pub fn new(
        config: Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let breaker = || Arc::new(Breaker::new(Arc::clone(&clock)));
        let (storage_breaker, keys_breaker) = (breaker(), breaker());
        let aws = OnceCell::new();
        let cache = &config.cache;
        let caches = Arc::new(Caches::new(
            cache.values.max,
            telemetry.cache(Remembered::Values),
            cache.grants.max,
            telemetry.cache(Remembered::Grants),
        ));
        let copies: Copies = Box::new(copy_on_disk);
        Self {
            config,
            clock,
            entropy,
            telemetry,
            aws,
            copies,
            storage_breaker,
            keys_breaker,
            caches,
        }
    }

    /// The same, where AWS is what the caller says it is.
    pub fn with_aws(self, aws: Aws) -> Self {
        Self { aws: OnceCell::from(aws), ..self }
    }

    /// The same, where databases that are only copies are opened so.
    pub fn with_copies(self, copies: Copies) -> Self {
        Self { copies, ..self }
    }

    /// Says whether storage is away, where it is one that can be.
    pub fn storage_breaker(&self) -> &Arc<Breaker> {
        &self.storage_breaker
    }

    /// Says whether the keeper of keys is away, where it is one that can be.
    pub fn keys_breaker(&self) -> &Arc<Breaker> {
        &self.keys_breaker
    }

    /// What is remembered of the store.
    pub fn caches(&self) -> Arc<Caches> {
        Arc::clone(&self.caches)
    }

    /// An empty store in the place of a lost one would answer that no token was ever known.
    pub fn refuse_a_lost_store(&self) -> Result<(), StartError> {
        let Config {
            storage: Storage::Embedded { path }, keys: Keys::Local { path: keys }, ..
        } = &self.config
        else {
            return Ok(());
        };
        if path.exists() || !keys.exists() {
            return Ok(());
        }
        Err(StartError::StoreMissing { keys: self.keys_name(), store: self.store_name() })
    }

    /// The store. What is shared is tried again where it does not answer, and each attempt counts.
    pub async fn store(&self) -> Result<Arc<dyn Store>, StartError> {
        let dependency = || Arc::clone(&self.telemetry.storage);
        Ok(match &self.config.storage {
            Storage::Memory => Arc::new(MemoryStore::default()),
            Storage::Embedded { path } => {
                prepare_directory(path)?;
                let store = store::Timed::new(EmbeddedStore::open(path)?, limits::STORAGE_TIME);
                // A disk that cannot be written may still be read: it is asked each time.
                self.remembering(store::Measured::new(store, dependency()), None)
            }
            Storage::S3(place) => {
                let skew = ClockSkew::new(Arc::clone(&self.clock), self.telemetry.clock_skew());
                let s3 = S3Store::new(self.aws(&place.region).await, place).watching(skew);
                let (gate, breaker) = (Arc::clone(s3.gate()), Arc::clone(&self.storage_breaker));
                let measured = store::Measured::new(s3, dependency());
                let clock = Arc::clone(&self.clock);
                let hedged = store::Hedged::new(measured, clock, Arc::clone(&breaker), gate);
                let retried = store::Retried::new(hedged, self.attempts(&breaker));
                let guarded = store::Guarded::new(retried, Arc::clone(&breaker));
                match self.copy(CACHE_FILE, self.config.degrade.disk_cache)? {
                    Some(db) => {
                        let (clock, most) =
                            (Arc::clone(&self.clock), self.config.degrade.disk_cache_bytes);
                        let kept = store::Kept::open(guarded, db, clock, self.ages(), most);
                        let kept = kept.await?;
                        self.caches.note_disk(kept.off());
                        self.remembering(kept, Some(breaker))
                    }
                    None => self.remembering(guarded, Some(breaker)),
                }
            }
        })
    }

    /// The same behind the journal, where there is one: what waits in it is replayed also after the
    /// configuration has stopped to ask for it.
    pub async fn journaled(
        &self,
        store: &Arc<dyn Store>,
        state: Option<&Arc<Dependency>>,
        stale: bool,
    ) -> Result<Option<(Arc<dyn Store>, Arc<Journal>)>, StartError> {
        let degrade = &self.config.degrade;
        let Some((directory, state)) = degrade.state_dir.as_ref().zip(state) else {
            return Ok(None);
        };
        let path = directory.join(journal::JOURNAL_FILE);
        let takes = degrade.on_storage_outage == OnOutage::Journal;
        if !takes && !path.exists() {
            return Ok(None);
        }
        let ledger = DiskLedger::open(&path).map_err(of_the_journal)?;
        let ledger = journal::Measured::new(ledger, Arc::clone(state));
        let age = if stale { Duration::MAX } else { degrade.journal_age };
        let bounds = Bounds { bytes: degrade.journal_bytes, age };
        let journal = Journal::open(Arc::new(ledger), Arc::clone(&self.clock), bounds);
        let journal = journal.await.map_err(of_the_journal)?;
        let journal = Arc::new(journal.counted(self.telemetry.replayed()));
        let store = store::Journaled::new(
            Arc::clone(store),
            Arc::clone(&journal),
            Arc::clone(&self.clock),
            Arc::clone(&self.storage_breaker),
            takes,
        );
        Ok(Some((Arc::new(store), journal)))
    }

    fn attempts(&self, breaker: &Arc<Breaker>) -> Attempts {
        let (entropy, clock) = (Arc::clone(&self.entropy), Arc::clone(&self.clock));
        Attempts::new(entropy, clock, Arc::clone(breaker))
    }

    fn remembering(
        &self,
        store: impl Store + 'static,
        breaker: Option<Arc<Breaker>>,
    ) -> Arc<dyn Store> {
        let (clock, caches) = (Arc::clone(&self.clock), Arc::clone(&self.caches));
        Arc::new(Cached::new(store, clock, self.ages(), caches, breaker))
    }

    fn ages(&self) -> Ages {
        let clocks =
            |it: &Remember| Clocks { soft: it.soft, revocation: it.revocation, hard: it.hard };
        let config::Cache { values, grants } = &self.config.cache;
        Ages { value: clocks(values), grant: clocks(grants), ..Ages::default() }
    }

    /// A database of the state directory that is only a copy; one that is not wanted any more is removed. What was
    /// kept before some time without it says nothing of what was deleted in that time.
    fn copy(&self, file: &str, wanted: bool) -> Result<Option<Db>, StartError> {
        let Some(directory) = &self.config.degrade.state_dir else { return Ok(None) };
        let path = directory.join(file);
        if wanted {
            return (self.copies)(&path).map(Some);
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StartError::State(path.display().to_string(), error))
            }
            _ => Ok(None),
        }
    }

    /// What data keys are kept in for a restart.
    async fn standby(&self) -> Result<Option<Arc<Standby>>, StartError> {
        super::refuse_standby_in_state(&self.config)?;
        let key = &self.config.degrade.standby_key_file;
        let Some((db, key)) = self.copy("standby.redb", key.is_some())?.zip(key.as_ref()) else {
            return Ok(None);
        };
        let (clock, entropy) = (Arc::clone(&self.clock), Arc::clone(&self.entropy));
        let standby = Standby::open(db, key, clock, entropy).await.map_err(StartError::Standby)?;
        Ok(Some(Arc::new(standby)))
    }

    /// The keeper of keys. A key file is made only for a store without keys: a lost one must be
    /// restored, not replaced.
    pub async fn wrapper(&self, store: &dyn Store) -> Result<Arc<dyn Wrapper>, StartError> {
        match &self.config.keys {
            Keys::Local { path } => {
                self.make_key_file(path, store).await?;
                let local = LocalKeys::open(path, Arc::clone(&self.entropy))?;
                Ok(Arc::new(keys::Measured::new(local, Arc::clone(&self.telemetry.keys))))
            }
            Keys::Kms(settings) => Ok(self.kms(settings).await),
        }
    }

    /// KMS as the keeper of keys.
    pub async fn kms(&self, settings: &KmsKeys) -> Arc<dyn Wrapper> {
        let kms = Kms::new(self.aws(&settings.region).await, settings);
        let measured = keys::Measured::new(kms, Arc::clone(&self.telemetry.keys));
        let retried = keys::Retried::new(measured, self.attempts(&self.keys_breaker));
        Arc::new(keys::Guarded::new(retried, Arc::clone(&self.keys_breaker)))
    }

    /// A keyring of which nothing is proven.
    pub fn plain_keyring(&self, store: &Arc<dyn Store>, wrapper: Arc<dyn Wrapper>) -> Arc<Keyring> {
        Arc::new(self.new_keyring(store, wrapper))
    }

    fn new_keyring(&self, store: &Arc<dyn Store>, wrapper: Arc<dyn Wrapper>) -> Keyring {
        let (store, clock) = (Arc::clone(store), Arc::clone(&self.clock));
        let keyring = Keyring::new(store, wrapper, clock, keys::Settings::default());
        keyring.counted(self.telemetry.cache(Remembered::DataKeys))
    }

    /// The keyring of a store, proven to fit its keys. Where that takes a network, the proof is not
    /// waited for: a sidecar starts whatever is away, and says what is.
    pub async fn keyring(&self, store: &Arc<dyn Store>) -> Result<Arc<Keyring>, StartError> {
        let wrapper = self.wrapper(&**store).await?;
        let keyring = self.new_keyring(store, wrapper).with_standby(self.standby().await?);
        let keyring = Arc::new(keyring);
        if self.config.uses_aws() {
            tokio::spawn(probe(Arc::clone(&keyring)));
            return Ok(keyring);
        }
        match keyring.probe(limits::PAGE).await {
            Ok(_) => Ok(keyring),
            Err(cause @ KeyError::Refused(_)) => {
                Err(StartError::WrongKey { keys: self.keys_name(), cause })
            }
            Err(cause) => Err(StartError::Keyring(cause)),
        }
    }

    async fn make_key_file(&self, path: &Path, store: &dyn Store) -> Result<(), StartError> {
        if path.exists() {
            return Ok(());
        }
        if !store.list(Name::KEYS, None, 1).await?.is_empty() {
            return Err(StartError::KeyMissing {
                keys: self.keys_name(),
                store: self.store_name(),
            });
        }
        prepare_directory(path)?;
        Ok(LocalKeys::create(path, &*self.entropy)?)
    }

    fn store_name(&self) -> String {
        match &self.config.storage {
            Storage::Embedded { path } => path.display().to_string(),
            Storage::Memory => "the store".into(),
            Storage::S3(place) => format!("the bucket {}", place.bucket),
        }
    }

    fn keys_name(&self) -> String {
        match &self.config.keys {
            Keys::Local { path } => path.display().to_string(),
            Keys::Kms(keys) => keys.key_id.clone(),
        }
    }

    /// What the clients of AWS share.
    pub async fn aws(&self, region: &str) -> &Aws {
        self.aws.get_or_init(|| Aws::new(region)).await
    }
}

fn copy_on_disk(path: &Path) -> Result<Db, StartError> {
    prepare_directory(path)?;
    Ok(Db::open_copy(path)?)
}

/// A store is restored from a backup, and a journal has none.
fn of_the_journal(error: DbError) -> StartError {
    match error {
        DbError::Damaged(file, why) => StartError::JournalDamaged { file, why },
        error => error.into(),
    }
}

async fn probe(keyring: Arc<Keyring>) {
    // One key will do: each costs a call.
    match keyring.probe(1).await {
        Ok(true) => tracing::info!("the store and its keys answer, and fit each other"),
        Ok(false) => tracing::info!("the store answers, and has no keys yet"),
        Err(cause) => tracing::error!(
            %cause,
            "the store and its keys do not work yet; `lunasec check --connect` says what to change"
        ),
    }
}
