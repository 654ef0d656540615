//! What the tests and the benchmark share.
#![allow(dead_code, reason = "neither of the two uses all of it")]

pub mod api;
pub mod caller;
pub mod store;

use std::{future::pending, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use lunasec_injector::{
    app::{self, Addresses, Replica},
    clock::{Clock, System},
    settings::Settings,
};
use rustls::{pki_types::UnixTime, time_provider::TimeProvider};
use serde_json::{Value, json};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use self::api::Api;

pub const NAMESPACE: &str = "lunasec";
/// When tests begin.
pub const START: u64 = 1_800_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// A clock that moves when it is told to.
#[derive(Clone, Debug)]
pub struct Turned(watch::Sender<Duration>);

impl Turned {
    pub fn new() -> Self {
        Self(watch::Sender::new(Duration::from_secs(START)))
    }

    /// At the time that it is, for what another process serves.
    pub fn machine() -> Self {
        Self(watch::Sender::new(System.now()))
    }

    pub fn pass(&self, time: Duration) {
        self.0.send_modify(|now| *now += time);
    }
}

impl TimeProvider for Turned {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.now()))
    }
}

impl Clock for Turned {
    fn now(&self) -> Duration {
        *self.0.borrow()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let mut now = self.0.subscribe();
        let until = *now.borrow() + time;
        Box::pin(async move {
            if now.wait_for(|now| *now >= until).await.is_err() {
                pending::<()>().await;
            }
        })
    }
}

/// An event that must come.
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event).await.unwrap_or_else(|_| panic!("{what} did not happen"))
}

/// Settings on free ports.
pub fn settings(change: impl FnOnce(String) -> String) -> Arc<Settings> {
    Arc::new(Settings::read(&settings_text(change)).unwrap())
}

pub fn settings_text(change: impl FnOnce(String) -> String) -> String {
    let text = include_str!("../injector.toml")
        .replace("[::]:8443", "127.0.0.1:0")
        .replace("[::]:8080", "127.0.0.1:0")
        .replace("drain_time = \"5s\"", "drain_time = \"1s\"");
    change(text)
}

/// An injector in this process.
pub struct Injector {
    pub addresses: Addresses,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Injector {
    pub async fn start(api: &Api, identity: &str, settings: Arc<Settings>, clock: Turned) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (says, addresses) = oneshot::channel();
        let client = api.client();
        let replica = Replica { namespace: NAMESPACE.to_owned(), identity: identity.to_owned() };
        let task = tokio::spawn(async move {
            let stop = async {
                let _ = stopped.await;
            };
            let announce = |it| says.send(it).unwrap();
            app::run(settings, client, replica, Arc::new(clock), stop, announce).await.unwrap();
        });
        Self { addresses: addresses.await.unwrap(), stop: Some(stop), task }
    }

    pub async fn stop(mut self) {
        drop(self.stop.take());
        soon("the end", self.task).await.unwrap();
    }
}

/// What a cluster has when the chart has been installed: an empty Secret, and a configuration without a bundle.
pub fn installed(api: &Api) {
    api.put(
        "secrets",
        NAMESPACE,
        json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": "lunasec-injector-tls", "labels": {"kept": "yes"}}}),
    );
    let entry = |name: &str, policy: &str| {
        json!({
            "name": name, "failurePolicy": policy, "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "futureField": "kept",
            "clientConfig": {"service": {"name": "lunasec-injector", "namespace": NAMESPACE, "path": "/mutate"}},
        })
    };
    api.put(
        "mutatingwebhookconfigurations",
        "",
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "lunasec-injector"},
            "webhooks": [entry("opted-in.lunasec.io", "Fail"), entry("annotated.lunasec.io", "Ignore")],
        }),
    );
}

/// The bundle of each entry of the webhook's configuration, as PEM; nothing where there is none.
pub fn bundles(store: &store::Store) -> Vec<String> {
    let Some(found) = store.get("mutatingwebhookconfigurations", "", "lunasec-injector") else {
        return Vec::new();
    };
    let entries = found["webhooks"].as_array().unwrap().iter();
    entries.map(|it| decoded(&it["clientConfig"]["caBundle"])).collect()
}

/// What the Secret holds.
pub fn held(store: &store::Store) -> Option<Value> {
    let secret = store.get("secrets", NAMESPACE, "lunasec-injector-tls")?;
    serde_json::from_str(&decoded(&secret["data"]["state.json"])).ok()
}

pub fn decoded(value: &Value) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    String::from_utf8(STANDARD.decode(value.as_str().unwrap_or_default()).unwrap()).unwrap()
}

pub fn encoded(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}

/// Whether all is written and told: both entries have the bundle, and the Secret says so.
pub fn is_settled(store: &store::Store) -> bool {
    let told = held(store).is_some_and(|held| {
        held["authorities"].as_array().unwrap().iter().all(|it| !it["distributed"].is_null())
    });
    let bundles = bundles(store);
    told && bundles.len() == 2 && bundles.iter().all(|it| it.contains("CERTIFICATE"))
}
