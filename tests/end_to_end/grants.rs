//! Grants through the release binary: across restarts, and what of them lies on the disk.

use std::fs;

use lunasec_tests::{Sidecar, sidecar::random_hex};
use serde_json::{Value, json};

/// Grants for an hour, and says until when.
pub(crate) fn grant(sidecar: &Sidecar, session: &str, tokens: &[&str]) -> Vec<Value> {
    let body = json!({ "session": session, "tokens": tokens, "expires_in": "1h" });
    let answer = sidecar.post("/v1/grants/create", &body).json();
    let items = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}"));
    items.iter().map(|item| item["expires_at"].clone()).collect()
}

/// Until when each grant is valid, or why it is not.
pub(crate) fn verdicts(sidecar: &Sidecar, session: &str, tokens: &[&str]) -> Vec<Value> {
    let body = json!({ "session": session, "tokens": tokens });
    let answer = sidecar.post("/v1/grants/verify", &body).json();
    let items = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let verdict = |item: &Value| match item["valid"].as_bool() {
        Some(true) => item["expires_at"].clone(),
        Some(false) => item["reason"].clone(),
        None => item["error"]["code"].clone(),
    };
    items.iter().map(verdict).collect()
}

/// What was taken back.
pub(crate) fn revoke(sidecar: &Sidecar, session: &str, tokens: Option<&[&str]>) -> Value {
    let mut body = json!({ "session": session });
    if let Some(tokens) = tokens {
        body["tokens"] = json!(tokens);
    }
    let answer = sidecar.post("/v1/grants/revoke", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["revoked"].clone()
}

#[test]
fn grants_and_revocations_outlive_a_stop_and_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = Sidecar::serve_in(directory.path(), "");
    let (a, b) = (sidecar.tokenize("a"), sidecar.tokenize("b"));
    let tokens = [a.as_str(), &b];
    let until = grant(&sidecar, "alice", &tokens);
    grant(&sidecar, "bob", &tokens);
    assert_eq!(revoke(&sidecar, "alice", Some(&tokens[1..])), 1);
    assert_eq!(revoke(&sidecar, "bob", None), Value::Null);
    for kill in [false, true, false] {
        if kill {
            sidecar.kill()
        } else {
            sidecar.stop()
        }
        sidecar = Sidecar::serve_in(directory.path(), "");
        assert_eq!(verdicts(&sidecar, "alice", &tokens), [until[0].clone(), "denied".into()]);
        assert_eq!(verdicts(&sidecar, "bob", &tokens), ["denied", "denied"]);
    }
    // What is there is found to be lengthened, and to be revoked.
    assert_eq!(grant(&sidecar, "alice", &tokens[..1]).len(), 1);
    assert_eq!(revoke(&sidecar, "alice", None), Value::Null);
    sidecar.kill();
    sidecar = Sidecar::serve_in(directory.path(), "");
    assert_eq!(verdicts(&sidecar, "alice", &tokens), ["denied", "denied"]);
}

#[test]
fn the_configured_times_hold() {
    let sidecar = Sidecar::serve("[grants]\ndefault = \"10m\"\nmaximum = \"20m\"\n");
    let token = sidecar.tokenize("v");
    let ask = |expires_in: &str| {
        let body = json!({ "session": "s", "tokens": [token], "expires_in": expires_in });
        sidecar.post("/v1/grants/create", &body)
    };
    assert_eq!((ask("20m").status, ask("20m1s").status), (200, 400));
    let refused = ask("21m");
    assert_eq!((refused.status, refused.code().as_str()), (400, "invalid_request"));
    assert!(refused.text().contains("20m"), "{}", refused.text());
}

#[test]
fn nothing_at_rest_shows_a_session() {
    let mut sidecar = Sidecar::serve("");
    let (session, token) = (random_hex(12), sidecar.tokenize("value"));
    grant(&sidecar, &session, &[&token]);
    assert_eq!(revoke(&sidecar, &session, Some(&[&token])), 1);
    sidecar.stop();
    let mut read = 0;
    for file in ["store.redb", "local.key"] {
        let bytes = fs::read(sidecar.directory().join(file)).unwrap();
        read += bytes.len();
        let found = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!found(&session), "the session is in {file}");
        assert!(!found(&token["lunasec-".len()..]), "the token is in {file}");
    }
    assert!(read > 1_000, "nothing was read");
}
