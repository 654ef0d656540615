//! Grants through the release binary: across restarts, and what of them lies on the disk.

use std::fs;

use lunasec_tests::{
    Grpc, Sidecar,
    aws::{Cloud, Engine, wait},
    grpc::framed,
    sidecar::{eventually, random_hex, unknown_token},
};
use serde_json::{Value, json};
use tonic::Code;

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

/// Everything, for the tests' own user; for what is somebody's, with a grant of theirs.
fn strict() -> String {
    let uid = rustix::process::geteuid().as_raw();
    let operations = r#"["tokenize", "detokenize", "metadata", "grants", "delete"]"#;
    format!(
        "[[clients]]\nname = \"shop\"\nuid = {uid}\nnamespaces = [\"default\"]\n\
         operations = {operations}\nrequire_grant = true\n"
    )
}

/// What a session is told when it tries all that there is to do with a token, over JSON.
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

/// That one user's session can do nothing with another's token, and that user can.
fn assert_apart(sidecar: &Sidecar, token: &str) {
    assert_eq!(tries(sidecar, Some("bob"), token), ["grant_denied"; 5]);
    assert_eq!(tries(sidecar, None, token), ["unauthenticated"; 5]);
    assert_eq!(tries(sidecar, Some("alice"), &unknown_token()), ["not_found"; 5]);
    // Granted to reveal and to read, and neither to change nor to delete.
    let [ok, denied] = ["ok", "grant_denied"];
    assert_eq!(tries(sidecar, Some("alice"), token), [ok, ok, ok, denied, denied]);
}

#[test]
fn one_users_session_cannot_touch_anothers_value() {
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = Sidecar::serve_in(directory.path(), &strict());
    let token = sidecar.tokenize("alice's");
    assert_eq!(tries(&sidecar, Some("alice"), &token), ["grant_denied"; 5]);
    grant(&sidecar, "alice", &[&token]);
    grant(&sidecar, "bob", &[&sidecar.tokenize("bob's")]);
    assert_apart(&sidecar, &token);
    sidecar.kill();
    sidecar = Sidecar::serve_in(directory.path(), &strict());
    assert_apart(&sidecar, &token);
    revoke(&sidecar, "alice", None);
    assert_eq!(tries(&sidecar, Some("alice"), &token), ["grant_denied"; 5]);
    // A grant of everything is one to delete; what is deleted is nobody's any more.
    let all = ["detokenize", "metadata", "update", "delete"];
    let body = json!({ "session": "alice", "tokens": [token], "actions": all });
    assert_eq!(sidecar.post("/v1/grants/create", &body).status, 200);
    assert_eq!(tries(&sidecar, Some("alice"), &token), ["ok"; 5]);
    assert_eq!(tries(&sidecar, Some("alice"), &token)[..4], ["not_found"; 4]);
}

#[test]
fn a_grant_that_is_over_says_so() {
    let sidecar = Sidecar::serve(&strict());
    let token = sidecar.tokenize("alice's");
    let body = json!({ "session": "alice", "tokens": [token], "expires_in": "1ms" });
    assert_eq!(sidecar.post("/v1/grants/create", &body).status, 200);
    eventually("the grant ends", || {
        let said = tries(&sidecar, Some("alice"), &token);
        assert!(["ok", "grant_expired"].contains(&said[0].as_str()), "{said:?}");
        said[..3].iter().all(|code| code == "grant_expired")
    });
}

#[test]
fn nor_through_a_second_sidecar_on_s3() {
    let cloud = wait(Cloud::new(Engine::Moto));
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = cloud.sidecar(one.path(), &strict());
    let second = cloud.sidecar(two.path(), &strict());
    let token = first.tokenize("alice's");
    grant(&first, "alice", &[&token]);
    assert_apart(&first, &token);
    assert_apart(&second, &token);
}

#[tokio::test]
async fn nor_over_grpc() {
    use lunasec_api::grpc as api;
    let sidecar = Sidecar::serve(&strict());
    let token = sidecar.tokenize("alice's");
    grant(&sidecar, "alice", &[&token]);
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    let request = api::DetokenizeRequest { token };
    for (session, wanted) in [("bob", Some("grant_denied")), ("alice", None)] {
        let head = Grpc::head("Detokenize").header("lunasec-session", session);
        let answer = grpc.send(head, framed(&request)).await;
        match wanted {
            Some(code) => {
                assert_eq!(answer.failure(), (Code::PermissionDenied, code.into(), false));
            }
            None => {
                assert_eq!(answer.message::<api::DetokenizeResponse>().value, "alice's");
            }
        }
    }
    let answer = grpc.call("Detokenize", &request).await;
    assert_eq!(answer.failure(), (Code::Unauthenticated, "unauthenticated".into(), false));
}
