//! Grants through the release binary: across restarts, and what of them lies on the disk.

use std::fs;

use lunasec_tests::{
    Sidecar,
    apart::{self, grant, revoke},
    aws::{Cloud, Engine, wait},
    sidecar::random_hex,
};
use serde_json::{Value, json};

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

/// Over JSON.
fn tries(sidecar: &Sidecar, session: Option<&str>, token: &str) -> [String; 5] {
    let headers: Vec<_> = session.map(|session| ("lunasec-session", session)).into_iter().collect();
    let code = |route: &str, body: Value| {
        let path = format!("/v1/{route}");
        let answer = sidecar.connect().post_with(&path, &headers, body.to_string().as_bytes());
        match (answer.status, answer.json()["items"][0]["error"]["code"].as_str()) {
            (200, None) => "ok".to_owned(),
            (200, Some(code)) => code.to_owned(),
            _ => answer.code(),
        }
    };
    [
        code("detokenize", json!({ "token": token })),
        code("detokenize:batch", json!({ "tokens": [token] })),
        code("metadata/get", json!({ "token": token })),
        code("metadata/set", json!({ "token": token, "metadata": { "by": "b" } })),
        code("delete", json!({ "tokens": [token] })),
    ]
}

#[test]
fn one_users_session_cannot_touch_anothers_value() {
    apart::one_users_session_cannot_touch_anothers_value(tries);
}

#[test]
fn a_grant_that_is_over_says_so() {
    apart::a_grant_that_is_over_says_so(tries);
}

#[test]
fn nor_through_a_second_sidecar_on_s3() {
    apart::nor_through_a_second_sidecar_on_s3(tries);
}

#[test]
fn a_hundred_tokens_verified_again_are_one_call_and_no_request_to_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let cloud = wait(Cloud::new(Engine::Moto));
    for sidecar in [Sidecar::dev(), cloud.sidecar(directory.path(), "")] {
        let tokens: Vec<_> = (0..100).map(|at| sidecar.tokenize(&format!("value {at}"))).collect();
        let list: Vec<_> = tokens.iter().map(String::as_str).collect();
        grant(&sidecar, "alice", &list);
        let body = json!({ "session": "alice", "tokens": tokens });
        let verify = || {
            let answer = sidecar.post("/v1/grants/verify", &body).json();
            let items = answer["items"].as_array().unwrap();
            assert!(items.len() == 100 && items.iter().all(|item| item["valid"] == true));
        };
        verify();
        let (before, asked) = (sidecar.dependency_requests(&["\"storage\""]), calls(&sidecar));
        verify();
        assert_eq!(sidecar.dependency_requests(&["\"storage\""]), before);
        assert_eq!(calls(&sidecar), asked + 1);
    }
}

fn calls(sidecar: &Sidecar) -> u64 {
    sidecar.metric("lunasec_requests_total{operation=\"grants_verify\",code=\"ok\"}") as u64
}
