//! What the engine knows of a format.

use std::ops::Range;

use super::{Cell, Reason, Spelling};

/// One way to spell rows. It is told where rows begin and says where they end, what is selected in
/// them, and how a replacement is spelled.
pub(super) trait Shape {
    /// Length of the row that `bytes` begins with, its line break included, or nothing if more
    /// bytes are needed. Called again with more bytes, it goes on where it stopped; once it has
    /// answered with a length, it begins anew. `last`: there are no more bytes.
    fn row_end(&mut self, bytes: &[u8], last: bool) -> Result<Option<usize>, Fault>;

    /// The selected cells of the row that was found last.
    fn cells(&mut self, row: &[u8], found: &mut Vec<Found>) -> Result<Empty, Fault>;

    /// Spells `value` as the cell `old` was, as far as it reads back as itself.
    fn spell(&self, old: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), Reason>;

    /// Whether a value that was spelled `old` would come back byte for byte.
    fn spelling(&self, _old: &[u8], _value: &[u8]) -> Spelling {
        Spelling::default()
    }
}

/// A selected cell that is not empty.
pub(super) struct Found {
    /// The bytes to replace, quotes included, counted from the row's beginning.
    pub(super) span: Range<usize>,
    /// Which of the selected columns.
    pub(super) column: usize,
    /// What it means.
    pub(super) value: Cell,
}

/// How many selected cells were empty.
pub(super) type Empty = u64;

/// Whether a row is nothing but a line break.
pub(super) fn is_blank(row: &[u8]) -> bool {
    row.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// What is wrong, and where in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) place: Place,
    pub(super) reason: Reason,
}

/// A place in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Anywhere.
    Row,
    /// One of the selected columns.
    Selected(usize),
    /// A cell by its number, from 1.
    Number(usize),
}

impl From<Reason> for Fault {
    fn from(reason: Reason) -> Self {
        Self { place: Place::Row, reason }
    }
}
