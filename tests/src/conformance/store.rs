//! What every store must do. Each function works under a prefix of its own.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use lunasec_sidecar::store::{Name, Store, StoreError};

use super::{WRITERS, race};
use crate::Backend;

/// Everything, in turn.
pub async fn all(backend: &Backend) {
    let store = (backend.store)();
    creates_once(&*store).await;
    replaces_only_the_version_it_read(&*store).await;
    a_version_is_not_anothers(&*store).await;
    keeps_every_byte(&*store).await;
    lists_in_order_and_by_page(&*store).await;
    heads_are_cut_and_carry_versions(&*store).await;
    removes_only_the_version_it_read(&*store).await;
    creates_many_each_by_itself(&*store).await;
    one_of_many_creators_wins(backend).await;
    one_of_many_replacers_wins(backend).await;
    one_of_many_removers_wins(store).await;
}

fn name(test: &str, rest: &str) -> Name {
    Name::from_text(&format!("r/conformance/{test}/{rest}"))
}

async fn creates_once(store: &dyn Store) {
    let name = name("create", "a");
    assert!(store.get(&name).await.unwrap().is_none());
    let version = store.put_new(&name, Bytes::from_static(b"one")).await.unwrap();
    let again = store.put_new(&name, Bytes::from_static(b"two")).await;
    assert_eq!(again, Err(StoreError::Precondition));
    let object = store.get(&name).await.unwrap().unwrap();
    assert_eq!((&object.bytes[..], object.version), (&b"one"[..], version));
}

async fn replaces_only_the_version_it_read(store: &dyn Store) {
    let name = name("replace", "a");
    let first = store.put_new(&name, Bytes::from_static(b"one")).await.unwrap();
    let second = store.put_if(&name, Bytes::from_static(b"two"), &first).await.unwrap();
    let stale = store.put_if(&name, Bytes::from_static(b"three"), &first).await;
    assert_eq!(stale, Err(StoreError::Precondition));
    assert_eq!(store.get(&name).await.unwrap().unwrap().bytes, "two");
    assert!(store.remove_if(&name, &second).await.unwrap());
    let gone = store.put_if(&name, Bytes::from_static(b"four"), &second).await;
    assert_eq!(gone, Err(StoreError::Precondition));
    assert!(store.get(&name).await.unwrap().is_none());
}

/// What is written twice differs, as all that is sealed does.
async fn a_version_is_not_anothers(store: &dyn Store) {
    let name = name("versions", "a");
    let first = store.put_new(&name, Bytes::from_static(b"one")).await.unwrap();
    assert!(store.remove_if(&name, &first).await.unwrap());
    let second = store.put_new(&name, Bytes::from_static(b"two")).await.unwrap();
    assert_ne!(first, second);
    let stale = store.put_if(&name, Bytes::from_static(b"other"), &first).await;
    assert_eq!(stale, Err(StoreError::Precondition));
    assert!(!store.remove_if(&name, &first).await.unwrap());
    assert_eq!(store.get(&name).await.unwrap().unwrap().bytes, "two");
}

async fn creates_many_each_by_itself(store: &dyn Store) {
    let names: Vec<_> = (0..100).map(|at| name("many", &at.to_string())).collect();
    store.put_new(&names[7], Bytes::from_static(b"before")).await.unwrap();
    let objects = names.iter().map(|name| (name.clone(), name.as_str().to_owned().into()));
    let results = store.put_new_many(objects.collect()).await;
    assert_eq!(results.len(), names.len());
    for (at, (name, result)) in names.iter().zip(results).enumerate() {
        let found = store.get(name).await.unwrap().unwrap();
        if at == 7 {
            assert_eq!((result, &found.bytes[..]), (Err(StoreError::Precondition), &b"before"[..]));
        } else {
            assert_eq!((result, &found.bytes[..]), (Ok(found.version), name.as_str().as_bytes()));
        }
    }
}

async fn keeps_every_byte(store: &dyn Store) {
    for length in [0, 1, 101, 1_023, 1_024, 1_025, 4_096, 70_000, 1 << 20] {
        let name = name("bytes", &length.to_string());
        let bytes: Bytes = (0..length).map(|at: usize| (at * 31 % 251) as u8).collect();
        let version = store.put_new(&name, bytes.clone()).await.unwrap();
        assert_eq!(store.get(&name).await.unwrap().unwrap().bytes, bytes, "{length} bytes");
        // Shorter, then longer again: nothing of the last one may show through.
        let version = store.put_if(&name, Bytes::from_static(b"short"), &version).await.unwrap();
        assert_eq!(store.get(&name).await.unwrap().unwrap().bytes, "short", "{length} bytes");
        store.put_if(&name, bytes.clone(), &version).await.unwrap();
        assert_eq!(store.get(&name).await.unwrap().unwrap().bytes, bytes, "{length} bytes");
    }
}

async fn lists_in_order_and_by_page(store: &dyn Store) {
    let names: BTreeSet<_> =
        (0..25).map(|at| name("list", &format!("{:02}", at * 7 % 25))).collect();
    for name in &names {
        store.put_new(name, Bytes::from_static(b"x")).await.unwrap();
    }
    // Neighbours that share the prefix's beginning, and must not show.
    for other in ["r/conformance/lis", "r/conformance/list", "r/conformance/list0"] {
        store.put_new(&Name::from_text(other), Bytes::from_static(b"x")).await.unwrap();
    }
    let prefix = "r/conformance/list/";
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(prefix, after.as_ref(), 10).await.unwrap();
        assert!(page.len() <= 10);
        seen.extend(page.iter().cloned());
        match page.last() {
            Some(last) if page.len() == 10 => after = Some(last.clone()),
            _ => break,
        }
    }
    assert_eq!(seen, names.into_iter().collect::<Vec<_>>());
    assert!(store.list("r/conformance/nothing/", None, 10).await.unwrap().is_empty());
}

async fn heads_are_cut_and_carry_versions(store: &dyn Store) {
    let (small, large) = (name("heads", "a"), name("heads", "b"));
    let first = store.put_new(&small, Bytes::from_static(b"abc")).await.unwrap();
    let second = store.put_new(&large, vec![7; 100_000].into()).await.unwrap();
    let page = store.heads("r/conformance/heads/", None, 10, 86).await.unwrap();
    assert!(page.requests >= 1);
    let heads: Vec<_> = page.objects.iter().map(|(name, head)| (name, head.bytes.len())).collect();
    assert_eq!(heads, [(&small, 3), (&large, 86)]);
    assert_eq!([&page.objects[0].1.version, &page.objects[1].1.version], [&first, &second]);
}

async fn removes_only_the_version_it_read(store: &dyn Store) {
    let name = name("remove", "a");
    let first = store.put_new(&name, vec![1; 5_000].into()).await.unwrap();
    let second = store.put_if(&name, Bytes::from_static(b"two"), &first).await.unwrap();
    assert!(!store.remove_if(&name, &first).await.unwrap());
    assert_eq!(store.get(&name).await.unwrap().unwrap().bytes, "two");
    assert!(store.remove_if(&name, &second).await.unwrap());
    assert!(!store.remove_if(&name, &second).await.unwrap());
    assert!(store.get(&name).await.unwrap().is_none());
}

/// Each through a client of its own.
async fn one_of_many_creators_wins(backend: &Backend) {
    let name = name("race", "create");
    let results = race(|at| {
        let (store, name) = ((backend.store)(), name.clone());
        async move { store.put_new(&name, writer(at)).await }
    })
    .await;
    assert_winner(&*(backend.store)(), &name, &results).await;
}

async fn one_of_many_replacers_wins(backend: &Backend) {
    let name = name("race", "replace");
    let store = (backend.store)();
    let version = store.put_new(&name, Bytes::from_static(b"before")).await.unwrap();
    let results = race(|at| {
        let (store, name, version) = ((backend.store)(), name.clone(), version.clone());
        async move { store.put_if(&name, writer(at), &version).await }
    })
    .await;
    assert_winner(&*store, &name, &results).await;
}

/// Through one client: where the server itself does not compare, one process still does.
async fn one_of_many_removers_wins(store: Arc<dyn Store>) {
    let name = name("race", "remove");
    let version = store.put_new(&name, Bytes::from_static(b"before")).await.unwrap();
    let results = race(|_| {
        let (store, name, version) = (Arc::clone(&store), name.clone(), version.clone());
        async move { store.remove_if(&name, &version).await }
    })
    .await;
    assert_eq!(results.iter().filter(|removed| **removed == Ok(true)).count(), 1);
    assert_eq!(results.iter().filter(|removed| **removed == Ok(false)).count(), WRITERS - 1);
}

fn writer(at: usize) -> Bytes {
    format!("writer {at}").into()
}

async fn assert_winner<T>(store: &dyn Store, name: &Name, results: &[Result<T, StoreError>]) {
    let winners: Vec<_> = (0..WRITERS).filter(|at| results[*at].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{winners:?} won");
    assert_eq!(store.get(name).await.unwrap().unwrap().bytes, writer(winners[0]));
}
