//! Canaries: whoever uses one is told what is told of a token that there is not, and three places hear of it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Output,
};

use lunasec_api::grpc as api;
use lunasec_tests::{
    Grpc, Raw, Sidecar,
    raw::{Answer, stream_as},
    sidecar::{eventually, lunasec, unknown_token},
};
use serde_json::{Value, json};

const NOTE: &str = "customers, row 4711";
const SESSION: &str = "mallory@example.com";

fn canary(sidecar: &Sidecar, arguments: &[&str]) -> Output {
    let mut command = lunasec();
    command.args(["canary", "create", "--socket"]).arg(sidecar.socket());
    command.args(arguments).output().unwrap()
}

fn create(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let output = canary(sidecar, arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

fn audited(directory: &Path) -> String {
    let path = directory.join("audit.jsonl");
    format!("[audit]\nsink = \"file\"\npath = \"{}\"\n", path.display())
}

fn records(directory: &Path) -> Vec<Value> {
    let text = fs::read_to_string(directory.join("audit.jsonl")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Everything of an answer that could differ, with the token that was asked for as `T`.
fn seen(answer: &Answer, token: &str) -> (u16, Vec<(String, String)>, String) {
    let mut headers: Vec<_> = answer.headers.clone().into_iter().collect();
    headers.retain(|(name, _)| !["lunasec-request-id", "date"].contains(&name.as_str()));
    headers.sort();
    (answer.status, headers, answer.text().replace(token, "T"))
}

/// Every way to use a token, and how often each asks for it.
fn uses(token: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("detokenize", json!({ "token": token })),
        ("detokenize:batch", json!({ "tokens": [token, "x"] })),
        ("metadata/get", json!({ "token": token })),
        ("metadata/set", json!({ "token": token, "metadata": { "a": 1 } })),
        ("grants/create", json!({ "session": SESSION, "tokens": [token] })),
        ("grants/verify", json!({ "session": SESSION, "tokens": [token, token] })),
        // The last, for then there is none any more.
        ("delete", json!({ "tokens": [token] })),
    ]
}

#[test]
fn whoever_uses_a_canary_is_told_what_is_told_of_a_token_that_there_is_not() {
    let sidecar = Sidecar::serve("");
    let (token, unknown) = (create(&sidecar, &["--note", NOTE]), unknown_token());
    assert_eq!(token.len(), unknown.len());
    let mut connection = sidecar.connect();
    for _ in 0..2 {
        // Once as storage has it, and once as it is remembered.
        for ((route, body), (_, other)) in uses(&token).into_iter().zip(uses(&unknown)) {
            if route == "delete" {
                continue;
            }
            let path = format!("/v1/{route}");
            let of_canary = seen(&connection.post(&path, &body), &token);
            let of_unknown = seen(&connection.post(&path, &other), &unknown);
            assert_eq!(of_canary, of_unknown, "{route}");
            assert!(of_canary.2.contains("not_found"), "{route}: {of_canary:?}");
        }
    }
    let delete = |token: &str| {
        let body = json!({ "tokens": [token] });
        seen(&sidecar.post("/v1/delete", &body), token)
    };
    assert_eq!(delete(&token), delete(&unknown));
}

#[test]
fn a_metric_a_record_and_an_error_say_that_a_canary_was_used_and_by_whom() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let mut sidecar = Sidecar::serve_in(here, &audited(here));
    let token = create(&sidecar, &["--note", NOTE]);
    let value = sidecar.tokenize("4111 1111 1111 1111");
    assert_eq!(sidecar.detokenize(&value).status, 200);
    assert!(!sidecar.metrics().contains("lunasec_canaries_used_total{"));
    for (at, (route, body)) in uses(&token).into_iter().enumerate() {
        let answer = sidecar.post(&format!("/v1/{route}"), &body);
        let id = &answer.headers["lunasec-request-id"];
        let operation = route.replace(['/', ':'], "_");
        let series = format!("lunasec_canaries_used_total{{operation=\"{operation}\"}}");
        assert_eq!(sidecar.metric(&series).to_bits(), 1f64.to_bits(), "{route}");
        let of_request = |record: &Value| record["request"] == id.as_str();
        let recorded = || records(here).into_iter().filter(of_request).collect::<Vec<_>>();
        eventually("its record is there", || !recorded().is_empty());
        let codes: Vec<_> = recorded().iter().map(|it| it["code"].clone()).collect();
        assert!(codes.contains(&json!("canary")), "{route}: {codes:?}");
        assert!(!codes.contains(&json!("not_found")), "{route}: {codes:?}");
        assert_eq!(recorded()[0]["op"], operation.as_str());
        if at == 0 {
            // Of many in a short time the first one.
            let line = sidecar.wait_for_line(|line| line.contains("a canary was used")).unwrap();
            for said in [NOTE, "ERROR", id, recorded()[0]["token"].as_str().unwrap()] {
                assert!(line.contains(said), "{said}: {line}");
            }
        }
    }
    // It is gone, and what is told of it is true.
    assert_eq!(sidecar.detokenize(&token).code(), "not_found");
    let series = "lunasec_canaries_used_total{operation=\"detokenize\"}";
    assert_eq!(sidecar.metric(series).to_bits(), 1f64.to_bits());
    assert!(!sidecar.log().contains(&token["lunasec-".len()..]));
}

#[tokio::test]
async fn so_it_is_over_grpc() {
    let sidecar = Sidecar::serve("");
    let (token, unknown) = (create(&sidecar, &["--note", NOTE]), unknown_token());
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let mut ask = async |token: &str| {
        let request = api::DetokenizeRequest { token: token.into() };
        grpc.call("Detokenize", &request).await.status.unwrap()
    };
    let (of_canary, of_unknown) = (ask(&token).await, ask(&unknown).await);
    assert_eq!(of_canary.code(), of_unknown.code());
    assert_eq!(of_canary.message(), of_unknown.message());
    assert_eq!(of_canary.details(), of_unknown.details());
    let series = "lunasec_canaries_used_total{operation=\"detokenize\"}";
    assert_eq!(sidecar.metric(series).to_bits(), 1f64.to_bits());
}

#[test]
fn only_whoever_runs_the_sidecar_mints_canaries() {
    const SHOP: u32 = 20_001;
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).unwrap();
    let clients = format!(
        "[[clients]]\nname = \"shop\"\nuid = {SHOP}\nnamespaces = [\"shop\"]\n\
         operations = [\"tokenize\", \"detokenize\", \"metadata\", \"grants\", \"delete\"]\n"
    );
    let sidecar = Sidecar::serve_in(directory.path(), &clients);
    fs::set_permissions(sidecar.socket(), Permissions::from_mode(0o666)).unwrap();
    let mut shop = Raw::over(stream_as(sidecar.socket(), SHOP, SHOP, &[]));
    let refused = shop.post("/v1/canaries/create", &json!({ "note": NOTE }));
    assert_eq!((refused.status, refused.code()), (403, "forbidden".into()));
    // Its own user may, though it is no client, in every namespace.
    let token = create(&sidecar, &["--namespace", "shop"]);
    let body = json!({ "token": token });
    assert_eq!(shop.post("/v1/detokenize", &body).code(), "not_found");
    let series = "lunasec_canaries_used_total{operation=\"detokenize\"}";
    assert_eq!(sidecar.metric(series).to_bits(), 1f64.to_bits());
}

#[test]
fn a_canary_is_found_out_by_whoever_has_no_grant_for_it_too() {
    let own = rustix::process::geteuid().as_raw();
    let strict = format!(
        "[[clients]]\nname = \"shop\"\nuid = {own}\nnamespaces = [\"default\"]\n\
         operations = [\"detokenize\", \"metadata\", \"delete\"]\nrequire_grant = true\n"
    );
    let sidecar = Sidecar::serve(&strict);
    let (token, unknown) = (create(&sidecar, &[]), unknown_token());
    let mut connection = sidecar.connect();
    let mut ask = |route: &str, body: &Value, token: &str| {
        let headers = [("lunasec-session", SESSION)];
        let answer =
            connection.post_with(&format!("/v1/{route}"), &headers, body.to_string().as_bytes());
        seen(&answer, token)
    };
    let granted = |route: &str| route.starts_with("grants");
    let all = uses(&token).into_iter().zip(uses(&unknown));
    for ((route, body), (_, other)) in all.filter(|((route, _), _)| !granted(route)) {
        assert_eq!(ask(route, &body, &token), ask(route, &other, &unknown), "{route}");
        let operation = route.replace(['/', ':'], "_");
        let series = format!("lunasec_canaries_used_total{{operation=\"{operation}\"}}");
        assert_eq!(sidecar.metric(&series).to_bits(), 1f64.to_bits(), "{route}");
    }
}

#[test]
fn a_note_that_may_not_be_written_down_is_refused() {
    let sidecar = Sidecar::serve("");
    let long = "n".repeat(1_025);
    let with_token = format!("like {}", unknown_token());
    for note in ["two\nlines", &long, &with_token] {
        let output = canary(&sidecar, &["--note", note]);
        assert_eq!(output.status.code(), Some(1), "{note}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("note") && !said.contains(note), "{said}");
        assert!(output.stdout.is_empty());
    }
    assert!(!canary(&sidecar, &["--expires-in", "soon"]).status.success());
    assert!(create(&sidecar, &["--note", &"n".repeat(1_024)]).starts_with("lunasec-"));
}
