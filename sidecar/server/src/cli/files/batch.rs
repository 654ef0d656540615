//! Rows on their way through one call, or through several if a single row needs them.

use std::ops::Range;

use lunasec_core::limits;

use super::{
    Cell, Reason,
    checkpoint::Position,
    guard::Tally,
    job::Job,
    shape::{Found, Shape},
};

/// Rows of one batch: blank ones cost no values, but they do cost memory.
const ROWS: usize = 50_000;
/// What an item costs in a call beside its value: braces, names, quotes, a comma.
const ITEM_BYTES: usize = 48;

/// Rows with their selected values, and the answers as they come in.
///
/// Where a batch ends depends on nothing but the job and the rows from its start, so that a run
/// which is resumed at its start asks the same values again.
pub(super) struct Batch {
    /// Where it begins in the input.
    pub(super) start: u64,
    bytes: Vec<u8>,
    rows: Vec<Row>,
    cells: Vec<Placed>,
    inputs: Vec<Cell>,
    /// The first so many cells' answers; emptied once they are written.
    answers: Vec<Cell>,
    cost: usize,
    /// Rows that are written.
    written: usize,
    limits: Limits,
}

struct Limits {
    items: usize,
    bytes: usize,
}

struct Row {
    /// Where it ends in `bytes` and in `cells`.
    end: usize,
    cells_end: usize,
    /// How many rows of the file it is: the head may be several, or none.
    rows: u64,
    tally: Tally,
}

/// A selected cell.
pub(super) struct Placed {
    span: Range<usize>,
    pub(super) column: usize,
    /// Its row in the file, from 1.
    pub(super) row: u64,
}

/// A cell that cannot be spelled in this format.
pub(super) struct Unwritable {
    pub(super) cell: usize,
    pub(super) reason: Reason,
}

impl Batch {
    /// An empty batch, which begins at an offset of the input.
    pub(super) fn new(job: &Job, start: u64) -> Self {
        Self {
            start,
            bytes: Vec::new(),
            rows: Vec::new(),
            cells: Vec::new(),
            inputs: Vec::new(),
            answers: Vec::new(),
            cost: 0,
            written: 0,
            limits: Limits { items: job.batch_items, bytes: job.batch_bytes },
        }
    }

    /// Empties it.
    pub(super) fn restart(&mut self, start: u64) {
        self.start = start;
        self.bytes.clear();
        self.rows.clear();
        self.cells.clear();
        self.inputs.clear();
        self.answers.clear();
        (self.cost, self.written) = (0, 0);
    }

    /// Whether there is nothing to do.
    pub(super) fn is_done(&self) -> bool {
        self.written == self.rows.len()
    }

    /// Whether a row may join: any row may if it is the first.
    pub(super) fn fits(&self, row: &[u8], found: &[Found]) -> bool {
        self.rows.is_empty()
            || (self.rows.len() < ROWS
                && self.bytes.len() + row.len() <= limits::ROW_BYTES
                && self.inputs.len() + found.len() <= self.limits.items
                && self.cost + found.iter().map(|cell| cost(&cell.value)).sum::<usize>()
                    <= self.limits.bytes)
    }

    /// Adds what comes before the first row of data.
    pub(super) fn push_head(&mut self, bytes: &[u8], rows: u64) {
        self.bytes.extend_from_slice(bytes);
        let row = Row { end: self.bytes.len(), cells_end: 0, rows, tally: Tally::default() };
        self.rows.push(row);
    }

    /// Adds a row of data, the `number`th of the file.
    pub(super) fn push(&mut self, row: &[u8], number: u64, found: &mut Vec<Found>, tally: Tally) {
        let base = self.bytes.len();
        self.bytes.extend_from_slice(row);
        for Found { span, column, value } in found.drain(..) {
            let span = base + span.start..base + span.end;
            self.cells.push(Placed { span, column, row: number });
            self.cost += cost(&value);
            self.inputs.push(value);
        }
        let (end, cells_end) = (self.bytes.len(), self.cells.len());
        self.rows.push(Row { end, cells_end, rows: 1, tally });
    }

    /// How many cells are answered.
    pub(super) fn answered(&self) -> usize {
        self.answers.len()
    }

    /// The values of the next call: all that are unanswered, or as many as fit.
    pub(super) fn unanswered(&self) -> &[Cell] {
        let rest = &self.inputs[self.answers.len()..];
        let mut cost_so_far = 0;
        let fitting = rest.iter().take(self.limits.items).take_while(|value| {
            cost_so_far += cost(value);
            cost_so_far <= self.limits.bytes
        });
        &rest[..fitting.count().max(1).min(rest.len())]
    }

    /// Takes the answers to the first of the unanswered cells.
    pub(super) fn answer(&mut self, answers: Vec<Cell>) {
        self.answers.extend(answers);
    }

    /// One of the cells.
    pub(super) fn cell(&self, index: usize) -> &Placed {
        &self.cells[index]
    }

    /// The row whose answers, still incomplete, are more than a row may have.
    pub(super) fn overfull_row(&self) -> Option<u64> {
        let waiting = self.answers.iter().map(|answer| answer.0.len()).sum::<usize>();
        let first = self.cells.get(self.rows[..self.written].last().map_or(0, |r| r.cells_end))?;
        (waiting > limits::BATCH_BYTES).then_some(first.row)
    }

    /// Writes the rows that are answered, and moves `position` behind them. False if there is none.
    pub(super) fn write(
        &mut self,
        shape: &dyn Shape,
        out: &mut Vec<u8>,
        position: &mut Position,
    ) -> Result<bool, Unwritable> {
        let before = self.written;
        let mut from = self.rows[..before].last().map_or(0, |row| row.end);
        let mut cell = self.rows[..before].last().map_or(0, |row| row.cells_end);
        out.clear();
        while let Some(row) = self.rows.get(self.written) {
            if row.cells_end > self.answers.len() {
                break;
            }
            position.offset += (row.end - from) as u64;
            position.rows += row.rows;
            position.tally.add(&row.tally);
            for index in cell..row.cells_end {
                let span = self.cells[index].span.clone();
                out.extend_from_slice(&self.bytes[from..span.start]);
                let answer = std::mem::replace(&mut self.answers[index], Cell(Vec::new()));
                shape
                    .spell(&self.bytes[span.clone()], &answer.0, out)
                    .map_err(|reason| Unwritable { cell: index, reason })?;
                from = span.end;
            }
            out.extend_from_slice(&self.bytes[from..row.end]);
            (from, cell) = (row.end, row.cells_end);
            self.written += 1;
        }
        position.written += out.len() as u64;
        Ok(self.written > before)
    }
}

/// Bytes of an item in a call, as JSON at its longest.
fn cost(value: &Cell) -> usize {
    let value = &value.0;
    let spelled = match str::from_utf8(value) {
        Ok(text) => text.bytes().map(escaped_len).sum(),
        Err(_) => value.len().div_ceil(3) * 4,
    };
    spelled + ITEM_BYTES
}

fn escaped_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    }
}
