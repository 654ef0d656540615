use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use lunasec_client::{Client, ErrorKind, NewValue};
use serde_json::json;

use crate::support::{
    scripted::{Act, Scripted, ok, problem, reveal},
    token,
};

#[tokio::test]
async fn no_more_is_read_than_an_answer_may_have() {
    let server = Scripted::new(|_, before| {
        let most = 17 << 20;
        let mut bytes = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n".to_vec();
        if before == 0 {
            bytes.extend(format!("content-length: {most}\r\n\r\n").into_bytes());
        } else {
            bytes.extend(format!("transfer-encoding: chunked\r\n\r\n{most:x}\r\n").into_bytes());
        }
        bytes.resize(bytes.len() + most, b' ');
        Act::Bytes(bytes)
    });
    let client = server.client();
    for _ in 0..2 {
        let error = client.detokenize(token(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ProtocolError);
        assert!(error.detail().contains("larger than the contract allows"), "{error}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_not_read_for_ever() {
    let server = Scripted::new(|_, _| {
        let mut bytes = b"HTTP/1.1 200 OK\r\nx: ".to_vec();
        bytes.resize(1 << 20, b'x');
        Act::Bytes(bytes)
    });
    let error = server.client().detokenize(token(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProtocolError);
}

#[tokio::test]
async fn calls_under_way_are_bounded_and_so_is_one_sessions_share() {
    let server = Scripted::new(|_, _| Act::Hang);
    let client = server.builder().pending_calls(4).build().unwrap();
    let alice = client.for_session("alice").unwrap();
    let spawned = |client: &Client| {
        let client = client.clone();
        tokio::spawn(async move { client.detokenize(token(1)).await.map(drop) })
    };
    let of_alice = [spawned(&alice), spawned(&alice)];
    server.have_come(2).await;
    let error = alice.detokenize(token(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert!(error.detail().contains("one session") && error.retryable());
    let others = [spawned(&client), spawned(&client)];
    server.have_come(4).await;
    assert_eq!(client.detokenize(token(1)).await.unwrap_err().kind(), ErrorKind::Overloaded);
    for call in of_alice.into_iter().chain(others) {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    // Whoever was given up has left its place.
    let late = client.with_deadline(Duration::from_millis(20)).detokenize(token(1)).await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn connections_are_bounded() {
    let open = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s.sock");
    let listener = tokio::net::UnixListener::bind(&socket).unwrap();
    let (now_open, seen) = (Arc::clone(&open), Arc::clone(&most));
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut number = 0;
        while let Ok((mut stream, _)) = listener.accept().await {
            number += 1;
            seen.fetch_max(number, Ordering::Relaxed);
            let open = Arc::clone(&now_open);
            tokio::spawn(async move {
                open.fetch_add(1, Ordering::Relaxed);
                let mut buffer = [0; 4_096];
                while let Ok(1..) = stream.read(&mut buffer).await {
                    tokio::task::yield_now().await;
                    let body = r#"{"value":"v","encoding":"utf8"}"#;
                    let head = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                }
            });
        }
    });
    let client = Client::builder().socket(&socket).connections(3).build().unwrap();
    let found = join_all((0..200).map(|number| client.detokenize(token(number)))).await;
    assert!(found.iter().all(Result::is_ok));
    assert!((1..=6).contains(&most.load(Ordering::Relaxed)), "{most:?} connections");
}

#[tokio::test]
async fn a_deadline_of_an_age_is_one_and_none_at_all_is_over_at_once() {
    let server = Scripted::new(|came, before| if before == 0 { reveal(came) } else { Act::Hang });
    let client = server.client();
    assert!(client.with_deadline(Duration::MAX).detokenize(token(1)).await.is_ok());
    let error = client.with_deadline(Duration::ZERO).detokenize(token(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}

#[tokio::test]
async fn a_call_is_within_its_trace() {
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let server = Scripted::new(|came, _| reveal(came));
    let client = server.builder().tracer(move || Some(trace.to_owned())).build().unwrap();
    client.detokenize(token(1)).await.unwrap();
    client.in_trace("00-1-2-01").detokenize(token(1)).await.unwrap();
    server.client().in_trace("a\r\nb: c").detokenize(token(1)).await.unwrap();
    let said: Vec<_> =
        server.came().iter().map(|came| came.headers.get("traceparent").cloned()).collect();
    assert_eq!(said, [Some(trace.to_owned()), Some("00-1-2-01".to_owned()), None]);
}

#[tokio::test]
async fn all_attempts_of_a_tokenize_have_one_key_and_each_tokenize_its_own() {
    let server = Scripted::new(|_, before| {
        let given = json!({ "token": token(1), "durability": "journaled" });
        if before == 0 { problem(503, "overloaded", true) } else { ok(given) }
    });
    let client = server.client();
    client.tokenize("a").await.unwrap();
    client.tokenize("a").await.unwrap();
    client.tokenize(NewValue::from("a").idempotency_key("mine")).await.unwrap();
    let keys: Vec<_> =
        server.came().iter().map(|came| came.headers["idempotency-key"].clone()).collect();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
    assert_eq!((keys[2].len(), keys[3].as_str()), (32, "mine"));
    let error =
        client.tokenize_batch([NewValue::from("a").idempotency_key("mine")]).await.unwrap_err();
    assert!(error.detail().contains("tokenize_batch_once"));
}

#[tokio::test]
async fn retries_are_bounded_by_the_budget_and_by_the_deadline() {
    let server = Scripted::new(|_, _| problem(503, "overloaded", true));
    let client = server.builder().retry_budget(3).build().unwrap();
    for expected in [3, 5, 6, 7] {
        let error = client.detokenize(token(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Overloaded);
        assert_eq!(server.came().len(), expected);
    }
}
