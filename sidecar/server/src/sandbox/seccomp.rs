//! seccomp: which system calls can be made.
//!
//! Two filters. The first knows what a sidecar, its libraries and a C library call, and answers everything else as a
//! kernel without it would: a C library of a later day then does what it did before. So it also answers calls that do
//! not exist yet, and those of another ABI of the same machine. The second refuses what a sidecar never does, by the
//! name of the reason: not permitted. Where both have an answer the kernel takes that of the second, the later one.
//!
//! A list of what is allowed says more than one of what is not, and costs nothing where kernels keep the answers that
//! do not depend on arguments (since 5.11); older ones walk through it.

use std::collections::BTreeMap;

use libc::*;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen::Dword, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter_all_threads,
};

use super::Layer;

/// What is called, on every machine. Of `clone3`, whose arguments no filter can see, C libraries fall back to `clone`.
#[rustfmt::skip]
const CALLED: &[c_long] = &[
    SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_preadv2, SYS_write, SYS_writev,
    SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_lseek, SYS_close, SYS_close_range, SYS_dup,
    SYS_dup3, SYS_fcntl, SYS_flock, SYS_ioctl, SYS_fsync, SYS_fdatasync, SYS_ftruncate,
    SYS_truncate, SYS_fallocate, SYS_fadvise64, SYS_readahead, SYS_copy_file_range,
    SYS_sendfile, SYS_splice, SYS_openat, SYS_openat2, SYS_fstat, SYS_newfstatat, SYS_statx,
    SYS_statfs, SYS_fstatfs, SYS_faccessat, SYS_faccessat2, SYS_readlinkat, SYS_getdents64,
    SYS_getcwd, SYS_unlinkat, SYS_mkdirat, SYS_renameat2, SYS_linkat, SYS_fchmod, SYS_fchmodat,
    SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_umask, SYS_pipe2, SYS_eventfd2,
    SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_ppoll,
    SYS_pselect6, SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime, SYS_signalfd4,
    SYS_socket, SYS_socketpair, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_connect,
    SYS_getsockname, SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_sendto, SYS_recvfrom,
    SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg, SYS_shutdown, SYS_mmap, SYS_munmap,
    SYS_mprotect, SYS_mremap, SYS_madvise, SYS_brk, SYS_mincore, SYS_msync, SYS_mlock,
    SYS_mlock2, SYS_mlockall, SYS_munlock, SYS_munlockall, SYS_membarrier, SYS_futex,
    SYS_futex_waitv, SYS_set_robust_list, SYS_get_robust_list, SYS_rseq, SYS_set_tid_address,
    SYS_clone, SYS_exit, SYS_exit_group, SYS_restart_syscall, SYS_sched_yield,
    SYS_sched_getaffinity, SYS_sched_setaffinity, SYS_sched_getparam, SYS_sched_getscheduler,
    SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_getpriority, SYS_getpid,
    SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid,
    SYS_getresgid, SYS_getgroups, SYS_getpgid, SYS_getsid, SYS_capget, SYS_uname, SYS_sysinfo,
    SYS_getrusage, SYS_times, SYS_getcpu, SYS_prlimit64, SYS_prctl, SYS_getrandom,
    SYS_clock_gettime, SYS_clock_getres, SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigpending,
    SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_sigaltstack, SYS_tgkill, SYS_tkill, SYS_seccomp,
    SYS_mseal,
    FCHMODAT2, MAP_SHADOW_STACK,
];

/// What is called besides on this kind of machine.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const CALLED_HERE: &[c_long] = &[
    SYS_open, SYS_creat, SYS_stat, SYS_lstat, SYS_access, SYS_poll, SYS_select, SYS_pipe,
    SYS_epoll_create, SYS_epoll_wait, SYS_eventfd, SYS_dup2, SYS_unlink, SYS_mkdir, SYS_rmdir,
    SYS_rename, SYS_renameat, SYS_link, SYS_readlink, SYS_chmod, SYS_chown, SYS_getdents,
    SYS_getrlimit, SYS_setrlimit, SYS_getpgrp, SYS_time, SYS_utimes, SYS_futimesat,
    SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const CALLED_HERE: &[c_long] = &[RENAMEAT];

/// What a sidecar never does, and whoever took it over would like to.
#[rustfmt::skip]
const NEVER: &[c_long] = &[
    SYS_execve, SYS_execveat, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
    SYS_process_madvise, SYS_kcmp, SYS_pidfd_getfd, SYS_pidfd_open, SYS_pidfd_send_signal,
    SYS_kill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_mount, SYS_umount2,
    SYS_pivot_root, SYS_chroot, SYS_move_mount, SYS_open_tree, SYS_fsopen, SYS_fsconfig,
    SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_setns, SYS_unshare, SYS_setuid, SYS_setgid,
    SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setgroups, SYS_setfsuid,
    SYS_setfsgid, SYS_capset, SYS_personality, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd,
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_keyctl, SYS_add_key,
    SYS_request_key, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_kexec_load,
    SYS_open_by_handle_at, SYS_name_to_handle_at, SYS_mknodat, SYS_memfd_create,
    SYS_memfd_secret, SYS_quotactl, SYS_acct, SYS_swapon, SYS_swapoff, SYS_reboot,
    SYS_settimeofday, SYS_clock_settime, SYS_adjtimex, SYS_clock_adjtime, SYS_sethostname,
    SYS_setdomainname, SYS_syslog, SYS_vhangup, SYS_fanotify_init, SYS_migrate_pages,
    SYS_move_pages,
];

/// The same on this kind of machine.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const NEVER_HERE: &[c_long] = &[
    SYS_fork, SYS_vfork, SYS_iopl, SYS_ioperm, SYS_modify_ldt, SYS_kexec_file_load, SYS_mknod,
];
#[cfg(not(target_arch = "x86_64"))]
const NEVER_HERE: &[c_long] = &[];

// Not in every C library's list. New calls have the same number everywhere.
const FCHMODAT2: c_long = 452;
const MAP_SHADOW_STACK: c_long = 453;
#[cfg(not(target_arch = "x86_64"))]
const RENAMEAT: c_long = 38;

/// `TIOCSTI`, whose type each C library has its own.
const TYPE: c_int = 0x5412;

/// What a sidecar speaks over: its own socket, its dependencies, and the kernel's table of addresses, which the look-up
/// of a name reads.
const FAMILIES: [c_int; 4] = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK];

/// Puts both in force, in every thread.
pub(super) fn filter() -> Layer {
    let [called, never] = filters().map_err(|error| error.to_string())?;
    for filter in [called, never] {
        apply_filter_all_threads(&filter).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn filters() -> Result<[BpfProgram; 2], BackendError> {
    let machine = TargetArch::try_from(std::env::consts::ARCH)?;
    let unknown = SeccompAction::Errno(ENOSYS.unsigned_abs());
    let refused = SeccompAction::Errno(EPERM.unsigned_abs());
    // With no rules, whatever its arguments.
    let whatever = |calls: &[&[c_long]]| -> BTreeMap<i64, Vec<SeccompRule>> {
        calls.concat().into_iter().map(|call| (call, Vec::new())).collect()
    };
    let called = whatever(&[CALLED, CALLED_HERE]);
    let mut never = whatever(&[NEVER, NEVER_HERE]);
    never.extend(never_with()?);
    Ok([
        SeccompFilter::new(called, unknown, SeccompAction::Allow, machine)?.try_into()?,
        SeccompFilter::new(never, SeccompAction::Allow, refused, machine)?.try_into()?,
    ])
}

/// Calls that are refused with some arguments.
fn never_with() -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let when = |argument, operator, value: c_int| {
        SeccompCondition::new(argument, Dword, operator, u64::from(value.cast_unsigned()))
    };
    let other_family = FAMILIES.map(|family| when(0, Ne, family));
    let other_family = other_family.into_iter().collect::<Result<_, _>>()?;
    // Of the kernel's tables only that of addresses.
    let other_table = vec![when(0, Eq, AF_NETLINK)?, when(2, Ne, NETLINK_ROUTE)?];
    // A thread, not a process.
    let process = vec![when(0, MaskedEq(u64::from(CLONE_THREAD.cast_unsigned())), 0)?];
    // What is typed into a terminal for its user.
    let typed = vec![when(1, Eq, TYPE)?];
    let traceable = vec![when(0, Eq, PR_SET_DUMPABLE)?];
    let rules = |of: Vec<Vec<SeccompCondition>>| {
        of.into_iter().map(SeccompRule::new).collect::<Result<Vec<_>, _>>()
    };
    Ok(BTreeMap::from([
        (SYS_socket, rules(vec![other_family, other_table])?),
        (SYS_clone, rules(vec![process])?),
        (SYS_ioctl, rules(vec![typed])?),
        (SYS_prctl, rules(vec![traceable])?),
    ]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nothing_is_both_called_and_never_done() {
        let called: BTreeSet<_> = [CALLED, CALLED_HERE].concat().into_iter().collect();
        let never: BTreeSet<_> = [NEVER, NEVER_HERE].concat().into_iter().collect();
        assert_eq!(called.intersection(&never).count(), 0);
        assert_eq!(called.len(), CALLED.len() + CALLED_HERE.len(), "one is there twice");
        assert!(!called.contains(&SYS_clone3), "nobody sees what it starts");
    }

    #[test]
    fn the_filters_are_as_small_as_the_kernel_wants_them() {
        for filter in filters().unwrap() {
            assert!((1..4096).contains(&filter.len()), "{}", filter.len());
        }
    }
}
