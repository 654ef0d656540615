//! The steps that a resumable run takes on disk, each of which may be the last one before a crash.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The effects, one method each, so that a test can stop the run between any two.
pub(super) trait Disk {
    /// Makes or empties a file that only its owner can read.
    fn create_private(&mut self, path: &Path) -> io::Result<File>;
    /// Writes all of `bytes`.
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()>;
    /// Cuts a file.
    fn truncate(&mut self, file: &File, length: u64) -> io::Result<()>;
    /// Waits until a file's bytes are durable.
    fn sync(&mut self, file: &File) -> io::Result<()>;
    /// Renames atomically, over what is there.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; one that is not there is no error.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Waits until a directory's names are durable.
    fn sync_names(&mut self, directory: &Path) -> io::Result<()>;
}

/// The file system.
pub(super) struct Local;

impl Disk for Local {
    fn create_private(&mut self, path: &Path) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn truncate(&mut self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_names(&mut self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}
