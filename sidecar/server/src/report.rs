//! What `/v1/status` and the admin listener say.

use std::sync::Arc;

use arc_swap::ArcSwap;
use lunasec_api as api;
use tokio::sync::watch;

use crate::{
    env::Clock,
    http::rfc3339,
    idempotency::Idempotency,
    journal::{Journal, Pending, Refused},
    keys::Keyring,
    platform::Hardening,
    sandbox::Sandbox,
    sessions::Issuer,
    store::{Caches, Used},
    telemetry::{Dependency, Remembered, Telemetry},
    vault::Age,
};

/// What is reported of.
pub struct Observed {
    /// The data keys.
    pub keyring: Arc<Keyring>,
    /// What is remembered of the store.
    pub caches: Arc<Caches>,
    /// What retries get.
    pub idempotency: Arc<Idempotency>,
    /// The metrics.
    pub telemetry: Arc<Telemetry>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// The state directory, where there is one.
    pub state: Option<Arc<Dependency>>,
    /// The audit trail's spool and behind it its sinks, where there is one.
    pub audit: Vec<Arc<Dependency>>,
    /// Where writes wait for storage, if they do.
    pub journal: Option<Arc<Journal>>,
    /// What protects the process.
    pub protection: Protection,
}

/// What protects the process, and from it.
pub struct Protection {
    /// What others cannot get out of it.
    pub hardening: Hardening,
    /// What it cannot do.
    pub sandbox: Sandbox,
}

/// See the module.
pub struct Report {
    of: Observed,
    started: std::time::Duration,
    ready: watch::Sender<bool>,
    issuers: ArcSwap<Vec<Arc<Issuer>>>,
}

impl Report {
    /// Ready from now on.
    pub fn new(of: Observed) -> Self {
        let (started, ready) = (of.clock.monotonic(), watch::Sender::new(true));
        Self { of, started, ready, issuers: ArcSwap::default() }
    }

    /// Who makes JWTs from now on.
    pub fn set_issuers(&self, issuers: &[Arc<Issuer>]) {
        self.issuers.store(Arc::new(issuers.to_vec()));
    }

    /// No new work is taken.
    pub fn drain(&self) {
        self.ready.send_replace(false);
    }

    /// Whether work is taken. A dependency that is down does not change that: what still works
    /// must go on being asked for.
    pub fn ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Resolves when no new work is taken any more.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut ready = self.ready.subscribe();
        async move {
            let _ = ready.wait_for(|ready| !ready).await;
        }
    }

    /// The metrics' text.
    pub fn metrics(&self) -> String {
        if let Some(age) = self.of.keyring.age() {
            self.of.telemetry.data_key_age(age);
        }
        let Pending { count, age, .. } = self.pending();
        self.of.telemetry.journal(count, age);
        let (values, grants) = (self.of.caches.values(), self.of.caches.grants());
        self.of.telemetry.cache_bytes(Remembered::Values, values.bytes);
        self.of.telemetry.cache_bytes(Remembered::Grants, grants.bytes);
        self.of.telemetry.cache_bytes(Remembered::DataKeys, self.of.keyring.held_bytes() as u64);
        self.of.telemetry.disk_cache(self.of.caches.is_on_disk() == Some(true));
        self.of.telemetry.render()
    }

    fn pending(&self) -> Pending {
        self.of.journal.as_ref().map(|journal| journal.pending()).unwrap_or_default()
    }

    /// Counts an answer that says how old it is.
    pub fn degraded(&self, age: Age) {
        if let Some(reason) = age.reason() {
            self.of.telemetry.degraded(reason);
        }
    }

    /// Everything else.
    pub fn status(&self) -> api::Status {
        let mut keys = describe(&self.of.telemetry.keys);
        if self.of.keyring.extended() {
            keys.state = api::DependencyState::Degraded;
            keys.reason = Some("the data key's epoch is extended".into());
        }
        let Protection { hardening, sandbox } = &self.of.protection;
        let pending = self.pending();
        api::Status {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: self.of.clock.monotonic().saturating_sub(self.started).as_secs(),
            dependencies: api::Dependencies {
                storage: describe(&self.of.telemetry.storage),
                keys,
                state: self.of.state.as_deref().map(describe),
                audit: describe_trail(&self.of.audit),
            },
            issuers: self.issuers.load().iter().map(|issuer| describe_issuer(issuer)).collect(),
            caches: api::Caches {
                data_keys: self.of.keyring.held_count() as u64,
                idempotency_keys: self.of.idempotency.count(),
                values: describe_cache(self.of.caches.values()),
                grants: describe_cache(self.of.caches.grants()),
                disk: self.of.caches.is_on_disk().map(|on| if on { "on" } else { "off" }.into()),
            },
            journal: api::Journal {
                pending: pending.count,
                oldest_seconds: pending.age.as_secs(),
                stale: self.of.journal.as_ref().is_some_and(|journal| journal.is_stale()),
                refused: self.of.journal.as_deref().map(describe_refused).unwrap_or_default(),
            },
            process: api::Process {
                core_dumps_off: hardening.core_dumps_off,
                untraceable: hardening.untraceable,
                memory_locked: hardening.memory_locked.is_ok(),
                reason: hardening.memory_locked.err().map(Into::into),
            },
            sandbox: sandbox.describe(),
        }
    }
}

fn describe_refused(journal: &Journal) -> Vec<api::RefusedWrite> {
    let refused = journal.refused().into_iter().map(|(number, Refused { kind, code })| {
        api::RefusedWrite { number, kind: kind.into(), code: code.as_str().into() }
    });
    refused.collect()
}

fn describe_cache(used: Used) -> api::Cache {
    api::Cache { entries: used.entries, bytes: used.bytes }
}

fn describe_issuer(issuer: &Issuer) -> api::Issuer {
    let (settings, keys) = (issuer.settings(), issuer.key_count());
    let mut health = describe(issuer.dependency());
    if health.state == api::DependencyState::Down && keys > 0 {
        health.state = api::DependencyState::Degraded;
    }
    api::Issuer {
        issuer: settings.issuer.clone(),
        audience: settings.audience.clone(),
        keys: keys as u64,
        health,
    }
}

/// While its spool is down, what must be recorded is refused; while a sink is, it waits.
fn describe_trail(trail: &[Arc<Dependency>]) -> Option<api::Dependency> {
    use api::DependencyState::{Degraded, Down, Up};
    let mut states = trail.iter().map(|it| describe(it));
    let mut spool = states.next()?;
    if spool.state != Up {
        // Nothing but writing is asked of it.
        spool.state = Down;
        return Some(spool);
    }
    let troubled = states.find(|sink| sink.state != Up);
    Some(troubled.map_or(spool, |sink| api::Dependency { state: Degraded, ..sink }))
}

fn describe(dependency: &Dependency) -> api::Dependency {
    let health = dependency.health();
    api::Dependency { state: health.state, since: rfc3339(health.since), reason: health.reason }
}
