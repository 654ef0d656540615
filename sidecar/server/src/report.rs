//! What `/v1/status` and the admin listener say.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use lunasec_api as api;

use crate::{
    env::Clock,
    http::rfc3339,
    idempotency::Idempotency,
    keys::Keyring,
    telemetry::{Dependency, Telemetry},
};

/// See the module.
pub struct Report {
    keyring: Arc<Keyring>,
    idempotency: Arc<Idempotency>,
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
    started: std::time::Duration,
    ready: AtomicBool,
}

impl Report {
    /// Ready from now on.
    pub fn new(
        keyring: Arc<Keyring>,
        idempotency: Arc<Idempotency>,
        telemetry: Arc<Telemetry>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let started = clock.monotonic();
        Self { keyring, idempotency, telemetry, clock, started, ready: AtomicBool::new(true) }
    }

    /// No new work is taken.
    pub fn drain(&self) {
        self.ready.store(false, Ordering::Relaxed);
    }

    /// Whether work is taken. A dependency that is down does not change that: what still works
    /// must go on being asked for.
    pub fn ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// The metrics' text.
    pub fn metrics(&self) -> String {
        self.telemetry.render()
    }

    /// Everything else.
    pub fn status(&self) -> api::Status {
        let mut keys = describe(&self.telemetry.keys);
        if self.keyring.extended() {
            keys.state = api::DependencyState::Degraded;
            keys.reason = Some("the data key's epoch is extended".into());
        }
        api::Status {
            version: env!("CARGO_PKG_VERSION").into(),
            uptime_seconds: self.clock.monotonic().saturating_sub(self.started).as_secs(),
            dependencies: api::Dependencies { storage: describe(&self.telemetry.storage), keys },
            caches: api::Caches {
                data_keys: self.keyring.held_count() as u64,
                idempotency_keys: self.idempotency.count(),
            },
            journal: api::Journal { pending: 0, oldest_seconds: 0 },
        }
    }
}

fn describe(dependency: &Dependency) -> api::Dependency {
    let health = dependency.health();
    api::Dependency {
        state: health.state,
        since: rfc3339(health.since),
        reason: health.reason.map(Into::into),
    }
}
