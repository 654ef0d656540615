//! The other pods of an owner: whether those that were made anew have a sidecar, and start with it.

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Client,
    api::{ListParams, ObjectMeta},
};

use super::Missed;
use crate::names::INJECTED;

const PAGE: u32 = 100;
/// Labels that the controllers of Kubernetes give to pods of one template, so that no list is longer than it must be.
const LABELS: [&str; 3] =
    ["pod-template-hash", "controller-revision-hash", "batch.kubernetes.io/controller-uid"];

/// An owner's pods that are neither over nor going.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Siblings {
    pub(super) living: usize,
    /// With a sidecar, and the application has been started, which it is after the sidecar.
    pub(super) running: usize,
    /// With a sidecar, and not that far.
    pub(super) starting: usize,
}

impl Siblings {
    /// New pods get a sidecar, and all of them run with it.
    pub(super) fn run_with_sidecar(self) -> bool {
        self.running > 0 && self.starting == 0
    }
}

/// Counts them, by their metadata alone. Of a controller that gives its pods none of the labels nothing is known.
pub(super) async fn siblings(
    client: &Client,
    missed: &Missed,
    owner: &OwnerReference,
) -> Result<Siblings, kube::Error> {
    let mut found = Siblings::default();
    let Some(selector) = selector(&missed.metadata) else { return Ok(found) };
    let pods = Api::<Pod>::namespaced(client.clone(), &missed.namespace);
    for (phase, is_running) in [("Running", true), ("Pending", false)] {
        let fields = format!("status.phase={phase}");
        let mut params = ListParams::default().labels(&selector).fields(&fields).limit(PAGE);
        loop {
            let page = pods.list_metadata(&params).await?;
            for metadata in page.items.iter().map(|it| &it.metadata) {
                found.count(metadata, owner, is_running);
            }
            match page.metadata.continue_.filter(|it| !it.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
    }
    Ok(found)
}

impl Siblings {
    fn count(&mut self, metadata: &ObjectMeta, owner: &OwnerReference, is_running: bool) {
        let owners = metadata.owner_references.iter().flatten();
        let is_sibling = metadata.deletion_timestamp.is_none()
            && owners.into_iter().any(|it| it.uid == owner.uid);
        if !is_sibling {
            return;
        }
        self.living += 1;
        if metadata.annotations.as_ref().is_some_and(|it| it.contains_key(INJECTED)) {
            let counted = if is_running { &mut self.running } else { &mut self.starting };
            *counted += 1;
        }
    }
}

fn selector(metadata: &ObjectMeta) -> Option<String> {
    let labels = metadata.labels.as_ref()?;
    LABELS.iter().find_map(|key| labels.get(*key).map(|value| format!("{key}={value}")))
}
