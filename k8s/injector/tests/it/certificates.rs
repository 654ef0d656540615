//! Certificates that keep themselves, while somebody asks.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use lunasec_injector::clock::Clock;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::common::{
    Injector, Turned,
    api::Api,
    bundles,
    caller::{Caller, review},
    decoded, encoded, held, installed, is_settled, settings, soon,
    store::Store,
};

const DAY: Duration = Duration::from_secs(86_400);
const SETTLES: Duration = Duration::from_secs(300);

fn served_until(store: &Store) -> u64 {
    held(store).map_or(0, |held| held["serving"]["expires"].as_u64().unwrap())
}

/// When the newest authority was made, and when it ends.
fn newest(store: &Store) -> (u64, u64) {
    let held = held(store).unwrap();
    let newest = held["authorities"].as_array().unwrap().last().unwrap().clone();
    (newest["made"].as_u64().unwrap(), newest["expires"].as_u64().unwrap())
}

/// The authority that signed what is served.
fn signer(store: &Store) -> Value {
    held(store).unwrap()["serving"]["authority"].clone()
}

/// What all clients saw.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    /// Connections of each client.
    rounds: [AtomicUsize; 8],
    leaves: Mutex<BTreeSet<Vec<u8>>>,
}

impl Seen {
    /// Asks on one new connection after the other, each with the bundle that is written then.
    async fn ask(
        &self,
        client: usize,
        api: &Api,
        injector: SocketAddr,
        clock: &Turned,
    ) -> Result<(), String> {
        while !self.stop.load(SeqCst) {
            let bundle = bundles(&api.store()).remove(1);
            let mut caller = Caller::new(injector, &bundle, clock).await?;
            self.leaves.lock().unwrap().insert(caller.leaf.clone());
            for _ in 0..2 {
                let answer = caller.ask(&review("deployment")).await?;
                if answer["response"]["allowed"] != true {
                    return Err(answer.to_string());
                }
            }
            self.rounds[client].fetch_add(1, SeqCst);
        }
        Ok(())
    }

    /// Until each client has begun and ended a connection from now on: as an API server that has learned of a bundle.
    async fn all_go_round(&self, clients: &[JoinHandle<Result<(), String>>]) {
        let before: Vec<_> = self.rounds.iter().map(|it| it.load(SeqCst)).collect();
        soon("answers", async {
            while self.rounds.iter().zip(&before).any(|(now, before)| now.load(SeqCst) < before + 2)
                && clients.iter().all(|it| !it.is_finished())
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn certificate_and_authority_rotate_under_eight_clients_without_one_failure() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    let injector = Injector::start(&api, "a", settings(|it| it), clock.clone()).await;
    api.until("certificates", is_settled).await;
    let (seen, address) = (Arc::new(Seen::default()), injector.addresses.webhook);
    let first_signer = signer(&api.store());
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let (api, clock, seen) = (api.clone(), clock.clone(), Arc::clone(&seen));
            tokio::spawn(async move { seen.ask(client, &api, address, &clock).await })
        })
        .collect();
    // One that stays: nothing that rotates cuts it.
    let bundle = bundles(&api.store()).remove(0);
    let mut staying = Caller::new(address, &bundle, &clock).await.unwrap();
    // A year and more, in steps of eleven days: none of them ends to the second where a certificate is due.
    for _ in 0..35 {
        clock.pass(DAY * 11 - SETTLES);
        let now = clock.now().as_secs();
        let served = served_until(&api.store());
        let newest = newest(&api.store());
        let renewed = served - now <= 10 * DAY.as_secs();
        if renewed {
            api.until("a new certificate", |store| served_until(store) > served).await;
        }
        let added = newest.1 - now <= (newest.1 - newest.0) / 3;
        if added {
            api.until("a new authority", |store| self::newest(store) > newest).await;
        }
        api.until("all that is told", is_settled).await;
        if renewed || added {
            seen.all_go_round(&clients).await;
        }
        clock.pass(SETTLES);
    }
    api.until("another authority", |store| signer(store) != first_signer).await;
    seen.all_go_round(&clients).await;
    staying.ask(&review("deployment")).await.unwrap();
    seen.stop.store(true, SeqCst);
    for client in clients {
        client.await.unwrap().unwrap();
    }
    let served = seen.leaves.lock().unwrap().len();
    assert!(served > 8, "only {served} certificates were served");
    assert_ne!(signer(&api.store()), first_signer, "another authority signs");
    injector.stop().await;
}

#[tokio::test]
async fn two_replicas_on_an_empty_secret_agree_on_one_authority() {
    for _ in 0..5 {
        let (api, clock) = (Api::start().await, Turned::new());
        installed(&api);
        let (one, two) = tokio::join!(
            Injector::start(&api, "a", settings(|it| it), clock.clone()),
            Injector::start(&api, "b", settings(|it| it), clock.clone()),
        );
        api.until("certificates", is_settled).await;
        let bundle = bundles(&api.store()).remove(0);
        assert_eq!(bundle.matches("BEGIN").count(), 1);
        let mut leaves = BTreeSet::new();
        for injector in [&one, &two] {
            // The slower one reads what the other wrote, in its own time.
            let caller = soon("a certificate of each", async {
                loop {
                    if let Ok(caller) =
                        Caller::new(injector.addresses.webhook, &bundle, &clock).await
                    {
                        break caller;
                    }
                }
            })
            .await;
            leaves.insert(caller.leaf);
        }
        assert_eq!(leaves.len(), 1, "both serve what the Secret has");
        one.stop().await;
        two.stop().await;
    }
}

#[tokio::test]
async fn a_bundle_that_something_overwrites_is_put_back() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    let injector = Injector::start(&api, "a", settings(|it| it), clock).await;
    api.until("certificates", is_settled).await;
    let before = bundles(&api.store());
    // As an upgrade of the chart does: entries without a bundle, and one more.
    let mut object =
        api.store().get("mutatingwebhookconfigurations", "", "lunasec-injector").unwrap().clone();
    let entries = object["webhooks"].as_array_mut().unwrap();
    entries[0]["clientConfig"].as_object_mut().unwrap().remove("caBundle");
    entries[1]["clientConfig"]["caBundle"] = json!("bm8=");
    api.put("mutatingwebhookconfigurations", "", object);
    api.until("the bundle", |store| bundles(store) == before).await;
    let object =
        api.store().get("mutatingwebhookconfigurations", "", "lunasec-injector").unwrap().clone();
    assert_eq!(object["webhooks"][0]["futureField"], "kept", "nothing else is changed");
    assert_eq!(object["webhooks"][0]["failurePolicy"], "Fail");
    let secret = api.store().get("secrets", "lunasec", "lunasec-injector-tls").unwrap().clone();
    assert_eq!(secret["metadata"]["labels"]["kept"], "yes");
    assert_eq!(decoded(&secret["data"]["ca.crt"]), before[0]);
    injector.stop().await;
}

#[tokio::test]
async fn a_secret_that_somebody_damaged_is_made_anew() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    let mut secret = api.store().get("secrets", "lunasec", "lunasec-injector-tls").unwrap().clone();
    secret["data"] = json!({"state.json": "bm90IGpzb24="});
    api.put("secrets", "lunasec", secret);
    let injector = Injector::start(&api, "a", settings(|it| it), clock.clone()).await;
    api.until("certificates", is_settled).await;
    let bundle = bundles(&api.store()).remove(0);
    Caller::new(injector.addresses.webhook, &bundle, &clock).await.unwrap();
    // The authority alone, while it runs: API servers would find out, and refuse every pod.
    let mut held = held(&api.store()).unwrap();
    held["authorities"][0]["certificate"] =
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into();
    let mut secret = api.store().get("secrets", "lunasec", "lunasec-injector-tls").unwrap().clone();
    secret["data"]["state.json"] = encoded(&held.to_string()).into();
    api.put("secrets", "lunasec", secret);
    let other =
        |store: &Store| bundles(store).iter().all(|it| *it != bundle && !it.contains("\nAAAA\n"));
    api.until("another authority", |store| is_settled(store) && other(store)).await;
    let bundle = bundles(&api.store()).remove(0);
    Caller::new(injector.addresses.webhook, &bundle, &clock).await.unwrap();
    injector.stop().await;
}

#[tokio::test]
async fn whether_all_is_in_order_is_told_while_it_answers_on() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    let injector = Injector::start(&api, "a", settings(|it| it), clock.clone()).await;
    api.until("certificates", is_settled).await;
    let told = async |in_order: &str| {
        let line = format!("lunasec_injector_webhook_in_order {in_order}\n");
        soon("the gauge", async {
            while !super::webhook::admin(&injector, "/metrics").await.1.contains(&line) {}
        })
        .await;
    };
    told("1").await;
    for (resource, namespace, name) in [
        ("mutatingwebhookconfigurations", "", "lunasec-injector"),
        ("secrets", "lunasec", "lunasec-injector-tls"),
    ] {
        let gone = api.remove(resource, namespace, name);
        told("0").await;
        assert_eq!(
            super::webhook::admin(&injector, "/ready").await.0,
            200,
            "it answers as well as before"
        );
        api.put(resource, namespace, gone);
        told("1").await;
    }
    injector.stop().await;
}

#[tokio::test]
async fn without_secret_or_configuration_it_is_not_ready_and_begins_when_they_come() {
    let (api, clock) = (Api::start().await, Turned::new());
    let injector = Injector::start(&api, "a", settings(|it| it), clock).await;
    let (code, why) = super::webhook::admin(&injector, "/ready").await;
    assert_eq!((code, why.contains("no certificate")), (503, true), "{why}");
    assert_eq!(super::webhook::admin(&injector, "/live").await.0, 200);
    installed(&api);
    api.until("certificates", is_settled).await;
    assert_eq!(super::webhook::admin(&injector, "/ready").await.0, 200);
    injector.stop().await;
}
