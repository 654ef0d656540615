//! Names of the metrics. No label holds anything that a pod chooses.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

use crate::{clock::Clock, review::Outcome};

/// Seconds; from what a decision takes to what an API server waits for.
const BUCKETS: [f64; 11] =
    [50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 10e-3, 50e-3, 250e-3, 1.0, 2.5];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

/// How an eviction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// The pod goes.
    Evicted,
    /// A PodDisruptionBudget has no room for it now.
    Waiting,
    /// It was refused.
    Failed,
}

impl Restart {
    const ALL: [Self; 3] = [Self::Evicted, Self::Waiting, Self::Failed];

    fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Waiting => "waiting",
            Self::Failed => "failed",
        }
    }
}

/// What is counted, and whether the injector is ready.
pub struct Telemetry {
    registry: Registry,
    clock: Arc<dyn Clock>,
    decisions: Family<ResultLabel, Counter>,
    duration: Histogram,
    expiry: Family<WhatLabel, Gauge>,
    missed: Gauge,
    restarts: Family<ResultLabel, Counter>,
    leader: Gauge,
    in_order: Gauge,
    serving_until: AtomicU64,
    authority_until: AtomicU64,
    /// Since when API servers have been told which authority to trust; 0 if they have not.
    trusted_since: AtomicU64,
    stopping: AtomicBool,
}

impl Telemetry {
    /// All series are there from the start, so that a rate has something to begin with.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let mut registry = Registry::with_prefix("lunasec_injector");
        let decisions = Family::<ResultLabel, Counter>::default();
        registry.register("decisions", "Pods that were decided about", decisions.clone());
        let duration = Histogram::new(BUCKETS);
        let help = "Time from a review that was read to its answer";
        registry.register_with_unit("decision_duration", help, Unit::Seconds, duration.clone());
        let expiry = Family::<WhatLabel, Gauge>::default();
        let help =
            "How long the certificate in use, and the authority that signed it, are good yet";
        registry.register_with_unit("certificate_expiry", help, Unit::Seconds, expiry.clone());
        let missed = Gauge::default();
        registry.register(
            "missed_pods",
            "Pods that should have a sidecar and have none",
            missed.clone(),
        );
        let restarts = Family::<ResultLabel, Counter>::default();
        registry.register("restarts", "Evictions of such pods", restarts.clone());
        let leader = Gauge::default();
        registry.register("leader", "Whether this replica looks for missed pods", leader.clone());
        let in_order = Gauge::default();
        registry.register(
            "webhook_in_order",
            "Whether Secret and webhook configuration are there and say what they should",
            in_order.clone(),
        );
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The injector's version", build);
        for result in Outcome::ALL {
            drop(decisions.get_or_create(&ResultLabel { result: result.as_str() }));
        }
        for result in Restart::ALL {
            drop(restarts.get_or_create(&ResultLabel { result: result.as_str() }));
        }
        Self {
            registry,
            clock,
            decisions,
            duration,
            expiry,
            missed,
            restarts,
            leader,
            in_order,
            serving_until: AtomicU64::new(0),
            authority_until: AtomicU64::new(0),
            trusted_since: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    /// Counts a decision.
    pub fn decided(&self, outcome: Outcome) {
        self.decisions.get_or_create(&ResultLabel { result: outcome.as_str() }).inc();
    }

    /// How long a review was waited for, its turn included.
    pub fn took(&self, time: Duration) {
        self.duration.observe(time.as_secs_f64());
    }

    /// Counts an eviction.
    pub fn restarted(&self, how: Restart) {
        self.restarts.get_or_create(&ResultLabel { result: how.as_str() }).inc();
    }

    /// How many pods have no sidecar and should have.
    pub fn missed(&self, pods: usize) {
        self.missed.set(i64::try_from(pods).unwrap_or(i64::MAX));
    }

    /// Whether this replica is the one that looks. Another one knows what is missed otherwise.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
        if !leads {
            self.missed.set(0);
        }
    }

    /// A certificate is in use. Seconds since 1970.
    pub fn certificate(&self, serving_until: u64, authority_until: u64) {
        self.serving_until.store(serving_until, Relaxed);
        self.authority_until.store(authority_until, Relaxed);
    }

    /// The webhook's configuration has the bundle.
    pub fn trusted(&self) {
        let now = self.clock.now().as_secs().max(1);
        let _ = self.trusted_since.compare_exchange(0, now, Relaxed, Relaxed);
    }

    /// Whether Secret and webhook configuration were as they should be when they were looked at last. Being ready is
    /// another matter: a replica that cannot mend them answers as well as before.
    pub fn in_order(&self, in_order: bool) {
        self.in_order.set(in_order.into());
    }

    /// For how long it has been ready, if it is.
    pub fn ready_for(&self) -> Option<Duration> {
        let since = Duration::from_secs(self.trusted_since.load(Relaxed));
        self.unready().is_none().then(|| self.clock.now().saturating_sub(since))
    }

    /// No more traffic, please.
    pub fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// Why it is not ready, if it is not.
    pub fn unready(&self) -> Option<&'static str> {
        let now = self.clock.now().as_secs();
        if self.stopping.load(Relaxed) {
            Some("stopping")
        } else if self.serving_until.load(Relaxed) <= now {
            Some("there is no certificate that is good; see the log")
        } else if self.trusted_since.load(Relaxed) == 0 {
            Some("the webhook's configuration does not have the authority yet; see the log")
        } else {
            None
        }
    }

    /// All series, as OpenMetrics.
    pub fn metrics(&self) -> String {
        let now = self.clock.now().as_secs();
        for (what, until) in
            [("serving", &self.serving_until), ("authority", &self.authority_until)]
        {
            let left = i64::try_from(until.load(Relaxed)).unwrap_or(i64::MAX)
                - i64::try_from(now).unwrap_or(i64::MAX);
            self.expiry.get_or_create(&WhatLabel { what }).set(left.max(0));
        }
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
