//! Start, memory, and what an idle sidecar does.

use std::{
    os::unix::net::UnixStream,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use lunasec_tests::{Raw, Sidecar, sidecar::lunasec};

use crate::{median, process, row};

pub(crate) fn measure(rounds: usize) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let token = {
        let mut sidecar = Sidecar::dev_in(directory.path());
        let token = sidecar.tokenize("4111 1111 1111 1111");
        sidecar.stop();
        token
    };
    let starts = (0..rounds * 3).map(|_| start_to_answer(directory.path(), &token)).collect();
    let start = format!("{:.1} ms", median(starts));
    let mut rows = vec![row("exec to first answer, embedded store", &start, "≤ 15 ms", "≤ 5 ms")];

    let sidecar = Sidecar::dev_in(directory.path());
    let resident = format!("{:.1} MiB", process::resident(sidecar.pid()));
    rows.push(row("idle resident memory", &resident, "≤ 14 MiB", "≤ 8 MiB"));
    let time = Duration::from_secs(10);
    let woken = process::wake_ups(sidecar.pid(), time) as f64 / time.as_secs_f64();
    rows.push(row("idle wake-ups per second", &format!("{woken:.1}"), "≤ 2", "0"));

    let gets =
        r#"lunasec_dependency_requests_total{dependency="storage",operation="get",result="ok"}"#;
    let before = sidecar.metric(gets);
    assert_eq!(sidecar.detokenize(&token).status, 200);
    let cold = sidecar.metric(gets) - before;
    assert_eq!(sidecar.detokenize(&token).status, 200);
    let hot = sidecar.metric(gets) - before - cold;
    // The first one also reads the data key.
    let figure =
        "storage requests per detokenize, embedded store, first (with the data key) and second";
    rows.push(row(figure, &format!("{cold}, {hot}"), "on this machine", ""));
    rows
}

/// Milliseconds from exec to a detokenized value.
fn start_to_answer(directory: &Path, token: &str) -> f64 {
    let socket = directory.join("lunasec.sock");
    let began = Instant::now();
    let mut child = lunasec()
        .args(["dev", "--admin", "127.0.0.1:0", "--dir"])
        .arg(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while UnixStream::connect(&socket).is_err() {
        std::thread::sleep(Duration::from_micros(100));
    }
    let body = serde_json::json!({ "token": token });
    let answer = Raw::connect(&socket).post("/v1/detokenize", &body);
    let elapsed = began.elapsed();
    assert_eq!(answer.status, 200);
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::TERM,
    )
    .unwrap();
    assert!(child.wait().unwrap().success());
    elapsed.as_secs_f64() * 1e3
}
