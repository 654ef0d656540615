//! SIGHUP: the configuration is read again, by the file that the sidecar was started with.

use std::{os::unix::process::ExitStatusExt, process::Command};

use lunasec_tests::{Sidecar, sidecar::binary};
use rustix::process::Signal;
use serde_json::json;

/// Changes the file and tells the sidecar; returns what it said of it.
fn reload(sidecar: &mut Sidecar, extra: &str, said: &str) -> String {
    Sidecar::configure(sidecar.directory(), extra);
    sidecar.signal(Signal::HUP);
    sidecar.wait_for_line(|line| line.contains(said)).unwrap_or_else(|| panic!("{}", sidecar.log()))
}

fn tokenize(sidecar: &Sidecar, bytes: usize) -> String {
    sidecar.post("/v1/tokenize", &json!({ "value": "v".repeat(bytes) })).code()
}

#[test]
fn a_changed_configuration_is_in_force_at_once() {
    let mut sidecar = Sidecar::serve("[limits]\nvalue = \"16 B\"\n");
    assert_eq!(tokenize(&sidecar, 17), "payload_too_large");
    let mut connection = sidecar.connect();
    let token = sidecar.tokenize("v");
    reload(&mut sidecar, "[limits]\nvalue = \"32 B\"\n[log]\nlevel = \"debug\"\n", "is in force");
    assert_eq!(tokenize(&sidecar, 17), "none");
    assert_eq!(tokenize(&sidecar, 33), "payload_too_large");
    // Connections that were there before go on, under the new rules.
    let answer = connection.post("/v1/tokenize", &json!({ "value": "v".repeat(17) }));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(sidecar.detokenize(&token).json()["value"], "v");
    let refused = sidecar.wait_for_line(|line| line.contains("request refused"));
    assert!(refused.is_some(), "the log's new level: {}", sidecar.log());
}

#[test]
fn a_bad_configuration_is_named_and_the_old_one_stays() {
    let mut sidecar = Sidecar::serve("[limits]\nvalue = \"16 B\"\n");
    let bad = "[limits]\nvalue = \"2 MiB\"\nvalu = 1\n";
    let line = reload(&mut sidecar, bad, "the old configuration stays in force");
    assert!(line.contains("2 mistakes"), "{line}");
    assert_eq!(tokenize(&sidecar, 16), "none");
    assert_eq!(tokenize(&sidecar, 17), "payload_too_large");
    reload(&mut sidecar, "", "is in force");
    assert_eq!(tokenize(&sidecar, 17), "none");
}

#[test]
fn what_cannot_change_under_a_running_sidecar_is_named() {
    let mut sidecar = Sidecar::serve("");
    let changed = "[limits]\nconnections = 7\nvalue = \"16 B\"\n";
    let line = reload(&mut sidecar, changed, "needs a restart");
    assert!(line.contains("limits.connections"), "{line}");
    assert!(!line.contains("storage"), "{line}");
    // The rest of it is in force.
    assert_eq!(tokenize(&sidecar, 17), "payload_too_large");
}

#[test]
fn a_closed_terminal_ends_a_sidecar_for_development() {
    let directory = tempfile::tempdir().unwrap();
    // Whoever runs the tests may have told its children not to mind.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP").arg(binary());
    command.args(["dev", "--admin", "127.0.0.1:0", "--dir"]).arg(directory.path());
    let socket = directory.path().join("lunasec.sock");
    let mut sidecar = Sidecar::spawn(command, directory.path(), socket).unwrap();
    sidecar.signal(Signal::HUP);
    assert_eq!(sidecar.wait().signal(), Some(Signal::HUP.as_raw()));
}
