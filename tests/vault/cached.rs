//! What a sidecar remembers, and for how long it believes it.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, future::join};
use lunasec_api::Code;
use lunasec_core::{
    grant::Action,
    ids::{Locator, Namespace, Session},
    limits,
    record::Kind,
    token::Token,
};
use lunasec_sidecar::{
    store::{Ages, Kept, Name, Store},
    vault::{Terms, Verdict},
};
use lunasec_tests::{
    Backend,
    disk::Disk,
    world::{HOUR, START, World, call},
};

fn reads(world: &World) -> usize {
    world.store.gets.load(Ordering::SeqCst)
}

fn alice() -> Session {
    Session::parse("alice").unwrap()
}

async fn grant(world: &World, tokens: &[Token]) {
    let tokens: Vec<_> = tokens.iter().cloned().map(Ok).collect();
    let terms = Terms { actions: vec![Action::Detokenize], expires_in: HOUR };
    let granted = world.vault.grants_create(&call(), &alice(), &tokens, &terms).await.unwrap();
    assert!(granted.iter().all(Result::is_ok));
}

async fn verify(world: &World, tokens: &[Token]) -> Vec<Verdict> {
    let tokens: Vec<_> = tokens.iter().cloned().map(Ok).collect();
    let verdicts =
        world.vault.grants_verify(&call(), &alice(), &tokens, Action::Detokenize).await.unwrap();
    verdicts.into_iter().map(|verified| verified.unwrap().verdict).collect()
}

#[tokio::test]
async fn what_was_read_or_written_here_is_not_read_again() {
    let backend = Backend::memory();
    let (here, there) = (World::remembering(&backend), World::remembering(&backend));
    let mut tokens = Vec::new();
    for at in 0..100 {
        tokens.push(here.tokenize(&format!("value {at}")).await);
    }
    grant(&here, &tokens).await;
    for world in [&here, &there] {
        verify(world, &tokens).await;
        let before = reads(world);
        let valid = |verdict: &Verdict| matches!(verdict, Verdict::Valid(_));
        assert!(verify(world, &tokens).await.iter().all(valid));
        for token in &tokens {
            world.detokenize(token).await.unwrap();
        }
        assert_eq!(reads(world), before);
    }
}

#[tokio::test]
async fn what_others_delete_is_unseen_no_longer_than_documented() {
    let backend = Backend::memory();
    let (here, there) = (World::remembering(&backend), World::remembering(&backend));
    let token = here.tokenize("value").await;
    assert_eq!(here.detokenize(&token).await, Ok("value".into()));
    there.delete(&token).await.unwrap();
    assert_eq!(there.detokenize(&token).await, Err(Code::NotFound));
    here.clock.pass(limits::CACHED_VALUE_AGE - Duration::from_millis(1));
    assert_eq!(here.detokenize(&token).await, Ok("value".into()));
    here.clock.pass(Duration::from_millis(1));
    assert_eq!(here.detokenize(&token).await, Err(Code::NotFound));
}

#[tokio::test]
async fn what_others_revoke_is_unseen_no_longer_than_documented() {
    for all in [true, false] {
        let backend = Backend::memory();
        let (here, there) = (World::remembering(&backend), World::remembering(&backend));
        let token = here.tokenize("value").await;
        grant(&here, std::slice::from_ref(&token)).await;
        let says = async |world: &World| verify(world, std::slice::from_ref(&token)).await[0];
        assert!(matches!(says(&here).await, Verdict::Valid(_)));
        assert!(matches!(says(&there).await, Verdict::Valid(_)));
        if all {
            there.vault.grants_revoke_all(&call(), &alice()).await.unwrap();
        } else {
            let (call, tokens) = (call(), [token.clone()]);
            let revoked = there.vault.grants_revoke(&call, &alice(), &tokens).await.unwrap();
            assert_eq!(revoked.count, Some(1));
        }
        assert_eq!(says(&there).await, Verdict::Denied);
        here.clock.pass(limits::CACHED_GRANT_AGE - Duration::from_millis(1));
        assert!(matches!(says(&here).await, Verdict::Valid(_)));
        here.clock.pass(Duration::from_millis(1));
        assert_eq!(says(&here).await, Verdict::Denied);
    }
}

#[tokio::test]
async fn what_others_grant_where_nothing_was_is_seen_after_a_second() {
    let backend = Backend::memory();
    let (here, there) = (World::remembering(&backend), World::remembering(&backend));
    let token = here.tokenize("value").await;
    assert_eq!(verify(&here, std::slice::from_ref(&token)).await, [Verdict::Denied]);
    grant(&there, std::slice::from_ref(&token)).await;
    here.clock.pass(limits::CACHED_NOTHING_AGE);
    let seen = verify(&here, std::slice::from_ref(&token)).await;
    assert!(matches!(seen[..], [Verdict::Valid(_)]));
}

#[tokio::test]
async fn a_grant_made_here_counts_although_another_revoked_before() {
    let backend = Backend::memory();
    let (here, there) = (World::remembering(&backend), World::remembering(&backend));
    let tokens = [here.tokenize("value").await];
    grant(&here, &tokens).await;
    verify(&here, &tokens).await;
    there.vault.grants_revoke_all(&call(), &alice()).await.unwrap();
    // What is remembered of the session is out of date, and a grant under that would be void.
    grant(&here, &tokens).await;
    let fresh = verify(&World::on(&backend), &tokens).await;
    assert!(matches!(fresh[..], [Verdict::Valid(_)]));
    assert!(matches!(verify(&here, &tokens).await[..], [Verdict::Valid(_)]));
}

#[tokio::test]
async fn what_another_granted_after_it_took_everything_back_is_seen_at_once() {
    let backend = Backend::memory();
    let (here, there) = (World::remembering(&backend), World::remembering(&backend));
    let (first, second) = ([here.tokenize("first").await], [here.tokenize("second").await]);
    grant(&here, &first).await;
    assert!(matches!(verify(&here, &first).await[..], [Verdict::Valid(_)]));
    there.vault.grants_revoke_all(&call(), &alice()).await.unwrap();
    grant(&there, &second).await;
    assert!(matches!(verify(&here, &second).await[..], [Verdict::Valid(_)]));
    // With what was found out so, what was taken back is seen, too.
    assert_eq!(verify(&here, &first).await, [Verdict::Denied]);
}

#[tokio::test]
async fn what_another_granted_is_taken_back_although_it_is_not_seen_yet() {
    let backend = Backend::memory();
    let (here, there) = (World::remembering(&backend), World::remembering(&backend));
    let token = here.tokenize("value").await;
    let tokens = std::slice::from_ref(&token);
    // First it remembers that nothing is there, then what it wrote when it took the grant back.
    assert_eq!(verify(&here, tokens).await, [Verdict::Denied]);
    for _ in 0..2 {
        grant(&there, tokens).await;
        assert_eq!(verify(&here, tokens).await, [Verdict::Denied]);
        assert_eq!(here.revoke(&alice(), &[&token]).await, Ok(1));
        assert_eq!(verify(&World::on(&backend), tokens).await, [Verdict::Denied]);
    }
}

#[tokio::test]
async fn metadata_that_others_set_is_unseen_no_longer_than_documented() {
    let backend = Backend::memory();
    let (here, there) = (World::remembering(&backend), World::remembering(&backend));
    let token = here.tokenize("value").await;
    let get = async |world: &World| {
        let described = world.vault.metadata_get(&call(), &token).await.unwrap();
        (described.metadata, described.version)
    };
    assert_eq!(get(&here).await, ("{}".into(), 0));
    let (first, second) = (r#"{"a":1}"#, r#"{"a":2}"#);
    there.vault.metadata_set(&call(), &token, first, None).await.unwrap();
    // That there was none is believed for a moment.
    here.clock.pass(limits::CACHED_NOTHING_AGE);
    assert_eq!(get(&here).await, (first.into(), 1));
    there.vault.metadata_set(&call(), &token, second, None).await.unwrap();
    let before = reads(&here);
    here.clock.pass(limits::CACHED_VALUE_SOFT - Duration::from_millis(1));
    assert_eq!(get(&here).await, (first.into(), 1));
    // The value was written earlier, and is read again on the side.
    assert!(reads(&here) - before <= 1);
    here.clock.pass(limits::CACHED_VALUE_AGE - limits::CACHED_VALUE_SOFT);
    assert_eq!(get(&here).await, (first.into(), 1));
    here.clock.pass(Duration::from_millis(1));
    assert_eq!(get(&here).await, (second.into(), 2));
}

/// Else a version that was seen would be refused though it is the last, or taken though it is not.
#[tokio::test]
async fn what_metadata_is_set_over_is_not_what_is_remembered() {
    let backend = Backend::memory();
    let (here, there) = (World::remembering(&backend), World::remembering(&backend));
    let token = here.tokenize("value").await;
    let set = async |world: &World, text: &str, version| {
        let written = world.vault.metadata_set(&call(), &token, text, version).await;
        written.map(|written| written.version).map_err(|failure| failure.code)
    };
    let got = async || {
        let described = here.vault.metadata_get(&call(), &token).await.unwrap();
        (described.metadata, described.version)
    };
    assert_eq!(set(&here, r#"{"a":1}"#, Some(0)).await, Ok(1));
    assert_eq!(set(&there, r#"{"a":2}"#, Some(1)).await, Ok(2));
    // What is remembered here is the first, and what counts is the second.
    assert_eq!(got().await.1, 1);
    let before = here.store.writes.load(Ordering::SeqCst);
    assert_eq!(set(&here, r#"{"a":3}"#, Some(1)).await, Err(Code::Conflict));
    assert_eq!(here.store.writes.load(Ordering::SeqCst), before);
    // Whoever was refused sees why.
    assert_eq!(got().await, (r#"{"a":2}"#.into(), 2));
    assert_eq!(set(&there, r#"{"a":4}"#, Some(2)).await, Ok(3));
    assert_eq!(set(&here, r#"{"a":5}"#, Some(3)).await, Ok(4));
    assert_eq!(got().await, (r#"{"a":5}"#.into(), 4));
}

#[tokio::test]
async fn a_read_under_way_does_not_bring_back_what_a_write_replaced() {
    for round in 0..300 {
        let backend = Backend::memory();
        let (writer, here) = (World::on(&backend), World::remembering(&backend));
        let token = writer.tokenize(&format!("value {round}")).await;
        let (_, deleted) = join(here.detokenize(&token), here.delete(&token)).await;
        deleted.unwrap();
        assert_eq!(here.detokenize(&token).await, Err(Code::NotFound), "round {round}");
    }
}

#[tokio::test]
async fn a_write_that_is_given_up_leaves_nothing_to_believe() {
    let backend = Backend::memory();
    for round in 0..64 {
        let here = World::remembering(&backend);
        let token = here.tokenize(&format!("value {round}")).await;
        here.detokenize(&token).await.unwrap();
        {
            let mut delete = std::pin::pin!(here.delete(&token));
            for _ in 0..round {
                if delete.as_mut().now_or_never().is_some() {
                    break;
                }
            }
        }
        // Whichever it is, it is what the store says.
        let said = World::on(&backend).detokenize(&token).await;
        assert_eq!(here.detokenize(&token).await, said, "round {round}");
    }
}

/// Nothing can be removed from a full disk, so it is known to be there: it is not given, and forgotten like anything else.
#[tokio::test]
async fn a_disk_cache_that_begins_on_a_full_disk_after_its_clock_was_set_back_gives_nothing() {
    let name = Name::record(&Namespace::default(), &Locator([1; Locator::LEN])).of(Kind::Value);
    let bytes: Bytes = [&[1, 1, 1, 0][..], &[7; 124]].concat().into();
    for back in [30_000, 120_000] {
        let (world, mut disk) = (World::in_memory(), Disk::default());
        let open = async |disk: &Disk| {
            let (store, clock) = (world.store.clone(), world.clock.clone());
            Kept::open(store, disk.open(), clock, Ages::default(), 1 << 20).await.unwrap()
        };
        let away = |away| world.store.away.store(away, Ordering::SeqCst);
        let kept = open(&disk).await;
        let version = kept.put_new(&name, bytes.clone()).await.unwrap();
        away(true);
        while kept.get(&name).await.is_err() {
            tokio::task::yield_now().await;
        }
        drop(kept);
        disk = disk.pull();
        disk.fill(true);
        world.clock.set(START - back);
        let kept = open(&disk).await;
        assert!(kept.get(&name).await.is_err());
        disk.fill(false);
        away(false);
        assert_eq!(kept.remove_if(&name, &version).await, Ok(true));
        drop(kept);
        world.clock.set(START + 60_000);
        disk = disk.pull();
        let kept = open(&disk).await;
        away(true);
        assert!(kept.get(&name).await.is_err(), "what was removed is given again");
    }
}
