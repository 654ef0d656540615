//! A text by lines: where its bytes are, as an editor counts, and which section a line is in.

use std::ops::Range;

use super::mistake::Place;

/// A text and where its lines start.
pub(super) struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    /// Splits a text.
    pub(super) fn new(text: &'a str) -> Self {
        // A byte order mark is before the first column.
        let first = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let rest = text.match_indices('\n').map(|(at, _)| at + 1);
        Self { text, starts: std::iter::once(first).chain(rest).collect() }
    }

    /// The index of the line that `offset` lies in.
    pub(super) fn index(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).saturating_sub(1)
    }

    /// The bytes of a line, without its end.
    pub(super) fn range(&self, index: usize) -> Range<usize> {
        let Some(&start) = self.starts.get(index) else {
            return self.text.len()..self.text.len();
        };
        let next = self.starts.get(index + 1).copied().unwrap_or(self.text.len());
        let line = self.text.get(start..next).unwrap_or_default();
        let line = line.strip_suffix("\r\n").or(line.strip_suffix('\n')).unwrap_or(line);
        start..start + line.len()
    }

    /// A line, without its end.
    pub(super) fn line(&self, index: usize) -> &'a str {
        self.text.get(self.range(index)).unwrap_or_default()
    }

    /// Where a byte is.
    pub(super) fn place(&self, offset: usize) -> Place {
        let index = self.index(offset);
        let start = self.range(index).start;
        let before = self.text.get(start..self.text.floor_char_boundary(offset));
        Place::Line { line: index + 1, column: before.unwrap_or_default().chars().count() + 1 }
    }

    /// Whether a line begins a section.
    pub(super) fn is_header(&self, index: usize) -> bool {
        self.line(index).trim_start().starts_with('[')
    }

    /// The lines of the section that the line `index` begins.
    pub(super) fn body(&self, index: usize) -> Range<usize> {
        let mut after = index + 1..self.starts.len();
        let end = after.find(|next| self.is_header(*next)).unwrap_or(self.starts.len());
        index + 1..end
    }

    /// The section that a line belongs to or begins, judging by itself and the lines above it.
    pub(super) fn section(&self, index: usize) -> &'a str {
        let header = (0..=index).rev().find(|above| self.is_header(*above));
        let line = header.map_or("", |above| self.line(above)).trim_start().trim_start_matches('[');
        line.split([']', '#']).next().unwrap_or_default().trim()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, needle: &str) -> (usize, usize) {
        match Lines::new(text).place(text.find(needle).unwrap()) {
            Place::Line { line, column } => (line, column),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn columns_count_characters() {
        assert_eq!(place("x", "x"), (1, 1));
        assert_eq!(place("a\nbc x", "x"), (2, 4));
        assert_eq!(place("\t\tx", "x"), (1, 3));
        assert_eq!(place("'déjà €𝄞' x", "x"), (1, 11));
        assert_eq!(place("a\r\nb x\r\nc", "x"), (2, 3));
        assert_eq!(place("a\r\n\r\ny\r\nx", "x"), (4, 1));
        assert_eq!(place("\u{feff}x", "x"), (1, 1));
        assert_eq!(place("\u{feff}\n x", "x"), (2, 2));
    }

    #[test]
    fn any_offset_has_a_place() {
        for text in ["", "é", "\n", "a\n", "\u{feff}", "\u{feff}é\r\n"] {
            for offset in 0..text.len() + 3 {
                assert!(matches!(Lines::new(text).place(offset), Place::Line { .. }));
            }
        }
        assert_eq!(Lines::new("a\n").place(2), Place::Line { line: 2, column: 1 });
    }

    #[test]
    fn sections_by_the_lines_above() {
        let lines = Lines::new("a\n[listen]\nb\n  [[x # y\nc");
        let sections: Vec<&str> = (0..5).map(|index| lines.section(index)).collect();
        assert_eq!(sections, ["", "listen", "listen", "x", "x"]);
        assert_eq!((lines.body(1), lines.body(3)), (2..3, 4..5));
    }
}
