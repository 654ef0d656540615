//! Whole files through the release binary.

use std::{
    collections::HashSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use lunasec_sidecar::env::Entropy;
use lunasec_tests::{Sidecar, sidecar};

const COLUMNS: &str = "email,phone,address,card_number";

pub(crate) fn sample() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fs::read(root.join("sidecar/server/tests/data/customers-500.csv")).unwrap()
}

/// The sample's header, and its rows many times over.
fn long_sample(times: usize) -> Vec<u8> {
    let sample = sample();
    let header = sample.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let mut long = sample[..header].to_vec();
    for _ in 0..times {
        long.extend_from_slice(&sample[header..]);
    }
    long
}

pub(crate) fn command(sidecar: &Path, verb: &str, input: &Path, output: &Path) -> Command {
    let mut command = sidecar::lunasec();
    command.arg(verb).arg("--socket").arg(sidecar).args(["--columns", COLUMNS]);
    command.arg("--input").arg(input).arg("--output").arg(output);
    command
}

pub(crate) fn succeed(mut command: Command) -> String {
    let output = command.output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{words}");
    words
}

pub(crate) fn tokens(file: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(file).unwrap();
    text.split([',', '\n', '\r', '"']).filter(|cell| cell.starts_with("lunasec-")).collect()
}

#[test]
fn a_file_comes_back_byte_for_byte() {
    let sidecar = Sidecar::dev();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("in.csv"), sample()).unwrap();
    let words =
        succeed(command(sidecar.socket(), "tokenize", &path("in.csv"), &path("tokens.csv")));
    let tokenized = fs::read(path("tokens.csv")).unwrap();
    let found = tokens(&tokenized);
    assert!(words.contains(&format!("tokenized {} values of 500 rows", found.len())), "{words}");
    assert!(found.len() > 1_500);
    assert_eq!(sidecar.stored_records(), found.len() as u64);
    succeed(command(sidecar.socket(), "detokenize", &path("tokens.csv"), &path("back.csv")));
    assert!(fs::read(path("back.csv")).unwrap() == sample());
}

#[test]
fn killed_at_random_it_resumes_and_stores_no_row_twice() {
    let mut sidecar = Sidecar::dev();
    let home = sidecar.directory().to_owned();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let input = long_sample(30);
    fs::write(path("in.csv"), &input).unwrap();
    let mut kills = 0;
    loop {
        let run = command(sidecar.socket(), "tokenize", &path("in.csv"), &path("tokens.csv"));
        let progress = path("tokens.csv.lunasec-progress");
        if !kill_at_random(run, &path("tokens.csv"), &progress) {
            break;
        }
        kills += 1;
        if kills % 3 == 0 {
            // The sidecar too: what it remembers of the batch in flight must outlive it.
            sidecar.kill();
            let restarted = Sidecar::dev_in(&home);
            sidecar.replace(restarted);
        }
    }
    assert!(kills >= 5, "only {kills} kills: the file is too short for this machine");
    let tokenized = fs::read(path("tokens.csv")).unwrap();
    let found = tokens(&tokenized);
    assert_eq!(found.iter().collect::<HashSet<_>>().len(), found.len(), "a token stands twice");
    assert_eq!(sidecar.stored_records(), found.len() as u64, "something is stored twice");
    succeed(command(sidecar.socket(), "detokenize", &path("tokens.csv"), &path("back.csv")));
    assert!(fs::read(path("back.csv")).unwrap() == input);
    let left: Vec<PathBuf> =
        fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left.len(), 3, "traces are left: {left:?}");
}

/// Kills the run some time after some more of its batches are done; false when it finished first.
fn kill_at_random(mut run: Command, output: &Path, progress: &Path) -> bool {
    let [batches, microseconds] = random();
    let mut child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut last = fs::read(progress).ok();
    for _ in 0..=batches % 5 {
        let deadline = Instant::now() + sidecar::PATIENCE;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                // The run before may have been killed between its last step and its exit.
                assert!(status.success() || (output.exists() && !progress.exists()), "{status}");
                return false;
            }
            assert!(Instant::now() < deadline, "no progress");
            let now = fs::read(progress).ok();
            if now.is_some() && now != last {
                last = now;
                break;
            }
            thread::yield_now();
        }
    }
    // Not a wait for anything: the moment is meant to be any.
    thread::sleep(Duration::from_micros(u64::from(microseconds) * 100));
    child.kill().unwrap();
    !child.wait().unwrap().success()
}

fn random() -> [u8; 2] {
    let mut bytes = [0; 2];
    sidecar::entropy().fill(&mut bytes).unwrap();
    bytes
}

#[test]
fn json_lines_and_standard_streams() {
    let sidecar = Sidecar::dev();
    let input = b"{\"user\": {\"email\": \"a@b.c\", \"age\": 7}}\n{\"user\":{\"email\":\"\"}}\n\n{\"user\":{\"email\":\"\xc3\xa9\\\"x\"}}";
    let pipe = |verb: &str, input: &[u8]| -> Output {
        let mut command = sidecar::lunasec();
        command.arg(verb).arg("--socket").arg(sidecar.socket());
        command.args(["--columns", "user.email", "--format", "jsonl"]);
        feed(command, input)
    };
    let tokenized = pipe("tokenize", input);
    assert!(tokenized.status.success(), "{}", String::from_utf8_lossy(&tokenized.stderr));
    let text = String::from_utf8_lossy(&tokenized.stdout);
    assert_eq!(text.matches("\"lunasec-").count(), 2, "{text}");
    let back = pipe("detokenize", &tokenized.stdout);
    assert_eq!(String::from_utf8_lossy(&back.stdout), String::from_utf8_lossy(input));
}

#[test]
fn a_path_that_no_line_has_is_refused_and_nothing_is_written() {
    let sidecar = Sidecar::dev();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("in.jsonl"), "{\"a\": \"4111\"}\n{\"a\": \"4112\"}\n").unwrap();
    let mut run = sidecar::lunasec();
    run.arg("tokenize").arg("--socket").arg(sidecar.socket()).args(["--columns", "a,card"]);
    run.arg("--input").arg(path("in.jsonl")).arg("--output").arg(path("out.jsonl"));
    let output = run.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("no line has a value at \"card\""), "{words}");
    assert!(!path("out.jsonl").exists());
    assert_eq!(sidecar.stored_records(), 0);
}

#[test]
fn a_line_without_any_of_the_paths_is_told() {
    let sidecar = Sidecar::dev();
    let mut run = sidecar::lunasec();
    run.arg("tokenize").arg("--socket").arg(sidecar.socket());
    run.args(["--columns", "card", "--format", "jsonl"]);
    let output = feed(run, b"{\"card\": \"4111\"}\n{\"Card\": \"4112\"}\n{\"card\": \"\"}\n");
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("1 rows have none of the columns"), "{words}");
}

#[test]
fn nothing_is_stored_for_an_output_that_is_there() {
    let sidecar = Sidecar::dev();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    fs::write(&path, "precious").unwrap();
    let mut run = sidecar::lunasec();
    run.arg("tokenize").arg("--socket").arg(sidecar.socket()).arg("--output").arg(&path);
    let output = feed(run, b"4111");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--force"));
    assert_eq!(fs::read(&path).unwrap(), b"precious");
    assert_eq!(sidecar.stored_records(), 0);
}

/// A token of one namespace means nothing in another: half a file of each would be worth nothing.
#[test]
fn a_run_is_taken_up_only_where_it_began() {
    let (sidecar, other) = (Sidecar::dev(), Sidecar::dev());
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("in.csv"), long_sample(30)).unwrap();
    let run = |sidecar: &Sidecar, namespace: &str| {
        let mut run = command(sidecar.socket(), "tokenize", &path("in.csv"), &path("out.csv"));
        run.args(["--namespace", namespace]);
        run
    };
    let progress = path("out.csv.lunasec-progress");
    assert!(kill_at_random(run(&sidecar, "a"), &path("out.csv"), &progress), "it was too quick");
    for mut elsewhere in [run(&sidecar, "b"), run(&other, "a")] {
        let output = elsewhere.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(words.contains("at another socket or in another namespace"), "{words}");
    }
    let words = succeed(run(&sidecar, "a"));
    assert!(words.contains("resumed at row"), "{words}");
    assert_eq!(other.stored_records(), 0);
}

#[test]
fn one_value_through_standard_streams() {
    let sidecar = Sidecar::dev();
    let run = |verb: &str, input: &[u8]| {
        let mut command = sidecar::lunasec();
        command.arg(verb).arg("--socket").arg(sidecar.socket());
        let output = feed(command, input);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    for value in [&b"4111 1111\n"[..], b"", b"\xff\x00\xfe"] {
        let token = run("tokenize", value);
        assert_eq!(token.len(), 44);
        assert_eq!(run("detokenize", &token), value);
    }
}

#[test]
fn without_a_sidecar_it_says_so_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    fs::write(path("in.csv"), sample()).unwrap();
    let mut run = command(&path("none.sock"), "tokenize", &path("in.csv"), &path("out.csv"));
    let output = run.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("no sidecar answers"), "{words}");
    assert!(!path("out.csv").exists());
}

pub(crate) fn feed(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}
