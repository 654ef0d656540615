//! A database on a disk that takes no writes, to be read all the same: opening it and repairing it
//! changes a few pages, and those changes stay in memory.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

/// See the module.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    /// As the database sees it.
    length: u64,
    /// Where the file's own bytes end and zeros begin.
    from_file: u64,
    /// In the order in which they were made.
    writes: Vec<(u64, Vec<u8>)>,
}

impl Overlay {
    /// Opens a file for reading only.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let changes = Changes { length, from_file: length, writes: Vec::new() };
        Ok(Self { file, changes: Mutex::new(changes) })
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        if offset + out.len() as u64 > changes.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let in_file = changes.from_file.saturating_sub(offset).min(out.len() as u64);
        let (below, beyond) = out.split_at_mut(usize::try_from(in_file).unwrap_or(usize::MAX));
        self.file.read_exact_at(below, offset)?;
        beyond.fill(0);
        for (at, bytes) in &changes.writes {
            copy_overlap(offset, out, *at, bytes);
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut changes = self.changes();
        changes.length = length;
        changes.from_file = changes.from_file.min(length);
        for (at, bytes) in &mut changes.writes {
            let kept = usize::try_from(length.saturating_sub(*at)).unwrap_or(usize::MAX);
            bytes.truncate(kept);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.changes().writes.push((offset, data.to_vec()));
        Ok(())
    }
}

/// Copies what `bytes`, which lie at `at`, have in common with `out`, which lies at `offset`.
fn copy_overlap(offset: u64, out: &mut [u8], at: u64, bytes: &[u8]) {
    let from = offset.max(at);
    let to = (offset + out.len() as u64).min(at + bytes.len() as u64);
    if from < to {
        let range = |base: u64| (from - base) as usize..(to - base) as usize;
        out[range(offset)].copy_from_slice(&bytes[range(at)]);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn changes_are_seen_and_the_file_stays_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, b"0123456789").unwrap();
        let overlay = Overlay::open(&path).unwrap();
        let read = |offset, length| {
            let mut out = vec![b'?'; length];
            overlay.read(offset, &mut out).map(|()| String::from_utf8(out).unwrap())
        };
        overlay.write(2, b"ab").unwrap();
        overlay.write(3, b"cd").unwrap();
        assert_eq!(read(0, 10).unwrap(), "01acd56789");
        assert_eq!(read(4, 2).unwrap(), "d5");
        overlay.set_len(4).unwrap();
        assert!(read(0, 5).is_err());
        overlay.set_len(12).unwrap();
        overlay.write(10, b"ef").unwrap();
        assert_eq!(read(0, 12).unwrap(), "01ac\0\0\0\0\0\0ef");
        assert!(read(11, 2).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"0123456789");
    }
}
