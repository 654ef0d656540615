//! The socket's file: whose it is, who may use it, and what becomes of what lies there.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixListener,
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Barrier,
    thread,
};

use lunasec_core::limits;
use lunasec_tests::{
    Sidecar,
    raw::{head, request},
    sidecar::{NOBODY, lunasec},
};
use serde_json::json;
use tempfile::TempDir;

/// The exit code of a sidecar that cannot start.
const START: Option<i32> = Some(3);

/// A directory for a shared socket, and one for each of those who want it.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("shared.sock")
    }

    fn start(&self, name: &str, socket: &Path) -> Result<Sidecar, (ExitStatus, String)> {
        let directory = self.directory.path().join(name);
        let mut command = lunasec();
        command.args(["dev", "--admin", "127.0.0.1:0", "--dir"]).arg(&directory);
        command.arg("--socket").arg(socket);
        Sidecar::spawn(command, &directory, socket.to_owned())
    }

    /// Starts what must refuse to.
    fn refuses(&self, name: &str, socket: &Path) -> String {
        match self.start(name, socket) {
            Ok(_) => panic!("it serves on {}", socket.display()),
            Err((status, log)) => {
                assert_eq!(status.code(), START, "{log}");
                assert!(!log.contains("panicked"), "{log}");
                log
            }
        }
    }
}

#[test]
fn a_path_longer_than_the_system_takes() {
    let place = Place::new();
    let base = place.directory.path().as_os_str().len() + 1;
    let path = |length: usize| place.directory.path().join("s".repeat(length - base));
    let log = place.refuses("a", &path(limits::SOCKET_PATH_BYTES + 1));
    assert!(log.contains("has 108 bytes, and the system takes 107"), "{log}");
    assert!(log.contains("--socket"), "it says what to do: {log}");
    let longest = place.start("b", &path(limits::SOCKET_PATH_BYTES)).unwrap();
    longest.tokenize("v");
}

#[test]
fn a_socket_left_behind_is_replaced() {
    let place = Place::new();
    let mut first = place.start("a", &place.socket()).unwrap();
    let token = first.tokenize("v");
    first.kill();
    assert!(place.socket().exists(), "kill -9 leaves it");
    let mut second = place.start("a", &place.socket()).unwrap();
    assert_eq!(second.detokenize(&token).json()["value"], "v");
    second.stop();
    assert!(!place.socket().exists(), "a clean end does not");
    place.start("a", &place.socket()).unwrap();
}

#[test]
fn a_living_socket_is_never_stolen() {
    let place = Place::new();
    let first = place.start("a", &place.socket()).unwrap();
    let mut earlier = first.connect();
    let inode = fs::metadata(place.socket()).unwrap().ino();
    let log = place.refuses("b", &place.socket());
    let words = format!("another process is listening on {}", place.socket().display());
    assert!(log.contains(&words), "{log}");
    assert_eq!(fs::metadata(place.socket()).unwrap().ino(), inode);
    first.tokenize("v");
    assert_eq!(earlier.post("/v1/tokenize", &json!({ "value": "v" })).status, 200);
}

#[test]
fn a_strangers_socket_is_never_stolen() {
    let place = Place::new();
    // Knows nothing of our lock, and does not even accept.
    let stranger = UnixListener::bind(place.socket()).unwrap();
    let inode = fs::metadata(place.socket()).unwrap().ino();
    let log = place.refuses("a", &place.socket());
    assert!(log.contains("another process is listening"), "{log}");
    assert_eq!(fs::metadata(place.socket()).unwrap().ino(), inode);
    drop(stranger);
    place.start("a", &place.socket()).unwrap().tokenize("v");
}

#[test]
fn a_stale_socket_is_taken_over_by_one_at_a_time() {
    let place = Place::new();
    place.start("a", &place.socket()).unwrap().kill();
    // As between another start's look at the stale socket and its own bind.
    let lock = fs::File::open(place.directory.path().join("shared.sock.lock")).unwrap();
    lock.try_lock().unwrap();
    let inode = fs::metadata(place.socket()).unwrap().ino();
    let log = place.refuses("b", &place.socket());
    assert!(log.contains("another process is listening"), "{log}");
    assert_eq!(fs::metadata(place.socket()).unwrap().ino(), inode);
    drop(lock);
    place.start("b", &place.socket()).unwrap().tokenize("v");
}

#[test]
fn what_is_no_socket_is_left_alone() {
    let place = Place::new();
    let target = place.directory.path().join("target");
    fs::write(&target, "precious").unwrap();
    fs::write(place.socket(), "precious").unwrap();
    let is_refused = || {
        let log = place.refuses("a", &place.socket());
        assert!(log.contains("is there and is no socket"), "{log}");
    };
    is_refused();
    assert_eq!(fs::read_to_string(place.socket()).unwrap(), "precious");
    fs::remove_file(place.socket()).unwrap();
    fs::create_dir(place.socket()).unwrap();
    is_refused();
    fs::remove_dir(place.socket()).unwrap();
    std::os::unix::fs::symlink(&target, place.socket()).unwrap();
    is_refused();
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

#[test]
fn only_its_owner_and_group_may_open_it() {
    let place = Place::new();
    let _sidecar = place.start("a", &place.socket()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&place.socket()), 0o660);
    let directory = place.directory.path().join("a");
    assert_eq!(mode(&directory), 0o700);
    for file in ["store.redb", "local.key"] {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
}

/// Applications run as users of their own; what lets them in is the group.
#[test]
fn a_directory_made_for_the_socket_lets_the_group_through_and_nobody_else() {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let run = directory.path().join("run");
    let socket = run.join("lunasec.sock");
    let mut command = lunasec();
    command.args(["dev", "--admin", "127.0.0.1:0", "--dir"]).arg(directory.path().join("private"));
    command.arg("--socket").arg(&socket).env("LUNASEC_LISTEN__GROUP", NOBODY.to_string());
    let _sidecar = Sidecar::spawn(command, directory.path(), socket.clone()).unwrap();
    let connects = |gid: u32| {
        let mut curl = std::process::Command::new("curl");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}"]);
        curl.arg("--unix-socket").arg(&socket).arg("http://localhost/v1/status");
        let output = curl.uid(NOBODY - 1).gid(gid).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    // Let through, told apart by its user, and refused by the policy.
    assert_eq!(connects(NOBODY), "403");
    assert_eq!(connects(NOBODY - 1), "000");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&run), mode(&socket)), (0o710, 0o660));
}

#[test]
fn of_two_that_start_at_once_exactly_one_serves() {
    let place = Place::new();
    place.start("a", &place.socket()).unwrap().kill();
    for round in 0..10 {
        let barrier = Barrier::new(2);
        let start = |name: &'static str| {
            barrier.wait();
            place.start(name, &place.socket())
        };
        let (a, b) = thread::scope(|scope| {
            let a = scope.spawn(|| start("a"));
            let b = scope.spawn(|| start("b"));
            (a.join().unwrap(), b.join().unwrap())
        });
        let (mut winner, (status, log)) = match (a, b) {
            (Ok(winner), Err(loser)) | (Err(loser), Ok(winner)) => (winner, loser),
            (Ok(_), Ok(_)) => panic!("round {round}: both serve"),
            (Err((_, a)), Err((_, b))) => panic!("round {round}: neither serves:\n{a}\n{b}"),
        };
        assert_eq!(status.code(), START, "{log}");
        assert!(log.contains("another process is listening"), "{log}");
        winner.tokenize("v");
        // Leaves a stale socket for the next round.
        winner.kill();
    }
}

#[test]
fn another_user_is_forbidden() {
    let (_directory, sidecar) = Sidecar::dev_as_nobody();
    // Root may open any socket, and is still not the sidecar's own user.
    let token = lunasec_tests::sidecar::unknown_token();
    for (route, body) in [
        ("tokenize", json!({ "value": "v" })),
        ("tokenize:batch", json!({ "items": [{ "value": "v" }] })),
        ("detokenize", json!({ "token": token })),
        ("detokenize:batch", json!({ "tokens": [token] })),
        ("metadata/get", json!({ "token": token })),
        ("metadata/set", json!({ "token": token, "metadata": {} })),
        ("delete", json!({ "tokens": [token] })),
        ("sweep", json!({ "dry_run": true })),
    ] {
        let path = format!("/v1/{route}");
        let mut connection = sidecar.connect();
        connection.send(request(&path, &[], body.to_string().as_bytes())).unwrap();
        let answer = connection.answer().unwrap();
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{route}");
        assert_eq!(answer.json()["retryable"], false);
    }
    // Nor is it told how the sidecar is: that is what the admin listener is for.
    let mut connection = sidecar.connect();
    connection.send(head("GET", "/v1/status", &[("host", "localhost")])).unwrap();
    assert_eq!(connection.answer().unwrap().code(), "forbidden");
}
