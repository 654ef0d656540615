//! What all who act in a simulation share: its time, its trace, and whether it goes on.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use lunasec_core::ids::Millis;
use lunasec_sidecar::env::Clock;
use tokio::time::Instant;

use crate::{model::Model, network::Network};

/// Since the beginning.
pub(crate) type At = Duration;

/// See the module.
pub(crate) struct Scene {
    pub(crate) seed: u64,
    start: Instant,
    trace: Mutex<Trace>,
    network: Mutex<Network>,
    model: Mutex<Model>,
    /// The longest pause of a client between two verbs, in milliseconds.
    pub(crate) pace: Mutex<u64>,
}

/// What happened: a digest of all of it, and its last lines.
struct Trace {
    digest: u64,
    lines: VecDeque<String>,
    keep: usize,
    counts: BTreeMap<String, u64>,
}

impl Scene {
    pub(crate) fn new(seed: u64, keep: usize, network: Network, model: Model) -> Self {
        let trace = Trace {
            digest: 0xCBF2_9CE4_8422_2325,
            lines: VecDeque::new(),
            keep,
            counts: BTreeMap::new(),
        };
        Self {
            seed,
            start: Instant::now(),
            trace: Mutex::new(trace),
            network: Mutex::new(network),
            model: Mutex::new(model),
            pace: Mutex::new(1_000),
        }
    }

    pub(crate) fn at(&self) -> At {
        self.start.elapsed()
    }

    pub(crate) fn network(&self) -> MutexGuard<'_, Network> {
        held(&self.network)
    }

    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        held(&self.model)
    }

    /// Takes one event into the trace.
    pub(crate) fn note(&self, event: fmt::Arguments<'_>) {
        let line = format!("{:>12.3} {event}", self.at().as_secs_f64());
        let mut trace = held(&self.trace);
        for byte in line.bytes() {
            trace.digest = (trace.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        if trace.lines.len() == trace.keep {
            trace.lines.pop_front();
        }
        trace.lines.push_back(line);
    }

    /// Counts something for the figures at the end.
    pub(crate) fn count(&self, what: impl Into<String>) {
        *held(&self.trace).counts.entry(what.into()).or_default() += 1;
    }

    /// The digest, the lines, and the counts.
    pub(crate) fn told(&self) -> (u64, Vec<String>, BTreeMap<String, u64>) {
        let trace = held(&self.trace);
        (trace.digest, trace.lines.iter().cloned().collect(), trace.counts.clone())
    }
}

pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The clock of one machine, as one of its sidecars has it: all of them tell the runtime's time, and none quite the
/// right one.
pub(crate) struct SiteClock {
    pub(crate) began: Instant,
    pub(crate) born: Instant,
    /// What the wall clock says that it said when all began.
    pub(crate) then: Arc<AtomicU64>,
}

impl Clock for SiteClock {
    fn now(&self) -> Millis {
        self.then.load(Ordering::SeqCst)
            + Millis::try_from(self.began.elapsed().as_millis()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        self.born.elapsed()
    }
}
