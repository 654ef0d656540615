//! How far a run is, durably: the file `OUTPUT.lunasec-progress`.

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::unix::fs::MetadataExt,
};

use lunasec_core::derive::Extractor;
use serde::{Deserialize, Serialize};

use super::{FileError, disk::Disk, guard::Tally, job::Job, paths::Paths};

const VERSION: u32 = 2;
/// How much of the input is looked at to know it again.
const HEAD_BYTES: u64 = 64 * 1024;
/// More than any progress file has: columns are given on a command line.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// How far a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// Bytes of the input that are done.
    pub(super) offset: u64,
    /// Bytes of the output that are written.
    pub(super) written: u64,
    /// Rows that are done, the header and blank ones included.
    pub(super) rows: u64,
    pub(super) tally: Tally,
}

/// An input file, as far as it takes to notice that it is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    pub(super) length: u64,
    modified_seconds: i64,
    modified_nanoseconds: i64,
    head: String,
}

impl Identity {
    /// Looks at a file; leaves it at its beginning.
    pub(super) fn of(mut file: &File) -> io::Result<Self> {
        let mut head = Vec::new();
        file.rewind()?;
        file.take(HEAD_BYTES).read_to_end(&mut head)?;
        file.rewind()?;
        let metadata = file.metadata()?;
        Ok(Self {
            length: metadata.len(),
            modified_seconds: metadata.mtime(),
            modified_nanoseconds: metadata.mtime_nsec(),
            head: digest(&head),
        })
    }
}

fn digest(bytes: &[u8]) -> String {
    let mut digest = [0; 32];
    // 32 bytes are far below what the expansion can give.
    let _ = Extractor::new(b"lunasec/v1/file-head").extract(&[bytes]).expand(&[], &mut digest);
    hex(&digest)
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The progress file's content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Checkpoint {
    version: u32,
    /// 16 random bytes in hexadecimal: the idempotency keys are made from them.
    pub(super) run: String,
    job: Job,
    input: Identity,
    pub(super) position: Position,
}

/// What there is of an earlier run.
pub(super) enum Trace {
    None,
    Unreadable,
    Checkpoint(Box<Checkpoint>),
}

impl Checkpoint {
    /// A run that is about to begin.
    pub(super) fn new(run: String, job: Job, input: Identity) -> Self {
        Self { version: VERSION, run, job, input, position: Position::default() }
    }

    /// Reads what an earlier run left.
    pub(super) fn load(paths: &Paths) -> Result<Trace, FileError> {
        let file = match File::open(&paths.progress) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Trace::None),
            other => other.map_err(FileError::io("read", &paths.progress))?,
        };
        let mut text = Vec::new();
        file.take(FILE_BYTES)
            .read_to_end(&mut text)
            .map_err(FileError::io("read", &paths.progress))?;
        Ok(match serde_json::from_slice::<Self>(&text) {
            Ok(checkpoint) if checkpoint.version == VERSION => {
                Trace::Checkpoint(Box::new(checkpoint))
            }
            _ => Trace::Unreadable,
        })
    }

    /// Replaces the progress file, durably.
    pub(super) fn save(&self, disk: &mut dyn Disk, paths: &Paths) -> Result<(), FileError> {
        self.replace(disk, paths).map_err(FileError::io("write", &paths.progress))
    }

    fn replace(&self, disk: &mut dyn Disk, paths: &Paths) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        let mut file = disk.create_private(&paths.next_progress)?;
        disk.write(&mut file, &text)?;
        disk.sync(&file)?;
        disk.rename(&paths.next_progress, &paths.progress)?;
        disk.sync_names(&paths.directory)
    }

    /// Why this run is not that of `job` and `input`.
    pub(super) fn differs_from(&self, job: &Job, input: &Identity) -> Option<&'static str> {
        if self.input != *input {
            Some("its input was another file or has been changed since")
        } else if self.job.direction != job.direction {
            Some("it went the other way")
        } else if self.job.sidecar != job.sidecar || self.job.namespace != job.namespace {
            Some("it was at another socket or in another namespace")
        } else if self.job.session != job.session {
            Some("it was for another session or with another JWT")
        } else if self.job != *job {
            Some("its columns or other options differ")
        } else {
            None
        }
    }

    /// Whether all of the input was done.
    pub(super) fn is_complete(&self) -> bool {
        self.position.offset == self.input.length
    }
}
