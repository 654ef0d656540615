//! Small files that must be whole or not there, and private.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::platform::is_mounted_secret;

/// Creates a file that only its owner can read, durably and at once: after a crash it is there
/// whole or not at all. Fails when there is one.
pub fn create_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let created = create_whole(path, |draft| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
        file.write_all(bytes)?;
        file.sync_all()
    });
    if created? { Ok(()) } else { Err(rustix::io::Errno::EXIST.into()) }
}

/// Gives a file its name at once, when it is made: whether there was none.
pub fn create_whole<E: From<io::Error>>(
    path: &Path,
    make: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<bool, E> {
    let draft = Draft(with_suffix(path, ".new"));
    match fs::remove_file(&draft.0) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    make(&draft.0)?;
    // A link, unlike a rename, does not replace what is there.
    let linked = fs::hard_link(&draft.0, path);
    drop(draft);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        linked => linked?,
    }
    sync_directory(path)?;
    Ok(true)
}

/// A file that is made, and goes whatever comes of it: on a full disk, half of one would be left, and take room.
struct Draft(PathBuf);

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// How others than this process's user and root can read or write a file, if they can.
pub fn exposed(path: &Path) -> io::Result<Option<Exposed>> {
    let found = fs::metadata(path)?;
    let mode = found.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Ok(Some(Exposed::Mode(mode)));
    }
    let own = rustix::process::geteuid().as_raw();
    let owner = found.uid();
    Ok((owner != own && owner != 0).then_some(Exposed::Owner { owner, own }))
}

/// The same of a file that somebody else may have put there for this process: of one that root mounted, in memory and
/// not to be written to, the mount decides who reads it, and neither owner nor mode.
pub fn exposed_secret(path: &Path) -> io::Result<Option<Exposed>> {
    let exposed = exposed(path)?;
    let found = fs::metadata(path)?;
    let is_roots_alone = found.uid() == 0 && found.mode() & 0o022 == 0;
    Ok(exposed.filter(|_| !(is_roots_alone && is_mounted_secret(path))))
}

/// Why a file is not private.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Exposed {
    /// Its permission bits.
    #[error("others can use it (mode {0:04o}); run: chmod 600")]
    Mode(u32),
    /// Its owner, who can always read it.
    #[error("it belongs to another user (uid {owner}); run: chown {own}")]
    Owner {
        /// Whose it is.
        owner: u32,
        /// Whose it should be.
        own: u32,
    },
}

/// Creates a directory, and those above it, for its owner only.
pub fn create_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Keeps a directory for this process, for as long as the handle lives. It takes no room on a full disk, and is not let
/// go where a file in it is closed and opened anew, as its own lock is.
pub fn lock_directory(path: &Path) -> Result<File, TryLockError> {
    let directory = File::open(path).map_err(TryLockError::Error)?;
    directory.try_lock()?;
    Ok(directory)
}

/// Makes a change of names in a file's directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(parent(path))?.sync_all()
}

/// Whether an open file still is the one of that name.
pub fn is_named(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// The directory that a file lies in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The path with something appended to its last part.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
