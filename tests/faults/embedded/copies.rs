use std::{fs, path::Path};

use lunasec_tests::Sidecar;
use rustix::process::Signal;

use crate::storm::{Ledger, Storm};

/// Files only: a socket is no part of a backup.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (kind, to) = (entry.file_type().unwrap(), to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_file() {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_backup_starts_elsewhere_and_opens_every_token() {
    let (original, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sidecar = Sidecar::dev_in(original.path());
    let mut ledger = Ledger::default();
    for at in 0..50 {
        let value = format!("value {at}");
        ledger.alive.insert(sidecar.tokenize(&value), value);
    }
    let body = serde_json::json!({ "value": "once" });
    let once = sidecar.post_once("/v1/tokenize", "key", &body).json();
    let deleted = sidecar.tokenize("deleted");
    sidecar.delete(&deleted);
    ledger.deleted.push(deleted);
    sidecar.stop();
    copy(original.path(), backup.path());
    drop(original);
    let restored = Sidecar::dev_in(backup.path());
    ledger.check(&restored);
    assert_eq!(restored.post_once("/v1/tokenize", "key", &body).json(), once);
}

#[test]
fn a_backup_without_its_key_file_is_refused_and_gets_no_new_key() {
    let (original, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut sidecar = Sidecar::dev_in(original.path());
    let token = sidecar.tokenize("value");
    sidecar.stop();
    copy(original.path(), backup.path());
    fs::remove_file(backup.path().join("local.key")).unwrap();
    for _ in 0..2 {
        let (status, log) = Sidecar::try_dev_in(backup.path()).err().unwrap();
        assert_eq!(status.code(), Some(3), "{log}");
        assert!(log.contains("local.key") && log.contains("restore it from a backup"), "{log}");
        assert!(!backup.path().join("local.key").exists(), "a new key took the lost one's place");
    }
    fs::copy(original.path().join("local.key"), backup.path().join("local.key")).unwrap();
    assert_eq!(Sidecar::dev_in(backup.path()).detokenize(&token).json()["value"], "value");
}

/// Stopped between two instructions and copied as it lies there, again and again in the middle of a
/// storm: what a snapshot of the file system holds.
#[test]
fn a_snapshot_taken_at_any_moment_opens_what_was_acknowledged_before() {
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = Sidecar::dev_in(directory.path());
    let mut known = Ledger::default();
    for at in 0..20 {
        let value = format!("before the storm {at}");
        known.alive.insert(sidecar.tokenize(&value), value);
    }
    let storm = Storm::begin(&sidecar, 8);
    for _ in 0..5 {
        storm.wait_for(50);
        sidecar.signal(Signal::STOP);
        let snapshot = tempfile::tempdir().unwrap();
        copy(directory.path(), snapshot.path());
        sidecar.signal(Signal::CONT);
        known.check(&Sidecar::dev_in(snapshot.path()));
    }
    sidecar.kill();
    known.merge(storm.end());
    let snapshot = tempfile::tempdir().unwrap();
    copy(directory.path(), snapshot.path());
    known.check(&Sidecar::dev_in(snapshot.path()));
    known.check(&Sidecar::dev_in(directory.path()));
}

#[test]
fn a_second_process_is_told_and_the_first_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let first = Sidecar::dev_in(directory.path());
    let token = first.tokenize("value");
    let (status, log) = Sidecar::try_dev_in(directory.path()).err().unwrap();
    assert_eq!(status.code(), Some(3), "{log}");
    let place = directory.path().display().to_string();
    assert!(log.contains("another process has") && log.contains(&place), "{log}");
    assert_eq!(first.detokenize(&token).json()["value"], "value");
    first.tokenize("another");
}
