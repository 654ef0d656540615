//! What an operator has to know of the state directory, at the start and by `lunasec check`.

use std::{
    collections::HashSet,
    fs::{self, Metadata},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf, absolute},
};

use super::{StartError, open::CACHE_FILE, own_uid};
use crate::{
    config::{Config, Degrade, OnOutage},
    db::DbError,
    files,
    journal::JOURNAL_FILE,
    platform::{fleeting, is_injected_volume, strangers},
};

/// A directory in which nobody renames or removes what is another's.
const STICKY: u32 = 0o1000;

/// All that is to be said of it.
pub fn warnings(config: &Config) -> Vec<String> {
    let Some(directory) = &config.degrade.state_dir else { return Vec::new() };
    let journals = config.degrade.on_storage_outage == OnOutage::Journal;
    let own = [
        journals.then(|| fleeting_journal(directory)).flatten(),
        little_room(directory, &config.degrade),
        another_owner(directory, own_uid()),
        open_directory(directory),
    ];
    let above = open_above(directory, own_uid());
    own.into_iter().flatten().chain(above).chain(open_files(directory)).collect()
}

/// Keeps the state directory for this process, for as long as the handle lives; none where its file system has no locks,
/// and each file alone has to do.
pub fn lock(directory: &Path) -> Result<Option<fs::File>, StartError> {
    let failed = |error| StartError::State(directory.display().to_string(), error);
    files::create_private_directory(directory).map_err(failed)?;
    match files::lock_directory(directory) {
        Ok(locked) => Ok(Some(locked)),
        Err(fs::TryLockError::WouldBlock) => {
            Err(DbError::InUse(directory.display().to_string()).into())
        }
        Err(fs::TryLockError::Error(error)) => {
            tracing::warn!(directory = %directory.display(), %error, "degrade.state_dir cannot be locked");
            Ok(None)
        }
    }
}

/// Refuses a standby key that lies in the state directory, by whichever way it is named. What the two paths say is
/// looked at when the configuration is read.
pub fn refuse_standby_in_state(config: &Config) -> Result<(), StartError> {
    let degrade = &config.degrade;
    let Some((directory, key)) = degrade.state_dir.as_ref().zip(degrade.standby_key_file.as_ref())
    else {
        return Ok(());
    };
    // Where one of them cannot be found it is said by whoever needs it.
    let (Ok(state), Ok(found)) = (directory.metadata(), key.canonicalize()) else { return Ok(()) };
    let is_state = |above: &Path| {
        above.metadata().is_ok_and(|it| (it.dev(), it.ino()) == (state.dev(), state.ino()))
    };
    match found.ancestors().skip(1).any(is_state) {
        true => Err(StartError::StandbyInState {
            key: key.display().to_string(),
            directory: directory.display().to_string(),
        }),
        false => Ok(()),
    }
}

fn fleeting_journal(directory: &Path) -> Option<String> {
    Some(format!(
        "degrade.state_dir {} {}: what the journal took during an outage and storage does not have yet is lost then, although it was acknowledged; put it on a persistent volume, or set degrade.on_storage_outage to \"reject\"",
        directory.display(),
        fleeting(directory)?.words()
    ))
}

/// What may be written there, and is not yet, needs room: on a full disk writes are refused in an outage.
fn little_room(directory: &Path, degrade: &Degrade) -> Option<String> {
    let journals = degrade.on_storage_outage == OnOutage::Journal;
    let files = [
        (journals, JOURNAL_FILE, "degrade.journal_bytes", degrade.journal_bytes),
        (degrade.disk_cache, CACHE_FILE, "degrade.disk_cache_bytes", degrade.disk_cache_bytes),
    ];
    let wanted = files.iter().filter(|(is_wanted, ..)| *is_wanted);
    let (mut needs, mut settings) = (0, Vec::new());
    for (_, file, setting, most) in wanted {
        let taken = directory.join(file).metadata().map_or(0, |file| file.blocks() * 512);
        needs += (*most as u64).saturating_sub(taken);
        settings.push(*setting);
    }
    let volume = directory.ancestors().find_map(|part| rustix::fs::statvfs(part).ok())?;
    let free = volume.f_bavail.saturating_mul(volume.f_frsize);
    (needs > free).then(|| {
        format!(
            "degrade.state_dir {} has {} MiB left, and up to {} MiB more may be written there ({}): while that disk is full, writes in an outage are refused; make room, or set less",
            directory.display(),
            free >> 20,
            needs >> 20,
            settings.join(" and ")
        )
    })
}

/// Whoever can write to it can remove what waits, and put in its place what they like.
fn open_directory(directory: &Path) -> Option<String> {
    let mode = directory.metadata().ok()?.mode() & 0o777;
    let name = directory.display();
    (mode & 0o022 != 0).then(|| {
        format!(
            "degrade.state_dir {name} can be written by others (mode {mode:04o}), who can so remove what waits for storage or make this sidecar forget it; run: chmod go-w {name}"
        )
    })
}

/// Its owner can always write to it.
fn another_owner(directory: &Path, own: u32) -> Option<String> {
    let (owner, name) = (directory.metadata().ok()?.uid(), directory.display());
    (owner != own && owner != 0).then(|| {
        format!(
            "degrade.state_dir {name} belongs to another user (uid {owner}), who can remove what waits for storage or make this sidecar forget it; run: chown {own} {name}"
        )
    })
}

/// Whoever can rename in a directory above it can put another one in its place.
fn open_above(directory: &Path, own: u32) -> Vec<String> {
    let said = |(path, found): (PathBuf, Metadata)| {
        let (mode, owner, name) = (found.mode() & 0o7777, found.uid(), path.display());
        let what = "who can so put another directory in the place of degrade.state_dir";
        if mode & 0o022 != 0 && mode & STICKY == 0 && !is_injected_volume(&path) {
            return Some(format!(
                "{name} can be written by others (mode {mode:04o}), {what}; run: chmod go-w {name}, or, where it is a volume, mount it nowhere else"
            ));
        }
        // Whose it is that has no number here, nobody can tell: in a user namespace that is also root outside.
        let is_another = owner != own && owner != 0 && Some(owner) != strangers().0;
        is_another.then(|| {
            format!(
                "{name} belongs to another user (uid {owner}), {what}; choose a directory of which all above it are root's or this user's (uid {own})"
            )
        })
    };
    above(directory).into_iter().filter_map(said).collect()
}

/// All directories that lead to it, also those of links on the way.
fn above(directory: &Path) -> Vec<(PathBuf, Metadata)> {
    let mut ways: Vec<PathBuf> = absolute(directory).into_iter().collect();
    let (mut visited, mut seen, mut found) = (HashSet::new(), HashSet::new(), Vec::new());
    while let Some(way) = ways.pop() {
        for place in way.ancestors().filter(|place| visited.insert(place.to_path_buf())) {
            if let Ok(target) = fs::read_link(place) {
                ways.push(files::parent(place).join(target));
            }
        }
        for place in way.ancestors().skip(1) {
            let Ok(metadata) = place.metadata() else { continue };
            if seen.insert((metadata.dev(), metadata.ino())) {
                found.push((place.to_path_buf(), metadata));
            }
        }
    }
    found
}

/// Files of ours are made for their owner only.
fn open_files(directory: &Path) -> Vec<String> {
    let files = directory.read_dir().into_iter().flatten().flatten().map(|file| file.path());
    let mut warnings: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|it| it == "redb" || it == "secret"))
        .filter_map(|path| {
            let (exposed, name) = (files::exposed(&path).ok()??, path.display());
            Some(format!("{name} in degrade.state_dir is not private: {exposed} {name}"))
        })
        .collect();
    warnings.sort();
    warnings
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::fs::{PermissionsExt, symlink},
    };

    use super::*;

    fn config(state: &Path, more: &str) -> Config {
        let text = format!(
            "[storage]\nkind = \"memory\"\n[keys]\nkind = \"local\"\npath = \"k\"\n[degrade]\nstate_dir = \"{}\"\n{more}",
            state.display()
        );
        Config::parse(&text, &[]).unwrap()
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn whoever_can_put_another_directory_in_its_place_is_warned_of() {
        let directory = tempfile::tempdir().unwrap();
        let open = directory.path().join("open");
        let state = open.join("deep/state");
        files::create_private_directory(&state).unwrap();
        let warned = |path: &Path| warnings(&config(path, ""));
        assert_eq!(warned(&state), [""; 0]);
        for bits in [0o777, 0o770, 0o702] {
            mode(&open, bits);
            let [warning] = &warned(&state)[..] else { panic!("{bits:o}") };
            let told = format!("{} can be written by others (mode {bits:04o})", open.display());
            assert!(warning.contains(&told) && warning.contains("chmod go-w "), "{warning}");
        }
        assert_eq!(warned(&open.join("not/there/yet")).len(), 1);
        // By way of links, too: whoever can write to where one lies can make it lead elsewhere.
        let links = directory.path().join("links");
        files::create_private_directory(&links).unwrap();
        mode(&open, 0o700);
        symlink(&state, links.join("one")).unwrap();
        symlink("one", links.join("two")).unwrap();
        assert_eq!(warned(&links.join("two")), [""; 0]);
        mode(&links, 0o777);
        assert_eq!(warned(&links.join("two")).len(), 1);
        mode(&links, 0o1777);
        assert_eq!(
            warned(&links.join("two")),
            [""; 0],
            "as in /tmp, nobody touches what is another's"
        );
        mode(&open, 0o777);
        assert_eq!(warned(&links.join("two")).len(), 1);
        symlink(links.join("ring"), links.join("ring")).unwrap();
        assert_eq!(warned(&links.join("ring")), [""; 0], "which leads nowhere, and ends");
    }

    #[test]
    fn another_owner_of_it_or_of_what_is_above_it_is_warned_of() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        files::create_private_directory(&state).unwrap();
        let (own, owner) = (own_uid(), state.metadata().unwrap().uid());
        assert_eq!(owner, own);
        assert_eq!(another_owner(&state, own), None);
        assert_eq!(another_owner(Path::new("/"), own), None, "it is root's");
        // Only root can give a directory away; so this is asked as if by another user.
        let other = own + 1;
        match own {
            0 => std::os::unix::fs::chown(&state, Some(other), None).unwrap(),
            _ => assert!(another_owner(&state, other).is_some()),
        }
        if own == 0 {
            let [warning] = &warnings(&config(&state, ""))[..] else { panic!("nothing is said") };
            let told = "belongs to another user (uid 1)";
            assert!(warning.contains(told) && warning.contains("chown 0 "), "{warning}");
            let below = open_above(&state.join("below"), own);
            assert!(below.iter().any(|warning| warning.contains(told)), "{below:?}");
        } else {
            assert!(!open_above(&state.join("below"), other).is_empty());
        }
    }

    #[test]
    fn a_standby_key_in_it_is_found_by_whichever_way_it_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        files::create_private_directory(&at("state/deep")).unwrap();
        files::create_private_directory(&at("keys")).unwrap();
        for key in ["state/key", "state/deep/key", "keys/key"] {
            files::create_private(&at(key), b"").unwrap();
        }
        symlink(at("state"), at("link")).unwrap();
        symlink(at("state/deep/key"), at("keys/linked")).unwrap();
        symlink(at("keys"), at("elsewhere")).unwrap();
        let judged = |state: &str, key: &str| {
            let more = format!("standby_key_file = \"{}\"\n", at(key).display());
            refuse_standby_in_state(&config(&at(state), &more)).map_err(|error| error.to_string())
        };
        for (state, key) in [
            ("state", "link/key"),
            ("link", "state/key"),
            ("state", "keys/linked"),
            ("link", "keys/linked"),
        ] {
            let refused = judged(state, key).unwrap_err();
            assert!(refused.contains("lies in degrade.state_dir"), "{refused}");
            assert!(refused.contains("keep the key elsewhere"), "{refused}");
        }
        for key in ["keys/key", "elsewhere/key", "keys/missing"] {
            assert_eq!(judged("state", key), Ok(()));
        }
        assert_eq!(judged("missing", "keys/key"), Ok(()));
    }

    #[test]
    fn a_directory_and_files_that_others_can_use_are_warned_of() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let config = config(&state, "");
        assert_eq!(warnings(&config), [""; 0], "it is not there yet");
        files::create_private_directory(&state).unwrap();
        let file = state.join("journal.redb");
        files::create_private(&file, b"").unwrap();
        assert_eq!(warnings(&config), [""; 0]);
        mode(&state, 0o755);
        assert_eq!(warnings(&config), [""; 0], "only who can write to it does harm");
        for (open, said) in [(0o770, "mode 0770"), (0o702, "mode 0702")] {
            mode(&state, open);
            let [warning] = &warnings(&config)[..] else { panic!("{open:o}") };
            assert!(warning.contains(said) && warning.contains("chmod go-w "), "{warning}");
        }
        mode(&file, 0o640);
        let [_, warning] = &warnings(&config)[..] else { panic!("nothing is said of the file") };
        assert!(warning.contains("mode 0640") && warning.contains("chmod 600 "), "{warning}");
    }
}
