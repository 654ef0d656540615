//! Where records go, and disks that take none of them for a while.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Output, Stdio},
    thread,
};

use lunasec_tests::{
    Raw, Sidecar,
    namespace::{in_mount_namespace, mount_tmpfs, remount},
    sidecar::{eventually, lunasec},
};
use rustix::{
    fs::{OFlags, fcntl_setfl},
    process::{Pid, Signal, kill_process},
};
use serde_json::{Value, json};

const BATCH: usize = 1_000;

fn to_file(directory: &Path, extra: &str) -> String {
    format!("[audit]\nsink = \"file\"\npath = \"{}/audit.jsonl\"\n{extra}", directory.display())
}

/// A disk of its own for the spool, with little room.
fn small_spool(directory: &Path) -> PathBuf {
    let spool = directory.join("state/audit");
    fs::create_dir_all(&spool).unwrap();
    mount_tmpfs(&spool, "1m");
    spool
}

/// The trail's files, in the order of their names.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.display().to_string().contains("/audit.jsonl")).collect();
    files.sort();
    files
}

fn text(directory: &Path) -> String {
    files(directory).iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect()
}

fn verify(directory: &Path, files: &[PathBuf]) -> Output {
    let mut command = lunasec();
    command.args(["audit", "verify", "--complete", "--config"]).arg(directory.join("lunasec.toml"));
    command.args(files).output().unwrap()
}

fn proven(directory: &Path, files: &[PathBuf]) -> String {
    let output = verify(directory, files);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A batch that reveals one value so many times.
fn reveals(sidecar: &Sidecar, token: &str) -> u16 {
    let tokens = vec![token; BATCH];
    sidecar.post("/v1/detokenize:batch", &json!({ "tokens": tokens })).status
}

fn audit_state(sidecar: &Sidecar) -> String {
    let status = lunasec().args(["status", "--json", "--socket"]).arg(sidecar.socket()).output();
    let status: Value = serde_json::from_slice(&status.unwrap().stdout).unwrap();
    status["dependencies"]["audit"]["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_file_that_has_become_long_is_put_aside_and_all_of_them_are_one_chain() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let mut sidecar = Sidecar::serve_in(here, &to_file(here, "rotate_bytes = \"1 MiB\"\n"));
    let token = sidecar.tokenize("value");
    for _ in 0..50 {
        assert_eq!(reveals(&sidecar, &token), 200);
    }
    sidecar.stop();
    let mut files = files(here);
    assert!(files.len() > 3, "{files:?}");
    assert_eq!(text(here).matches("\"op\":\"detokenize_batch\"").count(), 50 * BATCH);
    let said = proven(here, &files);
    assert!(said.contains(": lines 0 to "), "{said}");
    files.reverse();
    assert_eq!(proven(here, &files), said, "in any order");
    // Each proves itself alone, and says that there was something before it.
    let alone = lunasec().args(["audit", "verify"]).arg(&files[0]).output().unwrap();
    assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stderr));
    let missing = verify(here, &files[1..]);
    assert_eq!(missing.status.code(), Some(1));
}

/// What must be recorded is refused while the spool's disk is full, and goes on by itself once there is room.
#[test]
fn a_full_disk_of_the_spool_is_over_once_there_is_room() {
    in_mount_namespace("sinks::a_full_disk_of_the_spool_is_over_once_there_is_room", || {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        let spool = small_spool(here);
        let mut sidecar = Sidecar::serve_in(here, &to_file(here, ""));
        let token = sidecar.tokenize("value");
        assert_eq!(audit_state(&sidecar), "up");
        let mut answered = 0;
        while reveals(&sidecar, &token) == 200 {
            answered += 1;
            assert!(answered < 10, "the disk is not full");
        }
        assert_eq!(sidecar.detokenize(&token).code(), "storage_unavailable");
        assert_eq!(audit_state(&sidecar), "down");
        remount(&spool, "size=64m");
        eventually("reveals go on", || sidecar.detokenize(&token).status == 200);
        assert_eq!(audit_state(&sidecar), "up");
        sidecar.stop();
        let revealed = text(here).matches("\"op\":\"detokenize_batch\"").count();
        assert!(revealed >= answered * BATCH, "{revealed} of {answered} batches");
        proven(here, &files(here));
    });
}

/// What nobody waits for is kept in memory up to a bound, and what was dropped beyond it is counted in the chain.
#[test]
fn what_is_dropped_is_counted_in_the_chain() {
    in_mount_namespace("sinks::what_is_dropped_is_counted_in_the_chain", || {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        let spool = small_spool(here);
        let mut sidecar = Sidecar::serve_in(here, &to_file(here, "reveal = \"best_effort\"\n"));
        let token = sidecar.tokenize("value");
        let batches = 80;
        for _ in 0..batches {
            assert_eq!(reveals(&sidecar, &token), 200);
        }
        remount(&spool, "size=64m");
        eventually("what was dropped is said", || text(here).contains("\"event\":\"dropped\""));
        sidecar.stop();
        let text = text(here);
        let recorded = text.matches("\"op\":\"detokenize_batch\"").count();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let dropped: u64 = lines.filter_map(|line| line["count"].as_u64()).sum();
        assert!(dropped > 0 && recorded > 60_000, "{recorded}, {dropped}");
        assert_eq!(recorded + usize::try_from(dropped).unwrap(), batches * BATCH);
        proven(here, &files(here));
    });
}

/// A start that fails would leave a chain that no later one knows.
#[test]
fn a_start_that_fails_begins_no_chain() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    Sidecar::configure(here, &to_file(here, ""));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = lunasec();
    command.args(["serve", "--config"]).arg(here.join("lunasec.toml"));
    command.env("LUNASEC_LISTEN__ADMIN", taken.local_addr().unwrap().to_string());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(!here.join("state/audit").exists());
}

/// A disk that keeps a file's name and not what was written last, or nothing but zeros of it.
#[test]
fn a_loss_of_power_in_the_first_line_of_a_segment_leaves_a_trail_that_is_whole() {
    for (kept, zeros) in [(1, 0), (100, 0), (0, 217)] {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        let mut first = Sidecar::serve_in(here, &to_file(here, ""));
        first.tokenize("value");
        first.stop();
        let synced = fs::metadata(here.join("audit.jsonl")).unwrap().len();
        Sidecar::serve_in(here, &to_file(here, "")).kill();
        let spool = fs::read_dir(here.join("state/audit")).unwrap();
        let segments = spool.map(|entry| entry.unwrap().path());
        let last = segments.filter(|path| path.extension().is_some_and(|it| it == "jsonl")).max();
        let last = OpenOptions::new().append(true).open(last.unwrap()).unwrap();
        last.set_len(kept).unwrap();
        last.set_len(kept + zeros).unwrap();
        let sink = OpenOptions::new().append(true).open(here.join("audit.jsonl")).unwrap();
        sink.set_len(synced).unwrap();
        let mut next = Sidecar::serve_in(here, &to_file(here, ""));
        next.tokenize("value");
        next.stop();
        let mut command = lunasec();
        command.args(["audit", "verify", "--config"]).arg(here.join("lunasec.toml"));
        let output = command.args(files(here)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(text(here).matches("\"op\":\"tokenize\"").count(), 2);
    }
}

/// Where a sink cannot keep how far it has come, it goes on all the same.
#[test]
fn standard_output_has_each_line_once_while_the_spools_disk_is_full() {
    let name = "sinks::standard_output_has_each_line_once_while_the_spools_disk_is_full";
    in_mount_namespace(name, || {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        let spool = small_spool(here);
        Sidecar::configure(here, "[audit]\nsink = \"stdout\"\n");
        let (child, output) = to_stdout(here);
        let reader = thread::spawn(move || {
            let lines = BufReader::new(output).lines();
            lines.map(|line| line.unwrap()).collect::<Vec<_>>()
        });
        let mut connection = Raw::connect(&here.join("lunasec.sock"));
        let mut ask = |path: &str, body: &Value| connection.post(path, body);
        let token = ask("/v1/tokenize", &json!({ "value": "value" })).json()["token"].clone();
        let fill = fs::write(spool.join("fill"), vec![0; 2 << 20]);
        assert!(fill.is_err(), "the disk is not full");
        // Of the page that the segment has begun, there may be room for some.
        let body = json!({ "token": token });
        let mut revealed = 0;
        while ask("/v1/detokenize", &body).status == 200 {
            revealed += 1;
        }
        let told = |line: &str| fs::read_to_string(here.join("log")).unwrap().contains(line);
        eventually("it says that it cannot", || told("cannot be kept"));
        remount(&spool, "size=64m");
        eventually("reveals go on", || ask("/v1/detokenize", &body).status == 200);
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let lines = reader.join().unwrap();
        let once: HashSet<_> = lines.iter().collect();
        assert_eq!(once.len(), lines.len(), "each once");
        let of_reveals = lines.iter().filter(|line| line.contains("\"op\":\"detokenize\""));
        assert!(of_reveals.count() > revealed);
    });
}

#[test]
fn a_file_of_something_else_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    for text in ["somebody's log\nand more", "somebody's log\n", "no line at all"] {
        fs::write(here.join("audit.jsonl"), text).unwrap();
        let mut sidecar = Sidecar::serve_in(here, &to_file(here, ""));
        sidecar.tokenize("value");
        let said = |line: &str| line.contains("holds something else than an audit trail");
        assert!(sidecar.wait_for_line(said).is_some(), "{}", sidecar.log());
        assert_eq!(audit_state(&sidecar), "degraded");
        sidecar.stop();
        assert_eq!(fs::read_to_string(here.join("audit.jsonl")).unwrap(), text);
    }
    // What waited for it is there once it has one of its own.
    fs::remove_file(here.join("audit.jsonl")).unwrap();
    let mut sidecar = Sidecar::serve_in(here, &to_file(here, ""));
    sidecar.stop();
    assert_eq!(text(here).matches("\"op\":\"tokenize\"").count(), 3);
}

#[test]
fn two_sidecars_do_not_write_one_file() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let audit = to_file(one.path(), "");
    let mut first = Sidecar::serve_in(one.path(), &audit);
    first.tokenize("value");
    eventually("the first has it", || text(one.path()).contains("\"op\":\"tokenize\""));
    let mut second = Sidecar::serve_in(other.path(), &audit);
    second.tokenize("value");
    let said = |line: &str| line.contains("another process writes it");
    assert!(second.wait_for_line(said).is_some(), "{}", second.log());
    assert_eq!((audit_state(&first).as_str(), audit_state(&second).as_str()), ("up", "degraded"));
    first.stop();
    proven(one.path(), &files(one.path()));
    // From then on it is the second's.
    eventually("the second has it", || {
        text(one.path()).matches("\"op\":\"tokenize\"").count() == 2
    });
    eventually("its sink is well", || audit_state(&second) == "up");
    second.stop();
}

/// A sidecar whose standard output is read by nobody else.
fn to_stdout(here: &Path) -> (Child, ChildStdout) {
    let mut child = serve_to(here, Stdio::piped());
    let output = child.stdout.take().unwrap();
    (child, output)
}

fn serve_to(here: &Path, stdout: Stdio) -> Child {
    let mut command = lunasec();
    command.args(["serve", "--config"]).arg(here.join("lunasec.toml"));
    let log = File::create(here.join("log")).unwrap();
    let child = command.stdin(Stdio::null()).stdout(stdout).stderr(log).spawn().unwrap();
    let socket = here.join("lunasec.sock");
    eventually("it serves", || UnixStream::connect(&socket).is_ok());
    child
}

/// Reveals one value so often that it is more than a pipe, or a small disk, takes.
fn reveal_many(here: &Path) -> usize {
    let mut connection = Raw::connect(&here.join("lunasec.sock"));
    let token =
        connection.post("/v1/tokenize", &json!({ "value": "value" })).json()["token"].clone();
    let body = json!({ "tokens": vec![token; BATCH] });
    for _ in 0..5 {
        assert_eq!(connection.post("/v1/detokenize:batch", &body).status, 200);
    }
    5 * BATCH
}

fn revealed_once(lines: &[&str]) -> usize {
    let whole: Vec<_> = lines.iter().filter(|line| line.ends_with('}')).collect();
    assert_eq!(whole.iter().collect::<HashSet<_>>().len(), whole.len(), "each once");
    whole.iter().filter(|line| line.contains("\"op\":\"detokenize_batch\"")).count()
}

/// Whoever shares a pipe may make it so that it never blocks.
#[test]
fn standard_output_that_takes_little_at_once_has_each_line_once() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    Sidecar::configure(here, "[audit]\nsink = \"stdout\"\n");
    let (mut reader, writer) = std::io::pipe().unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let mut child = serve_to(here, writer.into());
    let many = reveal_many(here);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(revealed_once(&read.lines().collect::<Vec<_>>()), many);
}

/// What it took it has, also where the rest of a line found no room.
#[test]
fn standard_output_to_a_disk_that_was_full_has_each_line_once() {
    let name = "sinks::standard_output_to_a_disk_that_was_full_has_each_line_once";
    in_mount_namespace(name, || {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        Sidecar::configure(here, "[audit]\nsink = \"stdout\"\n");
        let disk = here.join("disk");
        fs::create_dir(&disk).unwrap();
        mount_tmpfs(&disk, "1m");
        let out = OpenOptions::new().create(true).append(true).open(disk.join("out")).unwrap();
        let mut child = serve_to(here, out.into());
        let many = reveal_many(here);
        let told = |line: &str| fs::read_to_string(here.join("log")).unwrap().contains(line);
        eventually("its disk is full", || told("takes nothing"));
        remount(&disk, "size=64m");
        let text = || fs::read_to_string(disk.join("out")).unwrap();
        let reveals = || text().matches("\"op\":\"detokenize_batch\"").count();
        eventually("all of it is there", || reveals() >= many);
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success());
        let text = text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(revealed_once(&lines), many);
        let torn = lines.iter().filter(|line| !line.ends_with('}')).count();
        assert!(torn <= 1, "{torn} pieces of lines");
    });
}

/// After a kill, standard output goes on with a line of its own, whatever the last one was.
#[test]
fn standard_output_goes_on_behind_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    Sidecar::configure(here, "[audit]\nsink = \"stdout\"\n");
    let (socket, mut trail, mut torn) = (here.join("lunasec.sock"), Vec::new(), 0);
    for round in 0..8 {
        let (mut child, mut output) = to_stdout(here);
        let given = Raw::connect(&socket).post("/v1/tokenize", &json!({ "value": "value" }));
        let body = json!({ "tokens": vec![given.json()["token"].clone(); BATCH] }).to_string();
        let asks = thread::spawn({
            let mut connection = Raw::connect(&socket);
            move || {
                let mut ask =
                    || connection.try_post_with("/v1/detokenize:batch", &[], body.as_bytes());
                // Until it is killed.
                while ask().is_ok_and(|answer| answer.status == 200) {}
            }
        });
        // A pipe that is read a little at a time is full in the middle of a line.
        let mut read = vec![0; 300_000 + 12_345 * round];
        output.read_exact(&mut read).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        output.read_to_end(&mut read).unwrap();
        asks.join().unwrap();
        torn += usize::from(!read.ends_with(b"\n"));
        trail.extend(read);
    }
    assert!(torn > 0, "no kill has cut a line");
    let (child, mut output) = to_stdout(here);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    output.read_to_end(&mut trail).unwrap();
    let path = here.join("read.jsonl");
    fs::write(&path, trail).unwrap();
    let output = lunasec().args(["audit", "verify"]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.matches("are whole").count(), 9, "{said}");
}
