//! What a sidecar cannot do any more once it is told what to serve: run a program, open a file that it has no
//! business with, speak over anything but the network and Unix sockets, or gain rights.
//!
//! | layer | what it takes away |
//! | --- | --- |
//! | [`Landlock`](landlock) | files outside the directories of [`places`]; as it starts, listening on another TCP port than the admin listener's; signals and abstract sockets of others |
//! | [`seccomp`] | every system call that a sidecar does not make: exec, fork, ptrace, mounts, namespaces, keyrings, BPF, io_uring, …; and once it serves, listening |
//! | no new privileges | what setuid and file capabilities would give |
//! | [`capabilities`] | root's rights, but for those of the few that are still needed |
//!
//! It is asked for before there is a second thread, so that every thread has it; what only the start needs is taken away
//! at its end, from all of them. What a kernel does not offer is said in the log and in the status; with
//! `sandbox.mode = "required"` the sidecar does not start then.

#[cfg(target_os = "linux")]
mod capabilities;
#[cfg(target_os = "linux")]
mod landlock;
pub mod places;
#[cfg(target_os = "linux")]
mod seccomp;

use lunasec_api as api;

pub use places::Places;

use crate::config::{Config, Confinement};

/// One layer: what is in force of it, or why nothing is.
pub type Layer<T = ()> = Result<T, String>;

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// What was asked for.
    pub mode: Confinement,
    /// The version of the kernel's interface that is used, which says how much it can.
    pub landlock: Layer<u32>,
    /// System calls are filtered, in every thread.
    pub seccomp: Layer,
    /// No program could give the process rights that it does not have.
    pub no_new_privileges: Layer,
    /// The names of those that are left.
    pub capabilities: Layer<Vec<String>>,
}

/// Not everything that is required can be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "sandbox.mode is \"required\", and not all of the sandbox is in force: {0}; run on a kernel that has it, or write mode = \"on\" to go on with what there is"
)]
pub struct Incomplete(String);

/// What the kernel did for the first filters it does not do for the last.
#[derive(Debug, thiserror::Error)]
#[error(
    "what only the start needs could not be taken away: {0}; write sandbox.mode = \"off\" to go on without a sandbox, and report this"
)]
pub struct StillOpen(String);

/// What a later version of Landlock takes away.
struct Later {
    /// That version.
    since: u32,
    /// What.
    what: &'static str,
    /// Whether seccomp takes it away, too.
    by_seccomp: bool,
}

/// A kernel that has only the first keeps files closed; the rest is the other layer's work there, but for the last.
const LATER: [Later; 5] = [
    Later { since: 3, what: "emptying files that it only reads", by_seccomp: true },
    Later { since: 4, what: "listening on other ports", by_seccomp: true },
    Later { since: 5, what: "commands to devices", by_seccomp: true },
    Later { since: 6, what: "signals to others", by_seccomp: true },
    Later { since: 6, what: "abstract sockets of others", by_seccomp: false },
];

/// Confines the calling thread, and so all that it starts from now on: to be called before there is another one.
/// `memory_locked` is whether what is allocated from now on is to stay in memory, too.
pub fn confine(
    config: &Config,
    places: &Places,
    memory_locked: bool,
) -> Result<Sandbox, Incomplete> {
    let mode = config.sandbox.mode;
    let sandbox = match mode {
        Confinement::Off => Sandbox::off(),
        Confinement::On | Confinement::Required => {
            places.prepare(config);
            kernel::confine(config, places, memory_locked)
        }
    };
    sandbox.report();
    for (path, why) in places.out_of_reach(&sandbox) {
        tracing::warn!(path = %path.display(), "{why}");
    }
    let missing: Vec<_> = sandbox.missing().collect();
    if mode == Confinement::Required && !missing.is_empty() {
        return Err(Incomplete(missing.join(", ")));
    }
    Ok(sandbox)
}

impl Sandbox {
    fn off() -> Self {
        let off = || "sandbox.mode is \"off\"".to_owned();
        Self {
            mode: Confinement::Off,
            landlock: Err(off()),
            seccomp: Err(off()),
            no_new_privileges: Err(off()),
            capabilities: Err(off()),
        }
    }

    /// What is not in force, and why.
    fn missing(&self) -> impl Iterator<Item = String> {
        let of = |name: &str, why: Option<&String>| why.map(|why| format!("{name}: {why}"));
        [
            of("landlock", self.landlock.as_ref().err()),
            of("seccomp", self.seccomp.as_ref().err()),
            of("no_new_privileges", self.no_new_privileges.as_ref().err()),
            of("capabilities", self.capabilities.as_ref().err()),
        ]
        .into_iter()
        .flatten()
    }

    /// What this kernel's Landlock is too old for, and nothing else does.
    fn too_old_for(&self) -> Option<String> {
        let version = *self.landlock.as_ref().ok()?;
        let open =
            |later: &&Later| version < later.since && !(later.by_seccomp && self.seccomp.is_ok());
        let open: Vec<_> = LATER.iter().filter(open).map(|later| later.what).collect();
        let open = (!open.is_empty()).then(|| open.join(", "))?;
        Some(format!("landlock: version {version} does not take away {open}"))
    }

    /// Takes away what only the start needs, from every thread: to be called when the sidecar's sockets listen.
    pub fn end_of_start(&self) -> Result<(), StillOpen> {
        match self.seccomp {
            Ok(()) => kernel::end_of_start().map_err(StillOpen),
            Err(_) => Ok(()),
        }
    }

    fn report(&self) {
        if self.mode == Confinement::Off {
            tracing::warn!("the sandbox is off: sandbox.mode is \"off\"");
            return;
        }
        tracing::info!(
            landlock_abi = self.landlock.as_ref().ok(),
            seccomp = self.seccomp.is_ok(),
            no_new_privileges = self.no_new_privileges.is_ok(),
            capabilities = self.capabilities.as_ref().map(|left| left.join(" ")).ok(),
            "the sandbox is in force"
        );
        for missing in self.missing().chain(self.too_old_for()) {
            tracing::warn!(
                missing,
                "a part of the sandbox is not in force; docs/sandbox.md says what it needs"
            );
        }
    }

    /// For the status.
    pub fn describe(&self) -> api::Sandbox {
        let reasons = match self.mode {
            Confinement::Off => vec!["sandbox.mode is \"off\"".into()],
            _ => self.missing().chain(self.too_old_for()).collect(),
        };
        api::Sandbox {
            mode: self.mode.as_str().into(),
            landlock_abi: self.landlock.as_ref().copied().unwrap_or_default(),
            seccomp: self.seccomp.is_ok(),
            no_new_privileges: self.no_new_privileges.is_ok(),
            capabilities_dropped: self.capabilities.is_ok(),
            capabilities_left: self.capabilities.clone().unwrap_or_default(),
            reasons,
        }
    }
}

#[cfg(target_os = "linux")]
mod kernel {
    use rustix::thread::set_no_new_privs;

    use super::{Layer, Places, Sandbox, capabilities, landlock, seccomp};
    use crate::{config::Config, platform};

    /// In this order: each needs rights that the next takes away.
    pub(super) fn confine(config: &Config, places: &Places, memory_locked: bool) -> Sandbox {
        // Read where it still can be, and remembered.
        platform::strangers();
        let kept = capabilities::needed(config, memory_locked);
        let no_new_privileges = set_no_new_privs(true).map_err(|error| error.to_string());
        let landlock = landlock::restrict(places, config.listen.admin);
        let capabilities = capabilities::drop_all_but(kept);
        let seccomp = seccomp::filter();
        let mode = config.sandbox.mode;
        Sandbox { mode, landlock, seccomp, no_new_privileges, capabilities }
    }

    pub(super) fn end_of_start() -> Layer {
        seccomp::end_of_start()
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use super::{Layer, Places, Sandbox};
    use crate::config::Config;

    pub(super) fn end_of_start() -> Layer {
        Ok(())
    }

    pub(super) fn confine(config: &Config, _: &Places, _: bool) -> Sandbox {
        let no = || "only Linux has it".to_owned();
        Sandbox {
            mode: config.sandbox.mode,
            landlock: Err(no()),
            seccomp: Err(no()),
            no_new_privileges: Err(no()),
            capabilities: Err(no()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_with_its_reason() {
        let sandbox = Sandbox {
            mode: Confinement::On,
            landlock: Err("the kernel has none".into()),
            seccomp: Ok(()),
            no_new_privileges: Ok(()),
            capabilities: Ok(vec!["CAP_IPC_LOCK".into()]),
        };
        let status = sandbox.describe();
        assert_eq!((status.landlock_abi, status.seccomp), (0, true));
        assert_eq!(status.reasons, ["landlock: the kernel has none"]);
        assert_eq!(status.capabilities_left, ["CAP_IPC_LOCK"]);
        let old = |version, seccomp| Sandbox { landlock: Ok(version), seccomp, ..sandbox.clone() };
        assert!(old(6, Ok(())).describe().reasons.is_empty());
        // What every kernel with Landlock before 6.12 leaves open is said, and is no reason not to start.
        let said = "landlock: version 1 does not take away abstract sockets of others";
        assert_eq!(old(1, Ok(())).describe().reasons, [said]);
        assert_eq!(old(1, Ok(())).missing().count(), 0);
        let alone = old(4, Err("the kernel has none".into())).describe().reasons;
        let said = "landlock: version 4 does not take away commands to devices, signals to others, \
                    abstract sockets of others";
        assert_eq!(alone, ["seccomp: the kernel has none", said]);
        let off = Sandbox::off().describe();
        assert_eq!(
            (off.mode.as_str(), off.seccomp, off.capabilities_dropped),
            ("off", false, false)
        );
        assert_eq!(off.reasons.len(), 1);
    }
}
