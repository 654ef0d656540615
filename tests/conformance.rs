//! The conformance functions on every backend.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use lunasec_sidecar::store::{EmbeddedStore, Name, Store};
use lunasec_tests::{
    Backend,
    aws::{Cloud, Engine},
    conformance,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() {
    conformance::all(&Backend::memory(), 20).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded() {
    conformance::all(&Backend::embedded(), 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moto() {
    conformance::all(&Cloud::new(Engine::Moto).await.backend(), 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn localstack() {
    conformance::all(&Cloud::new(Engine::LocalStack).await.backend(), 1).await;
}

/// What conformance wrote is there again after a close.
#[tokio::test]
async fn embedded_again() {
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
