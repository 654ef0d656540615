use std::{fs, time::Instant};

use bytes::Bytes;
use lunasec_sidecar::store::{EmbeddedStore, Name, Store};
use lunasec_tests::Sidecar;

const RECORDS: usize = 200_000;
const RECORD_BYTES: usize = 300;
/// Records written with one sync.
const GROUP: usize = 20_000;

/// What a restart costs on a large store. Measure it alone, on an idle machine:
///
/// ```text
/// cargo test -p lunasec-tests --test faults recovery -- --nocapture
/// ```
#[tokio::test]
async fn a_large_store_is_there_again_after_an_unclean_end() {
    let directory = tempfile::tempdir().unwrap();
    let (path, copy) = (directory.path().join("store.redb"), directory.path().join("copy.redb"));
    let store = EmbeddedStore::open(&path).unwrap();
    let name = |at: usize| {
        // Scattered like locators, so that pages split as they do in life.
        let scattered = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Name::from_text(&format!("r/default/{scattered:016x}{:048x}", 0))
    };
    let record = Bytes::from(vec![1; RECORD_BYTES]);
    for group in 0..RECORDS / GROUP {
        let names = (group * GROUP..(group + 1) * GROUP).map(name);
        let written = store.put_new_many(names.map(|name| (name, record.clone())).collect()).await;
        assert!(written.iter().all(Result::is_ok));
    }
    // As kill -9 leaves it: the file while the store is open.
    fs::copy(&path, &copy).unwrap();
    drop(store);
    let size = fs::metadata(&path).unwrap().len() >> 20;
    fs::rename(&copy, &path).unwrap();
    fs::File::open(&path).unwrap().sync_all().unwrap();
    for end in ["an unclean end", "a clean end"] {
        let start = Instant::now();
        let mut sidecar = Sidecar::dev_in(directory.path());
        println!("{RECORDS} records, {size} MiB: starts {:?} after {end}", start.elapsed());
        sidecar.stop();
    }
    let store = EmbeddedStore::open(&path).unwrap();
    for at in (0..RECORDS).step_by(997) {
        assert!(store.get(&name(at)).await.unwrap().is_some());
    }
}
