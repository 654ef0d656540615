//! Pods that were made while the webhook was not asked.

use std::{sync::Arc, time::Duration};

use lunasec_injector::{clock::Clock, settings::Settings};
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

/// As an injector of other settings made it.
fn sidecar() -> Value {
    json!({"name": "lunasec", "image": "old", "restartPolicy": "Always",
        "securityContext": {"runAsUser": 64733, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true},
        "volumeMounts": [{"name": "lunasec-socket", "mountPath": "/run/lunasec"},
            {"name": "lunasec-no-token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]})
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
        pod("injected", |it| {
            it["metadata"]["annotations"]["lunasec.io/injected"] = "0.1.0".into();
            it["spec"]["initContainers"] = json!([sidecar()]);
        }),
        // Its owner says so, and has what is to look like a sidecar.
        pod("forged", |it| {
            it["metadata"]["annotations"]["lunasec.io/injected"] = "0.1.0".into();
            it["spec"]["initContainers"] = json!([{"name": "lunasec", "image": "x", "restartPolicy": "Always",
                "securityContext": {"runAsUser": 64733}}]);
        }),
        pod("taken", |it| {
            it["metadata"]["annotations"]["lunasec.io/injected"] = "0.1.0".into();
            it["spec"]["initContainers"] = json!([sidecar()]);
            it["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 64733});
        }),
        pod("static", |it| {
            it["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "x".into()
        }),
        pod("not-wanted", |it| it["metadata"]["annotations"] = json!({})),
    ];
    for pod in all {
        api.put("pods", "shop", pod);
    }
}

const MISSED: [&str; 7] = ["bare", "forged", "held", "of-the-node", "owned", "refused", "taken"];

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

/// Time passes until the event.
async fn meanwhile<T>(clock: &Turned, event: impl Future<Output = T>) -> T {
    let pass = async {
        loop {
            clock.pass(Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        happened = event => happened,
        () = pass => unreachable!(),
    }
}

/// Until so many evictions were asked for; says how long that took.
async fn until_evicted(api: &Api, clock: &Turned, many: usize) -> Duration {
    let began = clock.now();
    meanwhile(clock, api.until("evictions", |store| store.evictions.len() == many)).await;
    clock.now() - began
}

/// Rounds in which something would have happened.
async fn rounds(api: &Api, clock: &Turned, many: usize) {
    for round in 0..many {
        // A pod of this round, told of when it has been looked at; what was due before it has been done then.
        let name = format!("round-{round}-{}", api.store().version());
        api.put("pods", "shop", pod(&name, |it| it["metadata"]["ownerReferences"] = json!([])));
        meanwhile(clock, api.until("a round", |store| told(store).contains(&name))).await;
        api.remove("pods", "shop", &name);
    }
}

async fn missed(injector: &Injector) -> usize {
    let metrics = admin(injector, "/metrics").await.1;
    let line = metrics.lines().find_map(|it| it.strip_prefix("lunasec_injector_missed_pods "));
    line.unwrap().parse().unwrap()
}

fn namespace(name: &str, label: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"lunasec.io/injection": label}}})
}

#[tokio::test]
async fn where_the_webhook_is_not_asked_nothing_is_missed() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    for namespace in ["shop", "monitoring", "kube-system", "lunasec", "support"] {
        api.put(
            "pods",
            namespace,
            pod(namespace, |it| it["metadata"]["namespace"] = namespace.into()),
        );
    }
    let injector = Injector::start(&api, "a", restarting(), clock.clone()).await;
    until_evicted(&api, &clock, 2).await;
    rounds(&api, &clock, 3).await;
    let mut evicted: Vec<_> = api.store().evictions.iter().map(|it| it.0.clone()).collect();
    evicted.sort();
    assert_eq!(evicted, ["shop", "support"]);
    let told = told(&api.store());
    assert!(
        !told.iter().any(|it| ["monitoring", "kube-system", "lunasec"].contains(&it.as_str())),
        "{told:?}"
    );
    injector.stop().await;
}

#[tokio::test]
async fn where_only_labelled_namespaces_count_their_labels_are_followed() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    for (name, label) in
        [("shop", "enabled"), ("plain", "disabled"), ("later", ""), ("monitoring", "enabled")]
    {
        api.put("namespaces", "", namespace(name, label));
        api.put("pods", name, pod(&format!("of-{name}"), |_| {}));
    }
    // One that nobody has said anything about.
    api.put("pods", "unknown", pod("of-unknown", |_| {}));
    let only =
        |it: String| it.replace("unlabelled_namespaces = true", "unlabelled_namespaces = false");
    let injector = Injector::start(&api, "a", settings(only), clock.clone()).await;
    api.until("an event", |store| told(store) == ["of-shop"]).await;
    assert_eq!(missed(&injector).await, 1);
    api.put("namespaces", "", namespace("later", "enabled"));
    meanwhile(&clock, api.until("another", |store| told(store) == ["of-later", "of-shop"])).await;
    soon("both are counted", async { while missed(&injector).await != 2 {} }).await;
    api.put("namespaces", "", namespace("shop", "disabled"));
    meanwhile(&clock, soon("one is left", async { while missed(&injector).await != 1 {} })).await;
    assert_eq!(told(&api.store()), ["of-later", "of-shop"]);
    injector.stop().await;
}

/// One of several of a ReplicaSet.
fn replica(name: &str, change: impl FnOnce(&mut Value)) -> Value {
    pod(name, |it| {
        it["metadata"]["ownerReferences"][0]["uid"] = "web".into();
        it["metadata"]["labels"] = json!({"pod-template-hash": "6d4cf56db6"});
        change(it);
    })
}

fn made_anew(name: &str, phase: &str) -> Value {
    replica(name, |it| {
        it["metadata"]["annotations"]["lunasec.io/injected"] = "0.1.0".into();
        it["status"]["phase"] = phase.into();
    })
}

#[tokio::test]
async fn the_next_is_evicted_when_the_one_before_it_runs_with_its_sidecar() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    for name in ["a", "b", "c"] {
        api.put("pods", "shop", replica(name, |_| {}));
    }
    let evicted = |store: &Store| store.evictions.len();
    let injector = Injector::start(&api, "a", restarting(), clock.clone()).await;
    until_evicted(&api, &clock, 1).await;
    // Not made anew yet, then being made, then it runs.
    rounds(&api, &clock, 2).await;
    assert_eq!(evicted(&api.store()), 1);
    api.put("pods", "shop", made_anew("new-1", "Pending"));
    rounds(&api, &clock, 3).await;
    assert_eq!(evicted(&api.store()), 1, "one that does not start yet is no sign that it helps");
    let began = clock.now();
    api.put("pods", "shop", made_anew("new-1", "Running"));
    for many in 2..=3 {
        until_evicted(&api, &clock, many).await;
        api.put("pods", "shop", made_anew(&format!("new-{many}"), "Running"));
    }
    let took = clock.now() - began;
    assert!(took < Duration::from_secs(300), "each is a matter of a round: {took:?}");
    injector.stop().await;
}

#[tokio::test]
async fn nobody_is_evicted_before_the_webhook_has_been_ready_for_a_while() {
    let (api, clock) = (Api::start().await, Turned::new());
    api.put("pods", "shop", pod("web", |_| {}));
    // Rounds that come soon, so that it is not for want of one.
    let often = |it: String| it.replace("restart = false", "restart = true").replace("60s", "5s");
    let injector = Injector::start(&api, "a", settings(often), clock.clone()).await;
    rounds(&api, &clock, 3).await;
    assert!(api.store().evictions.is_empty(), "it has no certificate");
    installed(&api);
    soon("it is ready", async { while admin(&injector, "/ready").await.0 != 200 {} }).await;
    let waited = until_evicted(&api, &clock, 1).await;
    assert!(waited >= Duration::from_secs(30), "{waited:?}");
    injector.stop().await;
}

#[tokio::test]
async fn a_pod_with_a_sidecar_that_lost_its_annotation_was_not_missed_and_one_of_a_job_stays() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    api.put(
        "pods",
        "shop",
        pod("has-one", |it| {
            it["spec"]["initContainers"] = json!([sidecar()]);
        }),
    );
    api.put(
        "pods",
        "shop",
        pod("of-a-job", |it| it["metadata"]["ownerReferences"][0]["kind"] = "Job".into()),
    );
    api.put("pods", "shop", pod("web", |_| {}));
    let injector = Injector::start(&api, "a", restarting(), clock.clone()).await;
    until_evicted(&api, &clock, 1).await;
    rounds(&api, &clock, 2).await;
    assert_eq!(api.store().evictions, [("web".to_owned(), 201)]);
    let told = told(&api.store());
    assert!(
        told.contains(&"of-a-job".to_owned()) && !told.contains(&"has-one".to_owned()),
        "{told:?}"
    );
    injector.stop().await;
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
    let many = format!("lunasec_injector_missed_pods {}", MISSED.len());
    assert!(metrics.contains(&many), "{metrics}");
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
    let mut all = [&MISSED[..], &["later"]].concat();
    all.sort_unstable();
    assert_eq!(told(&api.store()), all);
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
    let gone = api.until("both evictions", |store| {
        ["owned", "held"].iter().all(|it| store.get("pods", "shop", it).is_none())
    });
    meanwhile(&clock, gone).await;
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
    until_evicted(&api, &clock, 1).await;
    // Its controller makes it anew, and the webhook is not asked again.
    api.put("pods", "shop", pod("web", |_| {}));
    let waited = until_evicted(&api, &clock, 2).await;
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

#[tokio::test]
async fn the_next_leader_knows_who_was_evicted() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    api.put("pods", "shop", pod("web", |_| {}));
    let first = Injector::start(&api, "first", restarting(), clock.clone()).await;
    until_evicted(&api, &clock, 1).await;
    api.put("pods", "shop", pod("web", |_| {}));
    first.stop().await;
    let second = Injector::start(&api, "second", restarting(), clock.clone()).await;
    let waited = until_evicted(&api, &clock, 2).await;
    assert!(waited >= Duration::from_secs(500), "{waited:?}");
    second.stop().await;
}

#[tokio::test]
async fn a_leader_that_is_not_answered_does_not_act_any_more() {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    let injector = Injector::start(&api, "a", restarting(), clock.clone()).await;
    let leads = async |leads: &str| {
        let line = format!("lunasec_injector_leader {leads}\n");
        soon("the gauge", async {
            while !admin(&injector, "/metrics").await.1.contains(&line) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    leads("1").await;
    api.is_deaf_to("leases");
    let began = lunasec_injector::clock::instant();
    leads("0").await;
    // From then on the others may take the Lease that it renewed before this.
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    clock.pass(Duration::from_secs(600));
    api.put("pods", "shop", pod("web", |_| {}));
    rounds_without_leader(&clock).await;
    assert!(api.store().evictions.is_empty() && told(&api.store()).is_empty());
    injector.stop().await;
}

/// There is no event to wait for where nothing must happen: a second for what takes milliseconds otherwise.
async fn rounds_without_leader(clock: &Turned) {
    for _ in 0..10 {
        clock.pass(EVERY);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
