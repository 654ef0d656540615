//! Which replica looks for missed pods: the holder of a Lease.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use tokio::{sync::watch, time::timeout};

use crate::{
    clock::{Clock, instant},
    telemetry::Telemetry,
};

/// How long it holds without being renewed.
const HOLDS: Duration = Duration::from_secs(15);
/// How often it is renewed, or looked at.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// For so long after it was renewed its holder acts: less than it holds, so that there are never two.
const ACTS: Duration = Duration::from_secs(10);
/// For one look without the Lease.
const ATTEMPT: Duration = Duration::from_secs(5);
const RELEASE: Duration = Duration::from_secs(2);
/// What the last holder has to say to the next.
const NOTES: &str = "lunasec.io/notes";

/// One who wants the Lease.
pub struct Elector {
    leases: Api<Lease>,
    name: String,
    identity: String,
    clock: Arc<dyn Clock>,
    /// The version that was seen last, and when by this replica's clock: others' clocks are not trusted.
    seen: Option<(String, Duration)>,
    /// Whether the last attempt was successful.
    holds: bool,
    notes: Notes,
}

/// What the holder writes into the Lease whenever it renews it, and the next one finds there.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<String>>);

impl Notes {
    /// What is written there, or will be.
    pub fn read(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// To be written the next time.
    pub fn write(&self, text: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

impl Elector {
    /// As `identity`, which no other replica has.
    pub fn new(
        client: &Client,
        namespace: &str,
        name: &str,
        identity: String,
        clock: Arc<dyn Clock>,
        notes: Notes,
    ) -> Self {
        let leases = Api::namespaced(client.clone(), namespace);
        let name = name.to_owned();
        Self { leases, name, identity, clock, seen: None, holds: false, notes }
    }

    /// Takes it, renews it, or leaves it to whom it belongs; says whether it is held.
    pub async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let outcome = self.take().await;
        self.holds = matches!(outcome, Ok(true));
        outcome
    }

    async fn take(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(None)),
            };
            return written(self.leases.create(&PostParams::default(), &lease).await);
        };
        if !self.is_free(&lease) {
            return Ok(false);
        }
        let spec = self.spec(lease.spec.as_ref());
        let mut metadata = lease.metadata;
        let annotations = metadata.annotations.get_or_insert_default();
        if self.holds {
            annotations.insert(NOTES.to_owned(), self.notes.read());
        } else {
            self.notes.write(annotations.get(NOTES).cloned().unwrap_or_default());
        }
        self.replace(Lease { metadata, spec: Some(spec) }).await
    }

    /// Lets another replica have it at once.
    pub async fn release(&self) -> Result<(), kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
        if holder(&lease) != Some(&self.identity) {
            return Ok(());
        }
        let spec = lease.spec.map(|it| LeaseSpec { holder_identity: Some(String::new()), ..it });
        let mut metadata = lease.metadata;
        if self.holds {
            metadata
                .annotations
                .get_or_insert_default()
                .insert(NOTES.to_owned(), self.notes.read());
        }
        self.replace(Lease { metadata, spec }).await.map(|_| ())
    }

    fn is_free(&mut self, lease: &Lease) -> bool {
        if holder(lease).is_none_or(|it| it.is_empty() || *it == self.identity) {
            return true;
        }
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let now = self.clock.now();
        match &self.seen {
            Some((seen, since)) if *seen == version => now.saturating_sub(*since) >= HOLDS,
            _ => {
                self.seen = Some((version, now));
                false
            }
        }
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let seconds = i64::try_from(self.clock.now().as_secs()).unwrap_or(i64::MAX);
        let now = Timestamp::from_second(seconds).ok().map(MicroTime);
        let mine = before.filter(|it| it.holder_identity.as_ref() == Some(&self.identity));
        let changes = before.and_then(|it| it.lease_transitions).unwrap_or_default();
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(HOLDS.as_secs()).ok(),
            acquire_time: mine.and_then(|it| it.acquire_time.clone()).or_else(|| now.clone()),
            renew_time: now,
            lease_transitions: Some(
                changes.saturating_add(i32::from(before.is_some() && mine.is_none())),
            ),
            ..LeaseSpec::default()
        }
    }

    async fn replace(&self, lease: Lease) -> Result<bool, kube::Error> {
        written(self.leases.replace(&self.name, &PostParams::default(), &lease).await)
    }
}

/// Renews the Lease, or waits for it, until it is time to go. Whoever cannot renew it does not act any more before
/// another one may.
#[expect(clippy::cognitive_complexity, reason = "what the log's macros expand to is counted")]
pub async fn elect(
    mut elector: Elector,
    says: watch::Sender<bool>,
    mut stop: watch::Receiver<bool>,
    telemetry: Arc<Telemetry>,
) {
    let mut renewed: Option<Instant> = None;
    loop {
        let began = instant();
        let left = renewed.map_or(ATTEMPT, |it| ACTS.saturating_sub(it.elapsed()));
        match timeout(left.min(ATTEMPT), elector.attempt()).await {
            Ok(Ok(true)) => renewed = Some(began),
            Ok(Ok(false)) => renewed = None,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the Lease cannot be renewed now; trying again")
            }
            Err(_) => {
                tracing::warn!("the Lease cannot be renewed now, there is no answer; trying again")
            }
        }
        renewed = renewed.filter(|it| it.elapsed() < ACTS);
        let leads = renewed.is_some();
        if says.send_if_modified(|it| std::mem::replace(it, leads) != leads) {
            telemetry.leads(leads);
            tracing::info!(leads, "who looks for missed pods has changed");
        }
        let left = renewed.map_or(RENEW_EVERY, |it| ACTS.saturating_sub(it.elapsed()));
        tokio::select! {
            () = tokio::time::sleep(left.min(RENEW_EVERY)) => {}
            _ = stop.wait_for(|it| *it) => break,
        }
    }
    let released = timeout(RELEASE, elector.release()).await;
    if !matches!(released, Ok(Ok(()))) {
        tracing::info!("the Lease was not released; it runs out by itself");
    }
}

fn holder(lease: &Lease) -> Option<&String> {
    lease.spec.as_ref()?.holder_identity.as_ref()
}

/// Somebody else was faster: that is no error.
fn written(outcome: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match outcome {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
