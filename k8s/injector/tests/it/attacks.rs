//! What any pod can send, or whoever may make one in one namespace can ask for: it must not take the webhook from others.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::webhook::{admin, ready};
use crate::common::caller::{Caller, review};

/// Less than a kubelet or an API server waits.
const PATIENCE: Duration = Duration::from_secs(3);

/// A review of this pod.
fn of(pod: &Value) -> Bytes {
    let mut sent: Value = serde_json::from_slice(&review("deployment")).unwrap();
    sent["request"]["object"] = pod.clone();
    serde_json::to_vec(&sent).unwrap().into()
}

fn pod(annotation: &str, text: &str, containers: &[Value]) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x",
        "annotations": {"lunasec.io/inject": "true", format!("lunasec.io/{annotation}"): text}},
        "spec": {"containers": containers}})
}

/// Copies into themselves, each of which doubles the depth.
fn doubling() -> String {
    let mut operations =
        vec![json!({"op": "add", "path": "/x", "value": serde_json::from_str::<Value>(
            &format!("{}{}", "[".repeat(10), "]".repeat(10))).unwrap()})];
    for doubled in 0..12_u32 {
        let leaf = "/0".repeat(10 * 2_usize.pow(doubled) - 1);
        operations.push(json!({"op": "copy", "from": "/x", "path": format!("/x{leaf}/0")}));
    }
    let mut text = serde_json::to_string(&operations).unwrap();
    while text.len() > 60_000 {
        operations.pop();
        text = serde_json::to_string(&operations).unwrap();
    }
    text
}

#[tokio::test]
async fn what_a_pod_asks_for_takes_no_more_than_an_answer() {
    let (_api, injector, clock, bundle) = ready().await;
    let address = injector.addresses.webhook;
    let some =
        |many: usize| (0..many).map(|at| json!({"name": format!("c{at}")})).collect::<Vec<_>>();
    let names = |many: usize| (0..many).map(|at| format!("z{at}")).collect::<Vec<_>>().join(",");
    let bodies = [
        of(&pod("json-patch", &doubling(), &some(1))),
        of(&pod("containers", &names(20_000), &some(10_000))),
        of(&pod("containers", &vec!["z"; 450_000].join(","), &some(6_500))),
        of(&pod("config", &"x".repeat(1 << 20), &some(1000))),
        // What the API server would not send, and anybody can.
        Bytes::from(
            String::from_utf8(of(&json!({"spec": {"x": "HERE"}})).to_vec())
                .unwrap()
                .replace("\"HERE\"", &format!("[{{}}{}]", ",{\"\":0}".repeat(350_000))),
        ),
    ];
    for (at, body) in bodies.into_iter().enumerate() {
        let mut caller = Caller::new(address, &bundle, &clock).await.unwrap();
        let asked = tokio::spawn(async move { caller.ask(&body).await });
        // A kubelet's probe meanwhile.
        let live =
            timeout(PATIENCE, admin(&injector, "/live")).await.expect("an answer to a probe");
        assert_eq!(live.0, 200);
        let answer = timeout(PATIENCE, asked).await.expect("a decision").unwrap().unwrap();
        assert_eq!(answer["response"]["allowed"], false, "{at}");
        let words = answer["response"]["status"]["message"].as_str().unwrap();
        assert!(words.len() < 20_000, "{at}: {} bytes", words.len());
    }
    injector.stop().await;
}

/// A connection from another address than that of who has to be answered.
async fn connected(to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    timeout(PATIENCE, socket.connect(to)).await.expect("accepted").unwrap()
}

async fn idle(to: SocketAddr, many: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..many {
        open.push(connected(to).await);
    }
    open
}

/// One that comes again whenever it was cut or closed.
async fn hang_on(to: SocketAddr) {
    loop {
        let _ = connected(to).await.read_to_end(&mut Vec::new()).await;
        // So that they take no processor.
        sleep(Duration::from_millis(250)).await;
    }
}

#[tokio::test]
async fn silent_connections_keep_no_probe_out() {
    let (_api, injector, _, _) = ready().await;
    let address = injector.addresses.admin;
    let mut crowd = JoinSet::new();
    let mut open = idle(address, 32).await;
    // More than are served at once, and fewer than a kernel holds back. They end by themselves after a second: whoever
    // waits for its turn among them waits for two or three, each time.
    for _ in 0..148 {
        crowd.spawn(hang_on(address));
    }
    let probes = async {
        for _ in 0..5 {
            assert_eq!(admin(&injector, "/live").await.0, 200);
        }
    };
    timeout(PATIENCE, probes).await.expect("answers");
    crowd.shutdown().await;
    for stream in &mut open {
        // Cut or closed, which is one to whoever waits.
        let _ = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await.expect("an end");
    }
    injector.stop().await;
}

#[tokio::test]
async fn idle_connections_keep_no_review_out() {
    let (_api, injector, clock, bundle) = ready().await;
    let address = injector.addresses.webhook;
    let mut kept = Caller::new(address, &bundle, &clock).await.unwrap();
    kept.ask(&review("deployment")).await.unwrap();
    let _open = idle(address, 600).await;
    let new = async {
        let mut caller = Caller::new(address, &bundle, &clock).await.unwrap();
        caller.ask(&review("deployment")).await.unwrap()
    };
    let answer = timeout(PATIENCE, new).await.expect("an answer");
    assert_eq!(answer["response"]["allowed"], true);
    // The one that an API server has had all the time is not the one that made room.
    assert_eq!(kept.ask(&review("deployment")).await.unwrap()["response"]["allowed"], true);
    injector.stop().await;
}
