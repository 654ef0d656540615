use std::sync::atomic::Ordering;

use lunasec_api::Code;
use lunasec_core::{
    limits,
    record::{HEADER_LEN, Header, Kind},
};
use lunasec_sidecar::{
    failure::Failure,
    store::{Name, Store},
    vault::{Call, Form, NewValue},
};

use lunasec_tests::world::{HOUR, World, call, call_with, new_value};

type Items = Result<Vec<Result<[u8; 16], Code>>, Code>;

async fn batch(world: &World, call: &Call, values: Vec<Result<NewValue, Failure>>) -> Items {
    let given = world.vault.tokenize_batch(call, values).await.map_err(|failure| failure.code)?;
    let token = |item: Result<lunasec_sidecar::vault::Given, Failure>| {
        item.map(|given| *given.token.expose()).map_err(|failure| failure.code)
    };
    Ok(given.into_iter().map(token).collect())
}

fn values(texts: &[&str]) -> Vec<Result<NewValue, Failure>> {
    texts.iter().map(|text| Ok(new_value(text))).collect()
}

#[tokio::test]
async fn a_batch_again_gets_its_tokens_and_any_other_batch_nothing() {
    let world = World::in_memory();
    let call = call_with("key");
    let first = batch(&world, &call, values(&["aa", "bb", "cc"])).await.unwrap();
    assert_eq!(batch(&world, &call, values(&["aa", "bb", "cc"])).await.unwrap(), first);
    let before = world.records().await;
    for other in [
        &["aa", "bb", "xx"][..],
        &["bb", "aa", "cc"],
        &["aa", "bb"],
        &["aa", "bb", "cc", "dd"],
        &["dd", "aa", "bb", "cc"],
        &["aa"],
    ] {
        assert_eq!(batch(&world, &call, values(other)).await, Err(Code::Conflict), "{other:?}");
    }
    assert_eq!(world.records().await, before);
    assert_eq!(batch(&world, &call, values(&["aa", "bb", "cc"])).await.unwrap(), first);
}

#[tokio::test]
async fn items_of_one_value_get_tokens_of_their_own() {
    let world = World::in_memory();
    let items = batch(&world, &call_with("key"), values(&["same", "same"])).await.unwrap();
    assert_ne!(items[0], items[1]);
}

#[tokio::test]
async fn a_single_value_and_a_batch_may_share_a_key() {
    let world = World::in_memory();
    let call = call_with("key");
    let single = *world.vault.tokenize(&call, new_value("a")).await.unwrap().token.expose();
    let items = batch(&world, &call, values(&["a"])).await.unwrap();
    assert_ne!(items, [Ok(single)]);
    assert_eq!(*world.vault.tokenize(&call, new_value("a")).await.unwrap().token.expose(), single);
}

#[tokio::test]
async fn an_item_that_fails_by_itself_fails_again_beside_the_same_tokens() {
    let world = World::in_memory();
    let call = call_with("key");
    let mixed = || {
        let mut values = values(&["a", "b"]);
        values.insert(1, Err(Failure::new(Code::PayloadTooLarge, "too large")));
        values
    };
    let first = batch(&world, &call, mixed()).await.unwrap();
    assert_eq!(first[1], Err(Code::PayloadTooLarge));
    assert_eq!(batch(&world, &call, mixed()).await.unwrap(), first);
    assert_eq!(world.records().await, 2);
}

#[tokio::test]
async fn every_part_of_a_body_counts() {
    let world = World::in_memory();
    let call = call_with("key");
    let full = || NewValue {
        metadata: Some(r#"{"a":1}"#.into()),
        expires_in: Some(HOUR),
        ..new_value("value")
    };
    let token = world.vault.tokenize(&call, full()).await.unwrap().token;
    assert_eq!(world.vault.tokenize(&call, full()).await.unwrap().token.expose(), token.expose());
    for other in [
        NewValue { value: lunasec_core::secret::Plaintext::new(b"Value".to_vec()), ..full() },
        NewValue { form: Form::Value(lunasec_api::Encoding::Base64), ..full() },
        NewValue { metadata: Some(r#"{"a":2}"#.into()), ..full() },
        NewValue { metadata: None, ..full() },
        NewValue { expires_in: Some(2 * HOUR), ..full() },
        NewValue { expires_in: None, ..full() },
    ] {
        let failure = world.vault.tokenize(&call, other).await.err().unwrap();
        assert_eq!(failure.code, Code::Conflict);
    }
    assert_eq!(world.records().await, 2);
}

#[tokio::test]
async fn the_window_ends_after_24_hours() {
    let world = World::in_memory();
    let call = call_with("key");
    let mut tokens = Vec::new();
    for step in [limits::IDEMPOTENCY_WINDOW - HOUR, HOUR, HOUR] {
        tokens.push(*world.vault.tokenize(&call, new_value("v")).await.unwrap().token.expose());
        world.clock.pass(step);
    }
    assert_eq!(tokens[0], tokens[1]);
    assert_ne!(tokens[0], tokens[2]);
    // By then another body is another request.
    world.clock.pass(limits::IDEMPOTENCY_WINDOW);
    world.vault.tokenize(&call, new_value("other")).await.unwrap();
}

#[tokio::test]
async fn an_entry_never_outlives_the_tombstone_that_answers_it() {
    let world = World::in_memory();
    let retry = call_with("key");
    let token = world.vault.tokenize(&retry, new_value("value")).await.unwrap().token;
    world.delete(&token).await.unwrap();
    world.clock.pass(limits::TOMBSTONE_GRACE_LEAST);
    let graces = lunasec_sidecar::vault::Graces {
        expired: std::time::Duration::ZERO,
        tombstone: limits::TOMBSTONE_GRACE_LEAST,
    };
    assert_eq!(world.vault.sweep(&call(), graces, None, false).await.unwrap().tombstones, 2);
    let late = world.vault.tokenize(&retry, new_value("value")).await.unwrap().token;
    assert_ne!(late.expose(), token.expose());
    assert_eq!(world.detokenize(&token).await, Err(Code::NotFound));
}

#[tokio::test]
async fn a_retry_heals_an_attempt_that_stored_nothing() {
    let world = World::in_memory();
    world.tokenize("makes the key").await;
    let retry = call_with("key");
    let value = || NewValue { metadata: Some("{}".into()), ..new_value("value") };
    world.store.full.store(true, Ordering::SeqCst);
    let failure = world.vault.tokenize(&retry, value()).await.err().unwrap();
    assert_eq!((failure.code, world.records().await), (Code::StorageUnavailable, 1));
    let conflict = world.vault.tokenize(&retry, new_value("other")).await.err().unwrap();
    assert_eq!(conflict.code, Code::Conflict);
    world.store.full.store(false, Ordering::SeqCst);
    let token = world.vault.tokenize(&retry, value()).await.unwrap().token;
    assert_eq!(world.detokenize(&token).await.as_deref(), Ok("value"));
    let again = world.vault.tokenize(&retry, value()).await.unwrap().token;
    assert_eq!((again.expose(), world.records().await), (token.expose(), 3));
}

/// A value that can be read has all that it was given: so its metadata is written before it.
#[tokio::test]
async fn a_disk_that_fills_up_between_the_two_leaves_no_value_without_its_metadata() {
    let world = World::in_memory();
    world.tokenize("makes the data key").await;
    let given = || NewValue { metadata: Some("{\"m\":1}".into()), ..new_value("v") };
    world.store.room.store(1, Ordering::SeqCst);
    let failed = world.vault.tokenize(&call_with("key"), given()).await;
    assert_eq!(failed.unwrap_err().code, Code::StorageUnavailable);
    // One record more, and it is not the value: the retry finds the token and writes it.
    world.store.room.store(usize::MAX, Ordering::SeqCst);
    let heads = world.store.heads(Name::RECORDS, None, 10, HEADER_LEN).await.unwrap();
    let kinds: Vec<_> =
        heads.objects.iter().map(|(_, head)| Header::parse(&head.bytes).unwrap().kind).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == Kind::Metadata).count(), 1);
    assert_eq!(kinds.len(), 2, "the first value, and metadata");
    let token = world.vault.tokenize(&call_with("key"), given()).await.unwrap().token;
    assert_eq!(world.detokenize(&token).await, Ok("v".into()));
    let described = world.vault.metadata_get(&call(), &token).await.unwrap();
    assert_eq!(described.metadata, "{\"m\":1}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_is_unavailable_before_the_request_is_late() {
    let world = World::in_memory();
    let token = world.tokenize("v").await;
    world.store.hangs.store(true, Ordering::SeqCst);
    let began = tokio::time::Instant::now();
    assert_eq!(world.detokenize(&token).await, Err(Code::StorageUnavailable));
    let one = world.vault.tokenize(&call(), new_value("w")).await;
    assert_eq!(one.unwrap_err().code, Code::StorageUnavailable);
    assert_eq!(world.delete(&token).await, Err(Code::StorageUnavailable));
    assert!(began.elapsed() < 3 * limits::REQUEST_TIME);
    world.store.hangs.store(false, Ordering::SeqCst);
    assert_eq!(world.detokenize(&token).await, Ok("v".into()));
}
