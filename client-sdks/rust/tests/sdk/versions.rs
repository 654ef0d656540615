//! A sidecar that is newer, or older, than this client.

use lunasec_client::{Action, ErrorClass, ErrorKind, GrantOptions};
use serde_json::json;

use crate::support::{
    scripted::{Scripted, ok, problem},
    token,
};

#[tokio::test]
async fn members_that_are_newer_are_let_pass() {
    let server = Scripted::new(|came, _| match came.path.as_str() {
        "/v1/tokenize" => {
            ok(json!({ "token": token(1), "durability": "stored", "newer": { "a": [1] } }))
        }
        "/v1/detokenize" => ok(json!({ "value": "v", "encoding": "utf8", "newer": null })),
        "/v1/status" => ok(
            json!({ "version": "9.0.0", "newer": true, "dependencies": { "storage": { "state": "resting", "newer": 1 }, "moon": { "state": "up", "since": "now" } } }),
        ),
        _ => ok(
            json!({ "newer": 1, "items": [{ "token": token(1), "expires_at": "2026-01-02T03:04:05Z", "durability": "stored", "newer": [] }] }),
        ),
    });
    let client = server.client();
    assert_eq!(client.tokenize("v").await.unwrap().token.expose(), token(1));
    assert_eq!(client.detokenize(token(1)).await.unwrap().reveal().unwrap(), "v");
    let status = client.status().await.unwrap();
    assert_eq!(status.dependencies["storage"].state, "resting");
    assert!(status.dependencies.contains_key("moon") && status.all["newer"] == true);
    let options = GrantOptions::default().actions([Action::Other("lend".into())]);
    let granted =
        client.for_session("alice").unwrap().grant_with(&[token(1)], options).await.unwrap();
    assert!(granted[0].is_ok());
    assert_eq!(server.came()[3].body["actions"], json!(["lend"]));
}

#[tokio::test]
async fn a_code_that_is_newer_is_unavailable_only_where_that_is_said() {
    let server = Scripted::new(|_, before| match before {
        0 => problem(403, "moon_phase", false),
        1 => problem(503, "moon_away", true),
        2 => problem(503, "moon_gone", false),
        _ => problem(403, "Lunasec-4111 1111", false),
    });
    let client = server.builder().attempts(1).build().unwrap().masking();
    let error = client.detokenize(token(1)).await.unwrap_err();
    assert_eq!(
        (error.class(), error.code(), error.status()),
        (ErrorClass::Unknown, "moon_phase", Some(403))
    );
    assert_eq!(error.request_id(), Some("request-7"));
    assert_eq!(client.detokenize(token(1)).await.unwrap().text().unwrap(), "••••");
    assert_eq!(client.detokenize(token(1)).await.unwrap_err().kind(), ErrorKind::Unknown);
    // Whoever sent it may have put anything there.
    assert_eq!(client.detokenize(token(1)).await.unwrap_err().code(), "unreadable_code");
}

#[tokio::test]
async fn an_older_sidecar_lacks_what_is_optional() {
    let server = Scripted::new(|came, _| match came.path.as_str() {
        "/v1/status" => {
            ok(json!({ "version": "0.0.1", "dependencies": { "storage": { "state": "up" } } }))
        }
        "/v1/metadata/get" => {
            ok(json!({ "metadata": {}, "version": 0, "created_at": "2026-01-02T03:04:05Z" }))
        }
        "/v1/grants/revoke" => ok(json!({ "durability": "stored" })),
        _ => problem(404, "not_found", false),
    });
    let client = server.client();
    let status = client.status().await.unwrap();
    assert_eq!((status.version.as_str(), status.dependencies.len()), ("0.0.1", 1));
    let metadata = client.metadata(token(1)).await.unwrap();
    assert!(metadata.expires_at.is_none() && metadata.staleness.is_none());
    assert_eq!(client.for_session("alice").unwrap().revoke_all().await.unwrap().revoked, None);
    assert_eq!(client.delete(&[token(1)]).await.unwrap_err().kind(), ErrorKind::NotFound);
}
