//! Runs a command as on a kernel that lacks a part of what confines: the first argument is `landlock` or `seccomp`.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a part of a test")]

use std::{collections::BTreeMap, os::unix::process::CommandExt, process::Command};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let lacks = match arguments.next().unwrap().to_str() {
        Some("landlock") => libc::SYS_landlock_create_ruleset,
        Some("seccomp") => libc::SYS_seccomp,
        other => panic!("{other:?} is not known here"),
    };
    let filter = SeccompFilter::new(
        BTreeMap::from([(lacks, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
        TargetArch::try_from(std::env::consts::ARCH).unwrap(),
    );
    apply_filter(&BpfProgram::try_from(filter.unwrap()).unwrap()).unwrap();
    let mut command = Command::new(arguments.next().unwrap());
    panic!("{}", command.args(arguments).exec());
}
