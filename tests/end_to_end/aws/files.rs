//! A whole file on S3 and KMS.

use std::{fs, path::Path};

use lunasec_tests::{Sidecar, aws::Engine};

use super::{cloud, key_calls, storage_requests};
use crate::files::{command, sample, succeed, tokens};

#[test]
fn a_file_comes_back_byte_for_byte_from_s3() {
    let cloud = cloud(Engine::LocalStack);
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = cloud.sidecar(directory.path(), "");
    let path = |name: &str| directory.path().join(name);
    let run = |sidecar: &Sidecar, verb: &str, from: &Path, to: &Path| {
        succeed(command(sidecar.socket(), verb, from, to));
    };
    fs::write(path("in.csv"), sample()).unwrap();
    run(&sidecar, "tokenize", &path("in.csv"), &path("tokens.csv"));
    let tokenized = fs::read(path("tokens.csv")).unwrap();
    let values = tokens(&tokenized).len() as u64;
    let written = storage_requests(&sidecar);
    // One that remembers nothing of it.
    sidecar.stop();
    let sidecar = cloud.sidecar(directory.path(), "");
    run(&sidecar, "detokenize", &path("tokens.csv"), &path("back.csv"));
    assert!(fs::read(path("back.csv")).unwrap() == sample());
    // One request for each value either way, and a few for the key.
    assert!((values..values + 8).contains(&written), "{written} requests for {values} values");
    let read = storage_requests(&sidecar);
    // What is slow is asked for once more: one of twenty at most, and ten at once.
    let most = values + values / 20 + 18;
    assert!((values..most).contains(&read), "{read} requests for {values} values");
    assert!(key_calls(&sidecar) <= 2);
}
