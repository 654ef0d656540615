use std::time::Duration;

use lunasec_client::{ErrorKind, Mask, Shown, ValueOr};
use serde_json::json;

use crate::support::{
    scripted::{Act, Scripted, item, ok, problem, reveal},
    token,
};

#[tokio::test]
async fn a_mask_stands_in_where_nobody_can_answer_and_for_no_no() {
    let server = Scripted::new(|_, before| match before {
        0 => problem(503, "storage_unavailable", true),
        1 => problem(503, "keys_unavailable", true),
        2 => problem(403, "grant_denied", false),
        _ => problem(429, "rate_limited", true),
    });
    let client = server.client();
    let Shown::Masked(masked) = client.masking().detokenize(token(1)).await.unwrap() else {
        panic!("no mask")
    };
    assert_eq!(
        (masked.text.as_str(), masked.error.kind()),
        ("••••", ErrorKind::StorageUnavailable)
    );
    assert_eq!(masked.token, lunasec_client::Token::from_text(token(1)).unwrap());
    let other = client.with_policy(Mask::with("n/a"));
    assert_eq!(other.detokenize(token(1)).await.unwrap().text().unwrap(), "n/a");
    assert_eq!(other.detokenize(token(1)).await.unwrap_err().kind(), ErrorKind::GrantDenied);
    assert_eq!(other.detokenize(token(1)).await.unwrap_err().kind(), ErrorKind::RateLimited);
    assert_eq!(server.came().len(), 4, "a page asks once");
}

#[tokio::test]
async fn a_fallback_is_asked_for_each_item_that_nobody_can_answer() {
    let server = Scripted::new(|came, _| {
        let away = json!({ "token": came.tokens()[1], "error": { "code": "keys_unavailable", "detail": "words", "retryable": true } });
        let gone = json!({ "token": came.tokens()[2], "error": { "code": "not_found", "detail": "words", "retryable": false } });
        ok(json!({ "items": [item(&came.tokens()[0]), away, gone] }))
    });
    let client = server.client().or_else(|token, error| async move {
        format!("{} {}", token.expose().len(), error.code())
    });
    let found = client.detokenize_batch(&[token(1), token(2), token(3)]).await.unwrap();
    assert!(matches!(&found[0], Ok(ValueOr::Value(_))));
    let Ok(ValueOr::Fallback(fallback)) = &found[1] else { panic!("no fallback") };
    assert_eq!(fallback.value, "44 keys_unavailable");
    assert!(!format!("{:?}", found[1]).contains("44"), "what an application gives is not printed");
    assert_eq!(found[2].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_fallback_that_gives_nothing_in_time_is_an_error() {
    let server = Scripted::new(|_, _| problem(503, "keys_unavailable", true));
    let client = server
        .client()
        .with_deadline(Duration::from_millis(50))
        .or_else(|_, _| std::future::pending::<()>());
    let error = client.detokenize(token(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(
        error.detail().contains("fallback") && error.detail().contains("keys_unavailable"),
        "{error}"
    );
}

#[tokio::test]
async fn a_sidecar_that_hangs_is_masked_within_the_deadline() {
    let server = Scripted::new(|_, _| Act::Hang);
    let client = server.client().masking().with_deadline(Duration::from_millis(50));
    let shown = client.detokenize(token(1)).await.unwrap();
    assert!(
        matches!(&shown, Shown::Masked(masked) if masked.error.kind() == ErrorKind::DeadlineExceeded)
    );
    let items = client.detokenize_batch(&[token(1), token(2)]).await.unwrap();
    assert!(items.iter().all(|item| matches!(item, Ok(Shown::Masked(_)))));
}

#[tokio::test]
async fn nothing_stands_in_for_a_write_or_a_verify() {
    let server = Scripted::new(|_, _| problem(503, "storage_unavailable", true));
    let client = server.builder().attempts(1).build().unwrap().masking();
    let user = client.for_session("alice").unwrap();
    let kinds = [
        client.tokenize("v").await.unwrap_err().kind(),
        client.delete(&[token(1)]).await.unwrap_err().kind(),
        client.set_metadata(token(1), &json!({})).await.unwrap_err().kind(),
        user.grant(&[token(1)]).await.unwrap_err().kind(),
        user.verify(&[token(1)]).await.unwrap_err().kind(),
        user.revoke_all().await.unwrap_err().kind(),
    ];
    assert_eq!(kinds, [ErrorKind::StorageUnavailable; 6]);
}

#[tokio::test]
async fn a_view_of_a_session_stays_that_sessions() {
    let server = Scripted::new(|came, _| reveal(came));
    let client = server.client();
    let (alice, bob) = (client.for_session("alice").unwrap(), client.for_session("bob").unwrap());
    alice.map(|client| client.masking()).detokenize(token(1)).await.unwrap();
    // Even where somebody mixes them up.
    alice.map(|_| bob.masking()).detokenize(token(1)).await.unwrap();
    let said: Vec<_> =
        server.came().iter().map(|came| came.headers["lunasec-session"].clone()).collect();
    assert_eq!(said, ["alice", "alice"]);
}
