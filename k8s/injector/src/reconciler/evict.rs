//! Evicts pods that were missed: PodDisruptionBudgets hold, and nobody is evicted in a circle.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{core::v1::Pod, policy::v1::Eviction},
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, OwnerReference, Preconditions},
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use serde_json::Value;

use super::{Missed, Patience};
use crate::{
    clock::Clock,
    telemetry::{Restart, Telemetry},
};

/// Between two evictions, so that a cluster does not start everything at once.
const PACE: Duration = Duration::from_secs(1);
/// Before pods of the same owner are evicted again, doubled each time: if its new pods are missed too, evicting does
/// not help.
const PATIENCE: Duration = Duration::from_secs(600);
/// 2^8 times that is more than a day.
const DOUBLINGS: u32 = 8;
/// Pods of one owner that are evicted in the same round of patience.
const OWNERS: usize = 10_000;

pub(super) struct Evictions {
    client: Client,
    clock: Arc<dyn Clock>,
    telemetry: Arc<Telemetry>,
    patience: Patience,
}

impl Evictions {
    pub(super) fn new(client: Client, clock: Arc<dyn Clock>, telemetry: Arc<Telemetry>) -> Self {
        Self { client, clock, telemetry, patience: Patience::new() }
    }

    /// Evicts the pod, if something makes it anew and its turn has come.
    #[expect(clippy::cognitive_complexity, reason = "what the log's macros expand to is counted")]
    pub(super) async fn evict(&mut self, missed: &Missed) {
        let Some(owner) = controller(&missed.pod) else { return };
        let now = self.clock.now();
        let (times, from) = self.patience.get(&owner.uid).copied().unwrap_or_default();
        if now < from {
            return;
        }
        let Missed { namespace, name, .. } = missed;
        let how = match self.request(missed).await {
            Ok(()) => {
                tracing::info!(
                    namespace,
                    pod = name,
                    owner = owner.name,
                    "a pod without a sidecar is evicted"
                );
                if self.patience.len() >= OWNERS {
                    self.patience.retain(|_, (_, from)| *from > now);
                }
                let wait = PATIENCE * 2_u32.pow(times.min(DOUBLINGS));
                self.patience.insert(owner.uid.clone(), (times + 1, now + wait));
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
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Err(error) => {
                tracing::warn!(%error, namespace, pod = name, "a pod cannot be evicted");
                Restart::Failed
            }
        };
        self.telemetry.restarted(how);
        self.clock.sleep(PACE).await;
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

/// What makes the pod anew. A node does not, though it owns the pods of its files.
fn controller(pod: &Pod) -> Option<&OwnerReference> {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    owners.iter().find(|it| it.controller == Some(true) && it.kind != "Node")
}
