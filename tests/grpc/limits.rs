//! Shedding, deadlines and bounds, each said as its protocol says it.

use bytes::Bytes;
use hyper::Request;
use lunasec_api::grpc as api;
use lunasec_tests::{
    Grpc, Sidecar,
    grpc::{Call, framed, next, prefixed},
    raw::head,
    sidecar::eventually,
};
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;

fn overloaded() -> (Code, String, bool) {
    (Code::Unavailable, "overloaded".into(), true)
}

fn value(bytes: usize) -> api::TokenizeRequest {
    api::TokenizeRequest { value: vec![b'v'; bytes].into(), ..Default::default() }
}

fn json(path: &str) -> hyper::http::request::Builder {
    Request::post(format!("http://localhost{path}")).header("content-type", "application/json")
}

/// A call that is at work for certain: half its body was read.
async fn half_a_call(grpc: &mut Grpc) -> (Call, Bytes) {
    let body = framed(&value(100));
    let mut call = grpc.begin(Grpc::head("Tokenize"), None).await;
    call.more(body.slice(..50), false).await;
    grpc.settle().await;
    (call, body.slice(50..))
}

#[tokio::test]
async fn more_requests_than_can_be_at_work_are_shed() {
    let sidecar = Sidecar::serve("[limits]\nrequests = 1\n");
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let (mut at_work, rest) = half_a_call(&mut grpc).await;
    let answer = grpc.call("Tokenize", &value(1)).await;
    assert_eq!(answer.failure(), overloaded());
    assert_eq!(answer.retry_after(), Some(100));
    let answer = grpc.send(json("/v1/tokenize"), r#"{"value": "v"}"#).await;
    assert_eq!((answer.http, &answer.headers["retry-after"]), (503, &"1".parse().unwrap()));
    assert!(answer.body.starts_with(b"{\"type\":\"urn:lunasec:error:overloaded\""));
    at_work.more(rest, true).await;
    at_work.answer().await.message::<api::TokenizeResponse>();
    grpc.call("Tokenize", &value(1)).await.message::<api::TokenizeResponse>();
}

#[tokio::test]
async fn more_bytes_than_may_be_held_are_shed() {
    let sidecar = Sidecar::serve("[limits]\nbody_bytes_in_flight = \"64 KiB\"\n");
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let answer = grpc.call("Tokenize", &value(100_000)).await;
    assert_eq!(answer.failure(), overloaded());
    for _ in 0..10 {
        grpc.call("Tokenize", &value(50_000)).await.message::<api::TokenizeResponse>();
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_hold_new_bodies_back() {
    let sidecar = Sidecar::serve("[limits]\nbody_bytes_in_flight = \"4 MiB\"\n");
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let tokens = vec![sidecar.tokenize(&"v".repeat(500_000)); 7];
    let body = framed(&api::BatchDetokenizeRequest { tokens });
    let mut slow = Grpc::connect(sidecar.socket()).await;
    let call = slow.begin(Grpc::head("BatchDetokenize"), Some(body)).await;
    let (_, _, mut unread) = call.open().await;
    let answer = grpc.call("Tokenize", &value(1_000_000)).await;
    assert_eq!(answer.failure(), overloaded());
    while next(&mut unread).await.is_some() {}
    grpc.call("Tokenize", &value(1_000_000)).await.message::<api::TokenizeResponse>();
}

#[tokio::test]
async fn the_shorter_of_two_deadlines_counts() {
    let sidecar = Sidecar::serve("[limits]\nrequest_time = \"1s\"\n");
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let logged = || sidecar.log().matches("deadline_exceeded").count();
    for timeout in [Some("50m"), Some("0n"), None, Some("3600S")] {
        let mut head = Grpc::head("Tokenize");
        if let Some(timeout) = timeout {
            head = head.header("grpc-timeout", timeout);
        }
        // A body that never comes.
        let answer = grpc.begin(head, None).await.answer().await;
        let wanted = (Code::DeadlineExceeded, "deadline_exceeded".into(), true);
        assert_eq!(answer.failure(), wanted, "{timeout:?}");
        assert_eq!(answer.retry_after(), None);
        // The client's own deadline is no news; of the sidecar's own, one line says it for a while.
        let lines = if matches!(timeout, Some("50m" | "0n")) { 0 } else { 1 };
        eventually("as many are logged", || logged() == lines);
    }
}

#[tokio::test]
async fn lists_are_counted_before_they_are_held() {
    let sidecar = Sidecar::serve("[limits]\nbatch_items = 10\n");
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let wanted = (Code::InvalidArgument, "invalid_request".into(), false);
    // Eight million items of two bytes: decoded, they would take a gigabyte.
    let bomb = prefixed(0, &[0x0a, 0].repeat(8 << 20)[..16_000_000]);
    let answer = grpc.send(Grpc::head("BatchTokenize"), bomb).await;
    assert_eq!(answer.failure(), wanted);
    assert!(answer.status.unwrap().message().contains("1 to 1,000"));
    let peak = peak_memory(sidecar.pid());
    assert!(peak < 128 << 20, "{peak} bytes were held");
    let eleven = api::BatchTokenizeRequest { items: vec![value(1); 11] };
    assert_eq!(grpc.call("BatchTokenize", &eleven).await.failure(), wanted);
    let none = api::BatchDetokenizeRequest::default();
    assert_eq!(grpc.call("BatchDetokenize", &none).await.failure(), wanted);
}

/// The most memory that a process ever held.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn a_batchs_answer_keeps_its_limit() {
    use api::detokenize_item::Outcome;
    const MOST: usize = 64 * 1024;
    let sidecar = Sidecar::serve("[limits]\nbatch_bytes = \"64 KiB\"\n");
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let large = sidecar.tokenize(&"v".repeat(20_000));
    let small = sidecar.tokenize("v");
    let mut tokens = vec![large; 5];
    tokens.extend(vec![small; 100]);
    let request = api::BatchDetokenizeRequest { tokens };
    let answer = grpc.call("BatchDetokenize", &request).await;
    assert!(answer.body.len() <= MOST + 5, "{} bytes", answer.body.len());
    let items = answer.message::<api::BatchDetokenizeResponse>().items;
    assert_eq!(items.len(), 105);
    let codes: Vec<_> = items
        .iter()
        .map(|item| match item.outcome.as_ref().unwrap() {
            Outcome::Detokenized(_) => "ok",
            Outcome::Error(error) => error.code.as_str(),
        })
        .collect();
    assert_eq!(
        codes[..5],
        ["ok", "ok", "payload_too_large", "payload_too_large", "payload_too_large"]
    );
    assert_eq!(codes.iter().filter(|code| **code == "ok").count(), 102);
}

#[tokio::test]
async fn a_connection_too_many_is_told_in_its_own_protocol() {
    let sidecar = Sidecar::serve("[limits]\nconnections = 1\n");
    let mut held = sidecar.connect();
    held.send(head("GET", "/v1/status", &[("host", "localhost")])).unwrap();
    assert_eq!(held.answer().unwrap().status, 200);
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let answer = grpc.call("Tokenize", &value(1)).await;
    assert_eq!(answer.failure(), overloaded());
    assert_eq!(answer.retry_after(), Some(100));
    // Then it is asked to go, which is no error.
    grpc.ended().await;
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let answer = grpc.send(json("/v1/tokenize"), r#"{"value": "v"}"#).await;
    assert_eq!(answer.http, 503);
    let mut silent = sidecar.connect();
    assert_eq!(silent.answer().unwrap().code(), "overloaded");
    drop(held);
    eventually("there is room again", || {
        let mut more = sidecar.connect();
        more.send_what_goes(head("GET", "/v1/status", &[("host", "localhost")]));
        more.answer().is_ok_and(|answer| answer.status == 200)
    });
}

#[tokio::test]
async fn open_calls_are_bounded() {
    use lunasec_core::limits::{OPEN_CALLS, STREAMS};
    let sidecar = Sidecar::dev();
    let watch = framed(&HealthCheckRequest::default());
    let mut connections = Vec::new();
    let mut open = Vec::new();
    while open.len() < OPEN_CALLS {
        let mut grpc = Grpc::connect(sidecar.socket()).await;
        for _ in 0..(STREAMS as usize).min(OPEN_CALLS - open.len()) {
            let head = Grpc::post("/grpc.health.v1.Health/Watch");
            let (_, _, mut body) = grpc.begin(head, Some(watch.clone())).await.open().await;
            assert_eq!(next(&mut body).await.unwrap(), "\0\0\0\0\x02\x08\x01", "SERVING");
            open.push(body);
        }
        connections.push(grpc);
    }
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let check = Grpc::post("/grpc.health.v1.Health/Check");
    assert_eq!(grpc.send(check, watch.clone()).await.failure(), overloaded());
    // The others are none of its business.
    grpc.call("Tokenize", &value(1)).await.message::<api::TokenizeResponse>();
    open.clear();
    let served = async {
        loop {
            let check = Grpc::post("/grpc.health.v1.Health/Check");
            let answer = grpc.send(check, watch.clone()).await;
            if answer.status.as_ref().is_some_and(|status| status.code() == Code::Ok) {
                return;
            }
        }
    };
    tokio::time::timeout(lunasec_tests::sidecar::PATIENCE, served).await.unwrap();
}

#[tokio::test]
async fn reflection_takes_questions_for_its_time_only() {
    let sidecar = Sidecar::serve("[limits]\nrequest_time = \"500ms\"\n");
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let head = Grpc::post("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
    let mut call = grpc.begin(head, None).await;
    // list_services
    call.more(prefixed(0, b"\x3a\x00"), false).await;
    // Never ended from this side.
    let answer = call.answer().await;
    assert_eq!(answer.status.unwrap().code(), Code::Ok);
    let text = String::from_utf8_lossy(&answer.body);
    for name in ["lunasec.v1.Tokenizer", "grpc.health.v1.Health"] {
        assert!(text.contains(name), "{text}");
    }
}
