//! The log is on the side: whatever becomes of it, requests are answered.

use std::{
    fs::OpenOptions,
    os::unix::net::UnixStream,
    process::{Child, Command, Stdio},
};

use lunasec_tests::{
    Raw,
    sidecar::{eventually, lunasec},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// A talkative sidecar whose log goes there.
fn start(directory: &std::path::Path, log: Stdio) -> Child {
    let mut command: Command = lunasec();
    command.args(["dev", "--admin", "127.0.0.1:0", "--dir"]).arg(directory);
    command.env("LUNASEC_LOG__LEVEL", "trace").stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.stderr(log).spawn().unwrap();
    let socket = directory.join("lunasec.sock");
    eventually("it serves", || UnixStream::connect(&socket).is_ok());
    child
}

fn serves_and_stops(directory: &std::path::Path, mut child: Child) {
    let mut connection = Raw::connect(&directory.join("lunasec.sock"));
    for _ in 0..20 {
        assert_eq!(connection.post("/v1/tokenize", &json!({ "value": "v" })).status, 200);
        assert_eq!(connection.post("/v1/detokenize", &json!({ "token": "v" })).status, 400);
    }
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let child = start(directory.path(), full.into());
    serves_and_stops(directory.path(), child);
}

#[test]
fn a_log_that_nobody_reads_any_more_stops_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let child = start(directory.path(), writer.into());
    drop(reader);
    serves_and_stops(directory.path(), child);
}

#[test]
fn commands_end_well_when_nobody_reads_them_and_badly_when_the_disk_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let child = start(directory.path(), Stdio::null());
    let socket = directory.path().join("lunasec.sock");
    let commands: [&[&str]; 4] = [
        &["status", "--socket", socket.to_str().unwrap()],
        &["sweep", "--dry-run", "--socket", socket.to_str().unwrap()],
        &["check", "--schema"],
        &["check", "--reference"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let closed = lunasec().args(arguments).stdout(writer).output().unwrap();
        let words = String::from_utf8_lossy(&closed.stderr).into_owned();
        assert_eq!((closed.status.code(), words.as_str()), (Some(0), ""), "{arguments:?}");
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let full = lunasec().args(arguments).stdout(full).output().unwrap();
        let words = String::from_utf8_lossy(&full.stderr).into_owned();
        assert_eq!(full.status.code(), Some(1), "{arguments:?}: {words}");
        assert!(words.contains("standard output cannot be written"), "{arguments:?}: {words}");
    }
    serves_and_stops(directory.path(), child);
}
