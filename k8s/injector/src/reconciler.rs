//! Finds pods that should have a sidecar and have none: made while the webhook was away, or before it was there.
//!
//! All replicas follow the pods, and the leader acts: it counts them, says so once for each, and, if told to, evicts
//! those that a controller makes anew, and that would get a sidecar now.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ObjectMeta};
use tokio::sync::{mpsc, watch};

use crate::{
    annotations,
    clock::Clock,
    follow::{Change, follow},
    inject::{Decision, decide},
    lease::{Elector, RENEW_EVERY},
    names::INJECTED,
    settings::Settings,
    telemetry::Telemetry,
};

mod evict;
mod tell;

use evict::Evictions;

/// Finds and repairs.
pub struct Reconciler {
    client: Client,
    settings: Arc<Settings>,
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
    /// Where the injector itself is.
    namespace: String,
    /// Who it is in the Lease and in events.
    identity: String,
    /// Pods that look as if they were missed.
    suspects: HashSet<(String, String)>,
    /// Of those, the uids that were told of.
    told: HashSet<String>,
    evictions: Evictions,
}

/// A pod that was missed.
struct Missed {
    pod: Pod,
    namespace: String,
    name: String,
    uid: String,
    /// Why it would not get a sidecar now, either.
    refused: Option<String>,
}

impl Reconciler {
    /// As `identity`, which no other replica has.
    pub fn new(
        client: Client,
        namespace: String,
        identity: String,
        settings: Arc<Settings>,
        clock: Arc<dyn Clock>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let evictions = Evictions::new(client.clone(), Arc::clone(&clock), Arc::clone(&telemetry));
        let (suspects, told) = (HashSet::new(), HashSet::new());
        Self { client, settings, telemetry, clock, namespace, identity, suspects, told, evictions }
    }

    /// Runs until `stop` says so, and then leaves the Lease to the next.
    pub async fn run(mut self, stop: watch::Receiver<bool>) {
        let (sender, mut changes) = mpsc::channel(256);
        let pods = Api::<Pod>::all(self.client.clone());
        tokio::spawn(follow(pods, String::new(), is_suspect, sender));
        let (says, leads) = watch::channel(false);
        let elector = Elector::new(
            &self.client,
            &self.namespace,
            &self.settings.reconciler.lease,
            self.identity.clone(),
            Arc::clone(&self.clock),
        );
        let elections = elect(elector, says, stop.clone(), Arc::clone(&self.telemetry));
        let rounds = async {
            // Nothing is known before the first list.
            while let Some(change) = changes.recv().await {
                let first = matches!(change, Change::Listed(_));
                self.learn(change);
                if first {
                    break;
                }
            }
            self.rounds(changes, leads).await;
        };
        tokio::select! {
            () = elections => {}
            () = rounds => {}
        }
    }

    async fn rounds(
        &mut self,
        mut changes: mpsc::Receiver<Change>,
        mut leads: watch::Receiver<bool>,
    ) {
        let every = self.settings.reconciler.every;
        loop {
            if *leads.borrow_and_update() {
                self.round(&leads).await;
            }
            let next = self.clock.sleep(every);
            tokio::pin!(next);
            loop {
                tokio::select! {
                    () = &mut next => break,
                    changed = leads.changed() => if changed.is_err() { return } else { break },
                    change = changes.recv() => match change {
                        Some(change) => self.learn(change),
                        None => return,
                    },
                }
            }
        }
    }

    fn learn(&mut self, change: Change) {
        match change {
            Change::Listed(found) => self.suspects = found.iter().filter_map(key).collect(),
            Change::Is(found) => self.suspects.extend(key(&found)),
            Change::Gone(gone) => {
                if let Some(key) = key(&gone) {
                    self.suspects.remove(&key);
                }
            }
        }
    }

    async fn round(&mut self, leads: &watch::Receiver<bool>) {
        let mut missed = Vec::new();
        for (namespace, name) in self.suspects.clone() {
            match self.look_at(&namespace, &name).await {
                Ok(Some(found)) => missed.push(found),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, namespace, pod = name, "a pod cannot be looked at")
                }
            }
        }
        if !*leads.borrow() {
            return;
        }
        self.telemetry.missed(missed.len());
        let uids: HashSet<_> = missed.iter().map(|it| it.uid.clone()).collect();
        self.told.retain(|it| uids.contains(it));
        for pod in &missed {
            if self.told.insert(pod.uid.clone()) {
                tell::missed(&self.client, pod, &self.identity, self.clock.now()).await;
            }
        }
        if self.settings.reconciler.restart {
            self.restart(&missed, leads).await;
        }
    }

    async fn restart(&mut self, missed: &[Missed], leads: &watch::Receiver<bool>) {
        // The webhook is not asked about pods of these, so a new one would be missed again.
        let asked = |it: &&Missed| it.namespace != self.namespace && it.namespace != "kube-system";
        for pod in missed.iter().filter(|it| it.refused.is_none()).filter(asked) {
            if !*leads.borrow() {
                return;
            }
            self.evictions.evict(pod).await;
        }
    }

    /// The pod, if it was missed.
    async fn look_at(&self, namespace: &str, name: &str) -> Result<Option<Missed>, kube::Error> {
        let Some(pod) =
            Api::<Pod>::namespaced(self.client.clone(), namespace).get_opt(name).await?
        else {
            return Ok(None);
        };
        let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
        let over = pod.metadata.deletion_timestamp.is_some()
            || matches!(phase, Some("Succeeded" | "Failed"));
        if over || !is_suspect(&pod.metadata) {
            return Ok(None);
        }
        let value = serde_json::to_value(&pod).unwrap_or_default();
        let refused = match decide(&self.settings, &value) {
            Ok(Decision::Injected { .. }) => None,
            Ok(Decision::Skipped(_)) => return Ok(None),
            Ok(Decision::Denied(words)) => Some(words.join("; ")),
            Err(error) => Some(error.to_string()),
        };
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        Ok(Some(Missed {
            pod,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid,
            refused,
        }))
    }
}

/// Renews the Lease, or waits for it, until it is time to go.
#[expect(clippy::cognitive_complexity, reason = "what the log's macros expand to is counted")]
async fn elect(
    mut elector: Elector,
    says: watch::Sender<bool>,
    mut stop: watch::Receiver<bool>,
    telemetry: Arc<Telemetry>,
) {
    let mut failed_since: Option<u32> = None;
    loop {
        let leads = match elector.attempt().await {
            Ok(leads) => {
                failed_since = None;
                leads
            }
            Err(error) => {
                tracing::warn!(%error, "the Lease cannot be renewed now; trying again");
                let failures = failed_since.unwrap_or_default() + 1;
                failed_since = Some(failures);
                // A second time without an answer, and another replica may have it soon.
                *says.borrow() && failures < 2
            }
        };
        if says.send_if_modified(|it| std::mem::replace(it, leads) != leads) {
            telemetry.leads(leads);
            tracing::info!(leads, "who looks for missed pods has changed");
        }
        tokio::select! {
            () = tokio::time::sleep(RENEW_EVERY) => {}
            _ = stop.wait_for(|it| *it) => break,
        }
    }
    let released = tokio::time::timeout(Duration::from_secs(2), elector.release()).await;
    if !matches!(released, Ok(Ok(()))) {
        tracing::info!("the Lease was not released; it runs out by itself");
    }
}

/// Asks for a sidecar, and nobody says that it got one.
fn is_suspect(metadata: &ObjectMeta) -> bool {
    let Some(texts) = &metadata.annotations else { return false };
    annotations::wanted(texts) == Ok(true)
        && !texts.contains_key(INJECTED)
        // The kubelet made it from a file, and no webhook was asked.
        && !texts.contains_key("kubernetes.io/config.mirror")
}

fn key(metadata: &ObjectMeta) -> Option<(String, String)> {
    Some((metadata.namespace.clone()?, metadata.name.clone()?))
}

/// How often an owner's pods were evicted, and when again.
type Patience = HashMap<String, (u32, Duration)>;
