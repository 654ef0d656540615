//! Pods that were made while the webhook was not asked.

use std::{sync::Arc, time::Duration};

use lunasec_injector::settings::Settings;
use serde_json::{Value, json};

use super::webhook::admin;
use crate::common::{Injector, Turned, api::Api, installed, settings, soon, store::Store};

const EVERY: Duration = Duration::from_secs(60);

fn pod(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "annotations": {"lunasec.io/inject": "true"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{name}-owner"),
                "uid": format!("{name}-owner"), "controller": true}],
        },
        "spec": {"containers": [{"name": "web", "image": "w"}]},
        "status": {"phase": "Running"},
    });
    change(&mut pod);
    pod
}

/// Some that were missed, and some that only look like it.
fn pods(api: &Api) {
    let all = [
        pod("owned", |_| {}),
        pod("bare", |it| it["metadata"]["ownerReferences"] = json!([])),
        pod("of-the-node", |it| it["metadata"]["ownerReferences"][0]["kind"] = "Node".into()),
        pod("refused", |it| it["spec"]["hostNetwork"] = true.into()),
        pod("held", |_| {}),
        pod("finished", |it| it["status"]["phase"] = "Succeeded".into()),
        pod("failed", |it| it["status"]["phase"] = "Failed".into()),
        pod("terminating", |it| {
            it["metadata"]["deletionTimestamp"] = "2026-11-27T00:00:00Z".into()
        }),
        pod("injected", |it| it["metadata"]["annotations"]["lunasec.io/injected"] = "0.1.0".into()),
        pod("static", |it| {
            it["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x".into()
        }),
        pod("not-wanted", |it| it["metadata"]["annotations"] = json!({})),
    ];
    for pod in all {
        api.put("pods", "shop", pod);
    }
}

const MISSED: [&str; 5] = ["bare", "held", "of-the-node", "owned", "refused"];

fn told(store: &Store) -> Vec<String> {
    let mut told: Vec<_> = store
        .of("events")
        .map(|it| it["involvedObject"]["name"].as_str().unwrap().to_owned())
        .collect();
    told.sort();
    told
}

fn restarting() -> Arc<Settings> {
    settings(|it| it.replace("restart = false", "restart = true"))
}

#[tokio::test]
async fn missed_pods_are_told_of_once_and_left_alone() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    pods(&api);
    let injector = Injector::start(&api, "a", settings(|it| it), clock.clone()).await;
    api.until("events", |store| told(store) == MISSED).await;
    let refused = {
        let store = api.store();
        let event =
            store.of("events").find(|it| it["involvedObject"]["name"] == "refused").unwrap();
        assert_eq!(
            (&event["reason"], &event["type"]),
            (&json!("LunaSecSidecarMissing"), &json!("Warning"))
        );
        event["message"].as_str().unwrap().to_owned()
    };
    assert!(refused.contains("hostNetwork"), "{refused}");
    let metrics = admin(&injector, "/metrics").await.1;
    assert!(metrics.contains("lunasec_injector_missed_pods 5"), "{metrics}");
    assert!(metrics.contains("lunasec_injector_leader 1"), "{metrics}");
    // A pod that comes later is found in the next round, and the others are not told of again.
    api.put("pods", "shop", pod("later", |_| {}));
    soon("a round", async {
        while told(&api.store()).len() == MISSED.len() {
            clock.pass(EVERY);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!(told(&api.store()), ["bare", "held", "later", "of-the-node", "owned", "refused"]);
    assert!(api.store().evictions.is_empty(), "nobody said that they may be restarted");
    injector.stop().await;
}

#[tokio::test]
async fn if_told_so_those_with_a_controller_are_evicted_and_budgets_hold() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    pods(&api);
    api.store().budgets.insert("held".to_owned(), 2);
    let injector = Injector::start(&api, "a", restarting(), clock.clone()).await;
    let pass = async {
        loop {
            clock.pass(Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let gone = api.until("both evictions", |store| {
        ["owned", "held"].iter().all(|it| store.get("pods", "shop", it).is_none())
    });
    tokio::select! {
        () = gone => {}
        () = pass => {}
    }
    let evictions = api.store().evictions.clone();
    let of =
        |name: &str| evictions.iter().filter(|it| it.0 == name).map(|it| it.1).collect::<Vec<_>>();
    assert_eq!(of("held"), [429, 429, 201], "it waited for its budget");
    assert_eq!(of("owned"), [201]);
    assert_eq!(evictions.len(), 4, "{evictions:?}");
    for left in ["bare", "of-the-node", "refused", "finished", "terminating", "injected", "static"]
    {
        assert!(api.store().get("pods", "shop", left).is_some(), "{left}");
    }
    // They are counted when the API server has answered, which is after it has done it.
    let counted = "lunasec_injector_restarts_total{result=\"evicted\"} 2";
    soon("all counts", async {
        loop {
            let metrics = admin(&injector, "/metrics").await.1;
            if metrics.contains(counted) {
                break;
            }
        }
    })
    .await;
    injector.stop().await;
}

#[tokio::test]
async fn who_is_missed_again_is_not_evicted_in_a_circle() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    api.put("pods", "shop", pod("web", |_| {}));
    let injector = Injector::start(&api, "a", restarting(), clock.clone()).await;
    api.until("an eviction", |store| store.evictions.len() == 1).await;
    // Its controller makes it anew, and the webhook is not asked again.
    api.put("pods", "shop", pod("web", |_| {}));
    let began = lunasec_injector::clock::Clock::now(&clock);
    soon("the next eviction", async {
        while api.store().evictions.len() == 1 {
            clock.pass(Duration::from_secs(30));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let waited = lunasec_injector::clock::Clock::now(&clock) - began;
    assert!(waited >= Duration::from_secs(570), "{waited:?}");
    injector.stop().await;
}

#[tokio::test]
async fn one_replica_looks_and_the_next_takes_over_at_once() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    let holder = |store: &Store| {
        let lease = store.get("leases", "lunasec", "lunasec-injector")?;
        Some(lease["spec"]["holderIdentity"].as_str()?.to_owned())
    };
    let first = Injector::start(&api, "first", settings(|it| it), clock.clone()).await;
    api.until("a leader", |store| holder(store).as_deref() == Some("first")).await;
    let second = Injector::start(&api, "second", settings(|it| it), clock.clone()).await;
    api.put("pods", "shop", pod("web", |_| {}));
    first.stop().await;
    api.until("the next leader", |store| holder(store).as_deref() == Some("second")).await;
    api.until("its event", |store| told(store) == ["web"]).await;
    second.stop().await;
}
