//! What an operator has to know of the state directory, at the start and by `lunasec check`.

use std::{os::unix::fs::MetadataExt, path::Path};

use crate::{
    config::{Config, OnOutage},
    files,
    platform::fleeting,
};

/// All that is to be said of it.
pub fn warnings(config: &Config) -> Vec<String> {
    let Some(directory) = &config.degrade.state_dir else { return Vec::new() };
    let journals = config.degrade.on_storage_outage == OnOutage::Journal;
    let own = [journals.then(|| fleeting_journal(directory)).flatten(), open_directory(directory)];
    own.into_iter().flatten().chain(open_files(directory)).collect()
}

fn fleeting_journal(directory: &Path) -> Option<String> {
    Some(format!(
        "degrade.state_dir {} {}: what the journal took during an outage and storage does not have yet is lost then, although it was acknowledged; put it on a persistent volume, or set degrade.on_storage_outage to \"reject\"",
        directory.display(),
        fleeting(directory)?.words()
    ))
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
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_directory_and_files_that_others_can_use_are_warned_of() {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let text = format!(
            "[storage]\nkind = \"memory\"\n[keys]\nkind = \"local\"\npath = \"k\"\n[degrade]\nstate_dir = \"{}\"\n",
            state.display()
        );
        let config = Config::parse(&text, &[]).unwrap();
        assert_eq!(warnings(&config), [""; 0], "it is not there yet");
        files::create_private_directory(&state).unwrap();
        let file = state.join("journal.redb");
        files::create_private(&file, b"").unwrap();
        assert_eq!(warnings(&config), [""; 0]);
        let mode = |path: &Path, mode| {
            fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        };
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
