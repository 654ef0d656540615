//! Landlock: which files can be opened, by where they lie.

use std::net::SocketAddr;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};

use super::{
    Layer,
    places::{Places, Rule},
};

/// The newest interface whose restrictions the sidecar was tried under. The crate leaves out what an older kernel lacks.
const TRIED: ABI = ABI::V7;

/// Puts it in force for this thread and those that it starts; the version of the interface.
pub(super) fn restrict(places: &Places, admin: Option<SocketAddr>) -> Layer<u32> {
    let restricted = ruleset(places, admin).and_then(RulesetCreated::restrict_self);
    let status = restricted.map_err(|error| error.to_string())?;
    match (status.landlock, status.ruleset) {
        (LandlockStatus::NotImplemented, _) => Err("this kernel is built without it".into()),
        (LandlockStatus::NotEnabled, _) => {
            Err("this kernel has it turned off (boot parameter lsm=landlock,…)".into())
        }
        (_, RulesetStatus::NotEnforced) => Err("the kernel did not put it in force".into()),
        (LandlockStatus::Available { effective_abi, .. }, _) => Ok(effective_abi as u32),
    }
}

fn ruleset(
    places: &Places,
    admin: Option<SocketAddr>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(TRIED))?
        // To connect stays possible: which ports issuers have may change with a reload.
        .handle_access(AccessNet::BindTcp)?
        .scope(Scope::from_all(TRIED))?
        .create()?;
    if let Some(admin) = admin {
        rules = rules.add_rule(NetPort::new(admin.port(), AccessNet::BindTcp))?;
    }
    for Rule { path, write } in places.rules() {
        // What is not there cannot be opened, and is made by nobody but others.
        let Ok(at) = PathFd::new(&path) else { continue };
        rules = rules.add_rule(PathBeneath::new(at, rights(write, path.is_dir())))?;
    }
    Ok(rules)
}

fn rights(write: bool, is_directory: bool) -> BitFlags<AccessFs> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    // Neither programs nor devices, nor names for what lies elsewhere.
    let no =
        make_bitflags!(AccessFs::{Execute | MakeChar | MakeBlock | MakeFifo | MakeSym | IoctlDev});
    let wanted = if write { AccessFs::from_all(TRIED) & !no } else { read };
    if is_directory { wanted } else { wanted & AccessFs::from_file(TRIED) }
}
