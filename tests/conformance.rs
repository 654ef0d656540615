//! The conformance functions on every backend.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::sync::{Arc, Mutex};

use lunasec_sidecar::store::{EmbeddedStore, Name, Store};
use lunasec_tests::{
    Backend,
    aws::{Cloud, Engine},
    conformance,
    fake::{Fake, serve},
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

/// The fake that the taxonomy is tested with, on a socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fake() {
    let fake = Arc::new(Mutex::new(Fake::new("bucket", "key")));
    let cloud = Cloud::fake(&serve(fake).await, "bucket", "key");
    conformance::all(&cloud.backend(), 3).await;
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
