//! What is wrong with a configuration, where, and what to write instead.

use std::fmt::{self, Write as _};

/// Characters of a value that a mistake repeats.
const SHOWN: usize = 40;

/// Where a mistake is. Sorts as a reader meets them: down the file, then the environment.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// A place in the file. Both count from one; a column is one character.
    Line {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
    /// The environment variable of this name.
    Environment(String),
    /// The file as a whole: something is not there.
    Whole,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { line, .. } => write!(f, "line {line}"),
            Self::Environment(name) => write!(f, "{}", name.escape_debug()),
            Self::Whole => f.write_str("the file"),
        }
    }
}

/// One thing to put right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// Where it is.
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

impl Mistake {
    /// The mistake as an operator reads it: its place and what is wrong on the first line, what to
    /// write instead indented below.
    pub fn render(&self, file: &str) -> String {
        let mut text = match &self.place {
            Place::Line { line, column } => format!("{file}:{line}:{column}: {}", self.what),
            Place::Environment(name) => format!("{}: {}", name.escape_debug(), self.what),
            Place::Whole => format!("{file}: {}", self.what),
        };
        for line in self.instead.lines() {
            // Writing to a string cannot fail.
            let _ = write!(text, "\n    {line}");
        }
        text
    }
}

/// A value as a mistake repeats it: quoted, shortened, and with nothing that a terminal obeys.
pub(super) fn quoted(text: &str) -> String {
    let mut characters = text.chars();
    let head: String = characters.by_ref().take(SHOWN).collect();
    let more = if characters.next().is_some() { "…" } else { "" };
    format!("{head:?}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(place: Place, instead: &str) -> Mistake {
        Mistake { place, what: "it is wrong".into(), instead: instead.into() }
    }

    #[test]
    fn renders_the_place_and_indents_what_to_write() {
        let line = Place::Line { line: 3, column: 8 };
        assert_eq!(
            at(line, "write this").render("lunasec.toml"),
            "lunasec.toml:3:8: it is wrong\n    write this"
        );
        let variable = Place::Environment("LUNASEC_A__B".into());
        assert_eq!(at(variable, "x").render("f"), "LUNASEC_A__B: it is wrong\n    x");
        assert_eq!(at(Place::Whole, "x\ny").render("f"), "f: it is wrong\n    x\n    y");
        let hostile = Place::Environment("LUNASEC_\u{1b}[2J__".into());
        assert!(!at(hostile, "x").render("f").contains('\u{1b}'));
    }

    #[test]
    fn values_are_shortened_and_escaped() {
        assert_eq!(quoted("15 minutes"), "\"15 minutes\"");
        assert_eq!(quoted(&"é".repeat(40)), format!("\"{}\"", "é".repeat(40)));
        assert_eq!(quoted(&"é".repeat(41)), format!("\"{}\"…", "é".repeat(40)));
        assert_eq!(quoted("\u{1b}[2J\n\u{202e}"), r#""\u{1b}[2J\n\u{202e}""#);
    }

    #[test]
    fn places_sort_as_a_reader_meets_them() {
        let line = |line, column| Place::Line { line, column };
        let mut places = vec![
            Place::Whole,
            Place::Environment("B".into()),
            Place::Environment("A".into()),
            line(10, 1),
            line(2, 9),
            line(2, 10),
        ];
        places.sort();
        let variable = |name: &str| Place::Environment(name.into());
        let expected =
            [line(2, 9), line(2, 10), line(10, 1), variable("A"), variable("B"), Place::Whole];
        assert_eq!(places, expected);
    }
}
