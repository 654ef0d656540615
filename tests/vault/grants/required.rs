//! Where the policy asks for a grant: what one user's session was granted is of no use to another's.

use std::sync::{Arc, atomic::Ordering};

use futures_util::StreamExt;
use lunasec_api::Code;
use lunasec_core::{
    grant::Action,
    ids::{Namespace, Session},
    limits,
    policy::Client,
    token::Token,
};
use lunasec_sidecar::{
    failure::Failure,
    store::{Name, Store},
    vault::{Call, NewValue, Verdict},
};
use lunasec_tests::{
    Backend, World,
    grants::session,
    world::{HOUR, call, new_value},
};

/// A call of a client that needs grants, for the user of a session.
pub(super) fn strict(session: Option<&Session>) -> Call {
    let client = Client { require_grant: true, ..Client::own(1) };
    Call { guest: Arc::new(client.into()), session: session.cloned(), ..call() }
}

/// What a user's session may not do with a token, of everything that needs a grant. The delete is
/// tried last.
async fn refusals(world: &World, session: Option<&Session>, token: &Token) -> Vec<Option<Code>> {
    fn code<T>(result: Result<T, Failure>) -> Option<Code> {
        result.err().map(|failure| failure.code)
    }
    let (call, vault) = (strict(session), &world.vault);
    let tokens = [Ok(token.clone())];
    let batch = match vault.detokenize_batch(&call, &tokens).await {
        Ok(mut items) => code(items.next().await.unwrap()),
        Err(failure) => Some(failure.code),
    };
    let found = vec![
        code(vault.detokenize(&call, token).await),
        batch,
        code(vault.metadata_get(&call, token).await),
        code(vault.metadata_set(&call, token, r#"{"by":"user"}"#, None).await),
        code(vault.delete(&call, &tokens).await.unwrap().pop().unwrap()),
    ];
    assert_eq!(found[0], found[1], "alone and in a batch");
    found
}

fn all(code: Code) -> Vec<Option<Code>> {
    vec![Some(code); 5]
}

async fn described(world: &World, token: &Token) -> String {
    world.vault.metadata_get(&call(), token).await.unwrap().metadata
}

#[tokio::test]
async fn one_users_value_is_out_of_reach_of_another() {
    let world = World::in_memory();
    let (alice, bob) = (session("alice"), session("bob"));
    let value = NewValue { metadata: Some(r#"{"of":"alice"}"#.into()), ..new_value("value") };
    let token = world.vault.tokenize(&strict(Some(&alice)), value).await.unwrap().token;
    let bobs = world.tokenize("bob's").await;
    // Not even Alice may before she is granted it.
    assert_eq!(refusals(&world, Some(&alice), &token).await, all(Code::GrantDenied));
    world.grant(&alice, &token, &Action::ALL, HOUR).await.unwrap();
    world.grant(&bob, &bobs, &Action::ALL, HOUR).await.unwrap();
    assert_eq!(refusals(&world, Some(&bob), &token).await, all(Code::GrantDenied));
    assert_eq!(refusals(&world, None, &token).await, all(Code::Unauthenticated));
    assert_eq!(world.detokenize(&token).await.as_deref(), Ok("value"));
    assert_eq!(described(&world, &token).await, r#"{"of":"alice"}"#);
    assert_eq!(refusals(&world, Some(&alice), &token).await, [None; 5]);
    // What is gone is gone, and may be deleted again.
    let mut gone = all(Code::NotFound);
    gone[4] = None;
    assert_eq!(refusals(&world, Some(&alice), &token).await, gone);
}

#[tokio::test]
async fn each_action_needs_its_own_grant() {
    for action in Action::ALL {
        let world = World::in_memory();
        let (alice, token) = (session("alice"), world.tokenize("value").await);
        world.grant(&alice, &token, &[action], HOUR).await.unwrap();
        let allowed = [
            Action::Detokenize,
            Action::Detokenize,
            Action::Metadata,
            Action::Update,
            Action::Delete,
        ];
        let wanted: Vec<_> =
            allowed.iter().map(|own| (*own != action).then_some(Code::GrantDenied)).collect();
        assert_eq!(refusals(&world, Some(&alice), &token).await, wanted, "{action:?}");
    }
}

#[tokio::test]
async fn what_is_missing_ended_or_not_granted_is_told_apart() {
    let world = World::in_memory();
    let alice = session("alice");
    let unknown = Token::from_random([7; Token::LEN]);
    assert_eq!(refusals(&world, Some(&alice), &unknown).await, all(Code::NotFound));
    let (token, short) = (world.tokenize("value").await, world.tokenize_for("v", 2 * HOUR).await);
    for token in [&token, &short] {
        world.grant(&alice, token, &Action::ALL, HOUR).await.unwrap();
    }
    world.clock.pass(HOUR);
    assert_eq!(refusals(&world, Some(&alice), &token).await, all(Code::GrantExpired));
    // The value's own end comes first, whatever was granted.
    world.clock.pass(HOUR);
    assert_eq!(refusals(&world, Some(&alice), &short).await, all(Code::Expired));
    world.grant(&alice, &token, &Action::ALL, HOUR).await.unwrap();
    world.revoke_all(&alice).await.unwrap();
    assert_eq!(refusals(&world, Some(&alice), &token).await, all(Code::GrantDenied));
    world.grant(&alice, &token, &Action::ALL, HOUR).await.unwrap();
    assert_eq!(world.revoke(&alice, &[&token]).await, Ok(1));
    assert_eq!(refusals(&world, Some(&alice), &token).await, all(Code::GrantDenied));
    assert_eq!(world.detokenize(&token).await.as_deref(), Ok("value"));
}

/// A client that needs none is not held up by what its caller's session lacks.
#[tokio::test]
async fn a_client_that_needs_no_grant_has_no_use_for_one() {
    let world = World::in_memory();
    let token = world.tokenize("value").await;
    let call = Call { session: Some(session("bob")), ..call() };
    let revealed = world.vault.detokenize(&call, &token).await.unwrap();
    assert_eq!(revealed.expose(), b"value");
}

/// The session of a list is asked for once: a record for each token and action, and one object more.
#[tokio::test]
async fn a_list_asks_for_its_session_once() {
    const TOKENS: usize = 20;
    let world = World::in_memory();
    let (alice, call) = (session("alice"), strict(Some(&session("alice"))));
    let mut tokens = Vec::new();
    for at in 0..TOKENS {
        let token = world.tokenize(&format!("value {at}")).await;
        world.grant(&alice, &token, &Action::ALL, HOUR).await.unwrap();
        tokens.push(Ok(token));
    }
    let reads = || world.store.gets.load(Ordering::SeqCst);
    let before = reads();
    let revealed = world.vault.detokenize_batch(&call, &tokens).await.unwrap();
    assert!(revealed.all(async |item| item.is_ok()).await);
    assert_eq!(reads() - before, 1 + 2 * TOKENS, "a grant and a value each");
    let before = reads();
    let deleted = world.vault.delete(&call, &tokens).await.unwrap();
    assert!(deleted.iter().all(Result::is_ok));
    assert_eq!(reads() - before, 1 + 3 * TOKENS, "a grant, a value and metadata each");
}

/// What is remembered of sessions and grants is of their own namespace, session, token and action, and
/// outlives the key that it was derived under only as long as that is the same.
#[tokio::test]
async fn what_is_remembered_of_one_counts_for_no_other() {
    let world = World::in_memory();
    let alice = session("alice");
    let (token, other) = (world.tokenize("value").await, world.tokenize("other").await);
    let end = world.grant(&alice, &token, &[Action::Detokenize], limits::KEY_AGE + 2 * HOUR).await;
    let shop = Namespace::parse("shop").unwrap();
    let there = Call { namespace: shop.clone(), ..strict(Some(&alice)) };
    let its = world.vault.tokenize(&there, new_value("there")).await.unwrap().token;
    for _ in 0..2 {
        let verdict = world.verdict(&alice, &token, Action::Detokenize).await;
        assert_eq!(verdict, end.map(Verdict::Valid));
        for action in [Action::Metadata, Action::Update, Action::Delete] {
            let verdict = world.verdict(&alice, &token, action).await;
            assert_eq!(verdict, Ok(Verdict::Denied), "{action:?}");
        }
        for other in [session("alic"), session("alice2"), session("bob")] {
            let verdict = world.verdict(&other, &token, Action::Detokenize).await;
            assert_eq!(verdict, Ok(Verdict::Denied));
        }
        let verdict = world.verdict(&alice, &other, Action::Detokenize).await;
        assert_eq!(verdict, Ok(Verdict::Denied));
        let refused = world.vault.detokenize(&there, &its).await.err().map(|failure| failure.code);
        assert_eq!(refused, Some(Code::GrantDenied));
        let refused =
            world.vault.detokenize(&there, &token).await.err().map(|failure| failure.code);
        assert_eq!(refused, Some(Code::NotFound));
        let listed = [Ok(token.clone())];
        let verify = world.vault.grants_verify(&there, &alice, &listed, Action::Detokenize);
        let refused = verify.await.unwrap().pop().unwrap().err().map(|failure| failure.code);
        assert_eq!(refused, Some(Code::NotFound));
        // The index key is unwrapped anew.
        world.clock.pass(limits::KEY_AGE + HOUR);
    }
}

/// As after a backup was restored under running sidecars: both go over to the key that is there.
#[tokio::test]
async fn sidecars_agree_on_sessions_after_their_key_was_replaced() {
    let backend = Backend::memory();
    let (here, there) = (World::on(&backend), World::on(&backend));
    let (alice, token) = (session("alice"), here.tokenize("value").await);
    here.grant(&alice, &token, &[Action::Detokenize], limits::KEY_AGE * 2).await.unwrap();
    let valid = |verdict| matches!(verdict, Ok(Verdict::Valid(_)));
    for world in [&here, &there] {
        assert!(valid(world.verdict(&alice, &token, Action::Detokenize).await));
    }
    let name = Name::index_key(&Namespace::default());
    let key = here.store.get(&name).await.unwrap().unwrap();
    assert!(here.store.remove_if(&name, &key.version).await.unwrap());
    for world in [&here, &there] {
        world.clock.pass(limits::KEY_AGE + HOUR);
        let verdict = world.verdict(&alice, &token, Action::Detokenize).await;
        assert_eq!(verdict, Ok(Verdict::Denied));
    }
    here.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
    for world in [&here, &there] {
        assert!(valid(world.verdict(&alice, &token, Action::Detokenize).await));
    }
}
