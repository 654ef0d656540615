//! What sidecars on S3 and KMS cost, on the servers of `dev/`.

use lunasec_tests::{
    Sidecar,
    aws::{Cloud, Engine, wait},
};

use crate::{process, row};

const SIDECARS: usize = 3;

pub(crate) fn measure() -> Vec<String> {
    let cloud = wait(Cloud::new(Engine::LocalStack));
    let directories: Vec<_> = (0..SIDECARS).map(|_| tempfile::tempdir().unwrap()).collect();
    let mut sidecars: Vec<_> = directories.iter().map(|at| cloud.sidecar(at.path(), "")).collect();
    for sidecar in &mut sidecars {
        assert!(sidecar.wait_for_line(|line| line.contains("the store answers")).is_some());
    }
    let idle = most(&sidecars);
    let tokens: Vec<_> = sidecars.iter().map(|one| one.tokenize("4111 1111 1111 1111")).collect();
    let calls = sidecars.iter().map(|one| one.dependency_requests(&["\"keys\""]).to_string());
    let calls = calls.collect::<Vec<_>>().join(" + ");

    let [first, .., last] = &sidecars[..] else { panic!("several") };
    let gets = || first.dependency_requests(&["\"storage\"", "\"get\""]);
    let before = gets();
    assert_eq!(first.detokenize(&tokens[SIDECARS - 1]).status, 200);
    let cold = gets() - before;
    assert_eq!(first.detokenize(&tokens[SIDECARS - 1]).status, 200);
    let hot = gets() - before - cold;
    assert_eq!(last.detokenize(&tokens[0]).status, 200);

    let kms = format!("KMS calls of {SIDECARS} sidecars that start and seal in one day");
    vec![
        row("idle resident memory, S3 and KMS", &idle, "≤ 14 MiB", "≤ 8 MiB"),
        row("the same after its first requests", &most(&sidecars), "", ""),
        row(
            "storage requests per detokenize, S3: cold, hot",
            &format!("{cold}, {hot}"),
            "1, 0",
            "1, 0",
        ),
        row(&kms, &calls, "≤ 2 + one per start", "the same"),
    ]
}

fn most(sidecars: &[Sidecar]) -> String {
    let resident = sidecars.iter().map(|sidecar| process::resident(sidecar.pid()));
    format!("{:.1} MiB", resident.fold(0.0, f64::max))
}
