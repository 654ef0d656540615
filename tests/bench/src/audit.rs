//! The audit trail, beside a sidecar without one, in one run: what a reveal costs that has to be recorded before its answer;
//! whether a record is missing after a minute at full load; and how fast a million lines are proven.

use std::{
    fs,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use lunasec_tests::{Sidecar, raw, sidecar::lunasec};

use crate::{
    load::{self, Wait},
    median, process,
    rates::{LOAD_CORE, ROUND, SERVER_CORE, take},
    row,
};

const MINUTE: Duration = Duration::from_secs(60);
const LINES: usize = 1_000_000;

/// A sidecar on a store in memory.
fn serve(directory: &Path, audited: bool) -> Sidecar {
    let dir = directory.display();
    let audit = format!("[audit]\nsink = \"file\"\npath = \"{dir}/audit.jsonl\"\n");
    let config = format!(
        "[listen]\nsocket = \"{dir}/lunasec.sock\"\nadmin = \"127.0.0.1:0\"\n\
         [storage]\nkind = \"memory\"\n[keys]\nkind = \"local\"\npath = \"{dir}/local.key\"\n\
         [degrade]\nstate_dir = \"{dir}/state\"\n{}",
        if audited { &audit } else { "" }
    );
    let path = directory.join("lunasec.toml");
    fs::write(&path, config).unwrap();
    let mut command = lunasec();
    command.args(["serve", "--config"]).arg(path);
    Sidecar::spawn(command, directory, directory.join("lunasec.sock"))
        .unwrap_or_else(|(status, log)| panic!("ended with {status}:\n{log}"))
}

fn reveal(sidecar: &Sidecar) -> Vec<u8> {
    let token = sidecar.tokenize("4111111111111111 + 11 more..");
    raw::request("/v1/detokenize", &[], format!(r#"{{"token":"{token}"}}"#).as_bytes())
}

pub(crate) fn measure(rounds: usize) -> Vec<String> {
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let plain = serve(directories[0].path(), false);
    let mut audited = serve(directories[1].path(), true);
    let requests = [reveal(&plain), reveal(&audited)];
    process::pin(Some(plain.pid()), SERVER_CORE);
    process::pin(Some(audited.pid()), SERVER_CORE);
    process::pin(None, LOAD_CORE);
    let mut rows = Vec::new();
    for connections in [16, 64] {
        let (mut added, mut slower, mut rates) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            let wait = Wait::Spinning;
            let without = take(plain.socket(), plain.pid(), &requests[0], connections, wait);
            let with = take(audited.socket(), audited.pid(), &requests[1], connections, wait);
            added.push(with.cpu_per_request - without.cpu_per_request);
            rates.push(with.rate / without.rate);
            let p99 = |socket, request: &[u8]| {
                load::run(socket, request, connections, ROUND, wait).percentile(99.0)
            };
            let without = p99(plain.socket(), &requests[0]);
            slower.push(p99(audited.socket(), &requests[1]) / without);
        }
        let of = |what: &str| format!("audit `required`, {what}, c={connections}");
        let added = format!("{:.2} µs", median(added));
        rows.push(row(&of("server CPU added per reveal"), &added, "", "≤ 1 µs"));
        rows.push(row(&of("reveals ÷ without"), &format!("{:.2}", median(rates)), "", ""));
        rows.push(row(&of("p99 ÷ without"), &format!("{:.2}", median(slower)), "≤ 1.2", ""));
    }
    let before = audited.metric("lunasec_requests_total{operation=\"detokenize\",code=\"ok\"}");
    let revealed = load::run(audited.socket(), &requests[1], 64, MINUTE, Wait::Spinning).requests;
    let all = audited.metric("lunasec_requests_total{operation=\"detokenize\",code=\"ok\"}");
    assert!(all - before >= revealed as f64, "more were revealed than counted");
    audited.stop();
    process::pin_anywhere();
    let directory = directories[1].path();
    let files = trail(directory);
    let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let recorded = text.matches("\"op\":\"detokenize\",\"code\":\"ok\"").count();
    let missing = all - recorded as f64;
    let what = format!("records missing after {revealed} reveals in a minute, c=64");
    rows.push(row(&what, &format!("{missing}"), "0", ""));
    rows.push(verify(directory, &files, text.lines().count()));
    rows
}

/// The files of a trail.
fn trail(directory: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.to_string_lossy().contains("audit.jsonl")).collect()
}

fn verify(directory: &Path, files: &[std::path::PathBuf], lines: usize) -> String {
    assert!(lines >= LINES, "a minute gave only {lines} lines");
    let mut command = lunasec();
    command.args(["audit", "verify"]).args(files).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let status = command.current_dir(directory).status().unwrap();
    let took = began.elapsed().as_secs_f64() * LINES as f64 / lines as f64;
    assert!(status.success());
    row("`lunasec audit verify` of a million lines", &format!("{took:.1} s"), "", "")
}
