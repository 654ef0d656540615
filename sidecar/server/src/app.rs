//! The only composition root: the one place that names concrete adapters.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use lunasec_core::{limits, policy::Policy, secret::DataKey};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    admin,
    config::Config,
    db::DbError,
    env::{Clock, Entropy, NoEntropy, SystemClock, SystemEntropy, random},
    files,
    http::{Budget, Http},
    idempotency::{DiskEntries, Entries, Idempotency, MemoryEntries, local_secret},
    keyed::KeyedLocks,
    keys::{KeyError, KeyFileError},
    listen::{self, Bound, SocketError},
    report::Report,
    stack::Stack,
    store::StoreError,
    telemetry::Telemetry,
    vault::{Graces, Vault},
};

mod open;

pub use open::Opener;

/// Why the sidecar did not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store's file.
    #[error("{0}")]
    Db(#[from] DbError),
    /// The store's contents.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The key file.
    #[error("{0}")]
    KeyFile(#[from] KeyFileError),
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
    /// The operating system gave no randomness.
    #[error("{0}")]
    Entropy(#[from] NoEntropy),
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
    config: Config,
}

impl App {
    /// Opens everything, then binds.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let telemetry = Arc::new(Telemetry::new(Arc::clone(&clock)));
        let opener = Opener::new(
            config.clone(),
            Arc::clone(&clock),
            Arc::clone(&entropy),
            Arc::clone(&telemetry),
        );
        let store = opener.store().await?;
        let keyring = opener.keyring(&store).await?;
        let idempotency = Arc::new(open_idempotency(&config, &entropy).await?);
        let report = Arc::new(Report::new(
            Arc::clone(&keyring),
            Arc::clone(&idempotency),
            Arc::clone(&telemetry),
            Arc::clone(&clock),
        ));
        let first_id = u64::from_be_bytes(random(&*entropy)?);
        let vault = Arc::new(Vault {
            store,
            keyring,
            clock,
            entropy,
            policy: Policy { own_uid: rustix::process::geteuid().as_raw() },
            idempotency,
            attempts: KeyedLocks::default(),
        });
        let http = Http {
            vault,
            report: Arc::clone(&report),
            limits: config.limits.clone(),
            budget: Budget::new(config.limits.body_bytes_in_flight),
            graces: Graces {
                expired: config.sweep.expired_grace,
                tombstone: config.sweep.tombstone_grace,
            },
        };
        let stack = Arc::new(Stack::new(http, telemetry, first_id));
        let admin = bind_admin(config.listen.admin).await?;
        prepare_directory(&config.listen.socket)?;
        let listen = &config.listen;
        let socket = Bound::bind(&listen.socket, listen.mode, listen.group.as_deref())?;
        Ok(Self { socket, admin, stack, report, config })
    }

    /// Where it answers.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            socket: self.config.listen.socket.clone(),
            admin: self.admin.as_ref().and_then(|admin| admin.local_addr().ok()),
        }
    }

    /// Serves until `stop` resolves, then answers what was taken, within the drain time.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let (stopper, stopped) = watch::channel(false);
        if let Some(admin) = self.admin {
            tokio::spawn(admin::serve(admin, Arc::clone(&self.report)));
        }
        let limits = &self.config.limits;
        let serving = listen::serve(self.socket, self.stack, limits, stopped);
        let stopping = async {
            stop.await;
            tracing::info!("stopping: answering what was taken");
            self.report.drain();
            let _ = stopper.send(true);
            tokio::time::sleep(limits.drain_time).await;
        };
        tokio::select! {
            () = serving => tracing::info!(journal_pending = 0, "stopped: every request was answered"),
            () = stopping => tracing::warn!(journal_pending = 0, "stopped: some requests took too long"),
        }
    }
}

async fn open_idempotency(
    config: &Config,
    entropy: &Arc<dyn Entropy>,
) -> Result<Idempotency, StartError> {
    let capacity = config.limits.idempotency_entries;
    let (secret, entries): (DataKey, Arc<dyn Entries>) = match &config.degrade.state_dir {
        Some(directory) => {
            let failed = |error| StartError::State(directory.display().to_string(), error);
            files::create_private_directory(directory).map_err(failed)?;
            let path = directory.join("idempotency.secret");
            let file = directory.join("idempotency.redb");
            let secret = local_secret(&path, &file, &**entropy)
                .map_err(|error| StartError::State(path.display().to_string(), error))?;
            let entries = DiskEntries::open(&file, capacity).await?;
            (secret, Arc::new(entries))
        }
        None => {
            let capacity = capacity.min(limits::IDEMPOTENCY_ENTRIES_IN_MEMORY);
            let secret = DataKey::take(&mut random(&**entropy)?);
            (secret, Arc::new(MemoryEntries::new(capacity)))
        }
    };
    Ok(Idempotency::new(secret, entries, Arc::clone(entropy)))
}

async fn bind_admin(address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    let Some(address) = address else { return Ok(None) };
    let bound = TcpListener::bind(address).await;
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
