//! Reads rows, one at a time, whatever the chunks they come in.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
};

use lunasec_core::limits;

use super::{
    FileError, Reason,
    shape::{Fault, Shape},
};

/// How much is read at once.
const CHUNK: usize = 256 * 1024;

/// Where bytes come from.
pub(super) enum Feed {
    /// A file of which `left` bytes are to be read: not what is appended meanwhile.
    File { file: File, total: u64, left: u64 },
    /// What can only be read once.
    Stream(Box<dyn Read>),
}

/// Why there is no next row.
pub(super) enum Trouble {
    Fault(Fault),
    File(FileError),
}

impl Read for Feed {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File { file, left, .. } => {
                let most = usize::try_from(*left).map_or(into.len(), |left| left.min(into.len()));
                let read = file.read(&mut into[..most])?;
                *left -= read as u64;
                Ok(read)
            }
            Self::Stream(stream) => stream.read(into),
        }
    }
}

/// A buffer over a feed, which knows where it is.
pub(super) struct Rows {
    feed: Feed,
    /// What errors call the feed.
    name: PathBuf,
    /// Zeroes behind `filled`.
    buffer: Vec<u8>,
    /// How much of the buffer was read.
    filled: usize,
    /// Where the next row begins in the buffer.
    from: usize,
    /// Where the next row begins in the input.
    offset: u64,
    ended: bool,
}

impl Rows {
    /// Starts at the feed's beginning.
    pub(super) fn new(feed: Feed, name: PathBuf) -> Self {
        Self { feed, name, buffer: Vec::new(), filled: 0, from: 0, offset: 0, ended: false }
    }

    /// Where the next row begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The input's length, if it has one.
    pub(super) fn total(&self) -> Option<u64> {
        match self.feed {
            Feed::File { total, .. } => Some(total),
            Feed::Stream(_) => None,
        }
    }

    /// Goes to an offset at which a row begins. Only files can.
    pub(super) fn seek(&mut self, offset: u64) -> Result<(), FileError> {
        let sought = match &mut self.feed {
            Feed::File { file, total, left } => {
                *left = total.saturating_sub(offset);
                file.seek(SeekFrom::Start(offset)).map(drop)
            }
            Feed::Stream(_) => Err(io::ErrorKind::NotSeekable.into()),
        };
        sought.map_err(FileError::io("read", &self.name))?;
        (self.filled, self.from) = (0, 0);
        (self.offset, self.ended) = (offset, false);
        Ok(())
    }

    /// The next bytes, at least `least` of them if there are as many.
    pub(super) fn peek(&mut self, least: usize) -> Result<&[u8], FileError> {
        while self.filled - self.from < least && !self.ended {
            self.fill()?;
        }
        Ok(&self.buffer[self.from..self.filled])
    }

    /// Goes over bytes that were peeked at.
    pub(super) fn skip(&mut self, length: usize) {
        self.from += length;
        self.offset += length as u64;
    }

    /// The next row, or nothing at the end.
    pub(super) fn next(&mut self, shape: &mut dyn Shape) -> Result<Option<&[u8]>, Trouble> {
        loop {
            let rest = &self.buffer[self.from..self.filled];
            let end = shape.row_end(rest, self.ended).map_err(Trouble::Fault)?;
            if end.unwrap_or(rest.len()) > limits::ROW_BYTES {
                return Err(Trouble::Fault(Reason::RowTooLong.into()));
            }
            match end {
                Some(length) => {
                    let from = self.from;
                    self.skip(length);
                    return Ok(Some(&self.buffer[from..self.from]));
                }
                None if self.ended => return Ok(None),
                None => self.fill().map_err(Trouble::File)?,
            }
        }
    }

    /// Makes the row that was just read the next one again.
    pub(super) fn take_back(&mut self, length: usize) {
        self.from -= length;
        self.offset -= length as u64;
    }

    fn fill(&mut self) -> Result<(), FileError> {
        if self.buffer.len() - self.filled < CHUNK / 2 {
            self.buffer.copy_within(self.from..self.filled, 0);
            self.filled -= std::mem::take(&mut self.from);
            self.buffer.resize(self.buffer.len().max(self.filled + CHUNK), 0);
        }
        let read = loop {
            match self.feed.read(&mut self.buffer[self.filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other.map_err(FileError::io("read", &self.name))?,
            }
        };
        self.filled += read;
        self.ended = read == 0;
        Ok(())
    }
}
