//! Grants against a model, against whoever may write to the store, and where a policy asks for them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use lunasec_api::Code;
use lunasec_core::{
    derive::{SessionTag, session_tag},
    grant::Action,
    ids::{Namespace, Session},
    limits,
};
use lunasec_sidecar::{
    store::{Name, Store},
    vault::{Terms, Verdict, Verified},
};
use lunasec_tests::{
    World,
    grants::session,
    world::{HOUR, START, call},
};

mod adversaries;
mod histories;
mod required;
mod staleness;

const MS: Duration = Duration::from_millis(1);
const REVEAL: [Action; 1] = [Action::Detokenize];

/// What names a session in the store.
async fn tag(world: &World, namespace: &Namespace, session: &Session) -> SessionTag {
    let index = world.vault.keyring.index(namespace).await.unwrap();
    session_tag(&index, namespace, session)
}

#[tokio::test]
async fn a_grant_ends_at_its_moment_and_not_before() {
    let world = World::in_memory();
    let (alice, token) = (session("alice"), world.tokenize("value").await);
    let end = world.grant(&alice, &token, &REVEAL, HOUR).await.unwrap();
    assert_eq!(end, START + 3_600_000);
    world.clock.pass(HOUR - MS);
    assert_eq!(world.verdict(&alice, &token, REVEAL[0]).await, Ok(Verdict::Valid(end)));
    world.clock.pass(MS);
    assert_eq!(world.verdict(&alice, &token, REVEAL[0]).await, Ok(Verdict::Expired));
    // Revoked, it is not told from one that never was.
    assert_eq!(world.revoke(&alice, &[&token]).await, Ok(0));
    assert_eq!(world.verdict(&alice, &token, REVEAL[0]).await, Ok(Verdict::Denied));
}

/// The session's object is there for as long as any of its grants, however they are lengthened, and the
/// others go on to count.
#[tokio::test]
async fn a_session_outlives_its_grants() {
    let world = World::in_memory();
    let (alice, token) = (session("alice"), world.tokenize("value").await);
    let other = world.tokenize("other").await;
    let kept = Ok(Verdict::Valid(world.grant(&alice, &other, &REVEAL, HOUR).await.unwrap()));
    for days in [1, 30, 2, 400] {
        let end = world.grant(&alice, &token, &REVEAL, 24 * HOUR * days).await.unwrap();
        let namespace = Namespace::default();
        let tag = tag(&world, &namespace, &alice).await;
        let name = Name::session(&namespace, &tag);
        let object = world.vault.store.get(&name).await.unwrap().unwrap();
        let until = lunasec_core::grant::SessionState::peek_until(&object.bytes).unwrap();
        assert!(until >= end, "{days} days");
        assert_eq!(world.verdict(&alice, &other, REVEAL[0]).await, kept);
    }
}

#[tokio::test]
async fn a_revocation_that_always_loses_does_not_say_that_it_was_done() {
    let world = World::in_memory();
    let (alice, token) = (session("alice"), world.tokenize("value").await);
    let end = world.grant(&alice, &token, &REVEAL, HOUR).await.unwrap();
    world.store.loses.store(true, Ordering::SeqCst);
    assert_eq!(world.revoke_all(&alice).await, Err(Code::Overloaded));
    assert_eq!(world.revoke(&alice, &[&token]).await, Err(Code::Overloaded));
    let longer = world.grant(&alice, &token, &REVEAL, 2 * HOUR).await;
    assert_eq!(longer, Err(Code::Overloaded));
    assert_eq!(world.verdict(&alice, &token, REVEAL[0]).await, Ok(Verdict::Valid(end)));
    world.store.loses.store(false, Ordering::SeqCst);
    assert_eq!(world.revoke_all(&alice).await, Ok(()));
    assert_eq!(world.verdict(&alice, &token, REVEAL[0]).await, Ok(Verdict::Denied));
}

/// Each reads the session and writes it, which takes a while on S3: sixty one after the other would take too long.
#[tokio::test]
async fn revokes_of_one_session_that_come_at_once_are_two() {
    let world = World::in_memory();
    let (alice, token) = (session("alice"), world.tokenize("value").await);
    for _ in 0..2 {
        let end = world.grant(&alice, &token, &REVEAL, HOUR).await.unwrap();
        assert_eq!(world.verdict(&alice, &token, REVEAL[0]).await, Ok(Verdict::Valid(end)));
        let before = world.store.gets.load(Ordering::SeqCst);
        let revoked = join_all((0..60).map(|_| world.revoke_all(&alice))).await;
        assert_eq!(revoked, [Ok(()); 60]);
        assert_eq!(world.store.gets.load(Ordering::SeqCst) - before, 2);
        assert_eq!(world.verdict(&alice, &token, REVEAL[0]).await, Ok(Verdict::Denied));
    }
}

/// While storage is away nothing is valid and nothing is denied.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_neither_valid_nor_denied() {
    let world = Arc::new(World::in_memory());
    let (alice, token) = (session("alice"), world.tokenize("value").await);
    world.grant(&alice, &token, &REVEAL, HOUR).await.unwrap();
    world.store.hangs.store(true, Ordering::SeqCst);
    let away = Code::StorageUnavailable;
    assert_eq!(world.verdict(&alice, &token, REVEAL[0]).await, Err(away));
    assert_eq!(world.verdict(&session("bob"), &token, REVEAL[0]).await, Err(away));
    assert_eq!(world.grant(&alice, &token, &REVEAL, HOUR).await, Err(away));
    assert_eq!(world.revoke(&alice, &[&token]).await, Err(away));
    assert_eq!(world.revoke_all(&alice).await, Err(away));
}

/// To find out whether tokens exist their values are read, as many at once as of batches: without a
/// bound, forty lists of large values would hold a gigabyte.
#[tokio::test]
async fn lists_of_large_values_are_read_a_few_at_a_time() {
    let world = World::in_memory();
    let (alice, mut tokens) = (session("alice"), Vec::new());
    for _ in 0..40 {
        tokens.push(Ok(world.tokenize(&"v".repeat(20_000)).await));
    }
    let terms = Terms { actions: REVEAL.into(), expires_in: HOUR };
    let (call, vault) = (call(), &world.vault);
    let lists = (0..40).map(|_| async {
        let granted = vault.grants_create(&call, &alice, &tokens, &terms).await.unwrap();
        let found = vault.grants_verify(&call, &alice, &tokens, REVEAL[0]).await.unwrap();
        assert!(granted.iter().all(Result::is_ok) && found.iter().all(Result::is_ok));
    });
    join_all(lists).await;
    // Deletes that are not granted, and such as are, look at them too.
    let bob = required::strict(Some(&session("bob")));
    join_all((0..10).map(|_| vault.delete(&bob, &tokens))).await;
    join_all((0..10).map(|_| vault.delete(&call, &tokens))).await;
    assert_eq!(world.detokenize(tokens[0].as_ref().unwrap()).await, Err(Code::NotFound));
    let most = world.store.most_large.load(Ordering::SeqCst);
    assert!((2..=limits::BATCH_VALUES).contains(&most), "{most}");
}

#[tokio::test]
async fn a_token_that_stands_there_a_thousand_times_is_asked_about_once() {
    let world = World::in_memory();
    let (alice, token) = (session("alice"), world.tokenize("value").await);
    let tokens = vec![Ok(token); 1_000];
    let terms = Terms { actions: Action::DEFAULT.into(), expires_in: HOUR };
    let (call, vault) = (call(), &world.vault);
    let granted = vault.grants_create(&call, &alice, &tokens, &terms).await.unwrap();
    let end = START + 3_600_000;
    assert!(
        granted.len() == 1_000 && granted.iter().all(|it| it.as_ref().unwrap().expires_at == end)
    );
    let before = world.store.gets.load(Ordering::SeqCst);
    let found = vault.grants_verify(&call, &alice, &tokens, REVEAL[0]).await.unwrap();
    let valid = |it: &Result<Verified, _>| it.as_ref().unwrap().verdict == Verdict::Valid(end);
    assert!(found.len() == 1_000 && found.iter().all(valid));
    // The session's object, the grant and the value.
    assert_eq!(world.store.gets.load(Ordering::SeqCst) - before, 3);
    // The value, and a grant for each action.
    assert_eq!(world.store.writes.load(Ordering::SeqCst), 3);
}

/// The session was read before another made its first grant anew, and the grant after that.
#[tokio::test]
async fn a_session_that_was_read_before_its_grant_is_read_again() {
    let world = World::in_memory();
    let (alice, token) = (session("alice"), world.tokenize("value").await);
    world.grant(&alice, &token, &REVEAL, HOUR).await.unwrap();
    let tag = tag(&world, &Namespace::default(), &alice).await;
    let name = Name::session(&Namespace::default(), &tag);
    let before = world.store.get(&name).await.unwrap().unwrap();
    world.revoke_all(&alice).await.unwrap();
    world.grant(&alice, &token, &REVEAL, HOUR).await.unwrap();
    *world.store.late.lock().unwrap() = Some((name.clone(), before.clone()));
    let verdict = world.verdict(&alice, &token, REVEAL[0]).await;
    assert!(matches!(verdict, Ok(Verdict::Valid(_))), "{verdict:?}");
    // What was taken back stays so: of the old session, too, when it is what lies there.
    world.revoke_all(&alice).await.unwrap();
    let verdict = world.verdict(&alice, &token, REVEAL[0]).await;
    assert_eq!(verdict, Ok(Verdict::Denied));
}
