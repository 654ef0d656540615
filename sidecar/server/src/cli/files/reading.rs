//! The input as rows with their selected cells.

use super::{
    FileError, Format, Progress,
    checkpoint::Position,
    guard::{Tally, examine},
    head::Head,
    job::Job,
    rows::{Rows, Trouble},
    shape::Found,
};

/// How many rows are checked between two reports.
const REPORT_ROWS: u64 = 4096;

/// Rows of one job's input.
pub(super) struct Reading<'a> {
    job: &'a Job,
    pub(super) head: Head,
    pub(super) rows: Rows,
    /// The number of the row that was read last.
    number: u64,
    found: Vec<Found>,
}

/// One row of data.
pub(super) struct Row<'a> {
    pub(super) bytes: &'a [u8],
    /// Its number in the file, from 1.
    pub(super) number: u64,
    pub(super) found: &'a mut Vec<Found>,
    pub(super) tally: Tally,
}

impl<'a> Reading<'a> {
    /// Reads what comes before the first row of data.
    pub(super) fn begin(job: &'a Job, mut rows: Rows) -> Result<Self, FileError> {
        let head = Head::read(job, &mut rows)?;
        Ok(Self { job, number: head.rows, head, rows, found: Vec::new() })
    }

    /// The next row of data.
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>, FileError> {
        let Self { job, head, rows, number, found } = self;
        *number += 1;
        let shape = head.shape.as_mut();
        let bytes = match rows.next(shape) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(None),
            Err(Trouble::Fault(fault)) => return Err(job.row_error(*number, fault)),
            Err(Trouble::File(error)) => return Err(error),
        };
        let tally = examine(job.direction, shape, bytes, found)
            .map_err(|fault| job.row_error(*number, fault))?;
        Ok(Some(Row { bytes, number: *number, found, tally }))
    }

    /// Makes the row that was just read, of `length` bytes, the next one again.
    pub(super) fn take_back(&mut self, length: usize) {
        self.rows.take_back(length);
        self.number -= 1;
    }

    /// Goes to where a run stopped.
    pub(super) fn go_to(&mut self, position: &Position) -> Result<(), FileError> {
        self.number = position.rows;
        self.rows.seek(position.offset)
    }

    /// Reads all rows, to find those that are malformed before any value is sent, and comes back.
    /// What can be read only once is not checked.
    pub(super) fn check(&mut self, progress: &mut dyn Progress) -> Result<(), FileError> {
        let Some(total) = self.rows.total() else { return Ok(()) };
        let mut start = Position { rows: self.head.rows, ..Position::default() };
        start.offset = self.head.bytes.len() as u64;
        let mut seen = vec![false; self.job.columns.len()];
        while let Some(row) = self.next()? {
            row.found.iter().for_each(|found| seen[found.column] = true);
            if self.number.is_multiple_of(REPORT_ROWS) {
                progress.checking(self.rows.offset(), Some(total));
            }
        }
        if self.number > self.head.rows + 1 {
            self.refuse_unseen(&seen)?;
        }
        self.go_to(&start)
    }

    /// A JSON path that no line has is a mistyped one, and what it meant would stay in the clear. A
    /// CSV column was found in the header.
    fn refuse_unseen(&self, seen: &[bool]) -> Result<(), FileError> {
        let unseen = self.job.columns.iter().zip(seen).find(|(_, seen)| !**seen);
        match unseen {
            Some((path, _)) if self.job.format == Format::JsonLines => {
                Err(FileError::Usage(format!(
                    "no line has a value at {path:?}; check its spelling (a dot inside a key is \\.), or leave it out"
                )))
            }
            _ => Ok(()),
        }
    }
}
