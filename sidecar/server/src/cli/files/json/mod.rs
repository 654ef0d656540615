//! JSON Lines. The scanner finds spans and changes nothing else; what is not selected only has to
//! have JSON's structure, so that `NaN` or bytes that are not UTF-8 pass through.

mod path;
mod scan;
mod text;

pub(super) use self::path::Paths;
use self::scan::Scan;
use super::{
    Reason, Spelling,
    shape::{Empty, Fault, Found, Shape},
};

/// The shape of JSON Lines.
pub(super) struct JsonLines {
    paths: Paths,
    ascii: bool,
    /// How far the row was searched for its end.
    at: usize,
}

impl JsonLines {
    /// Selects strings by paths; `ascii` writes them in ASCII.
    pub(super) fn new(paths: Paths, ascii: bool) -> Self {
        Self { paths, ascii, at: 0 }
    }
}

impl Shape for JsonLines {
    fn row_end(&mut self, bytes: &[u8], last: bool) -> Result<Option<usize>, Fault> {
        let end = bytes[self.at..].iter().position(|byte| *byte == b'\n');
        let end = end.map(|more| self.at + more + 1);
        let end = end.or_else(|| (last && !bytes.is_empty()).then_some(bytes.len()));
        self.at = if end.is_some() { 0 } else { bytes.len() };
        Ok(end)
    }

    fn cells(&mut self, row: &[u8], found: &mut Vec<Found>) -> Result<Empty, Fault> {
        Scan::line(row, &self.paths, found)
    }

    fn spell(&self, _old: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), Reason> {
        let value = str::from_utf8(value).map_err(|_| Reason::NotUtf8)?;
        text::write(value, self.ascii, out);
        Ok(())
    }

    fn spelling(&self, old: &[u8], value: &[u8]) -> Spelling {
        let comes_back = |ascii| {
            let mut again = Vec::with_capacity(old.len());
            str::from_utf8(value).is_ok_and(|value| {
                text::write(value, ascii, &mut again);
                again == old
            })
        };
        match (comes_back(false), comes_back(true)) {
            (true, true) => Spelling::default(),
            (false, true) => Spelling { needs_ascii: 1, ..Spelling::default() },
            (true, false) => Spelling { needs_plain: 1, ..Spelling::default() },
            (false, false) => Spelling { respelled: 1, ..Spelling::default() },
        }
    }
}
