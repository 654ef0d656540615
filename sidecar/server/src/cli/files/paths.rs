//! The files around an output, and the mistakes one can make with them.

use std::{
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{Direction, FileError, job::usage};

/// What only its owner can read.
const PRIVATE: u32 = 0o600;

/// An output and what a run keeps beside it.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub(super) output: PathBuf,
    /// The output, while it grows.
    pub(super) partial: PathBuf,
    pub(super) progress: PathBuf,
    /// The progress, before it takes the other's place.
    pub(super) next_progress: PathBuf,
    pub(super) directory: PathBuf,
}

impl Paths {
    pub(super) fn new(output: &Path) -> Result<Self, FileError> {
        if output.file_name().is_none() {
            return Err(usage(format!("{} is not the name of a file", output.display())));
        }
        let beside = |suffix: &str| {
            let mut path = output.as_os_str().to_owned();
            path.push(suffix);
            PathBuf::from(path)
        };
        let directory = match output.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Ok(Self {
            output: output.to_owned(),
            partial: beside(".lunasec-partial"),
            progress: beside(".lunasec-progress"),
            next_progress: beside(".lunasec-progress-next"),
            directory,
        })
    }

    /// Refuses an output that is the input, or would destroy it on the way.
    pub(super) fn refuse_input(&self, input: &File, name: &Path) -> Result<(), FileError> {
        let input = input.metadata().map_err(FileError::io("read", name))?;
        let ours = [&self.output, &self.partial, &self.progress, &self.next_progress];
        match ours.into_iter().find(|path| is_same(path, &input)) {
            Some(path) => Err(usage(format!(
                "the input and {} are the same file; give the output a name of its own",
                path.display()
            ))),
            None => Ok(()),
        }
    }

    /// Refuses an output that is there, unless it may be replaced.
    pub(super) fn refuse_output(&self, force: bool) -> Result<(), FileError> {
        let output = self.output.display();
        match self.output.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(cause) => Err(FileError::io("write", &self.output)(cause)),
            // A rename would replace a link or a device, not write to it.
            Ok(there) if !there.is_file() => Err(usage(format!("{output} is not a regular file"))),
            Ok(_) if force => Ok(()),
            Ok(_) => Err(usage(format!("{output} exists; pass --force to replace it"))),
        }
    }

    /// Opens the partial output, or makes it, and locks it against other runs.
    pub(super) fn lock_partial(&self, direction: Direction) -> Result<File, FileError> {
        let private = direction == Direction::Detokenize;
        let failed = || FileError::io("write", &self.partial);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(if private { PRIVATE } else { 0o666 })
            .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
            .open(&self.partial)
            .map_err(failed())?;
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(FileError::Busy(self.output.clone())),
            Err(TryLockError::Error(cause)) => return Err(failed()(cause)),
            Ok(()) => {}
        }
        // Another run may have renamed it to the output since it was opened.
        let locked = file.metadata().map_err(failed())?;
        if !is_same(&self.partial, &locked) {
            return Err(FileError::Busy(self.output.clone()));
        }
        if private {
            // It may be left from a run whose umask let others read it.
            file.set_permissions(fs::Permissions::from_mode(PRIVATE)).map_err(failed())?;
        }
        Ok(file)
    }

    /// The output's length, if it is a file.
    pub(super) fn output_length(&self) -> Option<u64> {
        self.output.symlink_metadata().ok().filter(Metadata::is_file).map(|file| file.len())
    }
}

fn is_same(path: &Path, file: &Metadata) -> bool {
    path.metadata().is_ok_and(|there| there.dev() == file.dev() && there.ino() == file.ino())
}
