use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use lunasec_client::{Client, ErrorKind};
use serde_json::json;

use crate::support::{
    scripted::{Act, Came, Scripted, item, ok, problem, reveal},
    token, tokens,
};

async fn values(client: &Client, tokens: &[String]) -> Vec<Result<String, ErrorKind>> {
    let calls = tokens.iter().map(|token| client.detokenize(token));
    let read = |outcome: Result<lunasec_client::Value, lunasec_client::Error>| {
        outcome.map(|value| value.reveal().unwrap().to_owned()).map_err(|error| error.kind())
    };
    join_all(calls).await.into_iter().map(read).collect()
}

fn value(token: &str) -> Result<String, ErrorKind> {
    Ok(format!("value of {token}"))
}

#[tokio::test]
async fn a_hundred_calls_at_once_are_one_request_and_each_gets_its_own() {
    let server = Scripted::new(|came, _| reveal(came));
    let tokens = tokens(100);
    let found = values(&server.client().gathering(), &tokens).await;
    assert_eq!(found, tokens.iter().map(|token| value(token)).collect::<Vec<_>>());
    let came = server.came();
    assert_eq!((came.len(), came[0].path.as_str()), (1, "/v1/detokenize:batch"));
}

#[tokio::test]
async fn apart_each_is_a_request_of_its_own() {
    let server = Scripted::new(|came, _| reveal(came));
    values(&server.client(), &tokens(20)).await;
    let came = server.came();
    assert_eq!(came.len(), 20);
    assert!(came.iter().all(|came| came.path == "/v1/detokenize"));
}

#[tokio::test]
async fn a_call_that_is_alone_is_sent_as_it_is() {
    let server = Scripted::new(|came, _| reveal(came));
    let client = server.client().gathering();
    client.detokenize(token(1)).await.unwrap();
    // The same token of several callers is asked for once.
    let same = vec![token(2); 5];
    assert_eq!(values(&client, &same).await, vec![value(&token(2)); 5]);
    let paths: Vec<_> = server.came().into_iter().map(|came| came.path).collect();
    assert_eq!(paths, ["/v1/detokenize", "/v1/detokenize"]);
}

#[tokio::test]
async fn requests_have_at_most_a_thousand_items_and_their_bytes() {
    let server = Scripted::new(|came, _| match came.body["items"].as_array() {
        None => reveal(came),
        Some(items) => {
            let given = json!({ "token": token(1), "durability": "stored" });
            ok(json!({ "items": vec![given; items.len()] }))
        }
    });
    let client = server.client().gathering().with_deadline(Duration::from_secs(60));
    let tokens = tokens(2_500);
    assert_eq!(values(&client, &tokens).await.len(), 2_500);
    let mut sizes: Vec<_> = server.came().iter().map(|came| came.tokens().len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [500, 1_000, 1_000]);
    let large = "x".repeat(1 << 20);
    let given = join_all((0..20).map(|_| client.tokenize(&large))).await;
    assert!(given.iter().all(Result::is_ok));
    let bodies = server.came().split_off(3);
    assert_eq!(bodies.len(), 2, "20 MiB are two requests");
    assert!(bodies.iter().all(|came| came.body.to_string().len() <= 16 << 20));
}

#[tokio::test]
async fn what_differs_shares_no_request() {
    let server = Scripted::new(|came, _| reveal(came));
    let client = server.client().gathering();
    let [alice, bob] = ["alice", "bob"].map(|id| client.for_session(id).unwrap());
    let jwt = alice.with_jwt("a.b.c").unwrap();
    let shop = client.in_namespace("shop").unwrap();
    let paid = client.for_purpose("pay").unwrap();
    let views: [&Client; 6] = [&client, &alice, &bob, &jwt, &shop, &paid];
    let calls =
        views.iter().flat_map(|view| [view.detokenize(token(1)), view.detokenize(token(2))]);
    assert!(join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(server.came().len(), 6);
}

#[tokio::test]
async fn one_bad_item_fails_its_own_caller_alone() {
    let bad = |came: &Came| came.tokens().iter().any(|token| token == "not-a-token");
    let server = Scripted::new(move |came, _| {
        if bad(came) { problem(400, "invalid_request", false) } else { reveal(came) }
    });
    let mut tokens = tokens(60);
    tokens[37] = "not-a-token".into();
    let found = values(&server.client().gathering(), &tokens).await;
    for (index, (found, token)) in found.iter().zip(&tokens).enumerate() {
        let expected = if index == 37 { Err(ErrorKind::InvalidRequest) } else { value(token) };
        assert_eq!(*found, expected, "{index}");
    }
    assert!(server.came().len() <= 2 * 6 + 1, "it is sought in halves");
}

#[tokio::test]
async fn whoever_finds_no_room_in_an_answer_is_asked_for_again() {
    let server = Scripted::new(|came, before| {
        let tokens = came.tokens();
        if before > 0 {
            return reveal(came);
        }
        let full = |token: &String| json!({ "token": token, "error": { "code": "payload_too_large", "detail": "words", "retryable": false } });
        let items = tokens
            .iter()
            .enumerate()
            .map(|(index, token)| if index < 3 { item(token) } else { full(token) });
        ok(json!({ "items": items.collect::<Vec<_>>() }))
    });
    let tokens = tokens(5);
    let found = values(&server.client().gathering(), &tokens).await;
    assert_eq!(found, tokens.iter().map(|token| value(token)).collect::<Vec<_>>());
    assert_eq!(server.came()[1].tokens(), tokens[3..]);
}

#[tokio::test]
async fn only_items_that_may_succeed_later_are_sent_again_and_the_others_do_not_wait() {
    let server = Scripted::new(|came, before| {
        let away = |token: &String| json!({ "token": token, "error": { "code": "storage_unavailable", "detail": "words", "retryable": true } });
        match before {
            0 => ok(json!({ "items": [item(&came.tokens()[0]), away(&came.tokens()[1])] })),
            _ => Act::Hang,
        }
    });
    let client = server.client().gathering();
    let second = client.with_deadline(Duration::from_millis(300));
    let (first, second) = tokio::join!(client.detokenize(token(1)), second.detokenize(token(2)));
    assert_eq!(first.unwrap().reveal().unwrap(), format!("value of {}", token(1)));
    // What went wrong before says more than that the time is over.
    assert_eq!(second.unwrap_err().kind(), ErrorKind::StorageUnavailable);
    assert_eq!(server.came()[1].tokens(), [token(2)]);
}

#[tokio::test]
async fn whoever_leaves_does_not_take_the_others_along_and_the_last_ends_the_request() {
    let server =
        Arc::new(Scripted::new(|came, before| if before == 0 { Act::Hang } else { reveal(came) }));
    let client = server.client().gathering();
    let [one, two] = [1, 2].map(|number| {
        let client = client.clone();
        tokio::spawn(async move { client.detokenize(token(number)).await })
    });
    server.have_come(1).await;
    one.abort();
    assert!(one.await.unwrap_err().is_cancelled());
    assert!(!two.is_finished());
    two.abort();
    assert!(two.await.unwrap_err().is_cancelled());
    // Its connection is closed, and another one serves.
    assert!(client.detokenize(token(3)).await.is_ok());
}

#[tokio::test]
async fn an_empty_list_is_the_sidecars_to_refuse() {
    let server = Scripted::new(|_, _| problem(400, "invalid_request", false));
    let client = server.client().gathering();
    let none: [String; 0] = [];
    assert_eq!(client.detokenize_batch(&none).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert_eq!(client.delete(&none).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    let nothing: Vec<String> = Vec::new();
    assert!(client.tokenize_batch(nothing).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_window_gathers_what_comes_within_it() {
    let server = Scripted::new(|came, _| reveal(came));
    let client = server.client().gathering_for(Duration::from_millis(2));
    let later = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        client.detokenize(token(2)).await
    };
    let (first, later) = tokio::join!(client.detokenize(token(1)), later);
    assert!(first.is_ok() && later.is_ok());
    assert_eq!(server.came()[0].tokens(), [token(1), token(2)]);
}

#[test]
fn a_runtime_that_shuts_down_leaves_nobody_of_another_one_waiting() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let server = second.block_on(async { Scripted::new(|came, _| reveal(came)) });
    let client = server.client().gathering_for(Duration::from_millis(1));
    {
        let client = client.clone();
        first.block_on(async {
            let call = tokio::spawn(async move { client.detokenize(token(1)).await.map(drop) });
            tokio::task::yield_now().await;
            assert!(!call.is_finished());
        });
    }
    drop(first);
    let found = second.block_on(client.detokenize(token(1))).unwrap();
    assert_eq!(found.reveal().unwrap(), format!("value of {}", token(1)));
}
