//! Which records a request leaves, and what each of them knows.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use lunasec_tests::{
    Raw, Sidecar,
    raw::stream_as,
    sidecar::{eventually, unknown_token},
};
use serde_json::{Value, json};

const SHOP: u32 = 20_001;
const STRANGER: u32 = 20_002;

fn serve(directory: &Path, extra: &str) -> Sidecar {
    let path = directory.join("audit.jsonl");
    let audit = format!("[audit]\nsink = \"file\"\npath = \"{}\"\n{extra}", path.display());
    let sidecar = Sidecar::serve_in(directory, &audit);
    fs::set_permissions(directory, Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(sidecar.socket(), Permissions::from_mode(0o666)).unwrap();
    sidecar
}

/// The records of the request that was answered with this id, once there are so many.
fn records(directory: &Path, id: &str, count: usize) -> Vec<Value> {
    let of_request = || {
        let text = fs::read_to_string(directory.join("audit.jsonl")).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["request"] == id).collect::<Vec<_>>()
    };
    eventually("its records are there", || of_request().len() >= count);
    of_request()
}

#[test]
fn a_token_that_stands_twice_in_a_list_is_recorded_twice_in_the_order_of_the_list() {
    let directory = tempfile::tempdir().unwrap();
    let sidecar = serve(directory.path(), "");
    let (one, other) = (sidecar.tokenize("one"), sidecar.tokenize("other"));
    let tokens = json!([one, other, one, "x", one]);
    for (route, body) in [
        ("detokenize:batch", json!({ "tokens": tokens })),
        ("grants/verify", json!({ "session": "alice", "tokens": tokens })),
        ("grants/create", json!({ "session": "alice", "tokens": tokens })),
        ("delete", json!({ "tokens": tokens })),
    ] {
        let answer = sidecar.post(&format!("/v1/{route}"), &body);
        assert_eq!(answer.status, 200, "{route}: {}", answer.text());
        let records = records(directory.path(), &answer.headers["lunasec-request-id"], 5);
        let token = |at: usize| records[at]["token"].as_str();
        assert_eq!(records.len(), 5, "{route}");
        assert_eq!((token(0), token(3)), (token(2), None), "{route}");
        assert_eq!(token(0), token(4), "{route}");
        assert_ne!(token(0), token(1), "{route}");
        assert_eq!(records[3]["code"], "invalid_token", "{route}");
    }
}

#[test]
fn whoever_is_not_let_in_is_recorded_with_what_is_known_of_him() {
    let directory = tempfile::tempdir().unwrap();
    let clients = format!(
        "[[clients]]\nname = \"shop\"\nuid = {SHOP}\nnamespaces = [\"shop\"]\n\
         operations = [\"tokenize\"]\n"
    );
    let sidecar = serve(directory.path(), &clients);
    let asked = |uid: u32, namespace: &str| {
        let mut raw = Raw::over(stream_as(sidecar.socket(), uid, uid, &[]));
        let body = json!({ "token": unknown_token() }).to_string();
        let headers = [("lunasec-namespace", namespace)];
        let answer = raw.post_with("/v1/detokenize", &headers, body.as_bytes());
        assert_eq!(answer.code(), "forbidden");
        let record = records(directory.path(), &answer.headers["lunasec-request-id"], 1);
        assert_eq!(record.len(), 1);
        record[0].clone()
    };
    let own = asked(SHOP, "shop");
    assert_eq!((&own["client"], &own["namespace"]), (&json!("shop"), &json!("shop")));
    let elsewhere = asked(SHOP, "staff");
    assert_eq!((&elsewhere["client"], &elsewhere["namespace"]), (&json!("shop"), &json!("staff")));
    let stranger = asked(STRANGER, "shop");
    assert_eq!((&stranger["client"], &stranger["uid"]), (&Value::Null, &json!(STRANGER)));
    assert_eq!(stranger["namespace"], "shop");
}
