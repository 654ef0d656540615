//! seccomp: which system calls can be made.
//!
//! Three filters. The first knows what a sidecar, its libraries and a C library call, and answers everything else as a
//! kernel without it would: a C library of a later day then does what it did before. So it also answers calls that do
//! not exist yet, and those of another ABI of the same machine. The second refuses what a sidecar never does, by the
//! name of the reason: not permitted. So does the third, of what it does only until its sockets listen. Where more than
//! one has an answer the kernel takes that of the latest.
//!
//! A list of what is allowed says more than one of what is not, and costs nothing where kernels keep the answers that
//! do not depend on arguments (since 5.11); older ones walk through it.

mod arguments;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use libc::*;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch,
    apply_filter_all_threads,
};

use super::Layer;

/// What is called, on every machine. Of `clone3`, whose arguments no filter can see, C libraries fall back to `clone`,
/// and nobody needs `openat2`. `tkill`, which names a thread without its process, is musl's way to abort: it goes on
/// and ends by another signal.
#[rustfmt::skip]
const CALLED: &[c_long] = &[
    SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_preadv2, SYS_write, SYS_writev, SYS_pwrite64,
    SYS_pwritev, SYS_pwritev2, SYS_lseek, SYS_close, SYS_close_range, SYS_dup, SYS_dup3, SYS_fcntl,
    SYS_flock, SYS_ioctl, SYS_fsync, SYS_fdatasync, SYS_ftruncate, SYS_fallocate, SYS_fadvise64,
    SYS_readahead, SYS_openat, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs,
    SYS_faccessat, SYS_faccessat2, SYS_readlinkat, SYS_getdents64, SYS_getcwd, SYS_unlinkat,
    SYS_mkdirat, SYS_renameat2, SYS_linkat, SYS_fchmod, SYS_fchmodat, SYS_fchownat, SYS_umask,
    SYS_pipe2, SYS_eventfd2, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2,
    SYS_ppoll, SYS_pselect6, SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime,
    SYS_signalfd4, SYS_socket, SYS_socketpair, SYS_bind, SYS_listen, SYS_accept, SYS_accept4,
    SYS_connect, SYS_getsockname, SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_sendto,
    SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg, SYS_shutdown, SYS_mmap,
    SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_brk, SYS_msync, SYS_mlock, SYS_mlock2,
    SYS_mlockall, SYS_munlock, SYS_munlockall, SYS_membarrier, SYS_futex, SYS_futex_waitv,
    SYS_set_robust_list, SYS_rseq, SYS_set_tid_address, SYS_clone, SYS_exit, SYS_exit_group,
    SYS_restart_syscall, SYS_sched_yield, SYS_sched_getaffinity, SYS_sched_getparam,
    SYS_sched_getscheduler, SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_getpid,
    SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid,
    SYS_getresgid, SYS_getgroups, SYS_capget, SYS_uname, SYS_sysinfo, SYS_getrusage, SYS_times,
    SYS_getcpu, SYS_prlimit64, SYS_prctl, SYS_getrandom, SYS_clock_gettime, SYS_clock_getres,
    SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_rt_sigaction, SYS_rt_sigprocmask,
    SYS_rt_sigreturn, SYS_rt_sigpending, SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_sigaltstack,
    SYS_tgkill, SYS_seccomp, SYS_mseal,
    FCHMODAT2, MAP_SHADOW_STACK,
];

/// What is called besides on this kind of machine.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const CALLED_HERE: &[c_long] = &[
    SYS_open, SYS_creat, SYS_stat, SYS_lstat, SYS_access, SYS_poll, SYS_select, SYS_pipe,
    SYS_epoll_create, SYS_epoll_wait, SYS_eventfd, SYS_dup2, SYS_unlink, SYS_mkdir, SYS_rmdir,
    SYS_rename, SYS_renameat, SYS_link, SYS_readlink, SYS_chmod, SYS_chown, SYS_getdents,
    SYS_getrlimit, SYS_setrlimit, SYS_getpgrp, SYS_time, SYS_arch_prctl,
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

/// What only the start does: from the moment that its sockets listen nobody listens any more, and modes, owners and
/// filters stay.
const ONCE: &[c_long] = &[
    SYS_listen,
    SYS_fchmod,
    SYS_fchmodat,
    FCHMODAT2,
    SYS_fchownat,
    SYS_seccomp,
    #[cfg(target_env = "gnu")]
    SYS_bind,
    #[cfg(target_arch = "x86_64")]
    SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    SYS_chown,
];

/// Puts the first two in force, in every thread.
pub(super) fn filter() -> Layer {
    let [called, never, _] = filters().map_err(|error| error.to_string())?;
    apply(&called)?;
    apply(&never)
}

/// The same with the last.
pub(super) fn end_of_start() -> Layer {
    let [_, _, once] = filters().map_err(|error| error.to_string())?;
    apply(&once)
}

fn apply(filter: &BpfProgram) -> Layer {
    apply_filter_all_threads(filter).map_err(|error| error.to_string())
}

fn filters() -> Result<[BpfProgram; 3], BackendError> {
    let machine = TargetArch::try_from(std::env::consts::ARCH)?;
    let unknown = SeccompAction::Errno(ENOSYS.unsigned_abs());
    let refused = || SeccompAction::Errno(EPERM.unsigned_abs());
    // With no rules, whatever its arguments.
    let whatever = |calls: &[&[c_long]]| -> BTreeMap<i64, Vec<SeccompRule>> {
        calls.concat().into_iter().map(|call| (call, Vec::new())).collect()
    };
    let called = whatever(&[CALLED, CALLED_HERE]);
    let mut never = whatever(&[NEVER, NEVER_HERE]);
    never.extend(arguments::refused()?);
    let once = whatever(&[ONCE]);
    Ok([
        SeccompFilter::new(called, unknown, SeccompAction::Allow, machine)?.try_into()?,
        SeccompFilter::new(never, SeccompAction::Allow, refused(), machine)?.try_into()?,
        SeccompFilter::new(once, SeccompAction::Allow, refused(), machine)?.try_into()?,
    ])
}
