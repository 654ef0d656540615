//! What sidecars on S3 and KMS cost, on the servers of `dev/`.

use lunasec_tests::aws::{Cloud, Engine, wait};

use crate::{process, row};

const SIDECARS: usize = 3;

pub(crate) fn measure() -> Vec<String> {
    let cloud = wait(Cloud::new(Engine::LocalStack));
    let directories: Vec<_> = (0..SIDECARS).map(|_| tempfile::tempdir().unwrap()).collect();
    let sidecars: Vec<_> = directories.iter().map(|at| cloud.sidecar(at.path(), "")).collect();
    // Asked once, so that whatever is made at the first request is there.
    let resident = sidecars.iter().map(|sidecar| {
        let token = sidecar.tokenize("4111 1111 1111 1111");
        assert_eq!(sidecar.detokenize(&token).status, 200);
        process::resident(sidecar.pid())
    });
    let resident = resident.fold(0.0, f64::max);
    let calls: Vec<_> =
        sidecars.iter().map(|one| one.dependency_requests(&["\"keys\""]).to_string()).collect();
    let memory = "resident memory after a request, S3 and KMS";
    let kms = format!("KMS calls of {SIDECARS} sidecars that start and seal in one day");
    vec![
        row(memory, &format!("{resident:.1} MiB"), "≤ 14 MiB", "≤ 8 MiB"),
        row(&kms, &calls.join(" + "), "≤ 2 + one per start", "the same"),
    ]
}
