//! Syntax errors: each is reported, then its line is blanked and the rest read again, so that one
//! slip does not hide the other mistakes. Bytes keep their places.

use std::ops::Range;

use toml::de::{DeTable, Error};

use super::{
    fields::Field,
    lines::Lines,
    mistake::{Mistake, Place, quoted},
    table::Table,
};

/// Times that a file is read again; one with more errors is hardly meant to be TOML.
const ROUNDS: usize = 32;

const SYNTAX: &str = "write a [section], or name = value with text in double quotes";

/// A file without its syntax errors.
pub(super) struct Repaired {
    table: &'static Table,
    /// The text, with what was wrong blanked.
    pub(super) text: String,
    /// The errors.
    pub(super) mistakes: Vec<Mistake>,
    /// The fields whose lines were blanked.
    pub(super) fields: Vec<&'static Field>,
    /// The sections that were blanked.
    pub(super) sections: Vec<String>,
    /// Whether something else was blanked, so that what is absent may only be misspelt.
    pub(super) unsure: bool,
}

impl Repaired {
    /// Reads a file and repairs it until it is TOML, but for duplicate names.
    pub(super) fn new(text: &str, table: &'static Table) -> Self {
        let lines = Lines::new(text);
        let mut repaired = Self {
            table,
            text: text.into(),
            mistakes: Vec::new(),
            fields: Vec::new(),
            sections: Vec::new(),
            unsure: false,
        };
        // Lines up to here are the rest of a statement that was reported.
        let mut echo = 0;
        let mut rounds = 0..ROUNDS;
        while let Some(error) = first_error(&repaired.text) {
            let culprit = rounds.next().and_then(|_| repaired.culprit(&lines, &error));
            let Some(line) = culprit else {
                repaired.give_up(&error);
                break;
            };
            if line >= echo {
                repaired.report(&lines, line, &error);
            }
            repaired.blank(&lines, line);
            echo = echo.max(error.span().map_or(0, |span| lines.index(span.start) + 1));
        }
        repaired
    }

    /// The line where the statement of an error begins, which for an unclosed list or text may be
    /// far above the place where the parser noticed.
    fn culprit(&self, lines: &Lines<'_>, error: &Error) -> Option<usize> {
        let noticed = lines.index(error.span()?.start);
        let sound = |index: &usize| {
            let before = self.text.get(..lines.range(*index).start).unwrap_or_default();
            first_error(before).is_none()
        };
        let line = if sound(&noticed) { noticed } else { last_where(noticed, sound) };
        let blank = self.text.get(lines.range(line)).is_none_or(is_blank);
        (!blank).then_some(line)
    }

    /// Leaves the rest unread, since what remains of a broken text is not what was meant.
    fn give_up(&mut self, error: &Error) {
        self.unsure = true;
        self.text.clear();
        if self.mistakes.is_empty() {
            self.mistakes.push(Mistake {
                place: Place::Whole,
                what: format!("this is not TOML: {}", error.message().escape_debug()),
                instead: SYNTAX.into(),
            });
        }
    }

    fn report(&mut self, lines: &Lines<'_>, line: usize, error: &Error) {
        let Range { start, end } = lines.range(line);
        let offset = error.span().map_or(start, |span| span.start);
        // Noticed further down: the statement's start is the better place.
        let indent = lines.line(line).len() - lines.line(line).trim_start().len();
        let offset = if (start..=end).contains(&offset) { offset } else { start + indent };
        let field = self.named(lines, line);
        self.mistakes.push(Mistake {
            place: lines.place(offset),
            what: format!("this is not TOML: {}", error.message().escape_debug()),
            instead: field.map_or(SYNTAX.into(), |field| field.write(&field.example())),
        });
    }

    /// Removes a line, with the whole section if the line begins one, and notes what that was.
    fn blank(&mut self, lines: &Lines<'_>, line: usize) {
        if let Some(rest) = self.after_header(lines, line) {
            return self.erase(rest);
        }
        let mut last = line;
        if lines.is_header(line) {
            self.sections.push(lines.section(line).into());
            last = lines.body(line).end - 1;
        } else if let Some(field) = self.named(lines, line) {
            self.fields.push(field);
        } else {
            self.unsure = true;
        }
        for index in line..=last {
            self.erase(lines.range(index));
        }
    }

    /// What follows a header that is itself in order, if anything does.
    fn after_header(&self, lines: &Lines<'_>, line: usize) -> Option<Range<usize>> {
        let Range { start, end } = lines.range(line);
        let text = self.text.get(start..end)?;
        let close = text.find(']').filter(|_| lines.is_header(line))?;
        let rest = text.get(close..)?.trim_start_matches(']');
        let header = text.get(..text.len() - rest.len())?;
        let in_order = first_error(header).is_none();
        (in_order && !is_blank(rest)).then_some(end - rest.len()..end)
    }

    /// The field that a line means to set.
    fn named(&self, lines: &Lines<'_>, line: usize) -> Option<&'static Field> {
        let text = lines.line(line).trim_start();
        let end =
            text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
        let section = self.table.section_like(lines.section(line))?;
        self.table.field_named(section.name, text.get(..end)?)
    }

    fn erase(&mut self, range: Range<usize>) {
        self.text.replace_range(range.clone(), &" ".repeat(range.len()));
    }
}

/// Whether nothing is left to remove. Other white space may be what is wrong.
fn is_blank(text: &str) -> bool {
    text.bytes().all(|c| c == b' ')
}

/// The greatest index below `end` that holds, where all that hold come first.
fn last_where(end: usize, holds: impl Fn(&usize) -> bool) -> usize {
    let (mut low, mut high) = (0, end);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if holds(&middle) { low = middle } else { high = middle }
    }
    low
}

/// The first syntax error, but for duplicate names.
fn first_error(text: &str) -> Option<Error> {
    let (_, errors) = DeTable::parse_recoverable(text);
    let errors = errors.into_iter().filter(|error| !is_duplicate(error));
    errors.min_by_key(|error| error.span().map_or(usize::MAX, |span| span.start))
}

fn is_duplicate(error: &Error) -> bool {
    error.message() == "duplicate key"
}

/// The mistakes of a repaired file's duplicate names.
pub(super) fn duplicates(text: &str, lines: &Lines<'_>, errors: &[Error]) -> Vec<Mistake> {
    let mistake = |span: Range<usize>| {
        let name = text.get(span.clone()).unwrap_or_default().trim_matches(['"', '\'']);
        Mistake {
            place: lines.place(span.start),
            what: format!("{} is here for the second time", quoted(name)),
            instead: "keep one of the two".into(),
        }
    };
    errors.iter().filter(|error| is_duplicate(error)).filter_map(Error::span).map(mistake).collect()
}
