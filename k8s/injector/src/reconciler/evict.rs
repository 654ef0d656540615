//! Evicts pods that were missed: PodDisruptionBudgets hold, nobody is evicted in a circle, and where new pods do not
//! start with their sidecar the old ones stay.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::{
    api::{core::v1::Pod, policy::v1::Eviction},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, OwnerReference, Preconditions},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use super::{
    Missed,
    siblings::{Siblings, siblings},
};
use crate::{
    clock::Clock,
    lease::Notes,
    telemetry::{Restart, Telemetry},
};

/// Between two evictions, so that a cluster does not start everything at once.
const PACE: Duration = Duration::from_secs(1);
/// Before another pod of the same owner is evicted without a sign that it helps, doubled each time.
const PATIENCE: Duration = Duration::from_secs(600);
/// 2^8 times that is more than a day.
const DOUBLINGS: u32 = 8;
/// Owners that are remembered before those are forgotten whose turn has come.
const OWNERS: usize = 10_000;
/// Of an owner's pods one of so many in one round, if those that were made anew run.
const PART: usize = 10;

/// Of those, as many as the next leader is told of: an annotation has 256 KiB for all.
const NOTED: usize = 500;

/// What is known of an owner.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Turn {
    /// How often in a row without a sign that it helps.
    times: u32,
    /// When one may be evicted without such a sign.
    from: Duration,
    /// Its pods before the last eviction.
    living: usize,
}

pub(super) struct Evictions {
    client: Client,
    clock: Arc<dyn Clock>,
    telemetry: Arc<Telemetry>,
    turns: HashMap<String, Turn>,
}

impl Evictions {
    pub(super) fn new(client: Client, clock: Arc<dyn Clock>, telemetry: Arc<Telemetry>) -> Self {
        Self { client, clock, telemetry, turns: HashMap::new() }
    }

    /// Evicts as many of an owner's missed pods as it is the turn of, for as long as this replica leads.
    pub(super) async fn of_owner(
        &mut self,
        owner: &OwnerReference,
        pods: &[&Missed],
        leads: &watch::Receiver<bool>,
        notes: &Notes,
    ) {
        let Some(first) = pods.first() else { return };
        let found = match siblings(&self.client, first, owner).await {
            Ok(found) => found,
            Err(error) => {
                let namespace = &first.namespace;
                tracing::warn!(%error, namespace, owner = owner.name, "its pods cannot be listed");
                return;
            }
        };
        let many = self.due(&owner.uid, found);
        for pod in pods.iter().take(many) {
            if !*leads.borrow() {
                return;
            }
            if self.evict(owner, pod, found).await {
                notes.write(self.told());
                self.clock.sleep(PACE).await;
            }
        }
    }

    /// How many of an owner's pods may be evicted now.
    fn due(&mut self, owner: &str, found: Siblings) -> usize {
        let now = self.clock.now();
        match self.turns.get_mut(owner) {
            Some(turn) if found.run_with_sidecar() && found.living >= turn.living => {
                turn.times = 0;
                (found.living / PART).max(1)
            }
            None if found.run_with_sidecar() => (found.living / PART).max(1),
            Some(turn) if now < turn.from => 0,
            // Some are being made: whether they start is to be seen first.
            None if found.starting > 0 => {
                self.remember(owner, Turn { from: now + PATIENCE, ..Turn::default() });
                0
            }
            _ => 1,
        }
    }

    #[expect(clippy::cognitive_complexity, reason = "what the log's macros expand to is counted")]
    async fn evict(&mut self, owner: &OwnerReference, missed: &Missed, found: Siblings) -> bool {
        let Missed { namespace, name, .. } = missed;
        let how = match self.request(missed).await {
            Ok(()) => {
                let owner_name = &owner.name;
                tracing::info!(
                    namespace,
                    pod = name,
                    owner = owner_name,
                    "a pod without a sidecar is evicted"
                );
                let times = self.turns.get(&owner.uid).map_or(0, |it| it.times);
                let from = self.clock.now() + PATIENCE * 2_u32.pow(times.min(DOUBLINGS));
                let living = found.living;
                self.remember(&owner.uid, Turn { times: times + 1, from, living });
                Restart::Evicted
            }
            Err(kube::Error::Api(status)) if status.code == 429 => {
                tracing::info!(
                    namespace,
                    pod = name,
                    "a PodDisruptionBudget holds a pod; trying again"
                );
                Restart::Waiting
            }
            // It is gone, or another one has its name.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return false,
            Err(error) => {
                tracing::warn!(%error, namespace, pod = name, "a pod cannot be evicted");
                Restart::Failed
            }
        };
        self.telemetry.restarted(how);
        true
    }

    /// What another replica must know so as not to begin from the start: who was evicted of late.
    fn told(&self) -> String {
        let now = self.clock.now();
        let waiting = self.turns.iter().filter(|(_, it)| it.from > now);
        let turns = waiting.take(NOTED).map(|(owner, it)| (owner, *it)).collect::<HashMap<_, _>>();
        serde_json::to_string(&turns).unwrap_or_default()
    }

    /// What the replica that led before has told; what cannot be read is nothing.
    pub(super) fn recall(&mut self, notes: &str) {
        self.turns = serde_json::from_str(notes).unwrap_or_default();
    }

    fn remember(&mut self, owner: &str, turn: Turn) {
        if self.turns.len() >= OWNERS {
            let now = self.clock.now();
            self.turns.retain(|_, it| it.from > now);
        }
        self.turns.insert(owner.to_owned(), turn);
    }

    async fn request(&self, missed: &Missed) -> Result<(), kube::Error> {
        let eviction = Eviction {
            metadata: ObjectMeta {
                name: Some(missed.name.clone()),
                namespace: Some(missed.namespace.clone()),
                ..ObjectMeta::default()
            },
            delete_options: Some(DeleteOptions {
                // That pod, and none that has got its name since.
                preconditions: Some(Preconditions {
                    uid: Some(missed.uid.clone()),
                    resource_version: None,
                }),
                ..DeleteOptions::default()
            }),
        };
        let pods = Api::<Pod>::namespaced(self.client.clone(), &missed.namespace);
        // Not `Api::evict`, which misspells the field with the preconditions.
        let params = PostParams::default();
        pods.create_subresource::<_, Value>("eviction", &missed.name, &params, &eviction).await?;
        Ok(())
    }
}

/// What makes the pod anew. A node does not, though it owns the pods of its files; and to a Job a pod that is evicted
/// is one that failed, or, if it ends well when it is told to stop, one that did its work.
pub(super) fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let owners = metadata.owner_references.as_deref().unwrap_or_default();
    owners
        .iter()
        .find(|it| it.controller == Some(true) && !matches!(it.kind.as_str(), "Node" | "Job"))
}
