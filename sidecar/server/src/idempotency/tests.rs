use lunasec_api::Code;
use lunasec_core::limits::IDEMPOTENCY_WINDOW;

use super::*;
use crate::env::SystemEntropy;

const NOW: Millis = 1_763_942_400_000;
const WINDOW: Millis = IDEMPOTENCY_WINDOW.as_secs() * 1_000;
const CAPACITY: u64 = 100;

fn name(at: u64) -> EntryName {
    let mut name = [0; 32];
    name[..8].copy_from_slice(&at.to_be_bytes());
    name
}

async fn remember(entries: &dyn Entries, at: u64, now: Millis) {
    entries.remember(vec![(name(at), at.to_be_bytes().to_vec())], now).await.unwrap();
}

async fn recall(entries: &dyn Entries, at: u64) -> Option<Vec<u8>> {
    entries.recall(vec![name(at)]).await.unwrap().pop().unwrap()
}

async fn known(entries: &dyn Entries, at: u64) -> bool {
    let entry = recall(entries, at).await;
    assert!(entry.as_ref().is_none_or(|entry| entry[..] == at.to_be_bytes()), "another's entry");
    entry.is_some()
}

async fn on_both(test: impl AsyncFn(&dyn Entries)) {
    test(&MemoryEntries::new(CAPACITY)).await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("entries.redb");
    test(&DiskEntries::open(&path, CAPACITY).await.unwrap()).await;
}

#[tokio::test]
async fn an_entry_is_kept_for_a_window_and_not_for_ever() {
    on_both(async |entries| {
        remember(entries, 0, NOW).await;
        // The last moment of its generation, so the worst for whoever comes then.
        remember(entries, 1, NOW + WINDOW - 1).await;
        assert!(known(entries, 0).await && known(entries, 1).await);
        remember(entries, 2, NOW + WINDOW).await;
        assert!(known(entries, 1).await && known(entries, 2).await);
        remember(entries, 3, NOW + 2 * WINDOW - 2).await;
        assert!(known(entries, 1).await, "less than a window old");
        remember(entries, 4, NOW + 2 * WINDOW).await;
        assert!(!known(entries, 0).await && !known(entries, 1).await);
        assert!(known(entries, 2).await && known(entries, 3).await && known(entries, 4).await);
        assert_eq!(entries.count(), 3);
    })
    .await;
}

#[tokio::test]
async fn there_are_never_more_than_the_capacity_and_the_newest_half_is_kept() {
    on_both(async |entries| {
        for at in 0..3 * CAPACITY {
            remember(entries, at, NOW).await;
            assert!(entries.count() <= CAPACITY, "{} entries", entries.count());
            let oldest_kept = (at + 1).saturating_sub(CAPACITY / 2);
            assert!(known(entries, oldest_kept).await && known(entries, at).await);
        }
        // The same in one go, as a batch does it.
        let batch = (10_000..10_000 + 3 * CAPACITY).map(|at| (name(at), at.to_be_bytes().to_vec()));
        entries.remember(batch.collect(), NOW).await.unwrap();
        assert!(entries.count() <= CAPACITY);
        assert!(known(entries, 10_000 + 3 * CAPACITY - 1).await);
        assert!(!known(entries, 10_000).await);
    })
    .await;
}

#[tokio::test]
async fn the_younger_of_two_entries_of_one_name_counts() {
    on_both(async |entries| {
        // Both ways round, so that either of the two generations is the young one once.
        for round in 0..2 {
            let start = NOW + 10 * round * WINDOW;
            entries.remember(vec![(name(1), vec![1])], start).await.unwrap();
            entries.remember(vec![(name(1), vec![2])], start + WINDOW).await.unwrap();
            assert_eq!(recall(entries, 1).await, Some(vec![2]));
            // Turns the generations once more, so that the next round begins with the other.
            remember(entries, 7, start + 2 * WINDOW).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_clock_that_goes_backwards_forgets_nothing() {
    on_both(async |entries| {
        remember(entries, 0, NOW).await;
        for step in 1..CAPACITY / 4 {
            remember(entries, step, NOW - step * WINDOW).await;
        }
        for at in 0..CAPACITY / 4 {
            assert!(known(entries, at).await);
        }
    })
    .await;
}

#[tokio::test]
async fn entries_on_disk_outlive_a_restart_with_their_generations() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("entries.redb");
    let open = async || DiskEntries::open(&path, CAPACITY).await.unwrap();
    remember(&open().await, 0, NOW).await;
    remember(&open().await, 1, NOW + WINDOW).await;
    let again = open().await;
    assert_eq!(again.count(), 2);
    assert!(known(&again, 0).await && known(&again, 1).await);
    remember(&again, 2, NOW + 2 * WINDOW).await;
    drop(again);
    let again = open().await;
    assert_eq!(again.count(), 2);
    assert!(!known(&again, 0).await && known(&again, 1).await && known(&again, 2).await);
}

fn idempotency(entries: Arc<dyn Entries>) -> Idempotency {
    Idempotency::new(DataKey::take(&mut [9; 32]), entries, Arc::new(SystemEntropy::default()))
}

fn caller(uid: u32) -> Caller {
    Caller { uid, gid: 1, pid: None }
}

fn entry(at: Millis) -> Remembered {
    Remembered { token: Token::from_random([1; 16]), put_id: PutId([2; 16]), at, body: [3; 32] }
}

#[test]
fn names_differ_by_caller_client_namespace_key_and_index() {
    let idempotency = idempotency(Arc::new(MemoryEntries::new(CAPACITY)));
    let (one, other) = (caller(1), caller(2));
    let (shop, shopk) = (Namespace::parse("shop").unwrap(), Namespace::parse("shopk").unwrap());
    let (k, ek) = (IdempotencyKey::parse("key").unwrap(), IdempotencyKey::parse("ey").unwrap());
    let mut names = std::collections::HashSet::new();
    for (caller, client) in [(&one, "a"), (&other, "a"), (&one, "as"), (&one, "")] {
        for (namespace, key) in [(&shop, &k), (&shopk, &ek), (&shop, &ek), (&shopk, &k)] {
            for index in [None, Some(0), Some(1), Some(u32::from_be_bytes(*b"sing"))] {
                let keys = idempotency.keys(&Attempt { caller, client, namespace, key, index });
                assert!(names.insert(keys.name));
            }
        }
    }
}

#[test]
fn keys_are_visible_ascii_of_1_to_255_characters_and_never_printed() {
    for good in ["a", "~", "!", "order-1/item:2", &"k".repeat(255)] {
        let key = IdempotencyKey::parse(good).unwrap();
        assert_eq!(format!("{key:?}"), "IdempotencyKey(…)");
    }
    for bad in ["", " ", "a b", "a\t", "é", "\u{7f}", "a\n", &"k".repeat(256)] {
        assert!(IdempotencyKey::parse(bad).is_none(), "{bad:?}");
    }
}

#[tokio::test]
async fn an_entry_past_the_window_is_absent_though_it_lies_there() {
    let idempotency = idempotency(Arc::new(MemoryEntries::new(CAPACITY)));
    let (caller, namespace) = (caller(1), Namespace::default());
    let key = IdempotencyKey::parse("key").unwrap();
    let (caller, namespace) = (&caller, &namespace);
    let attempt = Attempt { caller, client: "", namespace, key: &key, index: None };
    let keys = idempotency.keys(&attempt);
    idempotency.remember(&[(&keys, entry(NOW))], NOW).await.unwrap();
    let keys = [keys];
    let recalled = async |now| idempotency.recall(&keys, now).await.unwrap().pop().unwrap();
    for now in [NOW - WINDOW, NOW, NOW + WINDOW - 1] {
        assert!(recalled(now).await.is_some());
    }
    // Nothing came meanwhile that would have turned the generations.
    for now in [NOW + WINDOW, NOW + 40 * WINDOW] {
        assert!(recalled(now).await.is_none());
    }
    assert_eq!(idempotency.count(), 1);
}

#[tokio::test]
async fn a_damaged_or_swapped_entry_is_corrupted_and_not_absent() {
    let entries = Arc::new(MemoryEntries::new(CAPACITY));
    let idempotency = idempotency(Arc::clone(&entries) as Arc<dyn Entries>);
    let (caller, namespace) = (caller(1), Namespace::default());
    let parsed = |text| IdempotencyKey::parse(text).unwrap();
    let (one, other) = (parsed("one"), parsed("other"));
    let keys = |key| {
        let (caller, namespace) = (&caller, &namespace);
        idempotency.keys(&Attempt { caller, client: "", namespace, key, index: None })
    };
    let (one, other) = ([keys(&one)], [keys(&other)]);
    idempotency.remember(&[(&one[0], entry(NOW))], NOW).await.unwrap();
    let sealed = entries.recall(vec![one[0].name]).await.unwrap().pop().unwrap().unwrap();
    entries.remember(vec![(other[0].name, sealed.clone())], NOW).await.unwrap();
    let swapped = idempotency.recall(&other, NOW).await.err().unwrap();
    assert_eq!(swapped.code, Code::Corrupted);
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        entries.remember(vec![(one[0].name, flipped)], NOW).await.unwrap();
        let failure = idempotency.recall(&one, NOW).await.err().unwrap();
        assert_eq!(failure.code, Code::Corrupted, "bit {bit}");
    }
}
