//! Which replica looks for missed pods: the holder of a Lease.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};

use crate::clock::Clock;

/// How long it holds without being renewed.
const HOLDS: Duration = Duration::from_secs(15);
/// How often it is renewed, or looked at.
pub const RENEW_EVERY: Duration = Duration::from_secs(5);

/// One who wants the Lease.
pub struct Elector {
    leases: Api<Lease>,
    name: String,
    identity: String,
    clock: Arc<dyn Clock>,
    /// The version that was seen last, and when by this replica's clock: others' clocks are not trusted.
    seen: Option<(String, Duration)>,
}

impl Elector {
    /// As `identity`, which no other replica has.
    pub fn new(
        client: &Client,
        namespace: &str,
        name: &str,
        identity: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let leases = Api::namespaced(client.clone(), namespace);
        Self { leases, name: name.to_owned(), identity, clock, seen: None }
    }

    /// Takes it, renews it, or leaves it to whom it belongs; says whether it is held.
    pub async fn attempt(&mut self) -> Result<bool, kube::Error> {
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
        self.replace(Lease { spec: Some(spec), ..lease }).await
    }

    /// Lets another replica have it at once.
    pub async fn release(&self) -> Result<(), kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.name).await? else { return Ok(()) };
        if holder(&lease) != Some(&self.identity) {
            return Ok(());
        }
        let spec = lease.spec.map(|it| LeaseSpec { holder_identity: Some(String::new()), ..it });
        self.replace(Lease { metadata: lease.metadata, spec }).await.map(|_| ())
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
