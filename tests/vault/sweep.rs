use std::{sync::atomic::Ordering, time::Duration};

use futures_util::future::{join, join_all};
use lunasec_api::{Code, SweepPage};
use lunasec_core::{grant::Action, ids::Session, limits, record::HEADER_LEN};
use lunasec_sidecar::{
    store::{Name, Store},
    vault::{Graces, NewValue, Terms, Verdict},
};

use lunasec_tests::world::{HOUR, World, call, new_value};

const AT_ONCE: Graces =
    Graces { expired: Duration::ZERO, tombstone: limits::TOMBSTONE_GRACE_LEAST };

/// All pages.
async fn sweep(world: &World, graces: Graces, dry_run: bool) -> SweepPage {
    let (mut total, mut after) = (SweepPage::default(), None::<Name>);
    loop {
        let page = world.vault.sweep(&call(), graces, after.as_ref(), dry_run).await.unwrap();
        assert!(page.examined <= limits::PAGE as u64);
        total.examined += page.examined;
        total.expired += page.expired;
        total.tombstones += page.tombstones;
        total.unreadable += page.unreadable;
        total.requests += page.requests;
        match page.next {
            Some(next) => after = Some(Name::from_text(&next)),
            None => return total,
        }
    }
}

#[tokio::test]
async fn graces_hold_to_the_millisecond() {
    for world in [World::in_memory(), World::embedded()] {
        world.tokenize_for("value", HOUR).await;
        let deleted = world.tokenize("deleted").await;
        world.delete(&deleted).await.unwrap();
        let graces = Graces { expired: 3 * HOUR, tombstone: 50 * HOUR };
        let removed = async |graces| {
            let page = sweep(&world, graces, false).await;
            (page.expired, page.tombstones)
        };
        world.clock.pass(4 * HOUR - Duration::from_millis(1));
        assert_eq!(removed(graces).await, (0, 0));
        world.clock.pass(Duration::from_millis(1));
        assert_eq!(removed(graces).await, (1, 0));
        world.clock.pass(46 * HOUR - Duration::from_millis(1));
        assert_eq!(removed(graces).await, (0, 0));
        world.clock.pass(Duration::from_millis(1));
        assert_eq!(removed(graces).await, (0, 2));
        assert_eq!(world.records().await, 0);
    }
}

#[tokio::test]
async fn tombstones_are_kept_for_48_hours_at_least() {
    let world = World::in_memory();
    let graces =
        Graces { tombstone: limits::TOMBSTONE_GRACE_LEAST - Duration::from_millis(1), ..AT_ONCE };
    for dry_run in [true, false] {
        let failure = world.vault.sweep(&call(), graces, None, dry_run).await.err().unwrap();
        assert_eq!(failure.code, Code::InvalidRequest);
    }
}

#[tokio::test]
async fn pages_cover_every_record_once_and_a_dry_run_removes_nothing() {
    for world in [World::in_memory(), World::embedded()] {
        for chunk in 0..5 {
            let values = (0..500)
                .map(|at| {
                    let expires_in = (at % 2 == 0).then_some(HOUR);
                    Ok(NewValue { expires_in, ..new_value(&format!("{chunk}/{at}")) })
                })
                .collect();
            let items = world.vault.tokenize_batch(&call(), values).await.unwrap();
            assert!(items.iter().all(Result::is_ok));
        }
        world.clock.pass(HOUR);
        for _ in 0..2 {
            let page = sweep(&world, AT_ONCE, true).await;
            assert_eq!((page.examined, page.expired, page.requests), (2_500, 1_250, 4));
        }
        assert_eq!(world.records().await, 2_500);
        let page = sweep(&world, AT_ONCE, false).await;
        assert_eq!((page.examined, page.expired, page.tombstones), (2_500, 1_250, 0));
        assert_eq!((page.requests, world.records().await), (4 + 1_250, 1_250));
        assert_eq!(sweep(&world, AT_ONCE, false).await.expired, 0);
    }
}

#[tokio::test]
async fn a_session_goes_when_the_last_of_its_grants_could_not_count_any_more() {
    for world in [World::in_memory(), World::embedded()] {
        let token = world.tokenize("value").await;
        let session = Session::parse("alice").unwrap();
        let terms = Terms { actions: vec![Action::Detokenize], expires_in: HOUR };
        let grant = async || {
            let tokens = [Ok(token.clone())];
            let granted = world.vault.grants_create(&call(), &session, &tokens, &terms).await;
            granted.unwrap().pop().unwrap().unwrap();
        };
        let sessions = async || world.store.list(Name::SESSIONS, None, 10).await.unwrap().len();
        grant().await;
        world.clock.pass(HOUR + limits::SESSION_AHEAD - Duration::from_millis(1));
        assert_eq!((sweep(&world, AT_ONCE, false).await.expired, sessions().await), (1, 1));
        world.clock.pass(Duration::from_millis(1));
        assert_eq!((sweep(&world, AT_ONCE, true).await.expired, sessions().await), (1, 1));
        assert_eq!((sweep(&world, AT_ONCE, false).await.expired, sessions().await), (1, 0));
        // The session goes on as a new one would.
        grant().await;
        let (call, tokens) = (call(), [Ok(token.clone())]);
        let verdicts =
            world.vault.grants_verify(&call, &session, &tokens, Action::Detokenize).await;
        let verdict = verdicts.unwrap().pop().unwrap().unwrap().verdict;
        assert!(matches!(verdict, Verdict::Valid(_)));
    }
}

#[tokio::test]
async fn only_headers_are_read_however_large_the_values() {
    for world in [World::in_memory(), World::embedded()] {
        for _ in 0..4 {
            world.tokenize_for(&"v".repeat(limits::VALUE_BYTES), HOUR).await;
        }
        world.clock.pass(HOUR);
        let gets = world.store.gets.load(Ordering::SeqCst);
        assert_eq!(sweep(&world, AT_ONCE, false).await.expired, 4);
        assert_eq!(world.store.longest_head.load(Ordering::SeqCst), HEADER_LEN);
        assert_eq!(world.store.gets.load(Ordering::SeqCst), gets);
        assert_eq!(world.records().await, 0);
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_left() {
    use lunasec_sidecar::store::Store;
    let world = World::in_memory();
    for (at, bytes) in [&b""[..], b"short", &[9; 200]].into_iter().enumerate() {
        let name = Name::from_text(&format!("r/default/{at}"));
        world.store.put_new(&name, bytes.to_vec().into()).await.unwrap();
    }
    world.clock.pass(10_000 * HOUR);
    let page = sweep(&world, AT_ONCE, false).await;
    assert_eq!((page.examined, page.unreadable, page.expired, page.tombstones), (3, 3, 0, 0));
    assert_eq!(world.records().await, 3);
}

#[tokio::test]
async fn writers_at_work_lose_nothing_to_a_sweep() {
    for _ in 0..20 {
        let world = World::in_memory();
        for at in 0..30 {
            world.tokenize_for(&format!("old {at}"), HOUR).await;
        }
        let kept = world.tokenize("kept").await;
        world.clock.pass(HOUR);
        let writers = join_all((0..16).map(|at| {
            let (world, kept) = (&world, &kept);
            async move {
                let text = format!(r#"{{"writer":{at}}}"#);
                world.vault.metadata_set(&call(), kept, &text, None).await.unwrap();
                let value = format!("new {at}");
                (world.tokenize_for(&value, HOUR).await, value)
            }
        }));
        let sweeps = async {
            let mut expired = 0;
            for _ in 0..5 {
                let (one, other) =
                    join(sweep(&world, AT_ONCE, false), sweep(&world, AT_ONCE, false)).await;
                expired += one.expired + other.expired;
            }
            expired
        };
        let (written, expired) = join(writers, sweeps).await;
        assert_eq!(expired, 30, "each is counted by the one sweep that removed it");
        for (token, value) in &written {
            assert_eq!(world.detokenize(token).await.as_ref(), Ok(value));
        }
        assert_eq!(world.detokenize(&kept).await.as_deref(), Ok("kept"));
        let described = world.vault.metadata_get(&call(), &kept).await.unwrap();
        assert_eq!(described.version, 16);
    }
}
