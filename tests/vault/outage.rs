//! What goes on while storage does not answer, for how long, and what it says of itself.

use std::{sync::atomic::Ordering, time::Duration};

use futures_util::future::join_all;
use lunasec_api::Code;
use lunasec_core::{
    derive::session_tag,
    envelope::Subject,
    grant::{self, Action},
    ids::Namespace,
    limits,
    record::Kind,
    token::Token,
};
use lunasec_sidecar::{
    store::Name,
    vault::{Age, Described, Revealed, Verdict, Verified},
};
use lunasec_tests::{
    Backend, World,
    grants::session,
    world::{HOUR, call},
};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn hang(world: &World, hangs: bool) {
    world.store.hangs.store(hangs, Ordering::SeqCst);
}

fn reads(world: &World) -> usize {
    world.store.gets.load(Ordering::SeqCst)
}

/// A value, and how old it says it is.
async fn reveal(world: &World, token: &Token) -> Result<Option<Duration>, Code> {
    let revealed = world.vault.detokenize(&call(), token).await;
    let age = |revealed: Revealed| {
        assert_eq!(revealed.age.keys, None);
        revealed.age.storage
    };
    revealed.map(age).map_err(|failure| failure.code)
}

async fn verify(world: &World, token: &Token) -> Result<Verified, Code> {
    let (alice, tokens) = (session("alice"), [Ok(token.clone())]);
    let items = world.vault.grants_verify(&call(), &alice, &tokens, Action::Detokenize).await;
    items.map_err(|failure| failure.code)?.pop().unwrap().map_err(|failure| failure.code)
}

/// Asks for what was never seen until storage counts as away.
async fn find_out(world: &World, unseen: &[Token]) {
    for token in unseen {
        assert_eq!(reveal(world, token).await, Err(Code::StorageUnavailable));
    }
    let began = tokio::time::Instant::now();
    assert_eq!(reveal(world, &unseen[0]).await, Err(Code::StorageUnavailable));
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits for what is known to be away");
}

struct Outage {
    here: World,
    there: World,
    seen: Token,
    unseen: Vec<Token>,
}

impl Outage {
    /// One token was seen here, and is granted for a day; others were not.
    async fn new() -> Self {
        let backend = Backend::memory();
        let (here, there) = (World::guarded(&backend), World::on(&backend));
        let seen = there.tokenize("value").await;
        there.grant(&session("alice"), &seen, &[Action::Detokenize], 30 * HOUR).await.unwrap();
        let mut unseen = Vec::new();
        for _ in 0..limits::BREAKER_FAILURES {
            unseen.push(there.tokenize("unseen").await);
        }
        assert_eq!(reveal(&here, &seen).await, Ok(None));
        assert_eq!(verify(&here, &seen).await.map(|verified| verified.age), Ok(Age::default()));
        Self { here, there, seen, unseen }
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_goes_on_up_to_its_hard_limit_and_no_failure_prolongs_it() {
    let Outage { here, seen, unseen, .. } = Outage::new().await;
    hang(&here, true);
    find_out(&here, &unseen).await;
    let mut passed = Duration::ZERO;
    let hard = [(limits::CACHED_GRANT_HARD, false), (limits::CACHED_VALUE_HARD, true)];
    for (limit, all) in hard {
        while passed < limit {
            let step = (limit / 10).min(limit - passed);
            // Each of these is asked for, and each attempt fails.
            let (revealed, verified) = (reveal(&here, &seen).await, verify(&here, &seen).await);
            assert_eq!(revealed, Ok(Some(passed)));
            match passed < limits::CACHED_GRANT_HARD {
                true => assert_eq!(verified.unwrap().age.storage, Some(passed)),
                // Neither valid nor denied.
                false => assert_eq!(verified, Err(Code::StorageUnavailable)),
            }
            here.clock.pass(step);
            passed += step;
        }
        let revealed = reveal(&here, &seen).await;
        assert_eq!(revealed, if all { Err(Code::StorageUnavailable) } else { Ok(Some(limit)) });
        assert_eq!(verify(&here, &seen).await, Err(Code::StorageUnavailable));
    }
}

/// Metadata goes on as values do, and that there is none only for as long as nothing is believed.
#[tokio::test(start_paused = true)]
async fn metadata_that_was_seen_goes_on_as_values_do() {
    let Outage { here, there, seen, unseen } = Outage::new().await;
    let text = r#"{"a":1}"#;
    there.vault.metadata_set(&call(), &seen, text, None).await.unwrap();
    let get = async |token: &Token| {
        let described = here.vault.metadata_get(&call(), token).await;
        let told = |it: Described| (it.metadata, it.age.storage);
        described.map(told).map_err(|failure| failure.code)
    };
    assert_eq!(get(&seen).await, Ok((text.into(), None)));
    let bare = there.tokenize("without metadata").await;
    assert_eq!(get(&bare).await, Ok(("{}".into(), None)));
    hang(&here, true);
    find_out(&here, &unseen).await;
    assert_eq!(get(&seen).await, Ok((text.into(), Some(Duration::ZERO))));
    here.clock.pass(limits::CACHED_VALUE_HARD - MS);
    let old = limits::CACHED_VALUE_HARD - MS;
    assert_eq!(get(&seen).await, Ok((text.into(), Some(old))));
    assert_eq!(get(&bare).await, Err(Code::StorageUnavailable));
    let set = here.vault.metadata_set(&call(), &seen, "{}", None).await;
    assert_eq!(set.map_err(|failure| failure.code).err(), Some(Code::StorageUnavailable));
    assert_eq!(get(&seen).await, Ok((text.into(), Some(old))), "a failure evicts nothing");
    here.clock.pass(MS);
    assert_eq!(get(&seen).await, Err(Code::StorageUnavailable));
}

#[tokio::test(start_paused = true)]
async fn before_it_is_known_that_storage_is_away_whoever_asks_past_the_deadline_waits_once() {
    let Outage { here, seen, .. } = Outage::new().await;
    hang(&here, true);
    here.clock.pass(limits::CACHED_VALUE_AGE);
    let began = tokio::time::Instant::now();
    let all = join_all((0..20).map(|_| reveal(&here, &seen))).await;
    assert_eq!(all, [Ok(Some(limits::CACHED_VALUE_AGE)); 20]);
    // One reading for all of them.
    assert_eq!(began.elapsed(), limits::STORAGE_TIME);
}

/// Whoever asks later waits no longer than the others did.
#[tokio::test(start_paused = true)]
async fn those_who_wait_as_it_becomes_known_that_storage_is_away_do_not_wait_on() {
    let Outage { here, unseen, .. } = Outage::new().await;
    hang(&here, true);
    let began = tokio::time::Instant::now();
    let late = async {
        tokio::time::sleep(limits::STORAGE_TIME - SECOND).await;
        assert_eq!(
            reveal(&here, &Token::parse("lunasec-00112233-4455-4677-8899-aabbccddeeff").unwrap())
                .await,
            Err(Code::StorageUnavailable)
        );
        began.elapsed()
    };
    let first = join_all(unseen.iter().map(|token| reveal(&here, token)));
    let (first, ended) = futures_util::future::join(first, late).await;
    assert!(first.iter().all(Result::is_err));
    assert_eq!(ended, limits::STORAGE_TIME);
}

#[tokio::test(start_paused = true)]
async fn within_two_seconds_of_healing_answers_are_fresh_again() {
    let Outage { here, there, seen, unseen } = Outage::new().await;
    hang(&here, true);
    find_out(&here, &unseen).await;
    here.clock.pass(limits::CACHED_VALUE_AGE);
    assert_eq!(reveal(&here, &seen).await, Ok(Some(limits::CACHED_VALUE_AGE)));
    there.revoke_all(&session("alice")).await.unwrap();
    let grant = verify(&here, &seen).await.unwrap();
    assert!(matches!(grant.verdict, Verdict::Valid(_)) && grant.age.storage.is_some());
    // A probe that was sent into the outage has to end first.
    tokio::time::sleep(limits::BREAKER_PROBE_TIME + MS).await;
    hang(&here, false);
    here.clock.pass(limits::BREAKER_PAUSE);
    assert_eq!(reveal(&here, &unseen[0]).await, Err(Code::StorageUnavailable), "it is probed now");
    tokio::time::sleep(MS).await;
    assert_eq!(reveal(&here, &unseen[0]).await, Ok(None));
    assert_eq!(reveal(&here, &seen).await, Ok(None));
    let verified = verify(&here, &seen).await.unwrap();
    assert_eq!(verified, Verified { verdict: Verdict::Denied, age: Age::default() });
}

/// Also where all that is asked for is remembered: then nothing else would find out that storage is back.
#[tokio::test(start_paused = true)]
async fn those_who_ask_for_what_was_seen_find_out_that_storage_is_back() {
    let Outage { here, there, seen, unseen } = Outage::new().await;
    hang(&here, true);
    find_out(&here, &unseen).await;
    there.revoke_all(&session("alice")).await.unwrap();
    tokio::time::sleep(limits::BREAKER_PROBE_TIME + MS).await;
    hang(&here, false);
    here.clock.pass(limits::CACHED_GRANT_AGE);
    let grant = verify(&here, &seen).await.unwrap();
    assert!(matches!(grant.verdict, Verdict::Valid(_)), "it is probed now");
    tokio::time::sleep(MS).await;
    let verified = verify(&here, &seen).await.unwrap();
    assert_eq!(verified, Verified { verdict: Verdict::Denied, age: Age::default() });
}

#[tokio::test(start_paused = true)]
async fn what_an_outage_costs_is_set_by_its_probes_and_not_by_the_traffic() {
    let Outage { here, seen, unseen, .. } = Outage::new().await;
    hang(&here, true);
    find_out(&here, &unseen).await;
    let before = reads(&here);
    for _ in 0..60 {
        for _ in 0..50 {
            reveal(&here, &seen).await.unwrap();
            assert_eq!(reveal(&here, &unseen[0]).await, Err(Code::StorageUnavailable));
        }
        tokio::time::sleep(limits::BREAKER_PROBE_TIME).await;
        here.clock.pass(SECOND);
    }
    let cost = reads(&here) - before;
    assert!((30..=61).contains(&cost), "{cost} requests in a minute");
}

#[tokio::test(start_paused = true)]
async fn past_its_soft_limit_an_answer_says_its_age_and_is_read_again_once() {
    let Outage { here, seen, .. } = Outage::new().await;
    here.clock.pass(limits::CACHED_VALUE_SOFT - MS);
    assert_eq!(reveal(&here, &seen).await, Ok(None));
    here.clock.pass(MS);
    let before = reads(&here);
    let all = join_all((0..20).map(|_| reveal(&here, &seen))).await;
    assert_eq!(all, [Ok(Some(limits::CACHED_VALUE_SOFT)); 20]);
    tokio::time::sleep(SECOND).await;
    assert_eq!(reads(&here) - before, 1);
    assert_eq!(reveal(&here, &seen).await, Ok(None));
}

/// What the store says of a known object counts at once, also that it is gone.
#[tokio::test(start_paused = true)]
async fn what_is_gone_is_gone_when_the_store_says_so() {
    let Outage { here, there, seen, .. } = Outage::new().await;
    there.delete(&seen).await.unwrap();
    here.clock.pass(limits::CACHED_VALUE_SOFT);
    assert_eq!(reveal(&here, &seen).await, Ok(Some(limits::CACHED_VALUE_SOFT)));
    tokio::time::sleep(SECOND).await;
    assert_eq!(reveal(&here, &seen).await, Err(Code::NotFound));
}

/// A write that nobody was asked for has changed nothing, and what was seen goes on.
#[tokio::test(start_paused = true)]
async fn a_write_that_fails_while_storage_is_away_takes_nothing_that_was_seen() {
    let Outage { here, seen, unseen, .. } = Outage::new().await;
    hang(&here, true);
    find_out(&here, &unseen).await;
    assert_eq!(here.delete(&seen).await, Err(Code::StorageUnavailable));
    assert_eq!(here.revoke(&session("alice"), &[&seen]).await, Err(Code::StorageUnavailable));
    let set = here.vault.metadata_set(&call(), &seen, "{}", None).await;
    assert_eq!(set.unwrap_err().code, Code::StorageUnavailable);
    assert!(reveal(&here, &seen).await.unwrap().is_some());
    assert!(verify(&here, &seen).await.unwrap().age.storage.is_some());
}

/// All was taken back elsewhere, and granted anew. The grant is seen here, and of the session what it was before.
#[tokio::test(start_paused = true)]
async fn a_grant_that_is_newer_than_its_session_is_no_reason_to_deny() {
    let Outage { here, there, seen, unseen } = Outage::new().await;
    let alice = session("alice");
    there.clock.pass(MS);
    there.revoke_all(&alice).await.unwrap();
    there.clock.pass(MS);
    there.grant(&alice, &seen, &[Action::Detokenize], HOUR).await.unwrap();
    let index = here.vault.keyring.index(&Namespace::default()).await.unwrap();
    let tag = session_tag(&index, &Namespace::default(), &alice);
    let extra = grant::extra(&tag, Action::Detokenize);
    let subject = Subject::new(seen.clone(), Namespace::default(), Kind::Grant, &extra);
    let name = Name::record(&Namespace::default(), &subject.locator());
    here.clock.pass(limits::CACHED_GRANT_AGE);
    here.vault.store.get(&name).await.unwrap().unwrap();
    here.clock.pass(MS);
    hang(&here, true);
    find_out(&here, &unseen).await;
    assert_eq!(verify(&here, &seen).await, Err(Code::StorageUnavailable));
    hang(&here, false);
    here.clock.pass(limits::BREAKER_PAUSE);
    assert_eq!(verify(&here, &seen).await, Err(Code::StorageUnavailable), "it is probed");
    tokio::time::sleep(MS).await;
    let verdict = verify(&here, &seen).await.unwrap().verdict;
    assert!(matches!(verdict, Verdict::Valid(_)), "{verdict:?}");
    // And what was taken back after it was made is denied, whether anybody can be asked or not.
    here.clock.pass(MS);
    here.revoke_all(&alice).await.unwrap();
    let reads_before = reads(&here);
    assert_eq!(verify(&here, &seen).await.unwrap().verdict, Verdict::Denied);
    assert_eq!(reads(&here), reads_before);
}
