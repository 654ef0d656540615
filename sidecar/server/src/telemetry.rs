//! Names of the metrics, and the state of the dependencies behind them.
//!
//! Series are held by the code that counts, in tables indexed by small enums: counting is one atomic
//! add. No label holds a token, a session, or anything that a caller chooses.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use lunasec_api::{Code, DependencyState};
use lunasec_core::ids::Millis;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use crate::{env::Clock, seldom::Seldom};

/// Seconds; from a hot answer in memory to the request's deadline.
const BUCKETS: [f64; 12] =
    [25e-6, 50e-6, 100e-6, 250e-6, 1e-3, 2.5e-3, 10e-3, 50e-3, 250e-3, 1.0, 2.5, 10.0];

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

macro_rules! operations {
    ($($name:ident = $text:literal,)+) => {
        /// What a request asks for; the label `operation`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[expect(missing_docs, reason = "each is the route of that name")]
        pub enum Operation { $($name,)+ }

        impl Operation {
            const ALL: &[Self] = &[$(Self::$name,)+];

            /// The label.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

operations! {
    Tokenize = "tokenize",
    TokenizeBatch = "tokenize_batch",
    Detokenize = "detokenize",
    DetokenizeBatch = "detokenize_batch",
    MetadataGet = "metadata_get",
    MetadataSet = "metadata_set",
    GrantsCreate = "grants_create",
    GrantsVerify = "grants_verify",
    GrantsRevoke = "grants_revoke",
    Delete = "delete",
    CanariesCreate = "canaries_create",
    Sweep = "sweep",
    Status = "status",
    Health = "health",
    Reflection = "reflection",
    Unknown = "unknown",
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    code: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct DependencyLabel {
    dependency: Cow<'static, str>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct DependencyLabels {
    dependency: Cow<'static, str>,
    operation: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct DependencyResultLabels {
    dependency: Cow<'static, str>,
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct CacheLabel {
    cache: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct CacheLabels {
    cache: &'static str,
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The series of one operation, found without hashing.
struct Series {
    seconds: OnceLock<Histogram>,
    /// One for success, one for each code, and one for what was cancelled.
    counters: Vec<OnceLock<Counter>>,
}

/// The code of a request that its client took back before its answer. A write may complete all the same.
const CANCELLED: &str = "cancelled";

/// One request, counted once: by its answer, or as cancelled if it is dropped before.
pub struct Pending<'a> {
    telemetry: &'a Telemetry,
    operation: Operation,
    started: Duration,
    answered: bool,
}

impl Pending<'_> {
    /// Counts its answer; `code` is absent for success.
    pub fn answered(mut self, code: Option<Code>) {
        self.answered = true;
        self.telemetry.answered(self.operation, code, self.started);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.telemetry.count(self.operation, Code::ALL.len() + 1, CANCELLED);
        }
    }
}

/// What is remembered; the label `cache`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remembered {
    /// Values and metadata.
    Values,
    /// Grants and sessions.
    Grants,
    /// Unwrapped data keys.
    DataKeys,
}

impl Remembered {
    const ALL: [Self; 3] = [Self::Values, Self::Grants, Self::DataKeys];

    fn as_str(self) -> &'static str {
        match self {
            Self::Values => "values",
            Self::Grants => "grants",
            Self::DataKeys => "data_keys",
        }
    }
}

/// How those were answered who asked a cache.
#[derive(Clone, Default)]
pub struct CacheSeries {
    hit: Counter,
    stale: Counter,
    miss: Counter,
}

impl CacheSeries {
    /// From memory, as good as from the dependency.
    pub fn hit(&self) {
        self.hit.inc();
    }

    /// From memory, older than it should be, or while the dependency is away.
    pub fn stale(&self) {
        self.stale.inc();
    }

    /// Not from memory: the dependency was asked.
    pub fn miss(&self) {
        self.miss.inc();
    }
}

/// What became of a journaled write; the label `result`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replayed {
    /// It lies in storage as it was journaled.
    Written,
    /// It lay there already: its answer was lost, and not it.
    Present,
    /// Of a session: what it says, and what lay there.
    Merged,
    /// Something else stands.
    Superseded,
    /// It waits on for a reason of its own, counted each time that it is tried.
    Refused,
}

impl Replayed {
    const ALL: [Self; 5] =
        [Self::Written, Self::Present, Self::Merged, Self::Superseded, Self::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Present => "present",
            Self::Merged => "merged",
            Self::Superseded => "superseded",
            Self::Refused => "refused",
        }
    }
}

/// Journaled writes by what became of them.
#[derive(Clone, Default)]
pub struct ReplaySeries([Counter; Replayed::ALL.len()]);

impl ReplaySeries {
    fn register(registry: &mut Registry) -> Self {
        let family = Family::<ResultLabel, Counter>::default();
        registry.register(
            "lunasec_journal_replayed",
            "Journaled writes, by what became of them when storage was asked",
            family.clone(),
        );
        let label = |it: Replayed| ResultLabel { result: it.as_str() };
        Self(Replayed::ALL.map(|it| family.get_or_create_owned(&label(it))))
    }

    /// One more.
    pub fn count(&self, became: Replayed) {
        self.0[became as usize].inc();
    }
}

/// What makes an answer a degraded one; the label `reason`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Storage.
    Storage,
    /// The keeper of keys.
    Keys,
    /// Both.
    StorageAndKeys,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Storage, Self::Keys, Self::StorageAndKeys];

    /// The label, and as answers say it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Keys => "keys",
            Self::StorageAndKeys => "storage,keys",
        }
    }
}

/// All metrics of the process.
pub struct Telemetry {
    registry: Registry,
    clock: Arc<dyn Clock>,
    requests: Family<RequestLabels, Counter>,
    seconds: Histograms<OperationLabel>,
    series: Vec<Series>,
    data_key_age: Gauge,
    clock_skew: Gauge,
    journal_pending: Gauge,
    journal_oldest: Gauge,
    disk_cache: Gauge,
    replayed: ReplaySeries,
    caches: [CacheSeries; Remembered::ALL.len()],
    cache_bytes: [Gauge; Remembered::ALL.len()],
    degraded: [Counter; Reason::ALL.len()],
    canaries: Family<OperationLabel, Counter>,
    families: DependencyFamilies,
    /// What records lie in.
    pub storage: Arc<Dependency>,
    /// What wraps keys.
    pub keys: Arc<Dependency>,
}

fn gauge_of(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

impl Telemetry {
    /// Registers everything.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        registry.register(
            "lunasec_requests",
            "Requests answered, or cancelled before that",
            requests.clone(),
        );
        let seconds = Histograms::new_with_constructor(histogram);
        registry.register(
            "lunasec_request_duration_seconds",
            "From a request's head to its answer",
            seconds.clone(),
        );
        let data_key_age = gauge_of(
            &mut registry,
            "lunasec_data_key_age_seconds",
            "Since the epoch of the data key last sealed with began",
        );
        let clock_skew = gauge_of(
            &mut registry,
            "lunasec_clock_skew_seconds",
            "By how much this machine's clock is ahead of storage's, by its last answer",
        );
        let journal_pending =
            gauge_of(&mut registry, "lunasec_journal_pending", "Writes that wait for storage");
        let journal_oldest = gauge_of(
            &mut registry,
            "lunasec_journal_oldest_seconds",
            "How long the oldest of them has waited",
        );
        let disk_cache = gauge_of(
            &mut registry,
            "lunasec_disk_cache_on",
            "Whether what is read is kept on this machine's disk",
        );
        let replayed = ReplaySeries::register(&mut registry);
        let (caches, cache_bytes) = register_caches(&mut registry);
        let degraded = Family::<ReasonLabel, Counter>::default();
        registry.register(
            "lunasec_degraded_answers",
            "Answers, batches counted once, with anything older than it should be, or made while a dependency is away",
            degraded.clone(),
        );
        let canaries = Family::<OperationLabel, Counter>::default();
        registry.register(
            "lunasec_canaries_used",
            "Tokens asked for that nobody was given; any is an alarm",
            canaries.clone(),
        );
        registry.register(
            "lunasec_build",
            "What runs",
            Info::new([("version", env!("CARGO_PKG_VERSION"))]),
        );
        let families = DependencyFamilies::register(&mut registry);
        let series = || Series {
            seconds: OnceLock::new(),
            counters: (0..Code::ALL.len() + 2).map(|_| OnceLock::new()).collect(),
        };
        Self {
            storage: Arc::new(Dependency::new("storage", &families, Arc::clone(&clock))),
            keys: Arc::new(Dependency::new("keys", &families, Arc::clone(&clock))),
            registry,
            clock,
            requests,
            seconds,
            series: Operation::ALL.iter().map(|_| series()).collect(),
            data_key_age,
            clock_skew,
            journal_pending,
            journal_oldest,
            disk_cache,
            replayed,
            caches,
            cache_bytes,
            degraded: Reason::ALL
                .map(|it| degraded.get_or_create_owned(&ReasonLabel { reason: it.as_str() })),
            canaries,
            families,
        }
    }

    /// The counters of a cache.
    pub fn cache(&self, cache: Remembered) -> CacheSeries {
        self.caches[cache as usize].clone()
    }

    /// The counters of what becomes of journaled writes.
    pub fn replayed(&self) -> ReplaySeries {
        self.replayed.clone()
    }

    /// Notes how much memory a cache takes.
    pub fn cache_bytes(&self, cache: Remembered, bytes: u64) {
        self.cache_bytes[cache as usize].set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// An answer that says why it is degraded.
    pub fn degraded(&self, reason: Reason) {
        self.degraded[reason as usize].inc();
    }

    /// A canary that somebody used.
    pub fn canary(&self, operation: Operation) {
        let label = OperationLabel { operation: operation.as_str() };
        self.canaries.get_or_create(&label).inc();
    }

    /// One more dependency.
    pub fn dependency(&self, name: impl Into<Cow<'static, str>>) -> Arc<Dependency> {
        Arc::new(Dependency::new(name, &self.families, Arc::clone(&self.clock)))
    }

    /// A request that has come.
    pub fn begin(&self, operation: Operation) -> Pending<'_> {
        Pending { telemetry: self, operation, started: self.clock.monotonic(), answered: false }
    }

    fn answered(&self, operation: Operation, code: Option<Code>, started: Duration) {
        let at = code.map_or(0, |code| code as usize + 1);
        self.count(operation, at, code.map_or("ok", Code::as_str));
        let label = || OperationLabel { operation: operation.as_str() };
        let elapsed = self.clock.monotonic().saturating_sub(started);
        self.series[operation as usize]
            .seconds
            .get_or_init(|| self.seconds.get_or_create_owned(&label()))
            .observe(elapsed.as_secs_f64());
    }

    fn count(&self, operation: Operation, at: usize, code: &'static str) {
        let labels = || RequestLabels { operation: operation.as_str(), code };
        self.series[operation as usize].counters[at]
            .get_or_init(|| self.requests.get_or_create_owned(&labels()))
            .inc();
    }

    /// Notes the age of the key that seals.
    pub fn data_key_age(&self, age: Duration) {
        self.data_key_age.set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }

    /// How far this machine's clock is ahead of storage's.
    pub fn clock_skew(&self) -> Gauge {
        self.clock_skew.clone()
    }

    /// Notes whether there is a disk cache that keeps anything.
    pub fn disk_cache(&self, on: bool) {
        self.disk_cache.set(on.into());
    }

    /// Notes what waits in the journal.
    pub fn journal(&self, pending: u64, oldest: Duration) {
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.journal_pending.set(gauge(pending));
        self.journal_oldest.set(gauge(oldest.as_secs()));
    }

    /// The OpenMetrics text.
    pub fn render(&self) -> String {
        let mut text = String::new();
        if encode(&mut text, &self.registry).is_err() {
            let _ = writeln!(text, "# the metrics could not be written");
        }
        text
    }
}

type Caches<T> = [T; Remembered::ALL.len()];

fn register_caches(registry: &mut Registry) -> (Caches<CacheSeries>, Caches<Gauge>) {
    let requests = Family::<CacheLabels, Counter>::default();
    registry.register(
        "lunasec_cache_requests",
        "Look-ups, by whether memory answered, answered though it is stale, or could not",
        requests.clone(),
    );
    let bytes = Family::<CacheLabel, Gauge>::default();
    registry.register("lunasec_cache_bytes", "Memory that caches take", bytes.clone());
    let series = Remembered::ALL.map(|cache| {
        let counter =
            |result| requests.get_or_create_owned(&CacheLabels { cache: cache.as_str(), result });
        CacheSeries { hit: counter("hit"), stale: counter("stale"), miss: counter("miss") }
    });
    let gauges = Remembered::ALL
        .map(|cache| bytes.get_or_create_owned(&CacheLabel { cache: cache.as_str() }));
    (series, gauges)
}

struct DependencyFamilies {
    up: Family<DependencyLabel, Gauge>,
    requests: Family<DependencyResultLabels, Counter>,
    seconds: Histograms<DependencyLabels>,
}

impl DependencyFamilies {
    fn register(registry: &mut Registry) -> Self {
        let families = Self {
            up: Family::default(),
            requests: Family::default(),
            seconds: Histograms::new_with_constructor(histogram),
        };
        registry.register(
            "lunasec_dependency_up",
            "Whether the dependency answered last time",
            families.up.clone(),
        );
        registry.register(
            "lunasec_dependency_requests",
            "Requests to dependencies",
            families.requests.clone(),
        );
        registry.register(
            "lunasec_dependency_request_duration_seconds",
            "Time that dependencies took",
            families.seconds.clone(),
        );
        families
    }
}

/// What is asked of a dependency. Reads and writes fail apart: a full disk is still read.
#[derive(Clone, Copy)]
pub struct Request {
    operation: &'static str,
    writes: bool,
}

impl Request {
    /// One that changes nothing.
    pub const fn read(operation: &'static str) -> Self {
        Self { operation, writes: false }
    }

    /// One that does.
    pub const fn write(operation: &'static str) -> Self {
        Self { operation, writes: true }
    }
}

/// The result of a request that was answered with a throttle: the dependency is there.
pub const THROTTLED: &str = "throttled";

/// The result of a request that was not answered.
pub const UNAVAILABLE: &str = "unavailable";

/// The result of a request whose answer nobody waited for to the end. What became of it is not known.
const ABANDONED: &str = "abandoned";

/// One request to a dependency, counted once: by what came of it, or as abandoned if it is dropped before.
pub struct Asked<'a> {
    dependency: &'a Dependency,
    request: Request,
    started: Duration,
    is_counted: bool,
}

impl Asked<'_> {
    /// It was answered, whatever the answer.
    pub fn answered(self, result: &'static str) {
        let (dependency, request) = self.ends(result);
        if dependency.note(request, None) {
            let (dependency, operation) = (&*dependency.name, request.operation);
            tracing::info!(dependency, operation, "a dependency does this again");
        }
    }

    /// It was not. The cause goes to the log, once for each change of state, as far as those are seldom.
    pub fn failed(self, result: &'static str, cause: &str) {
        let (dependency, request) = self.ends(result);
        if dependency.note(request, Some(result)) {
            let (dependency, operation) = (&*dependency.name, request.operation);
            tracing::error!(dependency, operation, cause, "a dependency fails");
        }
    }

    /// It was answered as the same was before, which is counted and says nothing new of the dependency.
    pub fn refused_again(self) {
        self.ends("refused");
    }

    /// It was not sent, because too many others wait.
    pub fn shed(mut self) {
        self.dependency.count(self.request, "shed", 1);
        self.is_counted = true;
    }

    /// It was not sent, for nobody is asked just now.
    pub fn spared(mut self) {
        self.is_counted = true;
    }
}

impl<'a> Asked<'a> {
    fn ends(mut self, result: &'static str) -> (&'a Dependency, Request) {
        self.is_counted = true;
        self.dependency.count(self.request, result, 1);
        self.dependency.time(self.request, self.started);
        (self.dependency, self.request)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.is_counted {
            self.dependency.count(self.request, ABANDONED, 1);
        }
    }
}

/// One dependency: its metrics, and what `/status` says of it.
pub struct Dependency {
    name: Cow<'static, str>,
    up: Gauge,
    ups: Family<DependencyLabel, Gauge>,
    requests: Family<DependencyResultLabels, Counter>,
    seconds: Histograms<DependencyLabels>,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
    /// What is logged of reads and writes that succeed again, and of those that fail.
    lines: [[Seldom; 2]; 2],
}

/// What is known of a dependency.
#[derive(Clone)]
pub struct Health {
    /// As last seen.
    pub state: DependencyState,
    /// Since when.
    pub since: Millis,
    /// Why it is not up, in words that are safe to show.
    pub reason: Option<String>,
}

/// How the last read and the last write failed, if they did.
struct Known {
    read: Option<&'static str>,
    write: Option<&'static str>,
    since: Millis,
    /// When one was last not answered.
    lost: Option<Duration>,
    /// Whether the log has it that reads, and writes, fail.
    told: [bool; 2],
}

impl Known {
    fn health(&self) -> Health {
        let (state, reason) = match (self.read, self.write) {
            (Some(THROTTLED), None) => {
                (DependencyState::Degraded, Some("reads fail: throttled".into()))
            }
            (Some(THROTTLED), Some(_)) => (DependencyState::Degraded, Some(THROTTLED.into())),
            (None, None) => (DependencyState::Up, None),
            (None, Some(why)) => (DependencyState::Degraded, Some(format!("writes fail: {why}"))),
            (Some(why), None) => (DependencyState::Down, Some(format!("reads fail: {why}"))),
            (Some(why), Some(_)) => (DependencyState::Down, Some(why.to_owned())),
        };
        Health { state, since: self.since, reason }
    }
}

/// One that is not asked any more is neither up nor down.
impl Drop for Dependency {
    fn drop(&mut self) {
        self.ups.remove(&DependencyLabel { dependency: self.name.clone() });
    }
}

impl Dependency {
    fn new(
        name: impl Into<Cow<'static, str>>,
        families: &DependencyFamilies,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let name = name.into();
        let up = families.up.get_or_create_owned(&DependencyLabel { dependency: name.clone() });
        up.set(1);
        let since = clock.now();
        let known = Known { read: None, write: None, since, lost: None, told: [false; 2] };
        let lines = || Seldom::new(Arc::clone(&clock));
        let lines = [[lines(), lines()], [lines(), lines()]];
        Self {
            name,
            up,
            ups: families.up.clone(),
            requests: families.requests.clone(),
            seconds: families.seconds.clone(),
            clock,
            known: Mutex::new(known),
            lines,
        }
    }

    /// A request that is made now.
    pub fn begin(&self, request: Request) -> Asked<'_> {
        Asked { dependency: self, request, started: self.clock.monotonic(), is_counted: false }
    }

    /// Waits for a request of which nothing is known but whether it was answered, and notes that.
    pub async fn watch<T, E: fmt::Display>(
        &self,
        asked: Request,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let asked = self.begin(asked);
        let result = request.await;
        match &result {
            Ok(_) => asked.answered("ok"),
            Err(error) => asked.failed(UNAVAILABLE, &error.to_string()),
        }
        result
    }

    /// Requests beyond the first that one step took.
    pub fn counted(&self, request: Request, requests: u64) {
        if requests > 0 {
            self.count(request, "ok", requests);
        }
    }

    /// Whether a request was not answered within that time, up to now.
    pub fn was_away_within(&self, time: Duration) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.lost.is_some_and(|lost| self.clock.monotonic().saturating_sub(lost) <= time)
    }

    /// What is known of it.
    pub fn health(&self) -> Health {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).health()
    }

    fn count(&self, request: Request, result: &'static str, requests: u64) {
        let (dependency, operation) = (self.name.clone(), request.operation);
        let labels = DependencyResultLabels { dependency, operation, result };
        self.requests.get_or_create(&labels).inc_by(requests);
    }

    fn time(&self, request: Request, started: Duration) {
        let (dependency, operation) = (self.name.clone(), request.operation);
        let elapsed = self.clock.monotonic().saturating_sub(started);
        self.seconds
            .get_or_create(&DependencyLabels { dependency, operation })
            .observe(elapsed.as_secs_f64());
    }

    /// Whether to log that: what the log has last is the truth, or will be soon.
    fn note(&self, request: Request, failure: Option<&'static str>) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if failure == Some(UNAVAILABLE) {
            known.lost = Some(self.clock.monotonic());
        }
        let side = if request.writes { &mut known.write } else { &mut known.read };
        let news = side.is_some() != failure.is_some();
        *side = failure;
        if news {
            known.since = self.clock.now();
            self.up.set(i64::from(known.read.is_none() && known.write.is_none()));
        }
        let (side, fails) = (usize::from(request.writes), failure.is_some());
        let tells =
            known.told[side] != fails && self.lines[side][usize::from(fails)].admit().is_some();
        known.told[side] ^= tells;
        tells
    }
}

#[cfg(test)]
mod tests;
