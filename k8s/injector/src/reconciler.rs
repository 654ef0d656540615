//! Finds pods that should have a sidecar and have none: made while the webhook was away, or before it was there.
//!
//! All replicas follow the pods, and the leader acts: it counts them, says so once for each, and, if told to, evicts
//! those that a controller makes anew, and that would get a sidecar now.

use std::{
    collections::{HashMap, HashSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, Client, api::ObjectMeta};
use tokio::sync::{mpsc, watch};

use crate::{
    annotations,
    clock::Clock,
    container,
    follow::{Change, follow},
    inject::{Decision, decide, is_taken},
    lease::{Elector, Notes, elect},
    names::{CONTAINER, INJECTED},
    settings::Settings,
    telemetry::Telemetry,
};

mod evict;
mod scope;
mod siblings;
mod tell;

use evict::{Evictions, controller};
use scope::{Scope, is_labelled};

/// For so long a replica has been ready before it evicts: until then what is made anew may not reach it, either.
const SETTLED: Duration = Duration::from_secs(30);

/// Pods that say that they were injected and are looked at in one round.
const CLAIMS: usize = 200;

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
    /// What the webhook is asked about.
    scope: Scope,
    /// Pods that say that they were injected, and were not looked at yet.
    claims: HashSet<(String, String)>,
    /// Pods that look as if they were missed.
    suspects: HashSet<(String, String)>,
    /// Of those, the uids that were told of.
    told: HashSet<String>,
    evictions: Evictions,
    /// What the next leader has to know of evictions.
    notes: Notes,
}

/// A pod that was missed.
struct Missed {
    metadata: ObjectMeta,
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
        let scope = Scope::new(&settings.webhook, &namespace);
        let (claims, suspects, told) = (HashSet::new(), HashSet::new(), HashSet::new());
        Self {
            client,
            settings,
            telemetry,
            clock,
            namespace,
            identity,
            scope,
            claims,
            suspects,
            told,
            evictions,
            notes: Notes::default(),
        }
    }

    /// Runs until `stop` says so, and then leaves the Lease to the next.
    pub async fn run(mut self, stop: watch::Receiver<bool>) {
        let (sender, mut changes) = mpsc::channel(256);
        let pods = Api::<Pod>::all(self.client.clone());
        tokio::spawn(follow(pods, String::new(), asks, sender));
        let (sender, mut namespaces) = mpsc::channel(256);
        // Where every namespace counts, none is followed, and this one stays for as long as the receiver.
        let kept = sender.clone();
        if self.scope.is_by_label() {
            let all = Api::<Namespace>::all(self.client.clone());
            tokio::spawn(follow(all, String::new(), is_labelled, sender));
        }
        let (says, leads) = watch::channel(false);
        let elector = Elector::new(
            &self.client,
            &self.namespace,
            &self.settings.reconciler.lease,
            self.identity.clone(),
            Arc::clone(&self.clock),
            self.notes.clone(),
        );
        let elections = elect(elector, says, stop.clone(), Arc::clone(&self.telemetry));
        let rounds = async {
            // Nothing is known before the first lists.
            if self.scope.is_by_label() {
                first(&mut namespaces, |change| self.scope.learn(change)).await;
            }
            first(&mut changes, |change| self.learn(change)).await;
            self.rounds(changes, namespaces, leads).await;
            drop(kept);
        };
        tokio::select! {
            () = elections => {}
            () = rounds => {}
        }
    }

    async fn rounds(
        &mut self,
        mut changes: mpsc::Receiver<Change>,
        mut namespaces: mpsc::Receiver<Change>,
        mut leads: watch::Receiver<bool>,
    ) {
        let every = self.settings.reconciler.every;
        let mut led = false;
        loop {
            let leading = *leads.borrow_and_update();
            if leading && !led {
                self.evictions.recall(&self.notes.read());
            }
            led = leading;
            if leading {
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
                    change = namespaces.recv() => match change {
                        Some(change) => self.scope.learn(change),
                        None => return,
                    },
                }
            }
        }
    }

    fn learn(&mut self, change: Change) {
        match change {
            Change::Listed(found) => {
                let (claims, suspects) = found.iter().partition::<Vec<_>, _>(|it| is_claim(it));
                self.suspects = suspects.into_iter().filter_map(key).collect();
                self.claims = claims.into_iter().filter_map(key).collect();
            }
            Change::Is(found) => {
                let Some(key) = key(&found) else { return };
                // A suspect stays one, whatever somebody writes on it.
                if !is_claim(&found) {
                    self.suspects.insert(key);
                } else if !self.suspects.contains(&key) {
                    self.claims.insert(key);
                }
            }
            Change::Gone(gone) => {
                if let Some(key) = key(&gone) {
                    self.suspects.remove(&key);
                    self.claims.remove(&key);
                }
            }
        }
    }

    /// Looks at some of those that say that they were injected, each once.
    async fn doubt(&mut self) {
        let some: Vec<_> = self.claims.iter().take(CLAIMS).cloned().collect();
        for key in some {
            match self.look_at(&key.0, &key.1).await {
                Ok(found) => {
                    self.claims.remove(&key);
                    if found.is_some() {
                        self.suspects.insert(key);
                    }
                }
                // The next round looks again.
                Err(error) => tracing::debug!(%error, "a pod cannot be looked at"),
            }
        }
    }

    async fn round(&mut self, leads: &watch::Receiver<bool>) {
        self.doubt().await;
        let mut missed = Vec::new();
        let suspects = self.suspects.iter().filter(|(namespace, _)| self.scope.has(namespace));
        for (namespace, name) in suspects.cloned().collect::<Vec<_>>() {
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
        if self.telemetry.ready_for().is_none_or(|it| it < SETTLED) {
            return;
        }
        let mut owners = HashMap::<_, (_, Vec<&Missed>)>::new();
        for pod in missed.iter().filter(|it| it.refused.is_none()) {
            let Some(owner) = controller(&pod.metadata) else { continue };
            owners.entry(&owner.uid).or_insert((owner, Vec::new())).1.push(pod);
        }
        for (owner, pods) in owners.values() {
            self.evictions.of_owner(owner, pods, leads, &self.notes).await;
        }
    }

    /// The pod, if it was missed.
    async fn look_at(&self, namespace: &str, name: &str) -> Result<Option<Missed>, kube::Error> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let Some(pod) = pods.get_opt(name).await? else { return Ok(None) };
        let phase = pod.status.as_ref().and_then(|it| it.phase.as_deref());
        let over = pod.metadata.deletion_timestamp.is_some()
            || matches!(phase, Some("Succeeded" | "Failed"));
        if over || !asks(&pod.metadata) || self.has_sidecar(&pod) {
            return Ok(None);
        }
        let value = serde_json::to_value(&pod).unwrap_or_default();
        // A pod that makes it panic would end every replica that leads.
        let decided = catch_unwind(AssertUnwindSafe(|| decide(&self.settings, &value)));
        let Ok(decided) = decided else {
            tracing::error!(namespace, pod = name, "a decision panicked; please report it");
            return Ok(None);
        };
        let refused = match decided {
            Ok(Decision::Injected { .. }) => None,
            Ok(Decision::Skipped(_)) => return Ok(None),
            Ok(Decision::Denied(words)) => Some(words.join("; ")),
            Err(error) => Some(error.to_string()),
        };
        let metadata = pod.metadata;
        let uid = metadata.uid.clone().unwrap_or_default();
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Ok(Some(Missed { metadata, namespace, name, uid, refused }))
    }

    /// Whoever may change a pod may take its annotations away, or write them; its containers stay.
    fn has_sidecar(&self, pod: &Pod) -> bool {
        let Some(spec) = &pod.spec else { return false };
        let mut sidecars = spec.init_containers.iter().flatten().filter(|it| it.name == CONTAINER);
        sidecars.any(|it| container::is_ours(&self.settings.sidecar, it))
            && !is_taken(&self.settings.sidecar, spec)
    }
}

/// Until the first list is there.
async fn first(changes: &mut mpsc::Receiver<Change>, mut learn: impl FnMut(Change)) {
    while let Some(change) = changes.recv().await {
        let is_list = matches!(change, Change::Listed(_));
        learn(change);
        if is_list {
            return;
        }
    }
}

/// Asks for a sidecar.
fn asks(metadata: &ObjectMeta) -> bool {
    let Some(texts) = &metadata.annotations else { return false };
    annotations::wanted(texts) == Ok(true)
        // The kubelet made it from a file, and no webhook was asked.
        && !texts.contains_key("kubernetes.io/config.mirror")
}

/// Says that it got one, which its owner can write, too.
fn is_claim(metadata: &ObjectMeta) -> bool {
    metadata.annotations.as_ref().is_some_and(|it| it.contains_key(INJECTED))
}

fn key(metadata: &ObjectMeta) -> Option<(String, String)> {
    Some((metadata.namespace.clone()?, metadata.name.clone()?))
}
