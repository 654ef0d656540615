//! The conformance functions on every backend.
#![allow(missing_docs, reason = "tests")]

use std::sync::Arc;

use lunasec_sidecar::store::{EmbeddedStore, MemoryStore};
use lunasec_tests::conformance;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() {
    conformance::all(Arc::new(MemoryStore::default())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    conformance::all(Arc::new(EmbeddedStore::open(&path).unwrap())).await;
}

/// What conformance wrote is there again after a close.
#[tokio::test]
async fn embedded_again() {
    use lunasec_sidecar::store::{Name, Store};
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let name = Name::from_text("r/conformance/again");
    let bytes: bytes::Bytes = vec![3; 10_000].into();
    let version = {
        let store = EmbeddedStore::open(&path).unwrap();
        store.put_new(&name, bytes.clone()).await.unwrap()
    };
    let store = EmbeddedStore::open(&path).unwrap();
    let object = store.get(&name).await.unwrap().unwrap();
    assert_eq!((object.bytes, object.version), (bytes, version));
}
