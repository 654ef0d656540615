use std::{
    fs,
    os::unix::fs::FileExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use lunasec_tests::{
    Raw, Sidecar,
    namespace::{in_mount_namespace, mount_tmpfs, remount},
    raw::get_tcp,
    sidecar::lunasec,
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;

use crate::storm::Ledger;

/// A directory on a disk of its own. The socket and the log are elsewhere, as in life.
struct Disk {
    directory: tempfile::TempDir,
}

impl Disk {
    fn mount(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        mount_tmpfs(&directory.path().join("disk"), size);
        Self { directory }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("disk")
    }

    fn try_start(&self) -> Result<Sidecar, (std::process::ExitStatus, String)> {
        let socket = self.directory.path().join("lunasec.sock");
        // A write beyond a limit must fail, not kill; see `limit_writes`.
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]).arg(lunasec().get_program());
        command.args(["dev", "--admin", "127.0.0.1:0", "--socket"]).arg(&socket);
        command.arg("--dir").arg(self.path());
        Sidecar::spawn(command, &self.path(), socket)
    }

    fn start(&self) -> Sidecar {
        self.try_start().unwrap_or_else(|(status, log)| panic!("ended with {status}:\n{log}"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The directory can be removed only once nothing is mounted in it.
        let _ = std::process::Command::new("umount").arg("--lazy").arg(self.path()).status();
    }
}

/// Writes until there is no room; the file can be removed again.
pub(crate) fn fill(path: &Path) {
    let file = fs::File::create(path).unwrap();
    let mut at = 0;
    for size in [1 << 16, 1 << 12] {
        while file.write_all_at(&vec![7; size], at).is_ok() {
            at += size as u64;
        }
    }
}

/// Makes every write of the process fail, or lets them through again.
pub(crate) fn limit_writes(sidecar: &Sidecar, most: Option<u64>) {
    let pid = Pid::from_raw(sidecar.pid().try_into().unwrap()).unwrap();
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: most, maximum: None }).unwrap();
}

fn refuses_writes_of(sidecar: &Sidecar, lengths: &[usize]) {
    for &length in lengths {
        let answer = sidecar.post("/v1/tokenize", &json!({ "value": "v".repeat(length) }));
        assert_eq!((answer.status, &*answer.code()), (503, "storage_unavailable"));
        assert_eq!(answer.json()["retryable"], true);
    }
}

fn refuses_writes(sidecar: &Sidecar) {
    refuses_writes_of(sidecar, &[1, 5_000, 200_000]);
    let once = sidecar.post_once("/v1/tokenize", "key", &json!({ "value": "v" }));
    assert_eq!((once.status, &*once.code()), (503, "storage_unavailable"));
}

/// Writes until a write is refused. On a full disk the file may still have free pages inside, or give
/// some back when it is opened anew: what fits there is stored, and must be there like all else.
fn write_until_refused(sidecar: &Sidecar, ledger: &mut Ledger, length: usize) {
    loop {
        let value = format!("{} {}", ledger.alive.len(), "v".repeat(length));
        let body = json!({ "value": value, "metadata": { "bytes": value.len() } });
        let answer = sidecar.post("/v1/tokenize", &body);
        if answer.status != 200 {
            assert_eq!((answer.status, &*answer.code()), (503, "storage_unavailable"));
            assert_eq!(answer.json()["retryable"], true);
            return;
        }
        ledger.alive.insert(answer.json()["token"].as_str().unwrap().into(), value);
    }
}

fn fill_ledger(sidecar: &Sidecar, ledger: &mut Ledger, count: usize) {
    for _ in 0..count {
        let value = format!("value {}", ledger.alive.len());
        let body = json!({ "value": value, "metadata": { "bytes": value.len() } });
        let token = sidecar.post("/v1/tokenize", &body).json()["token"].as_str().unwrap().into();
        ledger.alive.insert(token, value);
    }
}

/// Values may be remembered; metadata never is, so that it comes from the disk each time.
fn check(ledger: &Ledger, sidecar: &Sidecar) {
    ledger.check(sidecar);
    let mut raw = Raw::connect(sidecar.socket());
    for (token, value) in &ledger.alive {
        check_metadata(&mut raw, token, value);
    }
}

fn check_metadata(raw: &mut Raw, token: &str, value: &str) {
    let answer = raw.post("/v1/metadata/get", &json!({ "token": token }));
    assert_eq!(answer.json()["metadata"], json!({ "bytes": value.len() }), "{}", answer.text());
}

const UP: &str = "lunasec_dependency_up{dependency=\"storage\"}";

fn status_of_storage(sidecar: &Sidecar) -> serde_json::Value {
    get_tcp(&sidecar.admin(), "/status").json()["dependencies"]["storage"].clone()
}

/// Reads one token over and over, beside whatever the test does; every answer must be right.
fn keep_reading(sidecar: &Sidecar, ledger: &Ledger) -> impl FnOnce() -> usize + use<> {
    let (token, value) = ledger.alive.iter().next().unwrap();
    let (token, value) = (token.clone(), value.clone());
    let mut raw = Raw::connect(sidecar.socket());
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let reader = thread::spawn(move || {
        let mut reads = 0;
        while !stopped.load(Ordering::Relaxed) {
            check_metadata(&mut raw, &token, &value);
            reads += 1;
        }
        reads
    });
    move || {
        stop.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    }
}

#[test]
fn a_full_disk_stops_writes_until_there_is_room_and_never_reads() {
    in_mount_namespace(
        "embedded::disk::a_full_disk_stops_writes_until_there_is_room_and_never_reads",
        || {
            let disk = Disk::mount("16m");
            let (ballast, rest) = (disk.path().join("ballast"), disk.path().join("rest"));
            fs::write(&ballast, vec![7; 6 << 20]).unwrap();
            let mut sidecar = disk.start();
            let mut ledger = Ledger::default();
            fill_ledger(&sidecar, &mut ledger, 30);
            // Its own values fill the disk, so that it is in the middle of growing.
            write_until_refused(&sidecar, &mut ledger, 100_000);
            fill(&rest);
            let reading = keep_reading(&sidecar, &ledger);
            for length in [200_000, 5_000, 1, 5_000, 200_000] {
                write_until_refused(&sidecar, &mut ledger, length);
                check(&ledger, &sidecar);
            }
            // Reads go on, and nobody is told that all is well.
            let storage = status_of_storage(&sidecar);
            assert_eq!(storage["state"], "degraded", "{storage}");
            assert!(storage["reason"].as_str().unwrap().contains("writes fail"), "{storage}");
            assert_eq!(sidecar.metric(UP), 0.0);
            println!("{} reads went well beside failing writes", reading());
            fs::remove_file(&ballast).unwrap();
            fill_ledger(&sidecar, &mut ledger, 30);
            check(&ledger, &sidecar);
            assert_eq!(status_of_storage(&sidecar)["state"], "up");
            assert_eq!(sidecar.metric(UP), 1.0);
            // Full again, and restarted while it is.
            fill(&ballast);
            sidecar.kill();
            check(&ledger, &disk.start());
            fs::remove_file(&ballast).unwrap();
            check(&ledger, &disk.start());
        },
    );
}

#[test]
fn a_read_only_disk_is_named_at_the_start() {
    in_mount_namespace("embedded::disk::a_read_only_disk_is_named_at_the_start", || {
        let disk = Disk::mount("16m");
        remount(&disk.path(), "ro");
        let (status, log) = disk.try_start().err().unwrap();
        assert_eq!(status.code(), Some(3), "{log}");
        assert!(log.contains("Read-only file system"), "{log}");
        remount(&disk.path(), "rw");
        let mut sidecar = disk.start();
        let token = sidecar.tokenize("value");
        sidecar.stop();
        remount(&disk.path(), "ro");
        let (status, log) = disk.try_start().err().unwrap();
        assert_eq!(status.code(), Some(3), "{log}");
        assert!(log.contains("store.redb") && log.contains("Read-only file system"), "{log}");
        remount(&disk.path(), "rw");
        assert_eq!(disk.start().detokenize(&token).json()["value"], "value");
    });
}

#[test]
fn a_disk_that_becomes_read_only_is_still_read() {
    in_mount_namespace("embedded::disk::a_disk_that_becomes_read_only_is_still_read", || {
        let disk = Disk::mount("16m");
        // What is open for writing keeps a mount from becoming read-only, so the idle file of
        // idempotency keys lies on a disk of its own.
        mount_tmpfs(&disk.path().join("state"), "4m");
        let mut sidecar = disk.start();
        let mut ledger = Ledger::default();
        fill_ledger(&sidecar, &mut ledger, 30);
        let reading = keep_reading(&sidecar, &ledger);
        // First the writes of the file that is open fail, as they do after an I/O error ...
        limit_writes(&sidecar, Some(0));
        refuses_writes(&sidecar);
        check(&ledger, &sidecar);
        // ... then it cannot even be opened for writing any more.
        remount(&disk.path(), "ro");
        limit_writes(&sidecar, None);
        for _ in 0..5 {
            let answer = sidecar.post("/v1/tokenize", &json!({ "value": "v" }));
            assert_eq!((answer.status, &*answer.code()), (503, "storage_unavailable"));
            check(&ledger, &sidecar);
        }
        remount(&disk.path(), "rw");
        fill_ledger(&sidecar, &mut ledger, 30);
        check(&ledger, &sidecar);
        println!("{} reads went well beside failing writes", reading());
        sidecar.kill();
        check(&ledger, &disk.start());
    });
}

/// The disk is away for good and comes back empty: what was stored has not "never been".
#[test]
fn a_store_that_vanishes_is_not_taken_for_an_empty_one() {
    in_mount_namespace(
        "embedded::disk::a_store_that_vanishes_is_not_taken_for_an_empty_one",
        || {
            let disk = Disk::mount("16m");
            let sidecar = disk.start();
            let token = sidecar.tokenize("value");
            fs::remove_file(disk.path().join("store.redb")).unwrap();
            // The open file is still read; what would be written to it would be lost with it.
            assert_eq!(sidecar.detokenize(&token).json()["value"], "value");
            refuses_writes_of(&sidecar, &[1, 5_000]);
            assert_eq!(sidecar.detokenize(&token).json()["value"], "value");
            limit_writes(&sidecar, Some(0));
            refuses_writes(&sidecar);
            limit_writes(&sidecar, None);
            for _ in 0..3 {
                let answer = sidecar.post("/v1/metadata/get", &json!({ "token": token }));
                assert_eq!((answer.status, &*answer.code()), (503, "storage_unavailable"));
                // What it has just read it still knows.
                assert_eq!(sidecar.detokenize(&token).json()["value"], "value");
                let answer = sidecar.post("/v1/tokenize", &json!({ "value": "v" }));
                assert_eq!((answer.status, &*answer.code()), (503, "storage_unavailable"));
            }
            assert!(!disk.path().join("store.redb").exists());
        },
    );
}
