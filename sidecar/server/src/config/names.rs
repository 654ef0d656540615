//! Names that are not in the table: what was probably meant.

use super::{
    fields::{Field, Section},
    mistake::quoted,
    table::Table,
};

/// Longer names are not compared: they are no slip of a finger.
const LONGEST: usize = 64;

/// The candidate that `name` is a misspelling of.
pub(super) fn closest<T>(name: &str, candidates: impl Iterator<Item = (String, T)>) -> Option<T> {
    if name.len() > LONGEST {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let name = plain(name);
    candidates
        .map(|(text, candidate)| {
            (strsim::osa_distance(&name, &plain(&text)), text.len(), candidate)
        })
        .filter(|(distance, length, _)| *distance <= (length / 3).max(1))
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., candidate)| candidate)
}

impl Table {
    /// The section that was meant.
    pub(super) fn section_like(&self, name: &str) -> Option<&'static Section> {
        closest(name, self.sections.iter().map(|section| (section.name.to_owned(), section)))
    }

    /// The field of `section` that was meant.
    pub(super) fn field_like(&self, section: &str, name: &str) -> Option<&'static Field> {
        closest(name, self.fields_of(section).map(|field| (field.name.to_owned(), field)))
    }

    /// The field whose environment variable was meant.
    pub(super) fn variable_like(&self, name: &str) -> Option<&'static Field> {
        closest(name, self.fields_with_variables().map(|field| (field.variable(), field)))
    }

    /// What to do about an unknown section.
    pub(super) fn section_advice(&self, name: &str) -> String {
        match self.section_like(name) {
            Some(section) => format!("did you mean {}?", section.header()),
            None => {
                let outer = self.sections.iter().filter(|section| !section.name.contains('.'));
                let names: Vec<String> = outer.map(Section::header).collect();
                format!("remove it; the sections are {}", names.join(", "))
            }
        }
    }

    /// What to do about an unknown field of a section.
    pub(super) fn field_advice(&self, section: &str, name: &str) -> String {
        if let Some(field) = self.field_like(section, name) {
            return format!("did you mean {}?", field.name);
        }
        let inside = || self.sections_inside(section);
        if let Some(meant) = closest(name, inside().map(|(name, it)| (name.to_owned(), it))) {
            return format!("did you mean {}?", meant.header());
        }
        if let Some(advice) = self.elsewhere(name) {
            return advice;
        }
        let names = self.fields_of(section).map(|field| field.name);
        let names: Vec<&str> = names.chain(inside().map(|(name, _)| name)).collect();
        let fields = names.join(", ");
        format!("remove it; the fields of {} are {fields}", self.header(section))
    }

    /// What to do about a field that is in no section.
    pub(super) fn stray_advice(&self, name: &str) -> String {
        self.elsewhere(name).unwrap_or_else(|| self.section_advice(name))
    }

    /// Where a field of this name belongs.
    fn elsewhere(&self, name: &str) -> Option<String> {
        let fields = self.fields.iter().filter(|field| field.name == name);
        let sections: Vec<String> = fields.map(|field| self.header(field.section)).collect();
        (!sections.is_empty()).then(|| format!("move it to {}", sections.join(" or ")))
    }

    /// What to do about an unknown environment variable.
    pub(super) fn variable_advice(&self, name: &str) -> String {
        match self.variable_like(name) {
            Some(field) => format!("did you mean {}?", field.variable()),
            None => {
                "unset it; a variable is LUNASEC_, a section, two underscores and a field".into()
            }
        }
    }

    /// The line that begins a section.
    pub(super) fn header(&self, section: &str) -> String {
        self.section_named(section).map_or_else(|| format!("[{section}]"), Section::header)
    }
}

/// A name as a mistake repeats it: bare if it is plain.
pub(super) fn shown(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if (1..=LONGEST).contains(&name.len()) && name.chars().all(plain) {
        name.into()
    } else {
        quoted(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::CONFIG;

    #[test]
    fn misspelt_names_are_recognized() {
        for (typed, meant) in [
            ("lisen", "listen"),
            ("storge", "storage"),
            ("Keys", "keys"),
            ("key", "keys"),
            ("limit", "limits"),
            ("client", "clients"),
        ] {
            assert_eq!(CONFIG.section_like(typed).unwrap().name, meant);
        }
        assert_eq!(CONFIG.field_like("sweep", "tombstone-grace").unwrap().name, "tombstone_grace");
        assert_eq!(CONFIG.field_like("limits", "idle_tiem").unwrap().name, "idle_time");
        assert_eq!(CONFIG.variable_like("LUNASEC_LISTEN__SOCKT").unwrap().full(), "listen.socket");
        for far in ["", "x", "database", &"l".repeat(1_000_000)] {
            assert!(CONFIG.section_like(far).is_none(), "{far}");
        }
    }

    #[test]
    fn a_field_in_the_wrong_section_is_sent_to_its_own() {
        assert_eq!(CONFIG.field_advice("log", "socket"), "move it to [listen]");
        assert_eq!(CONFIG.stray_advice("path"), "move it to [storage] or [keys] or [audit]");
        assert_eq!(
            CONFIG.field_advice("log", "colour"),
            "remove it; the fields of [log] are level, format"
        );
    }

    #[test]
    fn names_that_are_not_plain_are_quoted() {
        assert_eq!(shown("a-b_1"), "a-b_1");
        assert_eq!(shown(""), "\"\"");
        assert_eq!(shown("a\u{1b}"), "\"a\\u{1b}\"");
    }
}
