//! Canaries where time, storage and what is remembered matter.

use std::{sync::atomic::Ordering, time::Duration};

use lunasec_api::{Code, Encoding};
use lunasec_core::{limits, record::Header, token::Token};
use lunasec_sidecar::{
    store::{Name, Store},
    vault::{Form, NewValue},
};
use lunasec_tests::{
    Backend, World,
    world::{HOUR, call, new_value},
};

const NOTE: &str = "4111 1111 1111 1111";

async fn canary(world: &World, expires_in: Option<Duration>) -> Token {
    let note = NewValue { expires_in, ..new_value(NOTE) };
    world.vault.canary_create(&call(), note).await.unwrap().token
}

async fn refused(world: &World, token: &Token) -> (Code, String) {
    let failure = world.vault.detokenize(&call(), token).await.err().unwrap();
    (failure.code, failure.detail.into_owned())
}

fn used(world: &World) -> u64 {
    let metrics = world.telemetry.render();
    let count = metrics.lines().find_map(|line| line.strip_prefix("lunasec_canaries_used_total{"));
    count.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn the_store_does_not_show_which_records_are_canaries() {
    let (of_canary, of_value) = (World::in_memory(), World::in_memory());
    canary(&of_canary, Some(HOUR)).await;
    of_value.tokenize_for(NOTE, HOUR).await;
    let mut seen = Vec::new();
    for world in [of_canary, of_value] {
        let heads = world.store.heads(Name::RECORDS, None, 10, 1 << 20).await.unwrap();
        let [(name, object)] = &heads.objects[..] else { panic!("one record") };
        let header = Header::parse(&object.bytes).unwrap();
        seen.push((
            name.as_str().len(),
            object.bytes.len(),
            object.bytes[..4].to_vec(),
            (header.tombstone, header.created_at, header.expires_at, header.key_id),
        ));
    }
    assert_eq!(seen[0], seen[1]);
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_it_is_answered_as_a_token_that_was_never_seen() {
    let backend = Backend::memory();
    let (here, there) = (World::guarded(&backend), World::on(&backend));
    let (token, unseen) = (canary(&there, None).await, there.tokenize("unseen").await);
    assert_eq!(refused(&here, &token).await.0, Code::NotFound);
    // That there is none is remembered for a moment, as it is of a token that there is not.
    here.clock.pass(2 * limits::CACHED_NOTHING_AGE);
    here.store.hangs.store(true, Ordering::SeqCst);
    for asked in 2..6 {
        // At first somebody waits for storage, and later it is known to be away.
        assert_eq!(refused(&here, &token).await, refused(&here, &unseen).await);
        assert_eq!(refused(&here, &token).await.0, Code::StorageUnavailable);
        assert!(used(&here) >= asked, "the alarm is raised all the same");
    }
}

#[tokio::test]
async fn one_that_has_expired_is_answered_as_an_unknown_one_too_and_raises_its_alarm() {
    let world = World::in_memory();
    let token = canary(&world, Some(HOUR)).await;
    world.clock.pass(2 * HOUR);
    assert_eq!(refused(&world, &token).await.0, Code::NotFound);
    assert_eq!(used(&world), 1);
}

#[tokio::test]
async fn no_value_of_an_application_is_a_canary() {
    let world = World::in_memory();
    // The form is beside the value, whatever bytes that begins with.
    let value = NewValue {
        value: lunasec_core::secret::Plaintext::new(vec![2, 2, 2]),
        form: Form::Value(Encoding::Base64),
        ..new_value("")
    };
    let token = world.vault.tokenize(&call(), value).await.unwrap().token;
    let revealed = world.vault.detokenize(&call(), &token).await.unwrap();
    assert_eq!((revealed.expose(), used(&world)), (&[2u8, 2, 2][..], 0));
}
