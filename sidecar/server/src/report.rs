//! What `/v1/status` and the admin listener say.

use std::sync::Arc;

use arc_swap::ArcSwap;
use lunasec_api as api;
use tokio::sync::watch;

use crate::{
    env::Clock,
    http::rfc3339,
    idempotency::Idempotency,
    journal::{Journal, Pending},
    keys::Keyring,
    platform::Hardening,
    sessions::Issuer,
    store::{Caches, Used},
    telemetry::{Dependency, Remembered, Telemetry},
    vault::Age,
};

/// See the module.
pub struct Report {
    keyring: Arc<Keyring>,
    caches: Arc<Caches>,
    idempotency: Arc<Idempotency>,
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
    /// The state directory, where there is one.
    state: Option<Arc<Dependency>>,
    /// Where writes wait for storage, if they do.
    journal: Option<Arc<Journal>>,
    hardening: Hardening,
    started: std::time::Duration,
    ready: watch::Sender<bool>,
    issuers: ArcSwap<Vec<Arc<Issuer>>>,
}

impl Report {
    /// Ready from now on.
    pub fn new(
        keyring: Arc<Keyring>,
        caches: Arc<Caches>,
        idempotency: Arc<Idempotency>,
        telemetry: Arc<Telemetry>,
        clock: Arc<dyn Clock>,
        state: Option<Arc<Dependency>>,
        journal: Option<Arc<Journal>>,
        hardening: Hardening,
    ) -> Self {
        let (started, ready) = (clock.monotonic(), watch::Sender::new(true));
        let issuers = ArcSwap::default();
        Self {
            keyring,
            caches,
            idempotency,
            telemetry,
            clock,
            state,
            journal,
            hardening,
            started,
            ready,
            issuers,
        }
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
        if let Some(age) = self.keyring.age() {
            self.telemetry.data_key_age(age);
        }
        let Pending { count, age, .. } = self.pending();
        self.telemetry.journal(count, age);
        let (values, grants) = (self.caches.values(), self.caches.grants());
        self.telemetry.cache_bytes(Remembered::Values, values.bytes);
        self.telemetry.cache_bytes(Remembered::Grants, grants.bytes);
        self.telemetry.cache_bytes(Remembered::DataKeys, self.keyring.held_bytes() as u64);
        self.telemetry.render()
    }

    fn pending(&self) -> Pending {
        self.journal.as_ref().map(|journal| journal.pending()).unwrap_or_default()
    }

    /// Counts an answer that says how old it is.
    pub fn degraded(&self, age: Age) {
        if let Some(reason) = age.reason() {
            self.telemetry.degraded(reason);
        }
    }

    /// Everything else.
    pub fn status(&self) -> api::Status {
        let mut keys = describe(&self.telemetry.keys);
        if self.keyring.extended() {
            keys.state = api::DependencyState::Degraded;
            keys.reason = Some("the data key's epoch is extended".into());
        }
        let pending = self.pending();
        api::Status {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: self.clock.monotonic().saturating_sub(self.started).as_secs(),
            dependencies: api::Dependencies {
                storage: describe(&self.telemetry.storage),
                keys,
                state: self.state.as_deref().map(describe),
            },
            issuers: self.issuers.load().iter().map(|issuer| describe_issuer(issuer)).collect(),
            caches: api::Caches {
                data_keys: self.keyring.held_count() as u64,
                idempotency_keys: self.idempotency.count(),
                values: describe_cache(self.caches.values()),
                grants: describe_cache(self.caches.grants()),
            },
            journal: api::Journal { pending: pending.count, oldest_seconds: pending.age.as_secs() },
            process: api::Process {
                core_dumps_off: self.hardening.core_dumps_off,
                untraceable: self.hardening.untraceable,
                memory_locked: self.hardening.memory_locked.is_ok(),
                reason: self.hardening.memory_locked.err().map(Into::into),
            },
        }
    }
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

fn describe(dependency: &Dependency) -> api::Dependency {
    let health = dependency.health();
    api::Dependency { state: health.state, since: rfc3339(health.since), reason: health.reason }
}
