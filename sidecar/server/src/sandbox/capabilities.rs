//! Root's rights, given up.

use rustix::{
    process::{Gid, Resource, Rlimit, getegid, getgroups, setrlimit},
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
        clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
        set_thread_groups,
    },
};

use super::Layer;
use crate::{config::Config, listen::group_id};

/// Below it, ports are root's, unless the machine says otherwise.
const UNPRIVILEGED_PORTS: u16 = 1024;

/// What the sidecar still needs after it is confined. What can be done instead of keeping one is done here.
pub(super) fn needed(config: &Config, memory_locked: bool) -> CapabilitySet {
    let mut needed = CapabilitySet::empty();
    // What is allocated from now on is locked, too, and counted against this limit.
    let unlimited = Rlimit { current: None, maximum: None };
    if memory_locked && setrlimit(Resource::Memlock, unlimited).is_err() {
        needed |= CapabilitySet::IPC_LOCK;
    }
    let low_port = |port: u16| (1..UNPRIVILEGED_PORTS).contains(&port);
    if config.listen.admin.is_some_and(|admin| low_port(admin.port())) {
        needed |= CapabilitySet::NET_BIND_SERVICE;
    }
    if let Some(group) = config.listen.group.as_deref().and_then(group_id)
        && !join(Gid::from_raw(group))
    {
        needed |= CapabilitySet::CHOWN;
    }
    needed
}

/// A member of a group may give it a file of its own, which the socket is; to be able to give any file to anybody is
/// too much for that.
fn join(group: Gid) -> bool {
    if getegid() == group {
        return true;
    }
    let Ok(mut groups) = getgroups() else { return false };
    if groups.contains(&group) {
        return true;
    }
    groups.push(group);
    set_thread_groups(&groups).is_ok()
}

/// Gives up the others, for good; the names of what is left.
pub(super) fn drop_all_but(kept: CapabilitySet) -> Layer<Vec<String>> {
    // Whoever may not do this has none of them that an exec could bring back, and there is no exec.
    for (_, capability) in every() {
        if capability_is_in_bounding_set(capability) == Ok(true) {
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
    let _ = clear_ambient_capability_set();
    let failed = |error: rustix::io::Errno| error.to_string();
    let left = kept & capabilities(None).map_err(failed)?.permitted;
    let sets =
        CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(failed)?;
    let now = capabilities(None).map_err(failed)?;
    let all = now.effective | now.permitted | now.inheritable;
    Ok(every().filter(|(_, one)| all.contains(*one)).map(|(name, _)| name).collect())
}

/// Every one that the kernel may know, and its name.
fn every() -> impl Iterator<Item = (String, CapabilitySet)> {
    (0..u64::BITS).map(|bit| {
        let one = CapabilitySet::from_bits_retain(1 << bit);
        let name = one.iter_names().next().map(|(name, _)| name);
        (name.map_or_else(|| bit.to_string(), |name| format!("CAP_{name}")), one)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_name() {
        let named: Vec<_> = every().take(15).map(|(name, _)| name).collect();
        assert_eq!((named[0].as_str(), named[14].as_str()), ("CAP_CHOWN", "CAP_IPC_LOCK"));
    }
}
