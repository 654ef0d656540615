//! What a process of the same user, and the kernel itself, can get out of a sidecar.

use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, Output},
};

use lunasec_tests::{Sidecar, raw::get_tcp, sidecar::NOBODY};

/// Reads a file as the user that runs the sidecar.
fn read_as_nobody(path: &str) -> Output {
    Command::new("cat").arg(path).uid(NOBODY).gid(NOBODY).output().unwrap()
}

#[test]
fn no_process_of_its_user_reads_its_memory() {
    let (_directory, sidecar) = Sidecar::dev_as_nobody();
    // What the kernel guards with the right to trace.
    for file in ["environ", "auxv", "mem"] {
        let output = read_as_nobody(&format!("/proc/{}/{file}", sidecar.pid()));
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains("Permission denied"), "{file}: {words}");
    }
    // The same user reads that of any other process it has.
    let mut other = Command::new("sleep").arg("60").uid(NOBODY).gid(NOBODY).spawn().unwrap();
    let output = read_as_nobody(&format!("/proc/{}/auxv", other.id()));
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status = get_tcp(&sidecar.admin(), "/status").json();
    assert_eq!(status["process"]["untraceable"], true);
}

#[test]
fn no_core_is_dumped() {
    let sidecar = Sidecar::dev();
    let limits = fs::read_to_string(format!("/proc/{}/limits", sidecar.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    let status = get_tcp(&sidecar.admin(), "/status").json();
    assert_eq!(status["process"]["core_dumps_off"], true);
}

/// Where it may, it does; where it may not, it says so and serves.
#[test]
fn memory_is_locked_where_that_is_allowed_and_the_status_tells_the_truth() {
    let (_directory, limited) = Sidecar::dev_as_nobody();
    for sidecar in [Sidecar::dev(), limited] {
        let process = get_tcp(&sidecar.admin(), "/status").json()["process"].clone();
        let locked = sidecar.kernel_says("VmLck") > 0;
        assert_eq!(process["memory_locked"], locked, "{process}");
        assert_eq!(process["reason"].is_string(), !locked, "{process}");
        assert_eq!(sidecar.log().contains("memory is not locked"), !locked, "{}", sidecar.log());
    }
}
