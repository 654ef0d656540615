//! Where a database lies: a file, unless a test has a disk of its own.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use futures_util::future::BoxFuture;
use redb::backends::InMemoryBackend;

use super::{Overlay, files};

/// Page cache of one database.
const CACHE_BYTES: usize = 32 << 20;

/// See the module.
pub trait Place: Send + Sync + 'static {
    /// As errors name it.
    fn name(&self) -> String;
    /// Opens it for the first time, creating it when it is not there, and reads it once from end to end.
    fn begin(&self) -> Result<redb::Database, redb::Error>;
    /// Opens it again. Never creates it once it was there: what has vanished is not empty.
    fn reopen(&self) -> Result<redb::Database, redb::Error>;
    /// Opens it to be read, where it cannot be written; the first time, it is read once from end to end.
    fn view(&self) -> Result<redb::Database, redb::Error>;
    /// What was written to a file that has lost its name would be lost with the process.
    fn is_still_there(&self) -> bool;
    /// Removes it, whether it is open or not.
    fn remove(&self) -> io::Result<()>;
    /// Before and after each piece of work that is done without threads; it ends when there is time for that.
    fn step(&self) -> BoxFuture<'static, ()>;
}

/// A file.
pub(super) struct File {
    path: PathBuf,
    /// Device and number of the file, which stay the same for as long as it is there; none until it was opened.
    identity: Mutex<Option<(u64, u64)>>,
}

impl File {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: Mutex::default() }
    }

    fn known(&self) -> Option<(u64, u64)> {
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn know(&self) -> io::Result<()> {
        let identity = identity(&self.path)?;
        *self.identity.lock().unwrap_or_else(PoisonError::into_inner) = Some(identity);
        Ok(())
    }

    /// Reads it from end to end on a copy, and changes nothing in it.
    pub(super) fn prove(&self) -> Result<(), redb::Error> {
        let overlay = Overlay::open(&self.path)?;
        drop(builder().set_check_integrity_on_open(true).create_with_backend(overlay)?);
        Ok(())
    }

    /// Whether another process has it open.
    pub(super) fn is_in_use(&self) -> bool {
        let locked = fs::File::open(&self.path).map(|file| file.try_lock());
        matches!(locked, Ok(Err(fs::TryLockError::WouldBlock)))
    }
}

impl Place for File {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn begin(&self) -> Result<redb::Database, redb::Error> {
        if !self.path.exists() {
            create(&self.path)?;
        }
        let database = builder().set_check_integrity_on_open(true).open(&self.path)?;
        self.know()?;
        Ok(database)
    }

    fn reopen(&self) -> Result<redb::Database, redb::Error> {
        match self.known() {
            Some(_) => Ok(builder().open(&self.path)?),
            None => self.begin(),
        }
    }

    fn view(&self) -> Result<redb::Database, redb::Error> {
        let is_new = self.known().is_none();
        if is_new && !self.path.exists() {
            // There was no room to make it, so nothing was ever written to it.
            return Ok(builder().create_with_backend(InMemoryBackend::new())?);
        }
        let overlay = Overlay::open(&self.path)?;
        let view = builder().set_check_integrity_on_open(is_new).create_with_backend(overlay)?;
        if is_new {
            self.know()?;
        }
        Ok(view)
    }

    fn is_still_there(&self) -> bool {
        let known = self.known();
        identity(&self.path).is_ok_and(|now| Some(now) == known)
    }

    fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    fn step(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

fn builder() -> redb::Builder {
    let mut builder = redb::Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Makes an empty database under its name at once: a file that is there and empty is a damaged one. Where another
/// process was first, its lock decides which of the two may have it.
fn create(path: &Path) -> Result<(), redb::Error> {
    use std::os::unix::fs::OpenOptionsExt;
    files::create_whole(path, |draft| {
        // Its owner's from its first moment: once it serves, a sidecar cannot change modes any more.
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
        drop(builder().create(draft)?);
        Ok::<_, redb::Error>(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_could_not_be_made_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("journal-aside.redb");
        let fails = |draft: &Path| {
            fs::write(draft, b"half")?;
            Err::<(), redb::Error>(io::Error::from(io::ErrorKind::StorageFull).into())
        };
        assert!(files::create_whole(&path, fails).is_err());
        assert_eq!(directory.path().read_dir().unwrap().count(), 0);
        create(&path).unwrap();
        let left = directory.path().read_dir().unwrap().map(|file| file.unwrap().path());
        assert_eq!(left.collect::<Vec<_>>(), [path]);
    }
}
