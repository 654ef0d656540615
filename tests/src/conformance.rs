//! What every store must do, whatever it is made of. Each function takes a store that may hold
//! other things and works under a prefix of its own.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures_util::future::join_all;
use lunasec_sidecar::store::{Name, Store, StoreError};

/// Writers that race for one object.
const WRITERS: usize = 16;

/// Everything, in turn.
pub async fn all(store: Arc<dyn Store>) {
    creates_once(&*store).await;
    replaces_only_the_version_it_read(&*store).await;
    versions_are_never_used_twice(&*store).await;
    keeps_every_byte(&*store).await;
    lists_in_order_and_by_page(&*store).await;
    heads_are_cut_and_carry_versions(&*store).await;
    removes_only_the_version_it_read(&*store).await;
    one_of_many_creators_wins(Arc::clone(&store)).await;
    one_of_many_replacers_wins(Arc::clone(&store)).await;
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

async fn versions_are_never_used_twice(store: &dyn Store) {
    let name = name("versions", "a");
    let first = store.put_new(&name, Bytes::from_static(b"same")).await.unwrap();
    assert!(store.remove_if(&name, &first).await.unwrap());
    store.put_new(&name, Bytes::from_static(b"same")).await.unwrap();
    let stale = store.put_if(&name, Bytes::from_static(b"other"), &first).await;
    assert_eq!(stale, Err(StoreError::Precondition));
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

async fn one_of_many_creators_wins(store: Arc<dyn Store>) {
    let name = name("race", "create");
    let results = race(|at| {
        let (store, name) = (Arc::clone(&store), name.clone());
        async move { store.put_new(&name, writer(at)).await }
    })
    .await;
    assert_winner(&*store, &name, &results).await;
}

async fn one_of_many_replacers_wins(store: Arc<dyn Store>) {
    let name = name("race", "replace");
    let version = store.put_new(&name, Bytes::from_static(b"before")).await.unwrap();
    let results = race(|at| {
        let (store, name, version) = (Arc::clone(&store), name.clone(), version.clone());
        async move { store.put_if(&name, writer(at), &version).await }
    })
    .await;
    assert_winner(&*store, &name, &results).await;
}

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

async fn race<F, T>(writer: impl Fn(usize) -> F) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let tasks = (0..WRITERS).map(|at| tokio::spawn(writer(at)));
    join_all(tasks).await.into_iter().map(Result::unwrap).collect()
}

async fn assert_winner<T>(store: &dyn Store, name: &Name, results: &[Result<T, StoreError>]) {
    let winners: Vec<_> = (0..WRITERS).filter(|at| results[*at].is_ok()).collect();
    assert_eq!(winners.len(), 1, "{winners:?} won");
    assert_eq!(store.get(name).await.unwrap().unwrap().bytes, writer(winners[0]));
}
