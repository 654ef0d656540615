//! CSV as RFC 4180 says and as real files are: any mix of line breaks (a lone CR too), ragged rows,
//! quotes in the middle of a cell, any bytes.
//!
//! A file in which a quote is out of place can be split in more than one way, and a wrong split
//! would leave a card number in the clear. So whatever readers disagree on is refused.

use std::{borrow::Cow, ops::Range};

use super::{
    Cell, Reason,
    shape::{Empty, Fault, Found, Place, Shape},
};

/// The scanner, and which cells it looks for.
pub(super) struct Csv {
    delimiter: u8,
    wanted: Wanted,
    state: State,
    /// How far the row was scanned.
    at: usize,
    /// Where the cell began.
    start: usize,
    /// The cell's number, from 0.
    number: usize,
    cells: Vec<RawCell>,
}

enum Wanted {
    /// The header: every cell.
    All,
    /// Numbers of cells, each with the selected column it is.
    These(Vec<(usize, usize)>),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before a cell's first byte.
    Start,
    Bare,
    Quoted,
    /// After a quote in a quoted cell: its end, or half of an escaped quote.
    Quote,
    /// In text after a closing quote.
    Tail,
    /// After a CR: an LF would belong to the same line break.
    Cr,
    /// After a row.
    End,
}

struct RawCell {
    span: Range<usize>,
    column: usize,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Bare,
    Quoted,
    /// Quoted, with text after the closing quote.
    Spoiled,
}

impl Csv {
    /// A scanner that looks for every cell, until [`Csv::select`] says which.
    pub(super) fn new(delimiter: u8) -> Self {
        let (wanted, cells) = (Wanted::All, Vec::new());
        Self { delimiter, wanted, state: State::End, at: 0, start: 0, number: 0, cells }
    }

    /// Looks only for the cells of these numbers (from 0) from now on; one number per column.
    pub(super) fn select(&mut self, numbers: &[usize]) {
        let columns = numbers.iter().enumerate().map(|(column, &number)| (number, column));
        self.wanted = Wanted::These(columns.collect());
    }

    /// The names in the header that was found last.
    pub(super) fn names(&self, row: &[u8]) -> Result<Vec<Vec<u8>>, Fault> {
        self.cells
            .iter()
            .map(|cell| match cell.form {
                Form::Spoiled => Err(fault(cell.column, Reason::AfterQuote)),
                form => Ok(meaning(form, &row[cell.span.clone()]).into_owned()),
            })
            .collect()
    }

    /// Takes one byte; true if it ended the row.
    fn step(&mut self, bytes: &[u8]) -> Result<bool, Fault> {
        let byte = bytes[self.at];
        let next = match (self.state, byte) {
            (State::Quoted, b'"') => State::Quote,
            (State::Quoted, _) | (State::Quote, b'"') => State::Quoted,
            (_, b'\r' | b'\n') => {
                self.close(bytes)?;
                if byte == b'\n' { State::End } else { State::Cr }
            }
            (_, byte) if byte == self.delimiter => {
                self.close(bytes)?;
                State::Start
            }
            (State::Start, b'"') => State::Quoted,
            (State::Tail, b'"') => return Err(fault(self.number, Reason::Ambiguous)),
            (State::Quote | State::Tail, _) => State::Tail,
            _ => State::Bare,
        };
        self.state = next;
        self.at += 1;
        if next == State::Start {
            self.start = self.at;
        }
        Ok(next == State::End)
    }

    /// Ends the cell before the byte at hand.
    fn close(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let span = self.start..self.at;
        let form = match self.state {
            State::Quote => Form::Quoted,
            State::Tail => Form::Spoiled,
            _ => Form::Bare,
        };
        if form == Form::Bare && is_ambiguous(&bytes[span.clone()]) {
            return Err(fault(self.number, Reason::Ambiguous));
        }
        let column = match &self.wanted {
            Wanted::All => Some(self.number),
            Wanted::These(wanted) => {
                wanted.iter().find(|(number, _)| *number == self.number).map(|(_, column)| *column)
            }
        };
        if let Some(column) = column {
            self.cells.push(RawCell { span, column, form });
        }
        self.number += 1;
        Ok(())
    }

    fn begin_row(&mut self) {
        (self.at, self.start, self.number) = (0, 0, 0);
        self.cells.clear();
        self.state = State::Start;
    }

    /// Whether an unquoted cell with this content would be read as just that.
    fn reads_back(&self, value: &[u8]) -> bool {
        let special = |byte: &u8| matches!(byte, b'\r' | b'\n') || *byte == self.delimiter;
        !value.starts_with(b"\"") && !value.iter().any(special) && !is_ambiguous(value)
    }
}

impl Shape for Csv {
    fn row_end(&mut self, bytes: &[u8], last: bool) -> Result<Option<usize>, Fault> {
        if self.state == State::End {
            self.begin_row();
        }
        while self.at < bytes.len() {
            if self.state == State::Cr {
                self.state = State::End;
                return Ok(Some(self.at + usize::from(bytes[self.at] == b'\n')));
            }
            if self.step(bytes)? {
                return Ok(Some(self.at));
            }
        }
        if !last || bytes.is_empty() {
            return Ok(None);
        }
        match self.state {
            State::Quoted => return Err(fault(self.number, Reason::Unterminated)),
            State::Cr => {}
            _ => self.close(bytes)?,
        }
        self.state = State::End;
        Ok(Some(bytes.len()))
    }

    fn cells(&mut self, row: &[u8], found: &mut Vec<Found>) -> Result<Empty, Fault> {
        let mut empty = 0;
        for RawCell { span, column, form } in self.cells.drain(..) {
            if form == Form::Spoiled {
                return Err(Fault { place: Place::Selected(column), reason: Reason::AfterQuote });
            }
            let value = meaning(form, &row[span.clone()]).into_owned();
            if value.is_empty() {
                empty += 1;
            } else {
                found.push(Found { span, column, value: Cell(value) });
            }
        }
        Ok(empty)
    }

    fn spell(&self, old: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
        if !old.starts_with(b"\"") && self.reads_back(value) {
            out.extend_from_slice(value);
            return Ok(());
        }
        out.push(b'"');
        for &byte in value {
            if byte == b'"' {
                out.push(b'"');
            }
            out.push(byte);
        }
        out.push(b'"');
        Ok(())
    }
}

fn fault(number: usize, reason: Reason) -> Fault {
    Fault { place: Place::Number(number + 1), reason }
}

/// A cell like ` "a`: some readers take the quote for an opening one and look for its end in the
/// next cell or line, others for a character. With an even number of quotes they agree.
fn is_ambiguous(bare: &[u8]) -> bool {
    matches!(bare.first(), Some(b' ' | b'\t'))
        && bare.trim_ascii_start().starts_with(b"\"")
        && bare.iter().filter(|byte| **byte == b'"').count() % 2 == 1
}

/// What a cell means.
fn meaning(form: Form, cell: &[u8]) -> Cow<'_, [u8]> {
    if form == Form::Bare {
        return Cow::Borrowed(cell);
    }
    let mut value = Vec::with_capacity(cell.len());
    let mut bytes = cell[1..cell.len() - 1].iter();
    while let Some(&byte) = bytes.next() {
        value.push(byte);
        if byte == b'"' {
            // Its twin.
            bytes.next();
        }
    }
    Cow::Owned(value)
}
