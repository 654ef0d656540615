//! Detokenize with the record and the key in memory, beside the echo.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use lunasec_tests::{Sidecar, raw};

use crate::{
    load::{self, Wait},
    median,
    process::{self, Running},
    row,
};

pub(crate) const SERVER_CORE: usize = 0;
pub(crate) const LOAD_CORE: usize = 1;
pub(crate) const ROUND: Duration = Duration::from_millis(1_500);

/// Both servers, and what they are asked.
struct Pair {
    echo: PathBuf,
    echo_process: Running,
    sidecar: Sidecar,
    request: Vec<u8>,
}

/// Rate and CPU of one server in one round.
pub(crate) struct Taken {
    pub(crate) rate: f64,
    pub(crate) cpu_per_request: f64,
}

pub(crate) fn measure(rounds: usize) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let pair = Pair::start(directory.path().join("echo.sock"));
    process::pin(None, LOAD_CORE);
    let mut rows = Vec::new();
    for connections in [16, 64] {
        rows.extend(pair.rates(rounds, connections, Wait::Spinning));
    }
    rows.extend(pair.rates(rounds, 16, Wait::Asleep));
    rows.push(pair.latency(rounds));
    process::pin_anywhere();
    rows
}

impl Pair {
    fn start(echo: PathBuf) -> Self {
        let echo_process = process::echo(&echo);
        let sidecar = Sidecar::serve_in_memory();
        // 28 characters make the answer as long as the request's body, and so as the echo's answer.
        let token = sidecar.tokenize("4111111111111111 + 11 more..");
        let body = format!(r#"{{"token":"{token}"}}"#);
        let request = raw::request("/v1/detokenize", &[], body.as_bytes());
        process::pin(Some(echo_process.pid()), SERVER_CORE);
        process::pin(Some(sidecar.pid()), SERVER_CORE);
        Self { echo, echo_process, sidecar, request }
    }

    fn rates(&self, rounds: usize, connections: usize, wait: Wait) -> [String; 2] {
        let (mut ratios, mut added) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let (echo, sidecar) = (&self.echo_process, &self.sidecar);
            let floor = take(&self.echo, echo.pid(), &self.request, connections, wait);
            let ours = take(sidecar.socket(), sidecar.pid(), &self.request, connections, wait);
            ratios.push(ours.rate / floor.rate);
            added.push(ours.cpu_per_request - floor.cpu_per_request);
        }
        let load = format!("c={connections}, load {}", wait.words());
        let ratio = format!("{:.2}", median(ratios));
        let added = format!("{:.2} µs", median(added));
        let rate = format!("detokenize in memory ÷ hyper echo, {load}");
        let cpu = format!("server CPU added per request, {load}");
        [row(&rate, &ratio, "≥ 0.65", "≥ 0.80"), row(&cpu, &added, "≤ 2 µs", "≤ 1 µs")]
    }

    fn latency(&self, rounds: usize) -> String {
        let p99 =
            |socket| load::run(socket, &self.request, 1, ROUND, Wait::Spinning).percentile(99.0);
        let added = (0..rounds).map(|_| {
            let floor = p99(&self.echo);
            p99(self.sidecar.socket()) - floor
        });
        let added = format!("{:.1} µs", median(added.collect()));
        row("p99 added at c=1", &added, "≤ 15 µs", "≤ 5 µs")
    }
}

/// One round of one server.
pub(crate) fn take(
    socket: &Path,
    pid: u32,
    request: &[u8],
    connections: usize,
    wait: Wait,
) -> Taken {
    let before = process::cpu_time(pid);
    let round = load::run(socket, request, connections, ROUND, wait);
    let used = process::cpu_time(pid) - before;
    let cpu_per_request = used.as_secs_f64() * 1e6 / round.requests as f64;
    Taken { rate: round.rate(), cpu_per_request }
}
