//! Names that are not in the table: what was probably meant.

use super::{
    fields::{Field, Section},
    mistake::quoted,
    table::{self, FIELDS, SECTIONS},
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

/// The section that was meant.
pub(super) fn section(name: &str) -> Option<&'static Section> {
    closest(name, SECTIONS.iter().map(|section| (section.name.to_owned(), section)))
}

/// The field of `section` that was meant.
pub(super) fn field(section: &str, name: &str) -> Option<&'static Field> {
    closest(name, table::fields(section).map(|field| (field.name.to_owned(), field)))
}

/// The field whose environment variable was meant.
pub(super) fn variable(name: &str) -> Option<&'static Field> {
    closest(name, FIELDS.iter().map(|field| (field.variable(), field)))
}

/// What to do about an unknown section.
pub(super) fn section_advice(name: &str) -> String {
    match section(name) {
        Some(section) => format!("did you mean [{}]?", section.name),
        None => {
            let names: Vec<String> =
                SECTIONS.iter().map(|section| format!("[{}]", section.name)).collect();
            format!("remove it; the sections are {}", names.join(", "))
        }
    }
}

/// What to do about an unknown field of a section.
pub(super) fn field_advice(section: &str, name: &str) -> String {
    if let Some(field) = field(section, name) {
        return format!("did you mean {}?", field.name);
    }
    if let Some(advice) = elsewhere(name) {
        return advice;
    }
    let names: Vec<&str> = table::fields(section).map(|field| field.name).collect();
    format!("remove it; the fields of [{section}] are {}", names.join(", "))
}

/// What to do about a field that is in no section.
pub(super) fn stray_advice(name: &str) -> String {
    elsewhere(name).unwrap_or_else(|| section_advice(name))
}

/// Where a field of this name belongs.
fn elsewhere(name: &str) -> Option<String> {
    let sections: Vec<String> = FIELDS
        .iter()
        .filter(|field| field.name == name)
        .map(|field| format!("[{}]", field.section))
        .collect();
    (!sections.is_empty()).then(|| format!("move it to {}", sections.join(" or ")))
}

/// What to do about an unknown environment variable.
pub(super) fn variable_advice(name: &str) -> String {
    match variable(name) {
        Some(field) => format!("did you mean {}?", field.variable()),
        None => "unset it; a variable is LUNASEC_, a section, two underscores and a field".into(),
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

    #[test]
    fn misspelt_names_are_recognized() {
        for (typed, meant) in [
            ("lisen", "listen"),
            ("storge", "storage"),
            ("Keys", "keys"),
            ("key", "keys"),
            ("limit", "limits"),
        ] {
            assert_eq!(section(typed).unwrap().name, meant);
        }
        assert_eq!(field("sweep", "tombstone-grace").unwrap().name, "tombstone_grace");
        assert_eq!(field("limits", "idle_tiem").unwrap().name, "idle_time");
        assert_eq!(variable("LUNASEC_LISTEN__SOCKT").unwrap().full(), "listen.socket");
        for far in ["", "x", "database", &"l".repeat(1_000_000)] {
            assert!(section(far).is_none(), "{far}");
        }
    }

    #[test]
    fn a_field_in_the_wrong_section_is_sent_to_its_own() {
        assert_eq!(field_advice("log", "socket"), "move it to [listen]");
        assert_eq!(stray_advice("path"), "move it to [storage] or [keys]");
        assert_eq!(
            field_advice("log", "colour"),
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
