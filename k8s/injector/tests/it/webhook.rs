//! Reviews as an API server sends them, over TLS with the authority that was written for it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::{Request, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::common::{
    Injector, Turned,
    api::Api,
    bundles,
    caller::{Caller, connect, review},
    installed, is_settled, settings, soon,
};

/// An injector, and the bundle that was written for it.
pub(super) async fn ready() -> (Api, Injector, Turned, String) {
    let (api, clock) = (Api::start().await, Turned::new());
    installed(&api);
    let injector = Injector::start(&api, "a", settings(|it| it), clock.clone()).await;
    api.until("certificates", is_settled).await;
    let bundle = bundles(&api.store()).remove(0);
    (api, injector, clock, bundle)
}

async fn asked(names: &[&str]) -> Vec<(Value, Value)> {
    let (_api, injector, clock, bundle) = ready().await;
    let mut caller = Caller::new(injector.addresses.webhook, &bundle, &clock).await.unwrap();
    let mut answers = Vec::new();
    for name in names {
        let sent: Value = serde_json::from_slice(&review(name)).unwrap();
        let answer = caller.ask(&review(name)).await.unwrap();
        assert_eq!(
            (&answer["apiVersion"], &answer["kind"]),
            (&"admission.k8s.io/v1".into(), &"AdmissionReview".into())
        );
        assert_eq!(answer["response"]["uid"], sent["request"]["uid"], "{name}");
        answers.push((sent["request"]["object"].clone(), answer["response"].clone()));
    }
    injector.stop().await;
    answers
}

fn patched(object: &Value, response: &Value) -> Value {
    assert_eq!(response["allowed"], true, "{response}");
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch).unwrap();
    let mut pod = object.clone();
    json_patch::patch(&mut pod, &patch.0).unwrap();
    pod
}

#[tokio::test]
async fn pods_of_each_workload_get_a_sidecar() {
    let names = [
        "deployment",
        "deployment-dry-run",
        "daemonset",
        "job",
        "cronjob",
        "bare-pod",
        "statefulset",
        "init-containers",
    ];
    for (name, (object, response)) in names.into_iter().zip(asked(&names).await) {
        let pod = patched(&object, &response);
        assert_eq!(pod["spec"]["initContainers"][0]["name"], "lunasec", "{name}");
        assert_eq!(pod["spec"]["initContainers"][0]["restartPolicy"], "Always", "{name}");
        let all = pod["spec"]["initContainers"].as_array().unwrap()[1..].iter();
        for container in all.chain(pod["spec"]["containers"].as_array().unwrap()) {
            let mounts = container["volumeMounts"].as_array().unwrap();
            assert!(
                mounts.iter().any(|it| it["mountPath"] == "/run/lunasec" && it["readOnly"] == true),
                "{name}"
            );
        }
        // What other parts of the cluster put there is as it was.
        assert_eq!(
            pod["metadata"]["ownerReferences"], object["metadata"]["ownerReferences"],
            "{name}"
        );
        let before = object["spec"]["volumes"].as_array().unwrap();
        assert_eq!(
            &pod["spec"]["volumes"].as_array().unwrap()[..before.len()],
            before.as_slice(),
            "{name}"
        );
        if name == "statefulset" {
            assert_eq!(pod["spec"]["securityContext"]["fsGroup"], 64733);
        }
        if name == "init-containers" {
            assert!(response["warnings"][0].as_str().unwrap().contains("web"), "{response}");
        }
    }
}

#[tokio::test]
async fn pods_that_cannot_have_one_are_refused_with_all_reasons() {
    let answers = asked(&["host-network", "bad-annotations", "malformed-pod"]).await;
    for ((_, response), words) in answers.iter().zip([
        vec!["hostNetwork"],
        vec!["mem-limit", "lunasec.io/sidecar"],
        vec!["cannot be read as a pod"],
    ]) {
        assert_eq!(response["allowed"], false, "{response}");
        let message = response["status"]["message"].as_str().unwrap();
        for part in words {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert_eq!(response.get("patch"), None);
    }
}

#[tokio::test]
async fn all_else_is_let_through_as_it_is() {
    for (_, response) in asked(&["not-wanted", "update", "ephemeral-container", "not-a-pod"]).await
    {
        assert_eq!(response["allowed"], true, "{response}");
        assert_eq!(response.get("patch"), None);
    }
}

#[tokio::test]
async fn what_is_no_review_is_told_so_and_counted() {
    let (_api, injector, clock, bundle) = ready().await;
    let mut status = Vec::new();
    let huge = Bytes::from(vec![b' '; (3 << 20) + 1]);
    for (method, path, body) in [
        ("POST", "/mutate", review("malformed")),
        ("POST", "/mutate", review("wrong-version")),
        ("POST", "/mutate", Bytes::from("[".repeat(200_000))),
        ("POST", "/mutate", huge),
        ("GET", "/mutate", Bytes::new()),
        ("POST", "/", Bytes::new()),
    ] {
        // A connection of its own: the answer to a body that is too large ends it.
        let mut caller = Caller::new(injector.addresses.webhook, &bundle, &clock).await.unwrap();
        let (code, words) = caller.send(method, path, body).await.unwrap();
        assert!(!words.is_empty());
        status.push(code);
    }
    assert_eq!(status, [400, 400, 400, 413, 405, 404]);
    let metrics = admin(&injector, "/metrics").await.1;
    assert!(
        metrics.contains("lunasec_injector_decisions_total{result=\"invalid\"} 4"),
        "{metrics}"
    );
    injector.stop().await;
}

#[tokio::test]
async fn decisions_are_counted_and_those_of_a_dry_run_are_not() {
    let (_api, injector, clock, bundle) = ready().await;
    let mut caller = Caller::new(injector.addresses.webhook, &bundle, &clock).await.unwrap();
    for name in ["deployment", "deployment-dry-run", "host-network", "not-wanted", "not-wanted"] {
        caller.ask(&review(name)).await.unwrap();
    }
    let (code, metrics) = admin(&injector, "/metrics").await;
    assert_eq!(code, 200);
    for line in [
        "lunasec_injector_decisions_total{result=\"injected\"} 1",
        "lunasec_injector_decisions_total{result=\"denied\"} 1",
        "lunasec_injector_decisions_total{result=\"skipped\"} 2",
        "lunasec_injector_decision_duration_seconds_count 4",
        "lunasec_injector_certificate_expiry_seconds{what=\"serving\"} 2592000",
        "lunasec_injector_certificate_expiry_seconds{what=\"authority\"} 31536000",
        "lunasec_injector_missed_pods 0",
        "lunasec_injector_restarts_total{result=\"evicted\"} 0",
        "lunasec_injector_build_info{version=\"0.1.0\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert_eq!(admin(&injector, "/ready").await, (200, "ready\n".to_owned()));
    assert_eq!(admin(&injector, "/live").await.0, 200);
    injector.stop().await;
}

#[tokio::test]
async fn many_reviews_go_through_one_connection_of_http2() {
    let (_api, injector, clock, bundle) = ready().await;
    let stream =
        connect(injector.addresses.webhook, &bundle, &clock, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let asked = (0..50).map(|_| {
        let mut sender = sender.clone();
        async move {
            let uri = "https://lunasec-injector.lunasec.svc/mutate?timeout=10s";
            let request = Request::post(uri).body(Full::new(review("deployment"))).unwrap();
            let response = sender.send_request(request).await.unwrap();
            serde_json::from_slice::<Value>(
                &response.into_body().collect().await.unwrap().to_bytes(),
            )
            .unwrap()
        }
    });
    for answer in join_all(asked).await {
        assert_eq!(answer["response"]["patchType"], "JSONPatch");
    }
    injector.stop().await;
}

#[tokio::test]
async fn who_is_slow_waits_alone() {
    let (_api, injector, clock, bundle) = ready().await;
    let address = injector.addresses.webhook;
    let mut slow: Vec<Box<dyn Send>> = Vec::new();
    for _ in 0..100 {
        slow.push(Box::new(tokio::net::TcpStream::connect(address).await.unwrap()));
    }
    for part in ["POST /mut", "POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n{"]
    {
        for _ in 0..10 {
            let mut stream = connect(address, &bundle, &clock, &[]).await.unwrap();
            stream.write_all(part.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            slow.push(Box::new(stream));
        }
    }
    let work = async {
        let mut caller = Caller::new(address, &bundle, &clock).await.unwrap();
        caller.ask(&review("deployment")).await.unwrap()
    };
    // Less than any deadline of the slow ones.
    let answer =
        tokio::time::timeout(std::time::Duration::from_secs(8), work).await.expect("an answer");
    assert_eq!(answer["response"]["allowed"], true);
    assert_eq!(slow.len(), 120);
}

pub(super) async fn admin(injector: &Injector, path: &str) -> (u16, String) {
    soon("an answer of the admin listener", get(injector.addresses.admin, path)).await
}

pub(super) async fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::AsyncReadExt;
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
