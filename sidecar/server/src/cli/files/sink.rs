//! Where finished rows go, and how a run begins there, goes on and ends.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom, Write},
    path::Path,
};

use super::{
    FileError,
    checkpoint::{Checkpoint, Identity, Position, Trace, hex},
    disk::Disk,
    job::Job,
    paths::Paths,
};

/// Where rows go.
pub(super) enum Sink {
    /// Standard output.
    Stream(Box<dyn Write>),
    /// A file, with progress beside it if the input can be read again.
    File(Box<Kept>),
}

/// A locked partial output.
pub(super) struct Kept {
    paths: Paths,
    file: File,
    force: bool,
    checkpoint: Option<Checkpoint>,
}

/// Where and as what a run begins.
pub(super) struct Opening {
    /// The run's identifier.
    pub(super) run: String,
    pub(super) position: Position,
    /// Whether there was a run before.
    pub(super) resumed: bool,
}

/// How a run may begin.
enum Begin {
    Anew,
    /// After the last rows that are known to be written.
    Resume(Box<Checkpoint>),
    /// At the very end: the output has its name already.
    Finished(Box<Checkpoint>),
    Foreign(&'static str),
}

/// What it takes to open a file to write to.
pub(super) struct Opener<'a> {
    pub(super) paths: Paths,
    pub(super) job: &'a Job,
    /// The input, if it can be read again.
    pub(super) input: Option<Identity>,
    pub(super) force: bool,
    pub(super) disk: &'a mut dyn Disk,
}

/// An opened file; nothing if all was done and only traces were left to remove.
pub(super) type Opened = (Option<Sink>, Opening);

impl Opener<'_> {
    /// Begins or resumes. `entropy` fills the identifier of a new run.
    pub(super) fn open(self, entropy: &mut dyn FnMut(&mut [u8])) -> Result<Opened, FileError> {
        if !self.paths.progress.exists() {
            self.paths.refuse_output(self.force)?;
        }
        let file = self.paths.lock_partial(self.job.direction)?;
        match self.begin(&file)? {
            Begin::Finished(checkpoint) => self.clean_up(*checkpoint),
            Begin::Resume(checkpoint) => self.resume(file, *checkpoint),
            Begin::Anew => self.anew(file, entropy),
            Begin::Foreign(_) if self.force => self.anew(file, entropy),
            Begin::Foreign(why) => {
                let Paths { progress, partial, .. } = self.paths;
                Err(FileError::Foreign { why, progress, partial })
            }
        }
    }

    /// Looks at what is left of an earlier run.
    fn begin(&self, partial: &File) -> Result<Begin, FileError> {
        let checkpoint = match (Checkpoint::load(&self.paths)?, &self.input) {
            (Trace::None, _) => return Ok(Begin::Anew),
            (Trace::Unreadable, _) => return Ok(Begin::Foreign("its progress cannot be read")),
            (Trace::Checkpoint(_), None) => {
                return Ok(Begin::Foreign("standard input cannot take it up"));
            }
            (Trace::Checkpoint(checkpoint), Some(input)) => {
                if let Some(why) = checkpoint.differs_from(self.job, input) {
                    return Ok(Begin::Foreign(why));
                }
                checkpoint
            }
        };
        let metadata = partial.metadata().map_err(FileError::io("read", &self.paths.partial))?;
        let (length, written) = (metadata.len(), checkpoint.position.written);
        // An empty partial file was made just now, by this or by a run that died at once.
        let renamed = length == 0 && self.paths.output_length() == Some(written);
        Ok(if renamed && checkpoint.is_complete() {
            Begin::Finished(checkpoint)
        } else if length < written {
            Begin::Foreign("its partial output is missing or was cut")
        } else {
            Begin::Resume(checkpoint)
        })
    }

    fn anew(mut self, file: File, entropy: &mut dyn FnMut(&mut [u8])) -> Result<Opened, FileError> {
        self.paths.refuse_output(self.force)?;
        let run = new_run(entropy);
        self.cut(&file, 0)?;
        let checkpoint =
            self.input.take().map(|input| Checkpoint::new(run.clone(), self.job.clone(), input));
        match &checkpoint {
            // The run's identifier must be known before its first call is made.
            Some(checkpoint) => checkpoint.save(self.disk, &self.paths)?,
            None => remove_progress(self.disk, &self.paths)?,
        }
        let opening = Opening { run, position: Position::default(), resumed: false };
        Ok((Some(self.keep(file, checkpoint)), opening))
    }

    fn resume(mut self, file: File, checkpoint: Checkpoint) -> Result<Opened, FileError> {
        self.paths.refuse_output(self.force)?;
        self.cut(&file, checkpoint.position.written)?;
        let opening =
            Opening { run: checkpoint.run.clone(), position: checkpoint.position, resumed: true };
        Ok((Some(self.keep(file, Some(checkpoint))), opening))
    }

    /// The last run died between naming the output and removing its traces.
    fn clean_up(self, checkpoint: Checkpoint) -> Result<Opened, FileError> {
        let Self { paths, disk, .. } = self;
        disk.remove(&paths.partial).map_err(FileError::io("remove", &paths.partial))?;
        disk.sync_names(&paths.directory).map_err(FileError::io("sync", &paths.directory))?;
        remove_progress(disk, &paths)?;
        let position = checkpoint.position;
        Ok((None, Opening { run: checkpoint.run, position, resumed: true }))
    }

    fn cut(&mut self, mut file: &File, length: u64) -> Result<(), FileError> {
        let cut = self.disk.truncate(file, length);
        cut.and_then(|()| file.seek(SeekFrom::Start(length)).map(drop))
            .map_err(FileError::io("write", &self.paths.partial))
    }

    fn keep(self, file: File, checkpoint: Option<Checkpoint>) -> Sink {
        Sink::File(Box::new(Kept { paths: self.paths, file, force: self.force, checkpoint }))
    }
}

impl Sink {
    /// Writes rows; they are durable, and known to be, when this returns.
    pub(super) fn commit(
        &mut self,
        disk: &mut dyn Disk,
        rows: &[u8],
        position: &Position,
    ) -> Result<(), FileError> {
        match self {
            Self::Stream(stream) => {
                stream.write_all(rows).and_then(|()| stream.flush()).map_err(stream_error)
            }
            Self::File(kept) => kept.commit(disk, rows, position),
        }
    }

    /// Gives the output its name, and removes what was only needed on the way.
    pub(super) fn finish(self, disk: &mut dyn Disk) -> Result<(), FileError> {
        match self {
            Self::Stream(_) => Ok(()),
            Self::File(kept) => kept.finish(disk),
        }
    }

    /// Whether a later run can go on from the last commit.
    pub(super) fn is_resumable(&self) -> bool {
        matches!(self, Self::File(kept) if kept.checkpoint.is_some())
    }
}

impl Kept {
    fn commit(
        &mut self,
        disk: &mut dyn Disk,
        rows: &[u8],
        position: &Position,
    ) -> Result<(), FileError> {
        let partial = &self.paths.partial;
        disk.write(&mut self.file, rows).map_err(FileError::io("write", partial))?;
        if let Some(checkpoint) = &mut self.checkpoint {
            // The progress must never be ahead of the rows it speaks of.
            disk.sync(&self.file).map_err(FileError::io("sync", partial))?;
            checkpoint.position = *position;
            checkpoint.save(disk, &self.paths)?;
        }
        Ok(())
    }

    fn finish(self, disk: &mut dyn Disk) -> Result<(), FileError> {
        let paths = &self.paths;
        disk.sync(&self.file).map_err(FileError::io("sync", &paths.partial))?;
        // Somebody else may have made it meanwhile.
        paths.refuse_output(self.force)?;
        disk.rename(&paths.partial, &paths.output)
            .map_err(FileError::io("write", &paths.output))?;
        disk.sync_names(&paths.directory).map_err(FileError::io("sync", &paths.directory))?;
        if self.checkpoint.is_some() {
            remove_progress(disk, paths)?;
        }
        Ok(())
    }
}

fn remove_progress(disk: &mut dyn Disk, paths: &Paths) -> Result<(), FileError> {
    disk.remove(&paths.progress).map_err(FileError::io("remove", &paths.progress))?;
    disk.sync_names(&paths.directory).map_err(FileError::io("sync", &paths.directory))
}

/// A new run's identifier.
pub(super) fn new_run(entropy: &mut dyn FnMut(&mut [u8])) -> String {
    let mut bytes = [0; 16];
    entropy(&mut bytes);
    hex(&bytes)
}

fn stream_error(cause: io::Error) -> FileError {
    match cause.kind() {
        io::ErrorKind::BrokenPipe => FileError::Closed,
        _ => FileError::io("write", Path::new("standard output"))(cause),
    }
}
