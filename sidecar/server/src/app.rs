//! The only composition root: the one place that names concrete adapters.

use std::{
    cell::Cell,
    fs,
    future::pending,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
};

use futures_util::{Stream, StreamExt};
use lunasec_core::{limits, secret::DataKey};
use tokio::{net::TcpListener, sync::watch, time::timeout};

use crate::{
    access::Access,
    admin,
    alarm::Alarm,
    audit::SpoolError,
    aws,
    config::{Config, Confinement},
    db::DbError,
    env::{Clock, Entropy, NoEntropy, SystemClock, SystemEntropy, random},
    files,
    http::{Budget, Http},
    idempotency::{self, DiskEntries, Entries, Idempotency, MemoryEntries, local_secret},
    journal::{Journal, Replayer},
    keyed::KeyedLocks,
    keys::{KeyError, KeyFileError},
    listen::{self, Bound, SocketError},
    report::{Observed, Protection, Report},
    sandbox::Places,
    sessions::Sessions,
    stack::Stack,
    store::StoreError,
    telemetry::{Dependency, Telemetry},
    vault::{Graces, Memory, Turns, Vault},
};
use recorder::Recorder;

mod open;
mod recorder;
mod state;

pub use open::{Copies, Opener};
pub use state::{lock, refuse_standby_in_state, warnings};

/// Why the sidecar did not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store's file.
    #[error("{0}")]
    Db(#[from] DbError),
    /// The store's contents.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The journal's file is damaged. It has no backup: what waits in it is nowhere else.
    #[error(
        "{file} is damaged: {why}; what waits in it was acknowledged and may be nowhere else. Put back the volume's last snapshot, or move the file away, and keep it, to start without what waits in it"
    )]
    JournalDamaged {
        /// The journal.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The key file.
    #[error("{0}")]
    KeyFile(#[from] KeyFileError),
    /// What data keys are kept in for a restart.
    #[error("degrade.standby_key_file: {0}")]
    Standby(KeyFileError),
    /// The same lies beside what it protects.
    #[error(
        "degrade.standby_key_file {key} lies in degrade.state_dir {directory}, by a link: whoever has that directory would have the data keys, too; keep the key elsewhere, such as /etc/lunasec/standby.key"
    )]
    StandbyInState {
        /// The key, as it is named.
        key: String,
        /// The directory, as it is named.
        directory: String,
    },
    /// A program would have to be run.
    #[error(
        "the AWS profile {0} gets its credentials from a credential_process, which is a program, and a sidecar runs none; give it a role by web identity, pod identity, container or instance, or let something else write keys to a profile in the shared credentials file"
    )]
    CredentialProcess(String),
    /// The key file is gone and the store is not empty.
    #[error(
        "{store} holds data keys, and the key file {keys} that they are wrapped under is missing; restore it from a backup: without it no value can be read"
    )]
    KeyMissing {
        /// The key file.
        keys: String,
        /// The store.
        store: String,
    },
    /// The store is gone and its key is not.
    #[error(
        "there is a key file {keys} and no store {store}: is its volume mounted? Restore the store, or start once with --new-store if nothing was ever stored under this key"
    )]
    StoreMissing {
        /// The key file.
        keys: String,
        /// The store.
        store: String,
    },
    /// The key file holds other keys.
    #[error(
        "{keys} is not the key that this store was sealed with ({cause}); restore the right key file"
    )]
    WrongKey {
        /// The key file.
        keys: String,
        /// In the wrapper's words.
        cause: KeyError,
    },
    /// The keyring in the store is damaged.
    #[error("the store's keyring cannot be used: {0}")]
    Keyring(KeyError),
    /// The socket.
    #[error("{0}")]
    Socket(#[from] SocketError),
    /// The admin listener.
    #[error(
        "the admin listener cannot be bound to {0}: {1}; choose another with --admin or listen.admin"
    )]
    Admin(SocketAddr, io::Error),
    /// A directory or file of the state directory.
    #[error("{0} cannot be used: {1}")]
    State(String, io::Error),
    /// The audit trail.
    #[error("{0}")]
    Audit(#[from] SpoolError),
    /// The operating system gave no randomness.
    #[error("{0}")]
    Entropy(#[from] NoEntropy),
}

/// How to start.
#[derive(Clone, Copy, Default)]
pub struct Start {
    /// Make a new store although there is a key already.
    pub new_store: bool,
    /// Replay the journal however old it is.
    pub replay_stale_journal: bool,
}

/// Where the sidecar answers.
pub struct Addresses {
    /// The Unix socket.
    pub socket: PathBuf,
    /// The admin listener, if there is one.
    pub admin: Option<SocketAddr>,
}

/// The sidecar, bound and ready to serve.
pub struct App {
    socket: Bound,
    admin: Option<TcpListener>,
    stack: Arc<Stack>,
    report: Arc<Report>,
    journal: Option<Arc<Journal>>,
    trail: Option<Recorder>,
    config: Config,
    /// Keeps the state directory for this process.
    _state: Option<fs::File>,
}

impl App {
    /// Opens everything, then binds.
    pub async fn start(
        config: Config,
        start: Start,
        protection: Protection,
    ) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&clock)));
        let opener = Opener::new(
            config.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            Arc::clone(&telemetry),
        );
        if !start.new_store {
            opener.refuse_a_lost_store()?;
        }
        let locked = config.degrade.state_dir.as_deref().map(state::lock).transpose()?;
        let store = opener.store().await?;
        let state = config.degrade.state_dir.as_ref().map(|_| telemetry.dependency("state"));
        let idempotency = Arc::new(open_idempotency(&config, state.clone(), &entropy).await?);
        for warning in warnings(&config) {
            tracing::warn!("{warning}");
        }
        let below = store;
        let (store, journal) =
            match opener.journaled(&below, state.as_ref(), start.replay_stale_journal).await? {
                Some((journaled, journal)) => (journaled, Some(journal)),
                None => (Arc::clone(&below), None),
            };
        let keyring = opener.keyring(&store).await?;
        if let Some(journal) = &journal {
            let (store, journal) = (Arc::clone(&below), Arc::clone(journal));
            let (keyring, entropy) = (Arc::clone(&keyring), Arc::clone(&entropy));
            tokio::spawn(Replayer { store, journal, keyring, entropy }.run());
        }
        // Behind these a start does not fail any more, but for the kernel's last filter: a chain begins that the next one ends.
        let admin = bind_admin(config.listen.admin).await?;
        let listen = &config.listen;
        let socket = Bound::bind(&listen.socket, listen.mode, listen.group.as_deref())?;
        let trail = Recorder::open(&config, &telemetry, &clock, &*entropy, &below)?;
        let report = Arc::new(Report::new(Observed {
            keyring: Arc::clone(&keyring),
            caches: opener.caches(),
            idempotency: Arc::clone(&idempotency),
            telemetry: Arc::clone(&telemetry),
            clock: Arc::clone(&clock),
            state,
            audit: trail.as_ref().map(Recorder::dependencies).unwrap_or_default(),
            journal: journal.clone(),
            protection,
        }));
        let first_id = u64::from_be_bytes(random(&*entropy)?);
        let vault = Arc::new(Vault {
            store,
            keyring,
            clock: Arc::clone(&clock),
            memory: Memory::new(random(&*entropy)?),
            entropy,
            idempotency,
            attempts: KeyedLocks::default(),
            turns: Turns::default(),
            alarm: Alarm::new(Arc::clone(&telemetry), Arc::clone(&clock)),
        });
        warn_as_a_stranger();
        let sessions = Sessions::new(&config.sessions, Arc::clone(&telemetry), Arc::clone(&clock));
        report.set_issuers(sessions.issuers());
        let http = Http {
            access: Access::new(own_uid(), &config.clients, sessions, Arc::clone(&clock)),
            vault,
            report: Arc::clone(&report),
            limits: config.limits.clone(),
            budget: Budget::new(config.limits.body_bytes_in_flight),
            graces: graces(&config),
            grants: config.grants,
        };
        let audit = trail.as_ref().map(|trail| trail.audit(config.audit.assurances, &clock));
        let stack = Stack::new(http, telemetry, audit.unwrap_or_default(), &clock, first_id);
        let stack = Arc::new(stack);
        let _state = locked.flatten();
        Ok(Self { socket, admin, stack, report, journal, trail, config, _state })
    }

    /// Where it answers.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            socket: self.config.listen.socket.clone(),
            admin: self.admin.as_ref().and_then(|admin| admin.local_addr().ok()),
        }
    }

    /// Serves until `stops` yields, then answers what was taken and replays what was journaled, within the drain
    /// time and until `stops` yields again. Each configuration that `reloads` gives takes the place of the last.
    pub async fn serve(self, stops: impl Stream<Item = ()>, reloads: impl Stream<Item = Config>) {
        let (stopper, stopped) = watch::channel(false);
        if let Some(admin) = self.admin {
            tokio::spawn(admin::serve(admin, Arc::clone(&self.report)));
        }
        let (stack, connections) = (Arc::clone(&self.stack), self.config.limits.connections);
        let journal = &self.journal;
        let answered = Cell::new(false);
        let serving = async {
            listen::serve(self.socket, stack, connections, stopped).await;
            answered.set(true);
            if let Some(journal) = journal {
                journal.drain().await;
            }
        };
        let reloading = async {
            let mut reloads = pin!(reloads);
            while let Some(config) = reloads.next().await {
                reload(&self.stack, &self.config, &config);
            }
            pending::<()>().await;
        };
        let stopping = async {
            let mut stops = pin!(stops);
            stops.next().await;
            tracing::info!("stopping: answering what was taken");
            self.report.drain();
            let _ = stopper.send(true);
            let _ = timeout(self.stack.http().limits.drain_time, stops.next()).await;
        };
        let journal_pending = || journal.as_ref().map_or(0, |journal| journal.pending().count);
        tokio::select! {
            () = serving => {
                let journal_pending = journal_pending();
                tracing::info!(journal_pending, "stopped: every request was answered");
            }
            () = stopping => {
                let journal_pending = journal_pending();
                match answered.get() {
                    true => tracing::warn!(
                        journal_pending,
                        "stopped: every request was answered; what is journaled waits for the next start"
                    ),
                    false => {
                        tracing::warn!(journal_pending, "stopped: some requests took too long");
                    }
                }
            }
            () = reloading => {}
        }
        if let Some(trail) = self.trail {
            trail.end().await;
        }
    }
}

/// Puts a new configuration in force, as far as it can be while serving.
fn reload(stack: &Stack, started_with: &Config, config: &Config) {
    let serving = stack.http();
    let access = serving.access.renewed(own_uid(), &config.clients, &config.sessions);
    serving.report.set_issuers(access.sessions().issuers());
    let http = Http {
        access,
        vault: Arc::clone(&serving.vault),
        report: Arc::clone(&serving.report),
        limits: config.limits.clone(),
        budget: serving.budget.resized(config.limits.body_bytes_in_flight),
        graces: graces(config),
        grants: config.grants,
    };
    stack.replace(http, config.audit.assurances);
    let mut waiting = config.needs_a_restart_after(started_with);
    if let Confinement::On | Confinement::Required = started_with.sandbox.mode
        && !Places::of(config).are_within(&Places::of(started_with))
    {
        // What is confined does not confine itself to less.
        waiting.push("files in directories that the sandbox keeps closed");
    }
    if waiting.is_empty() {
        tracing::info!("the configuration was read again and is in force");
    } else {
        let waiting = waiting.join(", ");
        tracing::warn!(waiting, "the configuration was read again; some of it needs a restart");
    }
}

fn warn_as_a_stranger() {
    if crate::platform::strangers().0 == Some(own_uid()) {
        tracing::warn!(
            "this sidecar runs as the user under which its user namespace shows everybody who is not in it, so that its own calls are refused as theirs; run it as another user"
        );
    }
}

/// Refuses credentials that a program gives.
pub fn refuse_a_credential_process(config: &Config) -> Result<(), StartError> {
    match config.uses_aws().then(|| aws::profile::named().runs_a_program).flatten() {
        Some(profile) => Err(StartError::CredentialProcess(profile)),
        None => Ok(()),
    }
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn graces(config: &Config) -> Graces {
    Graces { expired: config.sweep.expired_grace, tombstone: config.sweep.tombstone_grace }
}

async fn open_idempotency(
    config: &Config,
    state: Option<Arc<Dependency>>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Idempotency, StartError> {
    let capacity = config.limits.idempotency_entries.max(limits::IDEMPOTENCY_ENTRIES_LEAST);
    let on_disk = match config.degrade.state_dir.as_ref().zip(state) {
        Some((directory, state)) => {
            idempotency_on_disk(directory, state, capacity, entropy).await?
        }
        None => None,
    };
    let (secret, entries) = match on_disk {
        Some(on_disk) => on_disk,
        None => {
            let capacity = capacity.min(limits::IDEMPOTENCY_ENTRIES_IN_MEMORY);
            let entries: Arc<dyn Entries> = Arc::new(MemoryEntries::new(capacity));
            (DataKey::take(&mut random(&**entropy)?), entries)
        }
    };
    Ok(Idempotency::new(secret, entries, Arc::clone(entropy)))
}

/// None where the disk is full before there is anything on it.
async fn idempotency_on_disk(
    directory: &Path,
    state: Arc<Dependency>,
    capacity: u64,
    entropy: &Arc<dyn Entropy>,
) -> Result<Option<(DataKey, Arc<dyn Entries>)>, StartError> {
    let path = directory.join("idempotency.secret");
    let file = directory.join("idempotency.redb");
    let secret = match local_secret(&path, &file, &**entropy) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            tracing::error!(
                file = %path.display(),
                %error,
                "idempotency keys are remembered in memory until the next start; make room on that disk"
            );
            return Ok(None);
        }
        secret => secret.map_err(|error| StartError::State(path.display().to_string(), error))?,
    };
    let entries = DiskEntries::open(&file, capacity).await?;
    let entries = idempotency::Measured::new(entries, state, limits::STORAGE_TIME);
    Ok(Some((secret, Arc::new(entries))))
}

async fn bind_admin(address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else { return Ok(None) };
    let bound = admin::bind(address).await;
    Ok(Some(bound.map_err(|error| StartError::Admin(address, error))?))
}

fn prepare_directory(path: &Path) -> Result<(), StartError> {
    let directory = files::parent(path);
    files::create_private_directory(directory)
        .map_err(|error| StartError::State(directory.display().to_string(), error))
}

/// The default admin address, or a free port where another sidecar has taken it: `dev` must start
/// without a question.
pub fn free_admin_address(preferred: SocketAddr) -> SocketAddr {
    match std::net::TcpListener::bind(preferred) {
        Ok(_) => preferred,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}
