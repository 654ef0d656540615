//! What differs between platforms: what a process asks of its kernel before it holds a secret.
//!
//! Nothing here is fatal. Containers take rights away in many ways; what could not be had is said in
//! the log and in the status, and the sidecar goes on.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::LazyLock,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::Mode,
    process::{Resource, Rlimit, getrlimit, setrlimit, umask},
};

mod mounts;

pub use mounts::{Fleeting, fleeting, is_injected_volume, is_mounted_secret};

/// What the kernel granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hardening {
    /// No core dump is written, by limit.
    pub core_dumps_off: bool,
    /// Other processes of the same user can neither trace this one nor read its memory.
    pub untraceable: bool,
    /// Memory is never swapped out; otherwise why it may be.
    pub memory_locked: Result<(), &'static str>,
}

/// Asks for everything. To be called before a second thread and before any secret.
pub fn harden() -> Hardening {
    // Nothing that a sidecar creates is for others, unless it says so.
    umask(Mode::from_raw_mode(0o077));
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    let granted = Hardening {
        core_dumps_off: setrlimit(Resource::Core, no_core).is_ok(),
        untraceable: kernel::forbid_tracing(),
        memory_locked: kernel::lock_memory(),
    };
    granted.report();
    granted
}

impl Hardening {
    fn report(&self) {
        if !self.core_dumps_off {
            tracing::warn!("core dumps could not be turned off; run where ulimit -c 0 is allowed");
        }
        if !self.untraceable {
            tracing::warn!("other processes of this user may read this one's memory");
        }
        if let Err(reason) = self.memory_locked {
            tracing::info!(reason, "memory is not locked: turn swap off on this machine");
        }
    }
}

/// Many systems start a process with fewer files than the sidecar has connections.
pub fn raise_file_limit(wanted: usize) {
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    let limit = getrlimit(Resource::Nofile);
    // None is no limit.
    let possible = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|now| now < possible) {
        let raised = Rlimit { current: Some(possible), maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
    if possible < wanted {
        tracing::warn!(
            possible,
            wanted,
            "fewer files may be open than all connections need; raise ulimit -Hn, or lower limits.connections"
        );
    }
}

/// The user and the group under which the kernel shows whoever has no number in this process's user
/// namespace; none where everybody has one.
pub fn strangers() -> (Option<u32>, Option<u32>) {
    // A process stays in its user namespace, unless it asks for another, which this one does not.
    static STRANGERS: LazyLock<(Option<u32>, Option<u32>)> = LazyLock::new(kernel::strangers);
    *STRANGERS
}

/// A descriptor of the process that connected a socket, where the kernel has one (Linux since 6.5).
pub fn peer_process(socket: &impl AsFd) -> Option<OwnedFd> {
    kernel::peer_process(socket)
}

/// Whether the process of a descriptor still runs: once it has ended, the descriptor can be read.
pub fn is_alive(process: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)).is_ok_and(|ended| ended == 0)
}

#[cfg(target_os = "linux")]
mod kernel {
    use std::os::fd::{AsFd, OwnedFd};

    use nix::sys::socket::{getsockopt, sockopt::PeerPidfd};
    use rustix::{
        mm::{MlockAllFlags, mlockall},
        process::{DumpableBehavior, Resource, getrlimit, set_dumpable_behavior},
        thread::{CapabilitySet, capabilities},
    };

    /// As Linux has it unless it is told otherwise.
    const OVERFLOW: u32 = 65_534;

    pub(super) fn forbid_tracing() -> bool {
        set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok()
    }

    /// All memory or none: a limit that is reached later would make an allocation fail, and that
    /// would end the process.
    pub(super) fn lock_memory() -> Result<(), &'static str> {
        let unlimited = getrlimit(Resource::Memlock).current.is_none();
        let entitled =
            capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
        if !unlimited && !entitled {
            return Err("the limit of locked memory is too small (ulimit -l unlimited)");
        }
        // On fault: pages that are never touched take no memory.
        let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
        mlockall(all).map_err(|_| "the kernel refused to lock memory")
    }

    pub(super) fn strangers() -> (Option<u32>, Option<u32>) {
        let of = |map: &str, overflow: &str| {
            let map = std::fs::read_to_string(map).unwrap_or_default();
            let everybody: Vec<_> = map.split_whitespace().collect();
            // Where that cannot be read it is most likely what it always is.
            let shown = || {
                let shown = std::fs::read_to_string(overflow).ok();
                shown.and_then(|id| id.trim().parse().ok()).unwrap_or(OVERFLOW)
            };
            (everybody != ["0", "0", "4294967295"]).then(shown)
        };
        (
            of("/proc/self/uid_map", "/proc/sys/kernel/overflowuid"),
            of("/proc/self/gid_map", "/proc/sys/kernel/overflowgid"),
        )
    }

    pub(super) fn peer_process(socket: &impl AsFd) -> Option<OwnedFd> {
        getsockopt(socket, PeerPidfd).ok()
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    pub(super) fn forbid_tracing() -> bool {
        false
    }

    pub(super) fn lock_memory() -> Result<(), &'static str> {
        Err("this platform offers no way to lock all memory")
    }

    pub(super) fn strangers() -> (Option<u32>, Option<u32>) {
        (None, None)
    }

    pub(super) fn peer_process(_: &impl std::os::fd::AsFd) -> Option<std::os::fd::OwnedFd> {
        None
    }
}
