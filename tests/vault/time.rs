use std::time::Duration;

use lunasec_api::Code;
use lunasec_sidecar::vault::NewValue;

use lunasec_tests::world::{HOUR, START, World, call, call_with, new_value};

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn a_value_expires_at_its_moment_and_not_before() {
    let world = World::in_memory();
    let token = world.tokenize_for("value", HOUR).await;
    world.clock.pass(HOUR - MS);
    assert_eq!(world.detokenize(&token).await.as_deref(), Ok("value"));
    let described = world.vault.metadata_get(&call(), &token).await.unwrap();
    assert_eq!((described.created_at, described.expires_at), (START, Some(START + 3_600_000)));
    world.clock.pass(MS);
    assert_eq!(world.detokenize(&token).await, Err(Code::Expired));
    let read = world.vault.metadata_get(&call(), &token).await;
    assert_eq!(read.err().map(|failure| failure.code), Some(Code::Expired));
    let set = world.vault.metadata_set(&call(), &token, "{}", None).await;
    assert_eq!(set.err().map(|failure| failure.code), Some(Code::Expired));
    // What has expired can still be deleted, and is gone then.
    assert_eq!(world.delete(&token).await, Ok(()));
    assert_eq!(world.detokenize(&token).await, Err(Code::NotFound));
}

#[tokio::test]
async fn metadata_expires_with_its_value() {
    let world = World::in_memory();
    let token = world.tokenize_for("value", HOUR).await;
    world.clock.pass(HOUR / 2);
    world.vault.metadata_set(&call(), &token, "{}", None).await.unwrap();
    let graces = lunasec_sidecar::vault::Graces { expired: Duration::ZERO, ..Default::default() };
    world.clock.pass(HOUR / 2 - MS);
    let page = world.vault.sweep(&call(), graces, None, true).await.unwrap();
    assert_eq!((page.examined, page.expired), (2, 0));
    world.clock.pass(MS);
    assert_eq!(world.vault.sweep(&call(), graces, None, false).await.unwrap().expired, 2);
}

#[tokio::test]
async fn a_retry_does_not_lengthen_a_life() {
    let world = World::in_memory();
    let retry = call_with("key");
    let value = || NewValue { expires_in: Some(HOUR), ..new_value("value") };
    let token = world.vault.tokenize(&retry, value()).await.unwrap().token;
    world.clock.pass(HOUR / 2);
    world.vault.tokenize(&retry, value()).await.unwrap();
    world.clock.pass(HOUR / 2);
    assert_eq!(world.detokenize(&token).await, Err(Code::Expired));
    // Not even when a sweep has removed the record before the retry comes.
    let graces = lunasec_sidecar::vault::Graces { expired: Duration::ZERO, ..Default::default() };
    assert_eq!(world.vault.sweep(&call(), graces, None, false).await.unwrap().expired, 1);
    let again = world.vault.tokenize(&retry, value()).await.unwrap().token;
    assert_eq!(again.expose(), token.expose());
    assert_eq!(world.detokenize(&token).await, Err(Code::Expired));
}

#[tokio::test]
async fn a_clock_that_goes_backwards_shows_what_it_showed_then_and_sweeps_nothing() {
    let world = World::in_memory();
    let token = world.tokenize_for("value", HOUR).await;
    let deleted = world.tokenize("deleted").await;
    world.delete(&deleted).await.unwrap();
    world.clock.pass(HOUR);
    assert_eq!(world.detokenize(&token).await, Err(Code::Expired));
    world.clock.set(START - 1_000 * 3_600_000);
    assert_eq!(world.detokenize(&token).await.as_deref(), Ok("value"));
    assert_eq!(world.detokenize(&deleted).await, Err(Code::NotFound));
    let graces = lunasec_sidecar::vault::Graces { expired: Duration::ZERO, ..Default::default() };
    let page = world.vault.sweep(&call(), graces, None, false).await.unwrap();
    assert_eq!((page.examined, page.expired, page.tombstones), (3, 0, 0));
    let early = world.tokenize_for("early", HOUR).await;
    assert_eq!(world.detokenize(&early).await.as_deref(), Ok("early"));
    world.clock.set(START);
    assert_eq!(world.detokenize(&early).await, Err(Code::Expired));
}

#[tokio::test]
async fn values_of_every_epoch_open() {
    let world = World::in_memory();
    let mut tokens = Vec::new();
    for day in 0..30 {
        tokens.push((day, world.tokenize(&format!("day {day}")).await));
        world.clock.pass(24 * HOUR);
    }
    for (day, token) in &tokens {
        assert_eq!(world.detokenize(token).await, Ok(format!("day {day}")));
    }
}
