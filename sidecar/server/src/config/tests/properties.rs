//! Whatever the text, reading ends, and says something of use.

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::config::table::CONFIG;

/// Valid, or mistakes: in order, each in the file and printable.
fn is_sane(text: &str, pairs: &[(String, String)]) {
    let Err(mistakes) = Config::parse(text, pairs) else { return };
    assert!(!mistakes.is_empty());
    assert!(mistakes.is_sorted_by_key(|mistake| mistake.place.clone()));
    let lines: Vec<&str> = text.split('\n').collect();
    for mistake in mistakes {
        if let Place::Line { line, column } = mistake.place {
            let content = lines[line - 1];
            assert!((1..=content.chars().count() + 1).contains(&column), "{mistake:?}");
        }
        let rendered = mistake.render("f");
        assert!(!rendered.chars().any(|c| c.is_control() && c != '\n'), "{rendered:?}");
        assert!(!mistake.instead.is_empty());
    }
}

/// Pieces that TOML and the table give meaning to.
fn piece() -> impl Strategy<Value = String> {
    let names = CONFIG.fields.iter().map(|field| field.line(&field.example()));
    let sections = CONFIG.sections.iter().map(|section| section.header());
    let marks = [
        "\n", "\r\n", "[", "]", "[[", "\"", "\"\"\"", "'", "=", "{", "}", ",", ".", "#", "é", "\t",
        "\0", "x",
    ];
    let known: Vec<String> =
        names.chain(sections).chain(marks.into_iter().map(String::from)).collect();
    prop_oneof![4 => prop::sample::select(known), 1 => ".{0,8}"]
}

proptest! {
    #[test]
    fn any_text(text in any::<String>()) {
        is_sane(&text, &[]);
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(piece(), 0..40)) {
        is_sane(&pieces.concat(), &[]);
    }

    #[test]
    fn any_mutation_of_the_example(
        edits in prop::collection::vec((any::<Index>(), 0..12_usize, piece()), 1..6),
    ) {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        for (at, length, piece) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, piece.chars());
        }
        is_sane(&text.into_iter().collect::<String>(), &[]);
    }

    #[test]
    fn any_value_of_any_field(field in prop::sample::select(CONFIG.fields.iter().map(|f| f.full()).collect::<Vec<_>>()), value in any::<String>()) {
        let (section, name) = field.split_once('.').unwrap();
        let variable = format!("LUNASEC_{section}__{name}").to_uppercase();
        is_sane(EXAMPLE, &[(variable, value)]);
    }

    #[test]
    fn any_variable(name in "LUNASEC_[A-Z_\u{0}-\u{7f}]{0,12}__.{0,12}", value in ".{0,6}") {
        is_sane(EXAMPLE, &[(name, value)]);
    }

    /// An editor that follows the schema's patterns writes nothing that cannot be read at all.
    #[test]
    fn what_the_schema_allows_is_read(
        size in pattern("limits", "value"),
        time in pattern("limits", "idle_time"),
        mode in pattern("listen", "mode"),
        group in pattern("listen", "group"),
    ) {
        let pairs = [("LUNASEC_LISTEN__MODE", mode.as_str()), ("LUNASEC_LISTEN__GROUP", &group)];
        prop_assert!(Config::parse(LEAST, &env(&pairs)).is_ok(), "{:?}", pairs);
        let pairs = [("LUNASEC_LIMITS__VALUE", size.as_str()), ("LUNASEC_LIMITS__IDLE_TIME", &time)];
        for mistake in Config::parse(LEAST, &env(&pairs)).err().into_iter().flatten() {
            prop_assert!(!mistake.what.contains("which is not a "), "{:?}", mistake);
        }
    }
}

/// Texts that match the schema's pattern for a field, with numbers of at most six digits.
fn pattern(section: &str, field: &str) -> impl Strategy<Value = String> {
    let schema = schema();
    let pattern = &schema["properties"][section]["properties"][field]["pattern"];
    let pattern =
        pattern.as_str().unwrap().trim_matches(['^', '$']).replace("[0-9]+", "[0-9]{1,6}");
    prop::string::string_regex(&pattern).unwrap()
}

#[test]
fn hostile_files_end_in_time() {
    for text in [
        "[".repeat(100_000),
        "a = [".repeat(20_000),
        "{".repeat(100_000),
        format!("a = \"\"\"{}", "[x]\nb = 1\n".repeat(20_000)),
        format!("a = [\n{}", "[x]\nb = 1\n".repeat(20_000)),
        "?\n".repeat(50_000),
        format!("a = \"\"\"\n{}", "?\n".repeat(50_000)),
        "a.".repeat(50_000) + "b = 1",
        "[log]\n".repeat(20_000),
        format!("{} = 1", "x".repeat(1_000_000)),
    ] {
        is_sane(&text, &[]);
    }
}
