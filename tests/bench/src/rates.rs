//! Detokenize with the record and the key in memory, beside the echo.

use std::{path::Path, time::Duration};

use lunasec_tests::{Sidecar, raw};

use crate::{load, median, process, row};

const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
const ROUND: Duration = Duration::from_millis(1_500);

/// Rates and CPU of one server in one round.
struct Taken {
    rate: f64,
    cpu_per_request: f64,
}

pub(crate) fn measure(rounds: usize) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let echo_socket = directory.path().join("echo.sock");
    let echo = process::echo(&echo_socket);
    let sidecar = Sidecar::serve_in_memory();
    // 28 characters make the answer as long as the request's body, and so as the echo's answer.
    let token = sidecar.tokenize("4111111111111111 + 11 more..");
    let body = format!(r#"{{"token":"{token}"}}"#);
    let request = raw::request("/v1/detokenize", &[], body.as_bytes());
    process::pin(Some(echo.pid()), SERVER_CORE);
    process::pin(Some(sidecar.pid()), SERVER_CORE);
    process::pin(None, LOAD_CORE);

    let mut rows = Vec::new();
    for connections in [16, 64] {
        let (mut ratios, mut added) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let floor = take(&echo_socket, echo.pid(), &request, connections);
            let ours = take(sidecar.socket(), sidecar.pid(), &request, connections);
            ratios.push(ours.rate / floor.rate);
            added.push(ours.cpu_per_request - floor.cpu_per_request);
        }
        let figure = format!("detokenize in memory ÷ hyper echo, c={connections}");
        rows.push(row(&figure, &format!("{:.2}", median(ratios)), "≥ 0.65", "≥ 0.80"));
        let figure = format!("server CPU added per request, c={connections}");
        rows.push(row(&figure, &format!("{:.2} µs", median(added)), "≤ 2 µs", "≤ 1 µs"));
    }
    let added = (0..rounds).map(|_| {
        let one = |socket: &Path| load::run(socket, &request, 1, ROUND, true).percentile(99.0);
        let floor = one(&echo_socket);
        one(sidecar.socket()) - floor
    });
    let p99 = median(added.collect());
    rows.push(row("p99 added at c=1", &format!("{p99:.1} µs"), "≤ 15 µs", "≤ 5 µs"));
    process::pin_anywhere();
    rows
}

fn take(socket: &Path, pid: u32, request: &[u8], connections: usize) -> Taken {
    let before = process::cpu_time(pid);
    let round = load::run(socket, request, connections, ROUND, false);
    let used = process::cpu_time(pid) - before;
    Taken { rate: round.rate(), cpu_per_request: used.as_secs_f64() * 1e6 / round.requests as f64 }
}
