//! What a sidecar still can do once it is confined, and what it cannot.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use lunasec_tests::{
    Sidecar,
    raw::get_tcp,
    sidecar::{binary, lunasec},
};
use serde_json::Value;

use super::aws::credentials::without_credentials;

mod inside;

/// What `confined` tried, and what came of it; and which Landlock it had.
fn tried(mode: &str) -> (u32, BTreeMap<String, String>) {
    tried_by(Command::new(env!("CARGO_BIN_EXE_confined")), mode)
}

fn tried_by(mut confined: Command, mode: &str) -> (u32, BTreeMap<String, String>) {
    let (own, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let state = own.path().join("state");
    fs::create_dir(&state).unwrap();
    fs::write(other.path().join("secret"), "secret").unwrap();
    let file = own.path().join("lunasec.toml");
    let text = format!(
        "[listen]\nsocket = \"{0}/l.sock\"\nadmin = \"off\"\n[storage]\nkind = \"memory\"\n\
         [keys]\nkind = \"local\"\npath = \"{0}/key\"\n[degrade]\nstate_dir = \"{0}\"\n[sandbox]\nmode = \"{mode}\"\n",
        state.display()
    );
    fs::write(&file, text).unwrap();
    let output = confined.arg(&file).arg(other.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let mut lines = text.lines();
    let abi = lines.next().and_then(|line| line.strip_prefix("landlock "));
    let abi = abi.unwrap_or_else(|| panic!("{text}\n{errors}")).parse().unwrap();
    let said = lines.map(|line| line.split_once(": ").unwrap());
    (abi, said.map(|(what, came)| (what.to_owned(), came.to_owned())).collect())
}

/// Where the kernel has Landlock, or has that much of it, it has to.
const OF_LANDLOCK: [(&str, u32); 11] = [
    ("read a file", 1),
    ("write a file", 1),
    ("make a file", 1),
    ("list a directory", 1),
    ("make a directory", 1),
    ("read a file by a link", 1),
    ("read a file by its process", 1),
    ("bring a file in", 1),
    ("read another process's files", 1),
    ("open a disk or a terminal", 1),
    // From the end of the start on it is seccomp's.
    ("listen on a port as it starts", 4),
];

#[test]
fn whoever_takes_a_sidecar_over_cannot_do_with_it_what_it_does_not_do() {
    let (_, free) = tried("off");
    let (abi, confined) = tried("on");
    is_kept_from_all_but(abi, &free, &confined);
    // What an older kernel's Landlock does not know stays seccomp's.
    let (none, confined) = tried_by(without("landlock", env!("CARGO_BIN_EXE_confined")), "on");
    assert_eq!(none, 0);
    is_kept_from_all_but(none, &free, &confined);
}

/// Whether all that was tried was denied, but for what Landlock of that version does not know.
fn is_kept_from_all_but(
    abi: u32,
    free: &BTreeMap<String, String>,
    confined: &BTreeMap<String, String>,
) {
    assert_eq!(free.len(), confined.len(), "{free:#?}{confined:#?}");
    for (what, came) in confined {
        let free = &free[what];
        let of_landlock = OF_LANDLOCK.iter().find(|(one, _)| one == what);
        if what.starts_with("maybe, ") {
            assert_ne!(came, "ok", "{what}");
        } else if what.starts_with("allowed, ") {
            assert_eq!((free.as_str(), came.as_str()), ("ok", "ok"), "{what}");
        } else {
            assert_eq!(free, "ok", "{what}, where nothing is confined: this test needs root");
            let out_of_date = of_landlock.is_some_and(|(_, since)| abi < *since);
            assert_eq!(came == "ok", out_of_date, "{what}: {came}");
        }
    }
    for denied in [
        "run a program",
        "become a program",
        "speak over packets",
        "maybe, speak to a cipher",
        "maybe, speak TCP over many paths",
        "listen on any port and address",
        "make a program with its owner's rights",
        "limit another process",
    ] {
        assert!(confined[denied].contains("not permitted"), "{denied}: {}", confined[denied]);
    }
}

fn status(sidecar: &Sidecar) -> Value {
    get_tcp(&sidecar.admin(), "/status").json()["sandbox"].clone()
}

/// A line of each thread's own status.
fn of_threads(sidecar: &Sidecar, name: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", sidecar.pid())).unwrap();
    let line = |task: PathBuf| {
        let text = fs::read_to_string(task.join("status")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap().trim().to_owned()
    };
    tasks.map(|task| line(task.unwrap().path())).collect()
}

#[test]
fn every_thread_is_confined_and_the_status_says_how() {
    let (_directory, nobodys) = Sidecar::dev_as_nobody();
    for sidecar in [Sidecar::dev(), nobodys] {
        let threads = of_threads(&sidecar, "Seccomp");
        assert!(threads.len() > 1 && threads.iter().all(|mode| mode == "2"), "{threads:?}");
        // What calls, what never does, and what only the start does.
        let filters = of_threads(&sidecar, "Seccomp_filters");
        let outside = fs::read_to_string("/proc/self/status").unwrap();
        let outside = outside.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
        let wanted = outside.unwrap().trim().parse::<u32>().unwrap() + 3;
        assert!(filters.iter().all(|of| *of == wanted.to_string()), "{filters:?}");
        assert!(of_threads(&sidecar, "NoNewPrivs").iter().all(|set| set == "1"));
        let said = status(&sidecar);
        assert_eq!(said["mode"], "on");
        assert_eq!((&said["seccomp"], &said["no_new_privileges"]), (&true.into(), &true.into()));
        let has_landlock = said["landlock_abi"] != 0;
        assert_eq!(said["reasons"].is_null(), has_landlock, "{said}");
        assert_eq!(has_landlock, tried("on").0 > 0);
        // What memory needs that is locked, and root could not have without.
        let left: Vec<_> = said["capabilities_left"].as_array().unwrap().iter().collect();
        assert!(left.is_empty() || left == ["CAP_IPC_LOCK"], "{said}");
        let mask = if left.is_empty() { 0 } else { 1_u64 << 14 };
        for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
            let has = of_threads(&sidecar, set);
            let wanted = if set == "CapInh" || set == "CapAmb" { 0 } else { mask };
            let is_wanted = |has: &String| u64::from_str_radix(has, 16).unwrap() == wanted;
            assert!(has.iter().all(is_wanted), "{set}: {has:?}");
        }
        assert!(sidecar.log().contains("the sandbox is in force"), "{}", sidecar.log());
    }
}

#[test]
fn the_switch_turns_it_off_and_that_is_said() {
    let sidecar = Sidecar::dev_with(&[("LUNASEC_SANDBOX__MODE", "off")]);
    assert!(of_threads(&sidecar, "Seccomp").iter().all(|mode| mode == "0"));
    let said = status(&sidecar);
    assert_eq!((&said["mode"], &said["seccomp"]), (&"off".into(), &false.into()));
    assert!(sidecar.log().contains("the sandbox is off"), "{}", sidecar.log());
    let mut words = lunasec();
    let output = words.arg("status").arg("--socket").arg(sidecar.socket()).output().unwrap();
    let words = String::from_utf8(output.stdout).unwrap();
    assert!(words.contains("sandbox  off: no landlock, no seccomp"), "{words}");
}

/// A command line as on a kernel that lacks this.
fn without(part: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_older_kernel"));
    command.arg(part).arg(program);
    command
}

#[test]
fn a_kernel_that_lacks_a_part_is_told_of_and_refused_where_all_is_required() {
    for (part, reason) in [("landlock", "built without it"), ("seccomp", "not implemented")] {
        let directory = tempfile::tempdir().unwrap();
        let start = |mode: &str| {
            let mut command = without(part, binary());
            command.args(["dev", "--admin", "127.0.0.1:0", "--dir"]).arg(directory.path());
            command.env("LUNASEC_SANDBOX__MODE", mode);
            Sidecar::spawn(command, directory.path(), directory.path().join("lunasec.sock"))
        };
        let mut sidecar = start("on").unwrap_or_else(|(_, log)| panic!("{log}"));
        sidecar.tokenize("value");
        let said = status(&sidecar);
        assert_eq!(said["landlock_abi"] == 0, part == "landlock", "{said}");
        assert_eq!(said["seccomp"], part != "seccomp", "{said}");
        let reasons = said["reasons"].to_string();
        assert!(reasons.contains(&format!("{part}: ")) && reasons.contains(reason), "{said}");
        assert!(sidecar.log().contains("is not in force"), "{}", sidecar.log());
        sidecar.stop();
        let Err((ended, log)) = start("required") else { panic!("it serves without {part}") };
        assert_eq!(ended.code(), Some(3), "{log}");
        for words in ["sandbox.mode is \"required\"", part, "write mode = \"on\""] {
            assert!(log.contains(words), "{words} is not in {log}");
        }
    }
    if tried("on").0 != 0 {
        let whole = Sidecar::dev_with(&[("LUNASEC_SANDBOX__MODE", "required")]);
        assert_eq!(status(&whole)["mode"], "required");
    }
}

/// A file that its owner replaces, as programs do: by another of its name.
fn replace(path: &Path, text: &str) {
    let draft = path.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, path).unwrap();
}

/// A file as Kubernetes mounts and replaces it: the name is a link into a directory that is a link itself.
fn project(directory: &Path, name: &str, version: &str, text: &str) -> PathBuf {
    let real = directory.join(format!("..{version}"));
    fs::create_dir_all(&real).unwrap();
    fs::write(real.join(name), text).unwrap();
    let draft = directory.join("..data_tmp");
    symlink(format!("..{version}"), &draft).unwrap();
    fs::rename(draft, directory.join("..data")).unwrap();
    let path = directory.join(name);
    if path.symlink_metadata().is_err() {
        symlink(Path::new("..data").join(name), &path).unwrap();
    }
    // What was there before goes, as it does there.
    for entry in fs::read_dir(directory).unwrap() {
        let old = entry.unwrap().path();
        let name = old.file_name().unwrap().to_str().unwrap();
        if old.is_dir() && name != "..data" && name != format!("..{version}") {
            fs::remove_dir_all(old).unwrap();
        }
    }
    path
}

const AWS: &str = "[listen]\nsocket = \"l.sock\"\nadmin = \"off\"\n[storage]\nkind = \"s3\"\nbucket = \"bucket\"\n\
                   region = \"eu-central-1\"\n[keys]\nkind = \"kms\"\nkey_id = \"alias/a\"\nregion = \"eu-central-1\"\n";

/// What runs no program is not to be told to.
#[test]
fn credentials_that_a_program_gives_are_refused_before_anything_is_bound() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("lunasec.toml"), AWS).unwrap();
    fs::create_dir(at(".aws")).unwrap();
    fs::write(
        at(".aws/config"),
        "[profile shop]\ncredential_process = /bin/secret-helper --key x\n",
    )
    .unwrap();
    let run = |arguments: &[&str], profile: &str| {
        let mut command = without_credentials(directory.path());
        command.current_dir(directory.path()).args(arguments).env("AWS_PROFILE", profile);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (arguments, code) in
        [(vec!["check"], 2), (vec!["check", "--connect"], 2), (vec!["serve"], 3)]
    {
        let (ended, words) = run(&arguments, "shop");
        assert_eq!(ended, Some(code), "{arguments:?}: {words}");
        for said in ["the AWS profile shop", "credential_process", "web identity"] {
            assert!(words.contains(said), "{arguments:?}: {words}");
        }
        assert!(!words.contains("secret-helper"), "{words}");
    }
    assert!(!at("l.sock").exists());
    assert_eq!(run(&["check"], "default").0, Some(0), "another profile is none of its business");
}
