//! Whether one user is kept from another's values, however a sidecar is asked: what is tried is the
//! same over JSON and gRPC.

use serde_json::{Value, json};

use crate::{
    Sidecar,
    aws::{Cloud, Engine, wait},
    sidecar::{eventually, unknown_token},
};

/// What a session is told when it tries all that there is to do with a token: to reveal it, alone and
/// in a batch, to read its metadata, to replace that, and to delete it.
pub type Tries = fn(&Sidecar, Option<&str>, &str) -> [String; 5];

/// What only its owner may see.
pub const VALUE: &str = "alice's";

/// Everything, for the tests' own user; for what is somebody's, with a grant of theirs.
pub fn strict() -> String {
    let uid = rustix::process::geteuid().as_raw();
    let operations = r#"["tokenize", "detokenize", "metadata", "grants", "delete"]"#;
    format!(
        "[[clients]]\nname = \"shop\"\nuid = {uid}\nnamespaces = [\"default\"]\n\
         operations = {operations}\nrequire_grant = true\n"
    )
}

/// Grants for an hour, and says until when.
pub fn grant(sidecar: &Sidecar, session: &str, tokens: &[&str]) -> Vec<Value> {
    let body = json!({ "session": session, "tokens": tokens, "expires_in": "1h" });
    let answer = sidecar.post("/v1/grants/create", &body).json();
    let items = answer["items"].as_array().unwrap_or_else(|| panic!("{answer}"));
    items.iter().map(|item| item["expires_at"].clone()).collect()
}

/// What was taken back.
pub fn revoke(sidecar: &Sidecar, session: &str, tokens: Option<&[&str]>) -> Value {
    let mut body = json!({ "session": session });
    if let Some(tokens) = tokens {
        body["tokens"] = json!(tokens);
    }
    let answer = sidecar.post("/v1/grants/revoke", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["revoked"].clone()
}

/// On one sidecar, and after it was killed.
pub fn one_users_session_cannot_touch_anothers_value(tries: Tries) {
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = Sidecar::serve_in(directory.path(), &strict());
    let token = alices(&sidecar);
    assert_eq!(tries(&sidecar, Some("alice"), &token), ["grant_denied"; 5]);
    grant(&sidecar, "alice", &[&token]);
    grant(&sidecar, "bob", &[&sidecar.tokenize("bob's")]);
    assert_apart(&sidecar, tries, &token);
    sidecar.kill();
    sidecar = Sidecar::serve_in(directory.path(), &strict());
    assert_apart(&sidecar, tries, &token);
    revoke(&sidecar, "alice", None);
    assert_eq!(tries(&sidecar, Some("alice"), &token), ["grant_denied"; 5]);
    // A grant of everything is one to delete; what is deleted is nobody's any more.
    let all = ["detokenize", "metadata", "update", "delete"];
    let body = json!({ "session": "alice", "tokens": [token], "actions": all });
    assert_eq!(sidecar.post("/v1/grants/create", &body).status, 200);
    assert_eq!(tries(&sidecar, Some("alice"), &token), ["ok"; 5]);
    assert_eq!(tries(&sidecar, Some("alice"), &token)[..4], ["not_found"; 4]);
}

/// By the sidecar that it was granted at, and by another, also after that was killed.
pub fn nor_through_a_second_sidecar_on_s3(tries: Tries) {
    let cloud = wait(Cloud::new(Engine::Moto));
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = cloud.sidecar(one.path(), &strict());
    let mut second = cloud.sidecar(two.path(), &strict());
    let token = alices(&first);
    grant(&first, "alice", &[&token]);
    grant(&first, "bob", &[&first.tokenize("bob's")]);
    for sidecar in [&first, &second] {
        assert_apart(sidecar, tries, &token);
    }
    second.kill();
    second = cloud.sidecar(two.path(), &strict());
    assert_apart(&second, tries, &token);
}

/// Of all that was granted.
pub fn a_grant_that_is_over_says_so(tries: Tries) {
    let sidecar = Sidecar::serve(&strict());
    let token = alices(&sidecar);
    let body = json!({ "session": "alice", "tokens": [token], "expires_in": "1ms" });
    assert_eq!(sidecar.post("/v1/grants/create", &body).status, 200);
    eventually("the grant ends", || {
        let said = tries(&sidecar, Some("alice"), &token);
        assert!(["ok", "grant_expired"].contains(&said[0].as_str()), "{said:?}");
        said[..3].iter().all(|code| code == "grant_expired")
    });
}

fn alices(sidecar: &Sidecar) -> String {
    let body = json!({ "value": VALUE, "metadata": { "of": "alice" } });
    let answer = sidecar.post("/v1/tokenize", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// That one user's session can do nothing with another's token, and that user can.
fn assert_apart(sidecar: &Sidecar, tries: Tries, token: &str) {
    assert_eq!(tries(sidecar, Some("bob"), token), ["grant_denied"; 5]);
    assert_eq!(tries(sidecar, None, token), ["unauthenticated"; 5]);
    assert_eq!(tries(sidecar, Some("alice"), &unknown_token()), ["not_found"; 5]);
    // Granted to reveal and to read, and neither to change nor to delete.
    let [ok, denied] = ["ok", "grant_denied"];
    assert_eq!(tries(sidecar, Some("alice"), token), [ok, ok, ok, denied, denied]);
    assert_untouched(sidecar, token);
}

/// What was refused has also changed nothing.
fn assert_untouched(sidecar: &Sidecar, token: &str) {
    let body = json!({ "token": token }).to_string();
    let alice = [("lunasec-session", "alice")];
    let asked = |path: &str| sidecar.connect().post_with(path, &alice, body.as_bytes()).json();
    assert_eq!(asked("/v1/detokenize")["value"], VALUE);
    assert_eq!(asked("/v1/metadata/get")["metadata"], json!({ "of": "alice" }));
}
