//! Tests that need disks or a network of their own run in namespaces of their own.

use std::{
    path::Path,
    process::{Command, Output},
};

use crate::sidecar::binary;

const INSIDE: &str = "LUNASEC_TEST_INSIDE";

/// Runs `body` where it can mount what it likes, by running the test of this name once more there.
/// Fails where that is not allowed: a test that is skipped proves nothing.
pub fn in_mount_namespace(test: &str, body: impl FnOnce()) {
    inside(test, &["--mount"], body);
}

/// The same, where there is no network but a loopback that nobody else has.
pub fn in_network_namespace(test: &str, body: impl FnOnce()) {
    inside(test, &["--mount", "--net"], || {
        run("ip", &["link", "set", "lo", "up"]);
        body();
    });
}

/// Drops every packet of this network, or none any more. Whoever sends one is told nothing.
pub fn drop_packets(drops: bool) {
    // A queue with room for nothing.
    let verb = if drops { "add" } else { "del" };
    run("tc", &["qdisc", verb, "dev", "lo", "root", "pfifo", "limit", "0"]);
}

fn inside(test: &str, spaces: &[&str], body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    let mut unshare = Command::new("unshare");
    unshare.args(spaces);
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "yes")
        .env("LUNASEC_BIN", binary());
    let output = unshare.output().expect("this test needs `unshare` (util-linux)");
    let text = say(&output);
    print!("{text}");
    assert!(
        text.contains("running 1 test"),
        "this test mounts a small disk or drops packets in a namespace of its own, which is not allowed here; \
         run it as root with CAP_SYS_ADMIN, or allow unprivileged user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0)\n{text}"
    );
    assert!(output.status.success(), "failed inside of its namespace, see above");
}

/// Mounts an empty file system in memory.
pub fn mount_tmpfs(directory: &Path, size: &str) {
    std::fs::create_dir_all(directory).unwrap();
    mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs"], directory);
}

/// Shows a file or directory at another place, too.
pub fn bind(from: &Path, at: &Path) {
    mount(&["--bind", from.to_str().unwrap()], at);
}

/// Makes a mounted file system read-only, or writable again.
pub fn remount(directory: &Path, mode: &str) {
    mount(&["-o", &format!("remount,{mode}")], directory);
}

fn mount(arguments: &[&str], directory: &Path) {
    run("mount", &[arguments, &[directory.to_str().unwrap()]].concat());
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", say(&output));
}

fn say(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}
