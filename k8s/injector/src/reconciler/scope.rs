//! Which namespaces the webhook is asked about: in the others a pod without a sidecar was not missed, and one that is
//! made anew would have none either. The chart makes the entries of the webhook's configuration of the same values.

use std::collections::HashSet;

use kube::api::ObjectMeta;

use crate::{follow::Change, settings::Webhook};

/// A namespace with this label waits for the webhook.
const LABEL: (&str, &str) = ("lunasec.io/injection", "enabled");
/// No entry of the webhook's configuration has it: a cluster without an injector must be able to start.
const SYSTEM: &str = "kube-system";

pub(super) struct Scope {
    left_out: HashSet<String>,
    /// Those with the label, where only they count.
    labelled: Option<HashSet<String>>,
}

impl Scope {
    /// `own` is where the injector itself is.
    pub(super) fn new(webhook: &Webhook, own: &str) -> Self {
        let always = [SYSTEM, own].map(str::to_owned);
        let left_out = always.into_iter().chain(webhook.excluded_namespaces.clone()).collect();
        let labelled = (!webhook.unlabelled_namespaces).then(HashSet::new);
        Self { left_out, labelled }
    }

    /// Whether the labels of namespaces have to be followed.
    pub(super) fn is_by_label(&self) -> bool {
        self.labelled.is_some()
    }

    pub(super) fn has(&self, namespace: &str) -> bool {
        !self.left_out.contains(namespace)
            && self.labelled.as_ref().is_none_or(|it| it.contains(namespace))
    }

    pub(super) fn learn(&mut self, change: Change) {
        let Some(labelled) = &mut self.labelled else { return };
        match change {
            Change::Listed(found) => {
                *labelled = found.into_iter().filter_map(|it| it.name).collect();
            }
            Change::Is(found) => labelled.extend(found.name),
            Change::Gone(gone) => {
                labelled.remove(&gone.name.unwrap_or_default());
            }
        }
    }
}

/// Whether a namespace has the label.
pub(super) fn is_labelled(namespace: &ObjectMeta) -> bool {
    let (key, value) = LABEL;
    namespace.labels.as_ref().and_then(|it| it.get(key)).is_some_and(|it| it == value)
}
