//! A process and a disk that stop at any step.

use std::{
    cell::Cell as Mutable,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    super::{
        Batches, CallError, Cell, ItemError,
        disk::{Disk, Local},
    },
    fake::Sidecar,
};

/// Counts the steps of a run, and ends it at one of them.
#[derive(Clone)]
pub(super) struct Fuse(Rc<Mutable<Option<u32>>>);

impl Fuse {
    /// Ends the run instead of its step number `step`.
    pub(super) fn at(step: u32) -> Self {
        Self(Rc::new(Mutable::new(Some(step))))
    }

    pub(super) fn is_burnt(&self) -> bool {
        self.0.get().is_none()
    }

    fn is_last(&self) -> bool {
        self.0.get() == Some(0)
    }

    fn step(&self) -> io::Result<()> {
        self.0.set(self.0.get().and_then(|left| left.checked_sub(1)));
        if self.is_burnt() { Err(io::Error::other("the process has ended")) } else { Ok(()) }
    }
}

/// A sidecar that outlives the process: it may have worked and the answer be lost.
pub(super) struct Caller {
    pub(super) sidecar: Sidecar,
    pub(super) fuse: Fuse,
}

impl Caller {
    fn step(&self) -> Result<(), CallError> {
        self.fuse.step().map_err(|error| CallError::Fatal { message: error.to_string() })
    }
}

impl Batches for Caller {
    async fn tokenize(
        &mut self,
        key: &str,
        values: &[Cell],
    ) -> Result<Vec<Result<String, ItemError>>, CallError> {
        self.step()?;
        let answer = self.sidecar.tokenize(key, values).await;
        self.step()?;
        answer
    }

    async fn detokenize(
        &mut self,
        tokens: &[String],
    ) -> Result<Vec<Result<Cell, ItemError>>, CallError> {
        self.step()?;
        let answer = self.sidecar.detokenize(tokens).await;
        self.step()?;
        answer
    }
}

/// A disk that does nothing after the process has ended, and forgets what was not synced if the
/// power went too. It never waits for real hardware.
pub(super) struct Frail {
    fuse: Fuse,
    /// Files with bytes that are not durable, and how many are.
    unsynced: Vec<(File, u64)>,
    /// How to undo what happened to names, latest last.
    names: Vec<Undo>,
}

enum Undo {
    Rename { from: PathBuf, to: PathBuf, replaced: Option<Vec<u8>> },
    Remove { path: PathBuf, content: Vec<u8> },
}

impl Frail {
    pub(super) fn new(fuse: Fuse) -> Self {
        Self { fuse, unsynced: Vec::new(), names: Vec::new() }
    }

    /// Takes back what was not durable; with `keep_removals` all of it but removals, since names
    /// that are not synced reach the disk in any order.
    pub(super) fn lose_power(self, keep_removals: bool) {
        for (file, durable) in self.unsynced {
            let length = file.metadata().unwrap().len();
            file.set_len(durable.min(length)).unwrap();
        }
        for undo in self.names.into_iter().rev() {
            match undo {
                Undo::Rename { from, to, replaced } => {
                    fs::rename(&to, from).unwrap();
                    if let Some(content) = replaced {
                        fs::write(to, content).unwrap();
                    }
                }
                Undo::Remove { .. } if keep_removals => {}
                Undo::Remove { path, content } => fs::write(path, content).unwrap(),
            }
        }
    }

    fn will_grow(&mut self, file: &File) -> io::Result<()> {
        let durable = file.metadata()?.len();
        self.unsynced.push((file.try_clone()?, durable));
        Ok(())
    }
}

fn is_same(one: &File, other: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    one.metadata().unwrap().ino() == other.metadata().unwrap().ino()
}

impl Disk for Frail {
    fn create_private(&mut self, path: &Path) -> io::Result<File> {
        self.fuse.step()?;
        Local.create_private(path)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.will_grow(file)?;
        if self.fuse.is_last() {
            // The step that ends the run may get half way.
            file.write_all(&bytes[..bytes.len() / 2])?;
        }
        self.fuse.step()?;
        file.write_all(bytes)
    }

    fn truncate(&mut self, file: &File, length: u64) -> io::Result<()> {
        self.fuse.step()?;
        file.set_len(length)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.fuse.step()?;
        self.unsynced.retain(|(unsynced, _)| !is_same(unsynced, file));
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.fuse.step()?;
        let replaced = fs::read(to).ok();
        self.names.push(Undo::Rename { from: from.to_owned(), to: to.to_owned(), replaced });
        Local.rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.fuse.step()?;
        if let Ok(content) = fs::read(path) {
            self.names.push(Undo::Remove { path: path.to_owned(), content });
        }
        Local.remove(path)
    }

    fn sync_names(&mut self, _: &Path) -> io::Result<()> {
        self.fuse.step()?;
        self.names.clear();
        Ok(())
    }
}
