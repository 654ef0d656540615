//! Writes while storage does not answer: what is taken, what it says of itself, and what becomes of it.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::join_all;
use lunasec_api::{Code, DependencyState, Durability};
use lunasec_core::{
    envelope::Subject,
    grant::Action,
    ids::{Locator, Millis, Namespace},
    limits,
    record::Kind,
    token::Token,
};
use lunasec_sidecar::{
    db::DbError,
    journal::{Bounds, DiskLedger, Draft, Entry, Ledger, Refused},
    store::{Measured, Name, Store},
    telemetry::Telemetry,
    vault::{Age, NewValue, Terms, Verdict},
};
use lunasec_tests::{
    Backend, World,
    disk::Disk,
    grants::session,
    world::{FakeClock, HOUR, call, call_with, new_value},
};
use tokio::time::Instant;

const BOUNDS: Bounds = Bounds { bytes: limits::JOURNAL_BYTES, age: limits::JOURNAL_AGE };

/// A sidecar with a journal, and one that shares its storage and has no outage.
struct Bridge {
    backend: Backend,
    disk: Disk,
    here: World,
    there: World,
}

impl Bridge {
    async fn new() -> Self {
        Self::bounded(BOUNDS).await
    }

    async fn bounded(bounds: Bounds) -> Self {
        let (backend, disk) = (Backend::memory(), Disk::default());
        let there = World::on(&backend);
        let here = World::journaled(&backend, disk.ledger(), bounds).await;
        // Both have the keys that they need.
        let token = there.tokenize("warms").await;
        assert_eq!(here.detokenize(&token).await, Ok("warms".into()));
        here.tokenize("warms").await;
        here.vault.keyring.index(&Namespace::default()).await.unwrap();
        Self { backend, disk, here, there }
    }

    /// Storage hangs, and is known to.
    async fn outage(&self) {
        self.here.store.hangs.store(true, Ordering::SeqCst);
        for _ in 0..limits::BREAKER_FAILURES {
            self.here.detokenize(&unseen()).await.unwrap_err();
        }
    }

    /// It answers again, and everything is replayed.
    async fn heal(&self) {
        heal(&self.here).await;
    }

    /// The process ends and another begins, on what the disk has synced.
    async fn restart(&mut self) {
        self.disk = self.disk.pull();
        let ledger = self.disk.ledger();
        self.here = World::journaled(&self.backend, ledger, BOUNDS).await;
    }

    fn pending(&self) -> u64 {
        self.here.journal.as_ref().unwrap().pending().count
    }
}

/// Storage is found to be back.
async fn eventually_answers(world: &World) {
    while world.vault.store.is_away() {
        world.clock.pass(limits::BREAKER_PAUSE);
        let _ = world.detokenize(&unseen()).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn heal(world: &World) {
    replayed_to(world, 0).await;
}

/// Storage answers again, and so many entries are left.
async fn replayed_to(world: &World, left: u64) {
    world.store.hangs.store(false, Ordering::SeqCst);
    let mut waiting = world.journal.as_ref().unwrap().watch();
    let replayer = tokio::spawn(world.replayer().run());
    let clock = async {
        loop {
            // Probes go by the clock.
            world.clock.pass(limits::BREAKER_PAUSE);
            tokio::time::sleep(limits::BREAKER_PAUSE).await;
        }
    };
    tokio::select! {
        replayed = waiting.wait_for(|count| *count <= left) => {
            assert_eq!(*replayed.unwrap(), left, "so many were to wait on");
        }
        () = clock => unreachable!(),
    }
    replayer.abort();
}

fn unseen() -> Token {
    Token::parse("lunasec-00112233-4455-4677-8899-aabbccddeeff").unwrap()
}

async fn journaled(world: &World, value: &str) -> Token {
    let given = world.vault.tokenize(&call(), new_value(value)).await.unwrap();
    assert_eq!(given.durability, Durability::Journaled);
    given.token
}

#[tokio::test(start_paused = true)]
async fn tokenize_with_storage_away_is_journaled_and_the_token_opens_here_at_once_and_elsewhere_after()
 {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    bridge.outage().await;
    let began = Instant::now();
    let token = journaled(here, "value").await;
    assert_eq!(began.elapsed(), Duration::ZERO, "nobody waits for what is known to be away");
    assert_eq!(here.detokenize(&token).await, Ok("value".into()));
    assert_eq!(there.detokenize(&token).await, Err(Code::NotFound));
    here.clock.pass(Duration::from_secs(5));
    let revealed = here.vault.detokenize(&call(), &token).await.unwrap();
    assert_eq!(revealed.age.storage, Some(Duration::from_secs(5)), "it says that storage is away");
    bridge.heal().await;
    assert_eq!(there.detokenize(&token).await, Ok("value".into()));
    let revealed = here.vault.detokenize(&call(), &token).await.unwrap();
    assert_eq!(revealed.age, Age::default());
    let given = here.vault.tokenize(&call(), new_value("after")).await.unwrap();
    assert_eq!(given.durability, Durability::Stored);
}

/// The key that opened something seals, where nobody can be asked for a newer one.
#[tokio::test(start_paused = true)]
async fn a_sidecar_that_has_only_revealed_tokenizes_while_storage_is_away() {
    let backend = Backend::memory();
    let there = World::on(&backend);
    let seen = there.tokenize("seen").await;
    let here = World::journaled(&backend, Disk::default().ledger(), BOUNDS).await;
    here.store.hangs.store(true, Ordering::SeqCst);
    let refused = here.vault.tokenize(&call(), new_value("value")).await.unwrap_err();
    assert_eq!(refused.code, Code::KeysUnavailable, "it knows no key at all");
    here.store.hangs.store(false, Ordering::SeqCst);
    here.clock.pass(2 * limits::BREAKER_PAUSE);
    assert_eq!(here.detokenize(&seen).await, Ok("seen".into()));
    here.store.hangs.store(true, Ordering::SeqCst);
    let token = journaled(&here, "value").await;
    assert_eq!(here.detokenize(&token).await, Ok("value".into()));
    heal(&here).await;
    assert_eq!(there.detokenize(&token).await, Ok("value".into()));
}

#[tokio::test(start_paused = true)]
async fn the_first_write_of_an_outage_waits_for_storage_once_and_is_journaled_in_time() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let seen = there.tokenize("seen").await;
    here.detokenize(&seen).await.unwrap();
    here.store.hangs.store(true, Ordering::SeqCst);
    let began = Instant::now();
    let mut value = new_value("value");
    value.metadata = Some("{}".into());
    let given = here.vault.tokenize(&call(), value).await.unwrap();
    assert_eq!(given.durability, Durability::Journaled);
    here.delete(&seen).await.unwrap();
    assert!(began.elapsed() < limits::REQUEST_TIME, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_survives_the_power_and_what_was_not_synced_does_not_come_back_as_more()
 {
    let mut bridge = Bridge::new().await;
    bridge.outage().await;
    let mut tokens = Vec::new();
    for number in 0..20 {
        tokens.push(journaled(&bridge.here, &number.to_string()).await);
    }
    let deleted = tokens.pop().unwrap();
    bridge.here.delete(&deleted).await.unwrap();
    assert_eq!(bridge.pending(), 22, "twenty values, and two tombstones");
    bridge.restart().await;
    assert_eq!(bridge.pending(), 22);
    bridge.here.store.hangs.store(true, Ordering::SeqCst);
    // The keys are in storage, which is away: that is what a standby key is for.
    assert_eq!(bridge.here.detokenize(&tokens[0]).await, Err(Code::KeysUnavailable));
    bridge.heal().await;
    for (number, token) in tokens.iter().enumerate() {
        for world in [&bridge.here, &bridge.there] {
            assert_eq!(world.detokenize(token).await, Ok(number.to_string()));
        }
    }
    for world in [&bridge.here, &bridge.there] {
        assert_eq!(world.detokenize(&deleted).await, Err(Code::NotFound));
    }
}

/// What a lost answer and a crash at any point leave is replayed once in effect.
#[tokio::test(start_paused = true)]
async fn a_replay_that_is_cut_anywhere_and_begun_again_has_the_effect_of_one() {
    let mut bridge = Bridge::new().await;
    bridge.outage().await;
    let token = journaled(&bridge.here, "value").await;
    for version in ["1", "2", "3"] {
        let text = format!("{{\"v\":{version}}}");
        let set = bridge.here.vault.metadata_set(&call(), &token, &text, None).await.unwrap();
        assert_eq!(set.durability, Durability::Journaled);
    }
    let entries = bridge.pending();
    for cut in 0..=entries as usize {
        let ledger = bridge.disk.pull().ledger();
        let again = World::journaled(&bridge.backend, ledger, BOUNDS).await;
        // So many reach storage, and nothing of that is known after the crash.
        again.store.room.store(cut, Ordering::SeqCst);
        let replayer = tokio::spawn(again.replayer().run());
        tokio::time::sleep(Duration::from_secs(60)).await;
        replayer.abort();
    }
    bridge.restart().await;
    bridge.heal().await;
    let described = bridge.there.vault.metadata_get(&call(), &token).await.unwrap();
    assert_eq!(described.metadata, "{\"v\":3}");
    assert_eq!(bridge.there.detokenize(&token).await, Ok("value".into()));
}

#[tokio::test(start_paused = true)]
async fn nothing_that_was_deleted_comes_back_whoever_deleted_it() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let seen = there.tokenize("seen").await;
    let never_seen = there.tokenize("never seen here").await;
    here.detokenize(&seen).await.unwrap();
    here.vault.metadata_get(&call(), &seen).await.unwrap();
    bridge.outage().await;
    // Here without a look at it, there while metadata waits here.
    here.delete(&never_seen).await.unwrap();
    assert_eq!(here.detokenize(&never_seen).await, Err(Code::NotFound));
    assert_eq!(there.detokenize(&never_seen).await, Ok("never seen here".into()));
    here.vault.metadata_set(&call(), &seen, "{\"late\":true}", None).await.unwrap();
    there.delete(&seen).await.unwrap();
    bridge.heal().await;
    // So long it may go unseen here.
    here.clock.pass(limits::CACHED_VALUE_AGE);
    for world in [here, there] {
        for token in [&seen, &never_seen] {
            assert_eq!(world.detokenize(token).await, Err(Code::NotFound));
            let metadata = world.vault.metadata_get(&call(), token).await;
            assert_eq!(metadata.err().unwrap().code, Code::NotFound);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_metadata_the_later_counts_and_a_version_that_nobody_knows_is_not_compared() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let (mine, theirs) = (there.tokenize("mine").await, there.tokenize("theirs").await);
    for token in [&mine, &theirs] {
        there.vault.metadata_set(&call(), token, "{\"v\":1}", None).await.unwrap();
        here.detokenize(token).await.unwrap();
    }
    bridge.outage().await;
    let compared = here.vault.metadata_set(&call(), &unseen(), "{}", Some(1)).await;
    assert_eq!(compared.unwrap_err().code, Code::StorageUnavailable);
    here.clock.pass(Duration::from_secs(1));
    for token in [&mine, &theirs] {
        let set = here.vault.metadata_set(&call(), token, "{\"v\":2}", None).await.unwrap();
        assert_eq!(set.durability, Durability::Journaled);
        assert!(set.version > 1);
    }
    there.clock.pass(HOUR);
    there.vault.metadata_set(&call(), &theirs, "{\"v\":3}", None).await.unwrap();
    bridge.heal().await;
    for (token, expected) in [(&mine, "{\"v\":2}"), (&theirs, "{\"v\":3}")] {
        let described = there.vault.metadata_get(&call(), token).await.unwrap();
        assert_eq!(described.metadata, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_made_meanwhile_is_valid_here_at_once_and_elsewhere_after_also_beside_that_of_another()
 {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let token = there.tokenize("value").await;
    let alice = session("alice");
    // Another sidecar knows this session, this one does not.
    there.grant(&alice, &token, &[Action::Delete], HOUR).await.unwrap();
    here.detokenize(&token).await.unwrap();
    bridge.outage().await;
    assert_eq!(
        here.verdict(&alice, &token, Action::Delete).await,
        Err(Code::StorageUnavailable),
        "neither valid nor denied"
    );
    here.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
    let valid = |verdict| matches!(verdict, Ok(Verdict::Valid(_)));
    assert!(valid(here.verdict(&alice, &token, Action::Detokenize).await));
    assert_eq!(there.verdict(&alice, &token, Action::Detokenize).await, Ok(Verdict::Denied));
    // A token that was never seen may not exist.
    let unknown = here.grant(&alice, &unseen(), &[Action::Detokenize], HOUR).await;
    assert_eq!(unknown, Err(Code::StorageUnavailable));
    bridge.heal().await;
    for world in [here, there] {
        for action in [Action::Detokenize, Action::Delete] {
            assert!(valid(world.verdict(&alice, &token, action).await), "{action:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn grants_that_begin_a_session_at_once_all_count() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let mut tokens = Vec::new();
    for value in ["one", "two", "three", "four"] {
        tokens.push(there.tokenize(value).await);
        here.detokenize(&tokens[tokens.len() - 1]).await.unwrap();
    }
    // The namespace's keys are known, this session is not.
    here.grant(&session("somebody"), &tokens[0], &[Action::Detokenize], HOUR).await.unwrap();
    bridge.outage().await;
    let alice = session("alice");
    let grants = tokens.iter().map(|token| here.grant(&alice, token, &[Action::Detokenize], HOUR));
    for granted in join_all(grants).await {
        granted.unwrap();
    }
    let valid = |verdict| matches!(verdict, Ok(Verdict::Valid(_)));
    for token in &tokens {
        assert!(valid(here.verdict(&alice, token, Action::Detokenize).await));
    }
    bridge.heal().await;
    for token in &tokens {
        assert!(valid(there.verdict(&alice, token, Action::Detokenize).await));
    }
}

#[tokio::test(start_paused = true)]
async fn a_revoke_counts_here_at_once_and_elsewhere_after_whatever_was_seen() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let token = there.tokenize("value").await;
    let sessions = ["one seen", "one", "all seen", "all"].map(session);
    for session in &sessions {
        there.grant(session, &token, &[Action::Detokenize], HOUR).await.unwrap();
    }
    for seen in [&sessions[0], &sessions[2]] {
        here.verdict(seen, &token, Action::Detokenize).await.unwrap();
    }
    bridge.outage().await;
    for session in &sessions[..2] {
        assert_eq!(here.revoke(session, &[&token]).await, Ok(1));
    }
    for session in &sessions[2..] {
        here.revoke_all(session).await.unwrap();
    }
    for session in [&sessions[0], &sessions[2], &sessions[3]] {
        assert_eq!(here.verdict(session, &token, Action::Detokenize).await, Ok(Verdict::Denied));
    }
    for session in &sessions {
        let there = there.verdict(session, &token, Action::Detokenize).await;
        assert!(matches!(there, Ok(Verdict::Valid(_))), "not yet");
    }
    bridge.heal().await;
    for session in &sessions {
        for world in [here, there] {
            let verdict = world.verdict(session, &token, Action::Detokenize).await;
            assert_eq!(verdict, Ok(Verdict::Denied));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_waits_does_not_undo_what_was_taken_back_elsewhere_since() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let token = there.tokenize("value").await;
    let (alice, bob) = (session("alice"), session("bob"));
    for session in [&alice, &bob] {
        there.grant(session, &token, &[Action::Detokenize], HOUR).await.unwrap();
    }
    here.detokenize(&token).await.unwrap();
    bridge.outage().await;
    for session in [&alice, &bob] {
        here.grant(session, &token, &[Action::Detokenize], 2 * HOUR).await.unwrap();
    }
    there.clock.pass(Duration::from_secs(1));
    there.revoke_all(&alice).await.unwrap();
    there.revoke(&bob, &[&token]).await.unwrap();
    bridge.heal().await;
    for session in [&alice, &bob] {
        for world in [here, there] {
            let verdict = world.verdict(session, &token, Action::Detokenize).await;
            assert_eq!(verdict, Ok(Verdict::Denied));
        }
    }
}

/// Of a session that storage knows nothing of yet, all is taken back all the same.
#[tokio::test(start_paused = true)]
async fn what_waits_elsewhere_of_a_session_is_taken_back_with_all_of_it() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let ledger = Disk::default().ledger();
    let elsewhere = World::journaled(&bridge.backend, ledger, BOUNDS).await;
    let token = there.tokenize("value").await;
    here.detokenize(&token).await.unwrap();
    bridge.outage().await;
    here.grant(&session("alice"), &token, &[Action::Detokenize], HOUR).await.unwrap();
    elsewhere.clock.pass(Duration::from_secs(1));
    elsewhere.revoke_all(&session("alice")).await.unwrap();
    bridge.heal().await;
    for world in [here, there, &elsewhere] {
        let verdict = world.verdict(&session("alice"), &token, Action::Detokenize).await;
        assert_eq!(verdict, Ok(Verdict::Denied));
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_waits_here_finds_that_it_was_taken_back_where_nobody_knew_of_it() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let ledger = Disk::default().ledger();
    let elsewhere = World::journaled(&bridge.backend, ledger, BOUNDS).await;
    let (token, alice) = (there.tokenize("value").await, session("alice"));
    here.detokenize(&token).await.unwrap();
    bridge.outage().await;
    here.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
    elsewhere.clock.pass(Duration::from_secs(1));
    assert_eq!(elsewhere.revoke(&alice, &[&token]).await, Ok(0), "it knows of none");
    bridge.heal().await;
    for world in [here, there, &elsewhere] {
        let verdict = world.verdict(&alice, &token, Action::Detokenize).await;
        assert_eq!(verdict, Ok(Verdict::Denied));
    }
}

/// As long as storage is away the journal takes all of them; then they are caught up with first.
#[tokio::test(start_paused = true)]
async fn an_object_that_many_writes_wait_of_takes_no_more_of_them_once_storage_is_back() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let token = there.tokenize("value").await;
    here.detokenize(&token).await.unwrap();
    here.vault.metadata_get(&call(), &token).await.unwrap();
    bridge.outage().await;
    let set = async |at: u32| {
        let text = format!("{{\"v\":{at}}}");
        let set = here.vault.metadata_set(&call(), &token, &text, None).await;
        set.map(|written| written.durability).map_err(|failure| failure.code)
    };
    for at in 0..limits::JOURNAL_CROWD + 10 {
        assert_eq!(set(at).await, Ok(Durability::Journaled));
    }
    here.store.hangs.store(false, Ordering::SeqCst);
    eventually_answers(here).await;
    assert_eq!(set(1_000).await, Err(Code::Overloaded));
    // Another object is not concerned, nor is what takes something back.
    let other = here.tokenize("other").await;
    here.vault.metadata_set(&call(), &other, "{}", None).await.unwrap();
    here.delete(&token).await.unwrap();
    bridge.heal().await;
    assert_eq!(there.detokenize(&token).await, Err(Code::NotFound));
}

/// The session was remembered, and all of it taken back elsewhere; the grant itself finds storage back.
#[tokio::test(start_paused = true)]
async fn a_grant_that_is_stored_is_one_although_its_session_was_only_remembered() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let (first, second) = (there.tokenize("first").await, there.tokenize("second").await);
    let alice = session("alice");
    here.grant(&alice, &first, &[Action::Detokenize], HOUR).await.unwrap();
    there.clock.pass(Duration::from_secs(1));
    there.revoke_all(&alice).await.unwrap();
    // It does not answer once, and is not asked for a moment.
    here.store.away.store(true, Ordering::SeqCst);
    journaled(here, "value").await;
    here.store.away.store(false, Ordering::SeqCst);
    here.store.slow.store(1_000, Ordering::SeqCst);
    let reads = here.store.gets.load(Ordering::SeqCst);
    let terms = Terms { actions: vec![Action::Detokenize], expires_in: HOUR };
    let (tokens, call) = ([Ok(second.clone())], call());
    let grant = here.vault.grants_create(&call, &alice, &tokens, &terms);
    let pass = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(here.store.gets.load(Ordering::SeqCst), reads + 1, "of the value alone");
        here.clock.pass(limits::JOURNAL_LEAD);
    };
    let (granted, ()) = tokio::join!(grant, pass);
    let granted = granted.unwrap().pop().unwrap().unwrap();
    assert_eq!(granted.durability, Durability::Stored);
    for world in [here, there] {
        let verdict = world.verdict(&alice, &second, Action::Detokenize).await;
        assert!(matches!(verdict, Ok(Verdict::Valid(_))), "{verdict:?}");
        let verdict = world.verdict(&alice, &first, Action::Detokenize).await;
        assert_eq!(verdict, Ok(Verdict::Denied));
    }
}

/// A newer sidecar's object may say what was taken back.
#[tokio::test(start_paused = true)]
async fn a_session_of_a_newer_version_is_not_replaced_by_what_waits() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let (token, alice) = (there.tokenize("value").await, session("alice"));
    here.detokenize(&token).await.unwrap();
    bridge.outage().await;
    here.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
    there.clock.pass(Duration::from_secs(1));
    there.grant(&alice, &token, &[Action::Delete], HOUR).await.unwrap();
    there.revoke_all(&alice).await.unwrap();
    let name = there.vault.store.list(Name::SESSIONS, None, 1).await.unwrap().remove(0);
    let object = there.vault.store.get_now(&name).await.unwrap().unwrap();
    let mut newer = object.bytes.to_vec();
    newer[0] += 1;
    there.vault.store.put_if(&name, newer.clone().into(), &object.version).await.unwrap();
    replayed_to(here, 1).await;
    assert_eq!(here.journal.as_ref().unwrap().refused().len(), 1);
    let kept = there.vault.store.get_now(&name).await.unwrap().unwrap();
    assert_eq!(kept.bytes, newer, "it is as it was");
}

/// What the memory gives meanwhile says nothing of storage: nobody waits again because of it.
#[tokio::test(start_paused = true)]
async fn a_first_write_of_several_steps_waits_once_also_beside_reads_out_of_memory() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let (seen, alice) = (there.tokenize("seen").await, session("alice"));
    here.detokenize(&seen).await.unwrap();
    here.store.hangs.store(true, Ordering::SeqCst);
    let reads = async {
        loop {
            here.detokenize(&seen).await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let began = Instant::now();
    tokio::select! {
        made = here.grant(&alice, &seen, &[Action::Detokenize, Action::Delete], HOUR) => {
            made.unwrap();
        }
        () = reads => unreachable!(),
    }
    assert!(began.elapsed() < limits::REQUEST_TIME, "{:?}", began.elapsed());
}

/// While it is not known to be away for good, one request at a time finds out whether it is back, and nobody else waits
/// for that; once it is back, that is found out however busy it is.
#[tokio::test(start_paused = true)]
async fn one_request_asks_whether_storage_is_back_and_the_others_do_not_wait() {
    let bridge = Bridge::new().await;
    let (here, call) = (&bridge.here, call());
    let tokenize = || async {
        let began = Instant::now();
        let given = here.vault.tokenize(&call, new_value("value")).await.unwrap();
        (given.durability, began.elapsed())
    };
    let given = join_all([(); 64].map(|()| tokenize())).await;
    assert!(given.iter().all(|(safe, _)| *safe == Durability::Stored), "it answers all of them");
    here.store.hangs.store(true, Ordering::SeqCst);
    journaled(here, "waits").await;
    here.clock.pass(limits::JOURNAL_LEAD);
    let given = join_all([(); 64].map(|()| tokenize())).await;
    let waited = given.iter().filter(|(_, time)| *time > Duration::from_secs(1)).count();
    assert_eq!(waited, 1, "{given:?}");
    here.store.hangs.store(false, Ordering::SeqCst);
    let mut journaled = 0;
    while here.vault.tokenize(&call, new_value("value")).await.unwrap().durability
        == Durability::Journaled
    {
        journaled += 1;
        assert!(journaled < 200, "nobody asks");
        here.clock.pass(Duration::from_millis(10));
    }
}

/// It may be taken back meanwhile, by a client that does not wait for so long, say. Then the next one finds out.
#[tokio::test(start_paused = true)]
async fn whoever_asks_for_all_and_is_taken_back_leaves_that_to_the_next() {
    let bridge = Bridge::new().await;
    let here = &bridge.here;
    here.store.hangs.store(true, Ordering::SeqCst);
    journaled(here, "waits").await;
    here.clock.pass(limits::JOURNAL_LEAD);
    {
        let (call, mut asks) = (call(), Vec::new());
        for _ in 0..2 {
            let mut asking = Box::pin(here.vault.tokenize(&call, new_value("taken back")));
            let second = Duration::from_secs(1);
            asks.push(tokio::time::timeout(second, &mut asking).await.is_err());
        }
        assert_eq!(asks, [true, true], "the second asks again");
    }
    here.store.hangs.store(false, Ordering::SeqCst);
    let given = here.vault.tokenize(&call(), new_value("value")).await.unwrap();
    assert_eq!(given.durability, Durability::Stored);
}

/// Too many requests to storage wait, and the journal has room.
#[tokio::test(start_paused = true)]
async fn what_storage_has_no_room_for_is_journaled_and_only_that() {
    let bridge = Bridge::new().await;
    let here = &bridge.here;
    here.store.crowded.store(true, Ordering::SeqCst);
    let token = journaled(here, "one").await;
    let values = (0..3).map(|_| Ok(new_value("of many"))).collect();
    let given = here.vault.tokenize_batch(&call(), values).await.unwrap();
    assert!(given.iter().all(|given| given.as_ref().unwrap().durability == Durability::Journaled));
    here.store.crowded.store(false, Ordering::SeqCst);
    // It was not away.
    let given = here.vault.tokenize(&call(), new_value("next")).await.unwrap();
    assert_eq!(given.durability, Durability::Stored);
    bridge.heal().await;
    assert_eq!(bridge.there.detokenize(&token).await, Ok("one".into()));
}

/// The actions of a token are asked about at once.
#[tokio::test(start_paused = true)]
async fn over_a_slow_storage_grants_are_made_and_taken_back_in_a_few_steps() {
    let bridge = Bridge::new().await;
    let here = &bridge.here;
    let (alice, token) = (session("alice"), bridge.there.tokenize("value").await);
    let slow = Duration::from_millis(1_200);
    here.store.slow.store(1_200, Ordering::SeqCst);
    let began = Instant::now();
    here.grant(&alice, &token, &Action::ALL, HOUR).await.unwrap();
    // The session, read and written; the value; the grants.
    assert!(began.elapsed() <= 4 * slow + Duration::from_millis(1), "{:?}", began.elapsed());
    let began = Instant::now();
    assert_eq!(here.revoke(&alice, &[&token]).await, Ok(1));
    // The session; the grants, read and written.
    assert!(began.elapsed() <= 3 * slow + Duration::from_millis(1), "{:?}", began.elapsed());
    assert_eq!(bridge.pending(), 0);
}

/// Each step of a request waits for storage for a part of the request's time.
#[tokio::test(start_paused = true)]
async fn what_takes_long_is_journaled_before_its_request_is_over() {
    let bridge = Bridge::new().await;
    let here = &bridge.here;
    here.store.hangs.store(true, Ordering::SeqCst);
    // How long it takes, with the clock that the breaker looks at.
    let time = async |work: Pin<Box<dyn Future<Output = ()> + '_>>| {
        let began = Instant::now();
        let pass = async {
            tokio::time::sleep(limits::JOURNAL_PATIENCE / 2).await;
            here.clock.pass(limits::JOURNAL_PATIENCE);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = work => began.elapsed(),
            () = pass => unreachable!(),
        }
    };
    let mut given = Vec::new();
    for _ in 0..limits::BREAKER_FAILURES {
        here.clock.pass(limits::JOURNAL_LEAD);
        let value = NewValue { metadata: Some("{}".into()), ..new_value("value") };
        let tokenize = async { given.push(here.vault.tokenize(&call(), value).await.unwrap()) };
        // Its second step does not wait for what the first has found out.
        assert_eq!(time(Box::pin(tokenize)).await, limits::JOURNAL_PATIENCE);
    }
    assert!(given.iter().all(|given| given.durability == Durability::Journaled));
    // Nobody was answered meanwhile.
    here.clock.pass(limits::JOURNAL_LEAD);
    let began = Instant::now();
    journaled(here, "value").await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    bridge.heal().await;
    assert_eq!(bridge.there.detokenize(&given[0].token).await, Ok("value".into()));
}

/// Storage is there, and what an outage will need is not used up.
#[tokio::test(start_paused = true)]
async fn a_crowd_takes_half_of_the_journal_and_no_more() {
    let bridge = Bridge::bounded(Bounds { bytes: 16_384, ..BOUNDS }).await;
    let here = &bridge.here;
    here.store.crowded.store(true, Ordering::SeqCst);
    let mut tokens = Vec::new();
    let code = loop {
        match here.vault.tokenize(&call(), new_value("value")).await {
            Ok(given) => tokens.push(given.token),
            Err(failure) => break failure.code,
        }
    };
    assert_eq!(code, Code::Overloaded);
    let values = (0..3).map(|_| Ok(new_value("of many"))).collect();
    for refused in here.vault.tokenize_batch(&call(), values).await.unwrap() {
        assert_eq!(refused.unwrap_err().code, Code::Overloaded);
    }
    let bytes = here.journal.as_ref().unwrap().pending().bytes;
    assert!((8_192..9_216).contains(&bytes), "{bytes}");
    here.store.crowded.store(false, Ordering::SeqCst);
    bridge.outage().await;
    tokens.push(journaled(here, "value").await);
    bridge.heal().await;
    for token in &tokens {
        assert_eq!(bridge.there.detokenize(token).await, Ok("value".into()));
    }
}

/// What storage takes long for is not brought there one by one.
#[tokio::test(start_paused = true)]
async fn the_replay_speeds_up_with_each_step_that_goes_well() {
    let bridge = Bridge::new().await;
    let here = &bridge.here;
    bridge.outage().await;
    for _ in 0..100 {
        journaled(here, "value").await;
    }
    here.store.slow.store(100, Ordering::SeqCst);
    bridge.heal().await;
    let most = &here.store.most_creations;
    assert_eq!(most.load(Ordering::SeqCst), limits::REPLAY_CONCURRENCY);
}

/// Its writers wait for a moment.
#[tokio::test(start_paused = true)]
async fn what_is_written_without_a_pause_is_stored_in_the_end() {
    let bridge = Bridge::new().await;
    let here = &bridge.here;
    let (granted, alice) = (bridge.there.tokenize("granted").await, session("alice"));
    here.grant(&alice, &granted, &[Action::Delete], HOUR).await.unwrap();
    bridge.outage().await;
    let mut tokens = Vec::new();
    for _ in 0..8 {
        tokens.push(journaled(here, "value").await);
    }
    let describe = async |writer: usize| {
        let token = &tokens[writer / 2];
        for write in 0.. {
            assert!(write < 2_000, "it never catches up");
            let text = format!("{{\"{writer}\":{write}}}");
            // They are in each other's way.
            if let Err(failure) = here.vault.metadata_set(&call(), token, &text, None).await {
                assert_eq!(failure.code, Code::Overloaded);
            }
        }
    };
    let revoke = async || {
        for write in 0.. {
            assert!(write < 2_000, "it never catches up");
            here.revoke(&alice, &[&granted]).await.unwrap();
            here.grant(&alice, &granted, &[Action::Delete], HOUR).await.unwrap();
        }
    };
    // Time does not pass while they write: it is known beforehand that storage answers again.
    here.store.hangs.store(false, Ordering::SeqCst);
    here.clock.pass(limits::BREAKER_PAUSE);
    here.detokenize(&unseen()).await.unwrap_err();
    tokio::time::sleep(limits::BREAKER_PROBE_TIME).await;
    here.clock.pass(limits::JOURNAL_LEAD);
    let mut waiting = here.journal.as_ref().unwrap().watch();
    tokio::select! {
        () = here.replayer().run() => unreachable!(),
        count = waiting.wait_for(|count| *count == 0) => assert!(count.is_ok()),
        _ = join_all((0..2 * tokens.len()).map(describe)) => {}
        _ = join_all((0..4).map(|_| revoke())) => {}
    }
}

/// At first at once, for it may be mended soon.
#[tokio::test(start_paused = true)]
async fn what_is_refused_again_and_again_is_asked_less_and_less() {
    let bridge = Bridge::new().await;
    let here = &bridge.here;
    bridge.outage().await;
    let token = journaled(here, "value").await;
    *here.store.refuses.lock().unwrap() = Some(record(&token));
    here.store.hangs.store(false, Ordering::SeqCst);
    here.clock.pass(limits::BREAKER_PAUSE);
    here.detokenize(&unseen()).await.unwrap_err();
    let replayer = tokio::spawn(here.replayer().run());
    let minute = Duration::from_secs(60);
    let mut last = 0;
    let mut of_each_minute = Vec::new();
    for _ in 0..30 {
        tokio::time::sleep(minute).await;
        let refused = counted(here, "refused");
        of_each_minute.push(refused - last);
        last = refused;
    }
    assert!((3..10).contains(&of_each_minute[0]), "{of_each_minute:?}");
    let late: u64 = of_each_minute[10..].iter().sum();
    assert!((5..40).contains(&late), "about once a minute: {of_each_minute:?}");
    // What else comes need not wait for it.
    here.store.hangs.store(true, Ordering::SeqCst);
    for _ in 0..limits::BREAKER_FAILURES {
        here.detokenize(&unseen()).await.unwrap_err();
    }
    let other = journaled(here, "other").await;
    here.store.hangs.store(false, Ordering::SeqCst);
    let mut waiting = here.journal.as_ref().unwrap().watch();
    here.clock.pass(limits::BREAKER_PAUSE);
    let healed = tokio::time::timeout(10 * limits::REPLAY_PAUSE, async {
        while *waiting.borrow_and_update() > 1 {
            here.clock.pass(limits::BREAKER_PAUSE);
            let _ = tokio::time::timeout(limits::BREAKER_PAUSE, waiting.changed()).await;
        }
    });
    healed.await.unwrap();
    assert_eq!(bridge.there.detokenize(&other).await, Ok("other".into()));
    *here.store.refuses.lock().unwrap() = None;
    replayer.abort();
    bridge.heal().await;
    assert_eq!(bridge.there.detokenize(&token).await, Ok("value".into()));
}

/// Storage comes back between the two, and somebody else finds out.
#[tokio::test(start_paused = true)]
async fn a_value_whose_metadata_waits_waits_behind_it() {
    for _ in 0..20 {
        let bridge = Bridge::new().await;
        let here = &bridge.here;
        here.store.room.store(0, Ordering::SeqCst);
        let others = async {
            loop {
                if bridge.pending() > 0 {
                    here.store.room.store(usize::MAX, Ordering::SeqCst);
                }
                here.vault.store.list(Name::RECORDS, None, 1).await.unwrap();
            }
        };
        let mut value = new_value("value");
        value.metadata = Some("{\"a\":1}".into());
        let call = call();
        let given = tokio::select! {
            given = here.vault.tokenize(&call, value) => given.unwrap(),
            () = others => unreachable!(),
        };
        assert_eq!((given.durability, bridge.pending()), (Durability::Journaled, 2));
        here.store.room.store(usize::MAX, Ordering::SeqCst);
        bridge.heal().await;
        let described = bridge.there.vault.metadata_get(&call, &given.token).await.unwrap();
        assert_eq!(described.metadata, "{\"a\":1}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_a_journaled_delete_does_not_say_stored() {
    let bridge = Bridge::new().await;
    bridge.outage().await;
    let call = call_with("order-2");
    let first = bridge.here.vault.tokenize(&call, new_value("value")).await.unwrap();
    bridge.here.delete(&first.token).await.unwrap();
    let again = bridge.here.vault.tokenize(&call, new_value("value")).await.unwrap();
    assert_eq!(again.durability, Durability::Journaled);
    assert_eq!(bridge.here.detokenize(&first.token).await, Err(Code::NotFound));
}

/// However often one object was written, and also after a crash: what was in between is nobody's any more.
#[tokio::test(start_paused = true)]
async fn of_what_one_record_was_in_turn_the_last_alone_is_replayed() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    bridge.outage().await;
    let (token, gone) = (journaled(here, "value").await, journaled(here, "gone").await);
    for version in 0..50 {
        let text = format!("{{\"v\":{version}}}");
        here.vault.metadata_set(&call(), &token, &text, None).await.unwrap();
    }
    here.delete(&gone).await.unwrap();
    let (crashed, writes) = (bridge.disk.pull(), here.store.writes.load(Ordering::SeqCst));
    bridge.heal().await;
    assert_eq!(here.store.writes.load(Ordering::SeqCst) - writes, 4, "two values, their metadata");
    let again = World::journaled(&bridge.backend, crashed.ledger(), BOUNDS).await;
    heal(&again).await;
    for world in [here, there, &again] {
        let described = world.vault.metadata_get(&call(), &token).await.unwrap();
        assert_eq!(described.metadata, "{\"v\":49}");
        assert_eq!(world.detokenize(&token).await, Ok("value".into()));
        assert_eq!(world.detokenize(&gone).await, Err(Code::NotFound));
    }
}

/// Grants that are made and taken back in turn, and their session: a few writes, and the last word stands.
#[tokio::test(start_paused = true)]
async fn of_a_grant_that_was_made_and_taken_back_in_turn_little_is_replayed() {
    for ends_revoked in [false, true] {
        let bridge = Bridge::new().await;
        let Bridge { here, there, .. } = &bridge;
        let (token, alice) = (there.tokenize("value").await, session("alice"));
        here.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
        bridge.outage().await;
        for _ in 0..20 {
            here.clock.pass(Duration::from_secs(1));
            here.revoke(&alice, &[&token]).await.unwrap();
            here.clock.pass(Duration::from_secs(1));
            here.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
        }
        here.revoke_all(&alice).await.unwrap();
        here.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
        if ends_revoked {
            here.clock.pass(Duration::from_secs(1));
            here.revoke(&alice, &[&token]).await.unwrap();
        }
        let (crashed, writes) = (bridge.disk.pull(), here.store.writes.load(Ordering::SeqCst));
        bridge.heal().await;
        let written = here.store.writes.load(Ordering::SeqCst) - writes;
        // The last revoke, the grant upon it, and a revoke for each other action.
        assert!(written <= 5, "{written}");
        // And once more, after a crash.
        let again = World::journaled(&bridge.backend, crashed.ledger(), BOUNDS).await;
        heal(&again).await;
        for world in [here, there, &again] {
            world.clock.pass(limits::CACHED_GRANT_AGE);
            let verdict = world.verdict(&alice, &token, Action::Detokenize).await;
            match ends_revoked {
                true => assert_eq!(verdict, Ok(Verdict::Denied)),
                false => assert!(matches!(verdict, Ok(Verdict::Valid(_))), "{verdict:?}"),
            }
        }
    }
}

/// Where storage refuses metadata, the value that it was stored with waits for it.
#[tokio::test(start_paused = true)]
async fn a_value_whose_metadata_is_refused_waits_behind_it() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    bridge.outage().await;
    let mut value = new_value("value");
    value.metadata = Some("{\"a\":1}".into());
    let token = here.vault.tokenize(&call(), value).await.unwrap().token;
    let other = journaled(here, "other").await;
    let metadata = Subject::new(token.clone(), Namespace::default(), Kind::Metadata, &[]).locator();
    let metadata = Name::record(&Namespace::default(), &metadata);
    *here.store.refuses.lock().unwrap() = Some(metadata);
    replayed_to(here, 2).await;
    assert_eq!(there.detokenize(&other).await, Ok("other".into()));
    assert_eq!(there.detokenize(&token).await, Err(Code::NotFound));
    assert_eq!(here.journal.as_ref().unwrap().refused().len(), 1);
    *here.store.refuses.lock().unwrap() = None;
    there.clock.pass(limits::CACHED_VALUE_AGE);
    bridge.heal().await;
    let described = there.vault.metadata_get(&call(), &token).await.unwrap();
    assert_eq!(described.metadata, "{\"a\":1}");
    assert_eq!(there.detokenize(&token).await, Ok("value".into()));
}

/// One object that storage refuses keeps itself waiting, and nothing else.
#[tokio::test(start_paused = true)]
async fn what_storage_refuses_waits_alone() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    bridge.outage().await;
    let mut tokens = Vec::new();
    for number in 0..20 {
        tokens.push(journaled(here, &number.to_string()).await);
    }
    *here.store.refuses.lock().unwrap() = Some(record(&tokens[0]));
    replayed_to(here, 1).await;
    let refused = Refused { kind: "value", code: Code::StorageUnavailable };
    let journal = here.journal.as_ref().unwrap();
    assert_eq!(journal.refused(), BTreeMap::from([(1, refused)]));
    for (number, token) in tokens.iter().enumerate().skip(1) {
        assert_eq!(there.detokenize(token).await, Ok(number.to_string()));
    }
    *here.store.refuses.lock().unwrap() = None;
    bridge.heal().await;
    assert_eq!(journal.refused(), BTreeMap::new());
    assert_eq!(there.detokenize(&tokens[0]).await, Ok("0".into()));
}

/// How often replay came to this.
fn counted(world: &World, result: &str) -> u64 {
    let start = format!("lunasec_journal_replayed_total{{result=\"{result}\"}} ");
    let metrics = world.telemetry.render();
    metrics.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_each_entry_is_counted() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let (granted, alice) = (there.tokenize("granted").await, session("alice"));
    there.grant(&alice, &granted, &[Action::Delete], HOUR).await.unwrap();
    let deleted = there.tokenize("deleted").await;
    for token in [&granted, &deleted] {
        here.detokenize(token).await.unwrap();
    }
    bridge.outage().await;
    let refused = journaled(here, "refused").await;
    journaled(here, "written").await;
    // A grant, and its session, which another sidecar knows, too.
    here.grant(&alice, &granted, &[Action::Detokenize], HOUR).await.unwrap();
    here.vault.metadata_set(&call(), &deleted, "{\"late\":true}", None).await.unwrap();
    there.delete(&deleted).await.unwrap();
    assert_eq!(bridge.pending(), 5);
    let before = bridge.disk.pull();
    *here.store.refuses.lock().unwrap() = Some(record(&refused));
    replayed_to(here, 1).await;
    let results = ["written", "present", "merged", "superseded"];
    assert_eq!(results.map(|result| counted(here, result)), [2, 0, 1, 1]);
    assert!(counted(here, "refused") > 0);
    *here.store.refuses.lock().unwrap() = None;
    bridge.heal().await;
    assert_eq!(results.map(|result| counted(here, result)), [3, 0, 1, 1]);
    // What a crash lets be replayed once more.
    let ledger = before.ledger();
    let again = World::journaled(&bridge.backend, ledger, BOUNDS).await;
    heal(&again).await;
    assert_eq!(results.map(|result| counted(&again, result)), [0, 4, 0, 1]);
    assert_eq!(counted(&again, "refused"), 0);
}

fn record(token: &Token) -> Name {
    let namespace = Namespace::default();
    let subject = Subject::new(token.clone(), namespace.clone(), Kind::Value, &[]);
    Name::record(&namespace, &subject.locator())
}

#[tokio::test(start_paused = true)]
async fn a_revoke_is_renewed_for_grants_that_wait_elsewhere() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let ledger = Disk::default().ledger();
    let elsewhere = World::journaled(&bridge.backend, ledger, BOUNDS).await;
    let (token, alice) = (there.tokenize("value").await, session("alice"));
    there.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
    assert_eq!(elsewhere.revoke(&alice, &[&token]).await, Ok(1));
    here.detokenize(&token).await.unwrap();
    bridge.outage().await;
    for world in [here, &elsewhere] {
        world.clock.pass(Duration::from_secs(120));
    }
    here.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
    elsewhere.clock.pass(Duration::from_secs(1));
    assert_eq!(elsewhere.revoke(&alice, &[&token]).await, Ok(0));
    bridge.heal().await;
    let verdict = elsewhere.verdict(&alice, &token, Action::Detokenize).await;
    assert_eq!(verdict, Ok(Verdict::Denied));
}

/// A session that is taken back again and again within a minute, and granted anew, here and elsewhere; and all that
/// waited of it is replayed once more after a crash.
/// Whichever of them is replayed first: the grant was made on the first revoke, and knows nothing of the second.
#[tokio::test(start_paused = true)]
async fn a_second_revoke_that_waits_is_not_lost_to_the_first() {
    for revoke_first in [false, true] {
        let bridge = Bridge::new().await;
        let (here, there) = (&bridge.here, &bridge.there);
        let elsewhere = World::journaled(&bridge.backend, Disk::default().ledger(), BOUNDS).await;
        let (token, alice) = (there.tokenize("value").await, session("alice"));
        there.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
        for world in [here, &elsewhere] {
            world.detokenize(&token).await.unwrap();
            let verdict = world.verdict(&alice, &token, Action::Detokenize).await;
            assert!(matches!(verdict, Ok(Verdict::Valid(_))));
        }
        elsewhere.revoke(&alice, &[&token]).await.unwrap();
        bridge.outage().await;
        elsewhere.store.hangs.store(true, Ordering::SeqCst);
        let second = Duration::from_secs(1);
        for world in [here, there, &elsewhere] {
            world.clock.pass(second);
        }
        elsewhere.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
        here.clock.pass(second);
        here.revoke(&alice, &[&token]).await.unwrap();
        let (first, last) = if revoke_first { (here, &elsewhere) } else { (&elsewhere, here) };
        heal(first).await;
        heal(last).await;
        there.clock.pass(limits::CACHED_GRANT_AGE);
        let verdict = there.verdict(&alice, &token, Action::Detokenize).await;
        assert_eq!(verdict, Ok(Verdict::Denied), "revoke first: {revoke_first}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_done_one_after_another_is_not_in_doubt() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    let (token, alice) = (there.tokenize("value").await, session("alice"));
    there.grant(&alice, &token, &[Action::Delete], HOUR).await.unwrap();
    there.revoke_all(&alice).await.unwrap();
    here.detokenize(&token).await.unwrap();
    here.verdict(&alice, &token, Action::Delete).await.unwrap();
    bridge.outage().await;
    for _ in 0..2 {
        here.clock.pass(Duration::from_secs(1));
        here.revoke_all(&alice).await.unwrap();
    }
    here.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
    let crashed = bridge.disk.pull();
    bridge.heal().await;
    there.clock.pass(Duration::from_secs(3));
    there.grant(&alice, &token, &[Action::Metadata], HOUR).await.unwrap();
    let again = World::journaled(&bridge.backend, crashed.ledger(), BOUNDS).await;
    assert_eq!(again.journal.as_ref().unwrap().pending().count, 3);
    heal(&again).await;
    for world in [&again, there] {
        for action in [Action::Detokenize, Action::Metadata] {
            let granted = world.verdict(&alice, &token, action).await;
            assert!(matches!(granted, Ok(Verdict::Valid(_))), "{granted:?}");
        }
        assert_eq!(world.verdict(&alice, &token, Action::Delete).await, Ok(Verdict::Denied));
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_journal_refuses_and_loses_nothing() {
    let bridge = Bridge::bounded(Bounds { bytes: 16_384, ..BOUNDS }).await;
    let Bridge { here, there, .. } = &bridge;
    bridge.outage().await;
    let mut tokens = Vec::new();
    let code = loop {
        match here.vault.tokenize(&call(), new_value("value")).await {
            Ok(given) => tokens.push(given.token),
            Err(failure) => break failure.code,
        }
    };
    assert_eq!(code, Code::JournalFull);
    assert!(tokens.len() > 5);
    // There is room left to take something back.
    let deleted = tokens.pop().unwrap();
    here.delete(&deleted).await.unwrap();
    assert_eq!(here.detokenize(&tokens[0]).await, Ok("value".into()));
    bridge.heal().await;
    for token in &tokens {
        assert_eq!(there.detokenize(token).await, Ok("value".into()));
    }
    here.tokenize("again").await;
}

/// The value's tombstone and the metadata's go into the journal together, or neither does.
#[tokio::test(start_paused = true)]
async fn a_delete_that_finds_the_journal_full_has_done_nothing() {
    for waits in [false, true] {
        let (mut refused, mut done) = (0, 0);
        for bytes in (0..4_000).step_by(100) {
            let bridge = Bridge::bounded(Bounds { bytes, ..BOUNDS }).await;
            let Bridge { here, there, .. } = &bridge;
            let token = here.tokenize("value").await;
            if waits {
                // Metadata that waits, and a value that does not.
                bridge.outage().await;
                let set = here.vault.metadata_set(&call(), &token, "{\"v\":1}", None).await;
                if set.is_err() {
                    continue;
                }
            } else {
                here.store.hangs.store(true, Ordering::SeqCst);
            }
            match here.delete(&token).await {
                Ok(()) => {
                    done += 1;
                    assert_eq!(here.detokenize(&token).await, Err(Code::NotFound));
                }
                Err(code) => {
                    refused += 1;
                    assert_eq!(code, Code::JournalFull);
                    assert_eq!(here.detokenize(&token).await, Ok("value".into()), "{bytes}");
                    assert_eq!(bridge.pending(), u64::from(waits));
                    bridge.heal().await;
                    assert_eq!(there.detokenize(&token).await, Ok("value".into()));
                }
            }
        }
        assert!(refused > 1 && done > 1, "{refused} {done}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_a_full_journal_and_heals() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, disk, .. } = &bridge;
    bridge.outage().await;
    let before = journaled(here, "before").await;
    disk.fill(true);
    let refused = here.vault.tokenize(&call(), new_value("x")).await.unwrap_err();
    assert_eq!(refused.code, Code::JournalFull);
    disk.fill(false);
    let after = journaled(here, "after").await;
    bridge.heal().await;
    for (token, value) in [(before, "before"), (after, "after")] {
        assert_eq!(there.detokenize(&token).await, Ok(value.into()));
    }
}

/// It takes not even the few pages that opening a database changes.
#[tokio::test(start_paused = true)]
async fn what_waits_is_read_and_replayed_by_a_process_that_begins_on_a_full_disk() {
    let mut bridge = Bridge::new().await;
    bridge.outage().await;
    let mut tokens = vec![journaled(&bridge.here, "before").await];
    bridge.disk = bridge.disk.pull();
    bridge.disk.fill(true);
    let ledger = bridge.disk.ledger();
    bridge.here = World::journaled(&bridge.backend, ledger, BOUNDS).await;
    let Bridge { here, there, disk, .. } = &bridge;
    assert_eq!(here.detokenize(&tokens[0]).await, Ok("before".into()));
    // Its keys are known, and storage is away.
    here.tokenize("warms").await;
    bridge.outage().await;
    let refused = here.vault.tokenize(&call(), new_value("x")).await.unwrap_err();
    assert_eq!(refused.code, Code::JournalFull);
    disk.fill(false);
    tokens.push(journaled(here, "after").await);
    disk.fill(true);
    here.store.hangs.store(false, Ordering::SeqCst);
    let replayer = tokio::spawn(here.replayer().run());
    for (token, value) in tokens.iter().zip(["before", "after"]) {
        while there.detokenize(token).await != Ok(value.into()) {
            here.clock.pass(limits::BREAKER_PAUSE);
            there.clock.pass(limits::BREAKER_PAUSE);
            tokio::time::sleep(limits::BREAKER_PAUSE).await;
        }
    }
    replayer.abort();
    disk.fill(false);
    bridge.heal().await;
}

/// It does not give what waited before for what is there now, long before it has gone through all of it.
#[tokio::test(start_paused = true)]
async fn a_process_that_finds_what_was_stored_already_asks_what_became_of_it_since() {
    let mut bridge = Bridge::new().await;
    let (granted, alice) = (bridge.there.tokenize("granted").await, session("alice"));
    bridge.here.detokenize(&granted).await.unwrap();
    bridge.outage().await;
    for number in 0..2 * limits::REPLAY_PAGE {
        journaled(&bridge.here, &number.to_string()).await;
    }
    let deleted = journaled(&bridge.here, "deleted").await;
    bridge.here.grant(&alice, &granted, &[Action::Detokenize], HOUR).await.unwrap();
    bridge.disk.fill(true);
    bridge.here.store.hangs.store(false, Ordering::SeqCst);
    let replayer = tokio::spawn(bridge.here.replayer().run());
    while bridge.pending() > 0 {
        bridge.here.clock.pass(limits::BREAKER_PAUSE);
        tokio::time::sleep(limits::BREAKER_PAUSE).await;
    }
    replayer.abort();
    bridge.here.revoke_all(&alice).await.unwrap();
    bridge.here.delete(&deleted).await.unwrap();
    bridge.restart().await;
    let here = &bridge.here;
    assert!(bridge.pending() > 0, "the disk could not forget");
    let replayer = tokio::spawn(here.replayer().run());
    tokio::task::yield_now().await;
    let verdict = here.verdict(&alice, &granted, Action::Detokenize).await;
    assert_eq!(verdict, Ok(Verdict::Denied));
    assert_eq!(here.detokenize(&deleted).await, Err(Code::NotFound));
    assert!(bridge.pending() > 0, "it has not come to that by itself");
    replayer.abort();
}

/// A disk that does what it is told, and says that it could not: whatever it removes, and what it takes at will.
struct Denies {
    disk: Arc<DiskLedger>,
    takes: AtomicBool,
}

impl Denies {
    fn error() -> DbError {
        DbError::Io("the disk".into(), "it says so".into())
    }
}

#[async_trait]
impl Ledger for Denies {
    async fn append(&self, at: Millis, drafts: Vec<Draft>) -> Result<Vec<Option<u64>>, DbError> {
        let numbers = self.disk.append(at, drafts).await?;
        if self.takes.load(Ordering::SeqCst) { Err(Self::error()) } else { Ok(numbers) }
    }

    async fn last(&self, name: &Name) -> Result<Option<Entry>, DbError> {
        self.disk.last(name).await
    }

    async fn page(&self, after: u64, count: usize, bytes: usize) -> Result<Vec<Entry>, DbError> {
        self.disk.page(after, count, bytes).await
    }

    async fn remove(&self, numbers: Vec<u64>) -> Result<(), DbError> {
        self.disk.remove(numbers).await?;
        Err(Self::error())
    }

    async fn contents(&self) -> Result<Vec<(u64, Millis, Name, usize)>, DbError> {
        self.disk.contents().await
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_by_a_disk_that_denies_it_is_not_waited_for() {
    let backend = Backend::memory();
    let ledger = Denies { disk: Disk::default().ledger(), takes: AtomicBool::new(false) };
    let here = World::journaled(&backend, Arc::new(ledger), BOUNDS).await;
    here.tokenize("warms").await;
    here.store.hangs.store(true, Ordering::SeqCst);
    let token = journaled(&here, "value").await;
    heal(&here).await;
    assert_eq!(World::on(&backend).detokenize(&token).await, Ok("value".into()));
}

/// What is refused is tried again and again, between writes that are not: what the status says of storage has to
/// stay what it is, and the refused entry has a name of its own in it.
#[tokio::test]
async fn one_write_that_is_refused_again_and_again_does_not_make_the_state_flap() {
    let (world, telemetry) = (World::in_memory(), Telemetry::new(Arc::new(FakeClock::default())));
    let storage = Arc::clone(&telemetry.storage);
    let store = Measured::new(world.store.clone(), Arc::clone(&storage));
    let name = |number: u8| Name::record(&Namespace::default(), &Locator([number; Locator::LEN]));
    let state = || storage.health().state;
    let mut next = 100;
    let mut others_are_taken = async || {
        next += 1;
        store.put_new(&name(next), b"x".as_slice().into()).await.unwrap();
    };
    for number in 1..=2 {
        *world.store.refuses.lock().unwrap() = Some(name(number));
        let refused = async || store.put_new(&name(number), b"x".as_slice().into()).await;
        refused().await.unwrap_err();
        assert_eq!(state(), DependencyState::Degraded, "another than before is news");
        refused().await.unwrap_err();
        assert_eq!(state(), DependencyState::Degraded, "as long as nothing else says otherwise");
        for _ in 0..5 {
            others_are_taken().await;
            assert_eq!(state(), DependencyState::Up);
            refused().await.unwrap_err();
            assert_eq!(state(), DependencyState::Up);
        }
    }
    // What was taken since is refused anew.
    *world.store.refuses.lock().unwrap() = None;
    store.put_new(&name(1), b"x".as_slice().into()).await.unwrap();
    *world.store.refuses.lock().unwrap() = Some(name(1));
    store.put_new(&name(1), b"x".as_slice().into()).await.unwrap_err();
    assert_eq!(state(), DependencyState::Degraded);
    let counted = r#"operation="put_new",result="refused"} 15"#;
    assert!(telemetry.render().contains(counted), "{}", telemetry.render());
}

/// What was not acknowledged is in nobody's way, and is not taken for what was.
#[tokio::test(start_paused = true)]
async fn what_was_written_by_a_disk_that_denies_it_is_written_again() {
    let backend = Backend::memory();
    let ledger = Denies { disk: Disk::default().ledger(), takes: AtomicBool::new(false) };
    let ledger = Arc::new(ledger);
    let here = World::journaled(&backend, Arc::clone(&ledger) as _, BOUNDS).await;
    let (token, alice) = (here.tokenize("warms").await, session("alice"));
    here.vault.keyring.index(&Namespace::default()).await.unwrap();
    here.store.hangs.store(true, Ordering::SeqCst);
    let call = call_with("order-1");
    ledger.takes.store(true, Ordering::SeqCst);
    here.vault.tokenize(&call, new_value("value")).await.unwrap_err();
    here.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap_err();
    ledger.takes.store(false, Ordering::SeqCst);
    let again = here.vault.tokenize(&call, new_value("value")).await.unwrap();
    assert_eq!(again.durability, Durability::Journaled);
    assert_eq!(here.detokenize(&again.token).await, Ok("value".into()));
    here.grant(&alice, &token, &[Action::Detokenize], HOUR).await.unwrap();
    heal(&here).await;
    let fresh = World::on(&backend);
    assert_eq!(fresh.detokenize(&again.token).await, Ok("value".into()));
    let verdict = fresh.verdict(&alice, &token, Action::Detokenize).await;
    assert!(matches!(verdict, Ok(Verdict::Valid(_))), "{verdict:?}");
}

#[tokio::test(start_paused = true)]
async fn what_has_waited_for_too_long_waits_for_an_operator() {
    let age = 24 * HOUR;
    let bridge = Bridge::bounded(Bounds { age, ..BOUNDS }).await;
    let Bridge { here, there, .. } = &bridge;
    bridge.outage().await;
    let token = journaled(here, "value").await;
    here.clock.pass(age + Duration::from_millis(1));
    let refused = here.vault.tokenize(&call(), new_value("x")).await.unwrap_err();
    assert_eq!(refused.code, Code::JournalFull);
    here.store.hangs.store(false, Ordering::SeqCst);
    let replayer = tokio::spawn(here.replayer().run());
    tokio::time::sleep(HOUR).await;
    replayer.abort();
    assert_eq!(bridge.pending(), 1, "it is neither replayed nor thrown away");
    assert_eq!(there.detokenize(&token).await, Err(Code::NotFound));
    // As `--replay-stale-journal` does.
    let ledger = bridge.disk.pull().ledger();
    let told = World::journaled(&bridge.backend, ledger, Bounds { age: Duration::MAX, ..BOUNDS });
    heal(&told.await).await;
    assert_eq!(there.detokenize(&token).await, Ok("value".into()));
}

#[tokio::test(start_paused = true)]
async fn a_retry_finds_its_token_in_the_journal_and_after_the_replay() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, .. } = &bridge;
    bridge.outage().await;
    let call = call_with("order-1");
    let first = here.vault.tokenize(&call, new_value("value")).await.unwrap();
    let again = here.vault.tokenize(&call, new_value("value")).await.unwrap();
    assert_eq!(first.token.expose(), again.token.expose());
    assert_eq!(
        (first.durability, again.durability),
        (Durability::Journaled, Durability::Journaled)
    );
    assert_eq!(bridge.pending(), 1);
    bridge.heal().await;
    let last = here.vault.tokenize(&call, new_value("value")).await.unwrap();
    assert_eq!((last.token.expose(), last.durability), (first.token.expose(), Durability::Stored));
    assert_eq!(there.detokenize(&first.token).await, Ok("value".into()));
}

/// A data key that only one sidecar knows would seal what no other could open.
#[tokio::test(start_paused = true)]
async fn wrapped_keys_are_never_journaled() {
    let backend = Backend::memory();
    let ledger = Disk::default().ledger();
    let here = World::journaled(&backend, ledger, BOUNDS).await;
    here.store.hangs.store(true, Ordering::SeqCst);
    let refused = here.vault.tokenize(&call(), new_value("x")).await.unwrap_err();
    assert_eq!(refused.code, Code::KeysUnavailable);
    let name = Name::from_text("k/default/index");
    assert!(here.vault.store.put_new(&name, b"x".as_slice().into()).await.is_err());
    assert_eq!(here.journal.as_ref().unwrap().pending().count, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_and_cannot_be_removed_from_a_full_disk_is_looked_past() {
    let bridge = Bridge::new().await;
    let Bridge { here, there, disk, .. } = &bridge;
    bridge.outage().await;
    let (deleted, kept) = (journaled(here, "deleted").await, journaled(here, "kept").await);
    disk.fill(true);
    let replayer = tokio::spawn(here.replayer().run());
    here.store.hangs.store(false, Ordering::SeqCst);
    while there.detokenize(&kept).await.is_err() {
        here.clock.pass(limits::BREAKER_PAUSE);
        there.clock.pass(limits::BREAKER_PAUSE);
        tokio::time::sleep(limits::BREAKER_PAUSE).await;
    }
    let journal = here.journal.as_ref().unwrap();
    tokio::time::sleep(2 * limits::REPLAY_PAUSE).await;
    let left = *journal.watch().borrow();
    assert_eq!((left, bridge.pending()), (2, 0), "the disk cannot forget them, and nothing waits");
    there.delete(&deleted).await.unwrap();
    there.vault.metadata_set(&call(), &kept, "{\"v\":1}", None).await.unwrap();
    let writes = here.store.writes.load(Ordering::SeqCst);
    for _ in 0..100 {
        here.clock.pass(limits::BREAKER_PAUSE);
        tokio::time::sleep(limits::BREAKER_PAUSE).await;
    }
    assert_eq!(here.store.writes.load(Ordering::SeqCst), writes, "and nothing is written again");
    assert_eq!(here.detokenize(&deleted).await, Err(Code::NotFound));
    // Also not by the next outage: what is written then comes behind it, once there is room.
    disk.fill(false);
    here.store.hangs.store(true, Ordering::SeqCst);
    here.delete(&kept).await.unwrap();
    assert_eq!(here.detokenize(&kept).await, Err(Code::NotFound));
    // The value's tombstone and the metadata's.
    assert_eq!(bridge.pending(), 2);
    here.store.hangs.store(false, Ordering::SeqCst);
    while bridge.pending() > 0 {
        here.clock.pass(limits::BREAKER_PAUSE);
        tokio::time::sleep(limits::BREAKER_PAUSE).await;
    }
    assert_eq!(*journal.watch().borrow(), 0);
    assert_eq!(journal.pending().bytes, 0);
    replayer.abort();
    there.clock.pass(limits::CACHED_VALUE_AGE);
    assert_eq!(there.detokenize(&kept).await, Err(Code::NotFound));
}
