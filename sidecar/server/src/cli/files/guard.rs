//! What may be sent: values that are no tokens, tokens that are.

use lunasec_core::{limits, token::Token};
use serde::{Deserialize, Serialize};

use super::{
    Cell, Direction, Reason, Spelling,
    shape::{Fault, Found, Place, Shape, is_blank},
};

/// What rows add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tally {
    /// Rows that are neither the header nor blank.
    pub(super) rows: u64,
    pub(super) values: u64,
    pub(super) empty: u64,
    /// Rows with none of the selected cells.
    pub(super) bare: u64,
    pub(super) spelling: Spelling,
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.values += other.values;
        self.empty += other.empty;
        self.bare += other.bare;
        self.spelling.respelled += other.spelling.respelled;
        self.spelling.needs_ascii += other.spelling.needs_ascii;
        self.spelling.needs_plain += other.spelling.needs_plain;
    }
}

/// Finds the selected cells of the row that `shape` found last, and refuses those that must not be
/// turned.
pub(super) fn examine(
    direction: Direction,
    shape: &mut dyn Shape,
    row: &[u8],
    found: &mut Vec<Found>,
) -> Result<Tally, Fault> {
    found.clear();
    let empty = shape.cells(row, found)?;
    if is_blank(row) {
        return Ok(Tally::default());
    }
    let (values, bare) = (found.len() as u64, u64::from(found.is_empty() && empty == 0));
    let mut tally = Tally { rows: 1, values, empty, bare, ..Tally::default() };
    for Found { span, column, value } in found {
        check(direction, value)
            .map_err(|reason| Fault { place: Place::Selected(*column), reason })?;
        if direction == Direction::Tokenize {
            let spelling = shape.spelling(&row[span.clone()], &value.0);
            tally.add(&Tally { spelling, ..Tally::default() });
        }
    }
    Ok(tally)
}

fn check(direction: Direction, value: &Cell) -> Result<(), Reason> {
    match (direction, is_token(value)) {
        (Direction::Tokenize, true) => Err(Reason::AlreadyToken),
        (Direction::Detokenize, false) => Err(Reason::NotToken),
        _ if value.0.len() > limits::VALUE_BYTES => Err(Reason::ValueTooLong),
        _ => Ok(()),
    }
}

/// Whether these bytes are a token.
pub(super) fn is_token(cell: &Cell) -> bool {
    str::from_utf8(&cell.0).is_ok_and(|text| Token::parse(text).is_ok())
}
