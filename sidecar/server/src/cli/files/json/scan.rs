//! Walks one line and notes the spans of the selected strings.

use super::{
    super::{
        Cell, Reason,
        shape::{Empty, Fault, Found, Place},
    },
    path::Paths,
    text,
};

/// Arrays within arrays on a selected path: each is a call on the stack.
const DEPTH: usize = 128;

/// A walk over one line.
pub(super) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    found: &'a mut Vec<Found>,
    empty: Empty,
}

impl<'a> Scan<'a> {
    /// Finds the selected strings of a line; a blank line has none.
    pub(super) fn line(
        bytes: &'a [u8],
        paths: &Paths,
        found: &'a mut Vec<Found>,
    ) -> Result<Empty, Fault> {
        let mut scan = Scan { bytes, at: 0, found, empty: 0 };
        scan.space();
        if scan.at < bytes.len() {
            scan.value(paths, 0)?;
            scan.space();
        }
        if scan.at == bytes.len() { Ok(scan.empty) } else { Err(Reason::NotJson.into()) }
    }

    /// A value which is selected, or on the way to one.
    fn value(&mut self, paths: &Paths, depth: usize) -> Result<(), Fault> {
        self.space();
        let wrong = |kind| match paths.column {
            Some(column) => selected(column, Reason::NotString(kind)),
            None => selected(paths.label(), Reason::NotObject(kind)),
        };
        match (self.peek(), paths.column) {
            (Some(b'['), _) => self.array(paths, depth + 1),
            (Some(b'{'), None) => self.object(paths, depth),
            (Some(b'"'), Some(column)) => self.selected_string(column),
            (Some(b'{'), _) => Err(wrong("an object")),
            (Some(b'"'), _) => Err(wrong("a string")),
            _ => match self.word()? {
                b"null" => {
                    self.empty += u64::from(paths.column.is_some());
                    Ok(())
                }
                b"true" | b"false" => Err(wrong("a boolean")),
                _ => Err(wrong("a number")),
            },
        }
    }

    fn array(&mut self, paths: &Paths, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH {
            return Err(selected(paths.label(), Reason::TooDeep));
        }
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            self.value(paths, depth)?;
            if self.ends(b']')? {
                return Ok(());
            }
        }
    }

    fn object(&mut self, paths: &Paths, depth: usize) -> Result<(), Fault> {
        let mut seen = vec![false; paths.keys.len()];
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let key = self.key()?;
            match paths.keys.iter().position(|(known, _)| text::is(key, known)) {
                Some(index) if seen[index] => {
                    return Err(selected(paths.keys[index].1.label(), Reason::DuplicateKey));
                }
                Some(index) => {
                    seen[index] = true;
                    self.value(&paths.keys[index].1, depth)?;
                }
                None => self.skip()?,
            }
            if self.ends(b'}')? {
                return Ok(());
            }
        }
    }

    fn selected_string(&mut self, column: usize) -> Result<(), Fault> {
        let start = self.at;
        let inner = self.string()?;
        let value = text::read(inner).map_err(|reason| selected(column, reason))?;
        if value.is_empty() {
            self.empty += 1;
            return Ok(());
        }
        if str::from_utf8(&value).is_err() {
            return Err(selected(column, Reason::NotUtf8));
        }
        self.found.push(Found { span: start..self.at, column, value: Cell(value) });
        Ok(())
    }

    /// Any value, however deep, without a call per level.
    fn skip(&mut self) -> Result<(), Reason> {
        let mut open = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.space();
                    let close = if bracket == b'{' { b'}' } else { b']' };
                    if !self.take(close) {
                        open.push(close);
                        self.key_inside(close)?;
                        continue;
                    }
                }
                Some(b'"') => drop(self.string()?),
                _ => drop(self.word()?),
            }
            // A value has ended, and with it perhaps those around it.
            loop {
                let Some(&close) = open.last() else { return Ok(()) };
                if !self.ends(close)? {
                    self.key_inside(close)?;
                    break;
                }
                open.pop();
            }
        }
    }

    fn key_inside(&mut self, close: u8) -> Result<(), Reason> {
        if close == b'}' { self.key().map(drop) } else { Ok(()) }
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<&'a [u8], Reason> {
        self.space();
        let key = self.string()?;
        self.space();
        if self.take(b':') { Ok(key) } else { Err(Reason::NotJson) }
    }

    /// After an element: true at the closing bracket, false at a comma.
    fn ends(&mut self, close: u8) -> Result<bool, Reason> {
        self.space();
        if self.take(close) {
            Ok(true)
        } else if self.take(b',') {
            Ok(false)
        } else {
            Err(Reason::NotJson)
        }
    }

    /// A string literal; what is between its quotes.
    fn string(&mut self) -> Result<&'a [u8], Reason> {
        if !self.take(b'"') {
            return Err(Reason::NotJson);
        }
        let start = self.at;
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => return Ok(&self.bytes[start..self.at - 1]),
                b'\\' => self.at += 1,
                _ => {}
            }
        }
        Err(Reason::NotJson)
    }

    /// A number, `true`, `null`, or what some writers make of infinity.
    fn word(&mut self) -> Result<&'a [u8], Reason> {
        let rest = &self.bytes[self.at..];
        let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = rest.iter().position(|byte| !part(byte)).unwrap_or(rest.len());
        self.at += length;
        if length == 0 { Err(Reason::NotJson) } else { Ok(&rest[..length]) }
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

fn selected(column: usize, reason: Reason) -> Fault {
    Fault { place: Place::Selected(column), reason }
}
