//! Before the real binary.

use std::time::Duration;

use futures_util::future::join_all;
use lunasec_client::{Action, Durability, ErrorKind, GrantOptions, NewValue, Shown, Verdict};
use serde_json::json;

use crate::support::sidecar::Sidecar;

/// Fails instead of waiting for ever.
async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it takes for ever")
}

#[tokio::test]
async fn every_operation_does_what_it_says() {
    let sidecar = Sidecar::start().await;
    let client = sidecar.client();
    client.ready().await.unwrap();
    let given = client.tokenize("4111 1111 1111 1111").await.unwrap();
    assert_eq!(given.durability, Durability::Stored);
    assert!(given.token.is_well_formed());
    assert_eq!(
        client.detokenize(&given.token).await.unwrap().reveal().unwrap(),
        "4111 1111 1111 1111"
    );
    let scan = NewValue::from([0xff, 0x00].as_slice())
        .metadata(json!({ "kind": "passport" }))
        .expires_in(Duration::from_secs(3_600));
    let scan = client.tokenize(scan).await.unwrap().token;
    assert_eq!(client.detokenize(&scan).await.unwrap().reveal_bytes(), [0xff, 0x00]);
    let metadata = client.metadata(&scan).await.unwrap();
    assert_eq!(metadata.metadata["kind"], "passport");
    assert!(metadata.expires_at.unwrap() > metadata.created_at);
    let written =
        client.set_metadata_if(&scan, &json!({ "seen": true }), metadata.version).await.unwrap();
    let again = client.set_metadata_if(&scan, &json!({}), metadata.version).await.unwrap_err();
    assert_eq!((written.version, again.kind()), (metadata.version + 1, ErrorKind::Conflict));
    let items = client.tokenize_batch_once("batch-1", ["a", "b"]).await.unwrap();
    let twice = client.tokenize_batch_once("batch-1", ["a", "b"]).await.unwrap();
    assert_eq!(items[0].as_ref().unwrap().token, twice[0].as_ref().unwrap().token);
    let user = client.for_session("alice").unwrap();
    let options = GrantOptions::default().expires_in("15m").actions([Action::Detokenize]);
    assert!(user.grant_with(&[&given.token], options).await.unwrap()[0].is_ok());
    assert!(user.verify(&[&given.token]).await.unwrap()[0].as_ref().unwrap().is_valid());
    let other = user.verify_for(&Action::Delete, &[&given.token]).await.unwrap();
    assert!(matches!(&other[0], Ok(Verdict::Invalid { reason, .. }) if reason == "denied"));
    assert_eq!(user.revoke(&[&given.token]).await.unwrap().revoked, Some(1));
    user.revoke_all().await.unwrap();
    assert!(client.delete(&[&given.token]).await.unwrap()[0].is_ok());
    assert_eq!(client.detokenize(&given.token).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hundreds_of_callers_each_get_their_own_answer() {
    let sidecar = Sidecar::start().await;
    let client = sidecar.client();
    for client in
        [client.clone(), client.gathering(), client.gathering_for(Duration::from_micros(300))]
    {
        let callers = (0..400).map(|caller| {
            let client = client.clone();
            tokio::spawn(async move {
                let value = format!("the value of {caller}");
                let token = client.tokenize(&value).await.unwrap().token;
                for _ in 0..3 {
                    assert_eq!(client.detokenize(&token).await.unwrap().reveal().unwrap(), value);
                }
                token
            })
        });
        let mut tokens: Vec<_> = join_all(callers)
            .await
            .into_iter()
            .map(|token| token.unwrap().expose().to_owned())
            .collect();
        tokens.sort();
        tokens.dedup();
        assert_eq!(tokens.len(), 400);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_restart_nor_a_kill_surfaces() {
    let mut sidecar = Sidecar::start().await;
    let client = sidecar
        .builder()
        .deadline(Duration::from_secs(60))
        .restart_grace(Duration::from_secs(30))
        .build()
        .unwrap();
    let token = client.tokenize("v").await.unwrap().token;
    for how in ["stop", "kill"] {
        let (done, over) = tokio::sync::watch::channel(false);
        let callers: Vec<_> = (0..16)
            .map(|caller| {
                let client = if caller % 2 == 0 { client.clone() } else { client.gathering() };
                let (token, over) = (token.clone(), over.clone());
                tokio::spawn(async move {
                    let mut calls = 0;
                    while !*over.borrow() {
                        assert_eq!(client.detokenize(&token).await.unwrap().reveal().unwrap(), "v");
                        assert!(client.tokenize("w").await.is_ok());
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        if how == "stop" {
            sidecar.stop().await
        } else {
            sidecar.kill().await
        }
        sidecar.again().await;
        client.detokenize(&token).await.unwrap();
        done.send(true).unwrap();
        for caller in callers {
            assert!(soon(caller).await.unwrap() > 0, "after a {how}");
        }
    }
}

#[tokio::test]
async fn a_dead_sidecar_is_waited_for_once_and_then_fails_at_once_until_it_is_back() {
    let mut sidecar = Sidecar::start().await;
    let client = sidecar.builder().restart_grace(Duration::from_millis(200)).build().unwrap();
    let token = client.tokenize("v").await.unwrap().token;
    sidecar.kill().await;
    let error = soon(client.detokenize(&token)).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::SidecarUnreachable, true));
    // A thousand calls would take minutes if any of them waited.
    let errors = soon(join_all((0..1_000).map(|_| client.detokenize(&token)))).await;
    assert!(
        errors
            .iter()
            .all(|error| error.as_ref().unwrap_err().kind() == ErrorKind::SidecarUnreachable)
    );
    assert!(matches!(client.masking().detokenize(&token).await, Ok(Shown::Masked(_))));
    sidecar.again().await;
    assert_eq!(client.detokenize(&token).await.unwrap().reveal().unwrap(), "v");
}

#[tokio::test]
async fn a_sidecar_that_starts_later_is_waited_for() {
    let mut sidecar = Sidecar::stopped();
    let client = sidecar.client();
    let calls = tokio::spawn(async move {
        let (ready, token) = tokio::join!(client.ready(), client.tokenize("v"));
        ready.unwrap();
        client.detokenize(&token.unwrap().token).await.unwrap().reveal().unwrap().to_owned()
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!calls.is_finished());
    sidecar.again().await;
    assert_eq!(soon(calls).await.unwrap(), "v");
}

#[tokio::test]
async fn one_that_hangs_ends_with_the_deadline_and_calls_that_are_dropped_harm_nobody() {
    let sidecar = Sidecar::start().await;
    let client = sidecar.client();
    let token = client.tokenize("v").await.unwrap().token;
    sidecar.signal("-STOP").await;
    let given_up: Vec<_> = (0..50)
        .map(|_| {
            let (client, token) = (client.gathering(), token.clone());
            tokio::spawn(async move { client.detokenize(&token).await.map(drop) })
        })
        .collect();
    let late =
        client.with_deadline(Duration::from_millis(100)).detokenize(&token).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::DeadlineExceeded);
    for call in given_up.iter().skip(1) {
        call.abort();
    }
    sidecar.signal("-CONT").await;
    for (index, call) in given_up.into_iter().enumerate() {
        let outcome = soon(call).await;
        assert_eq!(outcome.is_ok(), index == 0, "{index}");
        assert!(outcome.is_err() || outcome.unwrap().is_ok());
    }
    assert_eq!(client.detokenize(&token).await.unwrap().reveal().unwrap(), "v");
}

#[tokio::test]
async fn a_socket_that_cannot_be_used_is_not_waited_for() {
    let sidecar = Sidecar::stopped();
    std::fs::write(sidecar.directory().join("file"), "x").unwrap();
    let client = lunasec_client::Client::builder()
        .socket(sidecar.directory().join("file/s.sock"))
        .build()
        .unwrap();
    let error = soon(client.detokenize("lunasec-x")).await.unwrap_err();
    assert_eq!((error.kind(), error.retryable()), (ErrorKind::SidecarUnreachable, false));
    assert!(
        error.detail().contains("cannot be used") && std::error::Error::source(&error).is_some(),
        "{error}"
    );
}

#[tokio::test]
async fn metadata_comes_back_as_it_was_stored() {
    let sidecar = Sidecar::start().await;
    let client = sidecar.client();
    for text in ["no json", "{\"role\":\"admin\"}"] {
        let stored = json!({ "a": [{ "$serde_json::private::RawValue": text }], "b": 1.5 });
        let new = NewValue::from("Ada").metadata(stored.clone());
        let token = client.tokenize(new).await.unwrap().token;
        assert_eq!(json!(client.metadata(&token).await.unwrap().metadata), stored);
    }
}
