//! From a file and the environment to a draft, collecting every mistake on the way.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use toml::{
    Spanned,
    de::{DeInteger, DeString, DeTable, DeValue},
};

use super::{
    fields::{Field, Need},
    kinds::Shape,
    lines::Lines,
    mistake::{Mistake, Place, quoted},
    names, repair,
    repair::Repaired,
    settings::Draft,
    table,
};

/// What was said about a field.
struct Given {
    place: Place,
    good: bool,
}

/// The draft, and what is known about where it comes from.
#[derive(Default)]
pub(super) struct Reader {
    /// The settings so far.
    pub(super) draft: Draft,
    /// The mistakes so far.
    pub(super) mistakes: Vec<Mistake>,
    given: BTreeMap<String, Given>,
    sections: BTreeMap<&'static str, Place>,
    /// Sections whose content could not be read.
    lost: BTreeSet<&'static str>,
    /// Whether anything at all could not be read, so that absence proves nothing.
    unsure: bool,
}

impl Reader {
    /// Reads the file.
    pub(super) fn file(&mut self, text: &str) {
        let lines = Lines::new(text);
        let repaired = Repaired::new(text);
        let (table, errors) = DeTable::parse_recoverable(&repaired.text);
        self.mistakes.extend(repair::duplicates(text, &lines, &errors));
        for (name, value) in table.get_ref() {
            self.section(&lines, name, value, table.get_ref());
        }
        self.losses(repaired);
    }

    /// Takes over what the repair blanked: its fields were given, if wrongly.
    fn losses(&mut self, repaired: Repaired) {
        for field in repaired.fields {
            self.sections.entry(field.section).or_insert(Place::Whole);
            self.given.entry(field.full()).or_insert(Given { place: Place::Whole, good: false });
        }
        for name in repaired.sections {
            match names::section(&name) {
                Some(section) => _ = self.lost.insert(section.name),
                None => self.unsure = true,
            }
        }
        self.unsure |= repaired.unsure;
        self.mistakes.extend(repaired.mistakes);
    }

    fn section(
        &mut self,
        lines: &Lines<'_>,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        all: &DeTable<'_>,
    ) {
        let name: &str = key.get_ref();
        let place = lines.place(key.span().start.min(value.span().start));
        if table::is_later(name, "") {
            return self.mistake(
                place,
                format!("[{name}] is not in this version yet"),
                "remove it",
            );
        }
        let known = table::SECTIONS.iter().find(|section| section.name == name);
        if known.is_none() {
            self.unknown_section(place.clone(), name, value.get_ref());
        }
        // What is in a misspelt section is checked as if it were spelt well.
        let meant = || names::section(name).filter(|section| !all.contains_key(section.name));
        let Some(section) = known.or_else(meant).map(|section| section.name) else { return };
        self.sections.insert(section, place.clone());
        match value.get_ref() {
            DeValue::Table(fields) => {
                for (key, value) in fields {
                    self.entry(lines, section, key, value);
                }
            }
            _ if known.is_some() => {
                self.lost.insert(section);
                let what =
                    format!("{name} is {}, which should be one section", article(value.get_ref()));
                self.mistake(place, what, format!("write [{name}] and its fields below"));
            }
            _ => _ = self.lost.insert(section),
        }
    }

    fn unknown_section(&mut self, place: Place, name: &str, value: &DeValue<'_>) {
        let (what, instead) = match value {
            DeValue::Table(_) | DeValue::Array(_) => (
                format!("there is no section [{}]", names::shown(name)),
                names::section_advice(name),
            ),
            _ => {
                let what = format!("{} is a field outside of any section", names::shown(name));
                (what, names::stray_advice(name))
            }
        };
        self.mistake(place, what, instead);
    }

    fn entry(
        &mut self,
        lines: &Lines<'_>,
        section: &'static str,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let name: &str = key.get_ref();
        let place = lines.place(key.span().start);
        if let Some(field) = table::field_named(section, name) {
            self.value(field, lines.place(value.span().start), value.get_ref());
        } else if table::is_later(section, name) {
            let what = format!("{section}.{name} is not in this version yet");
            self.mistake(place, what, "remove it");
        } else {
            if let Some(meant) = names::field(section, name) {
                self.given(meant, place.clone(), false);
            }
            let what = format!("[{section}] has no field {}", names::shown(name));
            self.mistake(place, what, names::field_advice(section, name));
        }
    }

    fn value(&mut self, field: &'static Field, place: Place, value: &DeValue<'_>) {
        let text = match (field.kind.shape(), value) {
            (Shape::Text, DeValue::String(text)) => Cow::Borrowed(text.as_ref()),
            (Shape::Whole, DeValue::Integer(number)) => Cow::Owned(decimal(number)),
            (Shape::Switch, DeValue::Boolean(on)) => Cow::Owned(on.to_string()),
            (Shape::List, DeValue::Array(items)) if items.iter().all(is_item) => Cow::Owned(
                joined(items.iter().filter_map(|item| Some(item.get_ref().as_str()?.into()))),
            ),
            (Shape::Table, DeValue::Table(pairs))
                if pairs.iter().all(|(_, text)| is_item(text)) =>
            {
                let pair = |(name, text): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
                    Some(format!("{}={}", name.get_ref(), text.get_ref().as_str()?))
                };
                Cow::Owned(joined(pairs.iter().filter_map(pair)))
            }
            (shape, _) => {
                let wanted = match shape {
                    Shape::Text => "text in quotes",
                    Shape::Whole => "a whole number",
                    Shape::Switch => "true or false",
                    Shape::List => "a list of texts",
                    Shape::Table => "a table of texts",
                };
                let what =
                    format!("{} is {}, which should be {wanted}", field.full(), article(value));
                self.given(field, place.clone(), false);
                return self.mistake(place, what, field.write(&field.example()));
            }
        };
        self.text(field, place, &text);
    }

    /// Reads the environment's overrides; what has no section and field is not one.
    pub(super) fn environment(&mut self, env: &[(String, String)]) {
        for (name, value) in env {
            let Some((section, rest)) =
                name.strip_prefix("LUNASEC_").and_then(|rest| rest.split_once("__"))
            else {
                continue;
            };
            let place = Place::Environment(name.clone());
            let named = |field: &&Field| field.variable() == *name;
            if let Some(field) = table::FIELDS.iter().find(named) {
                self.text(field, place, value);
            } else {
                self.unknown_variable(place, name, section, rest);
            }
        }
    }

    fn unknown_variable(&mut self, place: Place, name: &str, section: &str, rest: &str) {
        let lower = |text: &str| text.to_ascii_lowercase();
        if table::is_later(&lower(section), &lower(rest)) {
            return self.mistake(place, "this is not in this version yet", "unset it");
        }
        if let Some(meant) = names::variable(name) {
            self.given(meant, place.clone(), false);
        }
        self.mistake(place, "there is no such setting", names::variable_advice(name));
    }

    fn text(&mut self, field: &'static Field, place: Place, text: &str) {
        let outcome = field.kind.read(text, &mut self.draft);
        self.given(field, place.clone(), outcome.is_ok());
        let Err(refusal) = outcome else { return };
        let value = refusal.value.unwrap_or_else(|| field.example());
        let (why, note) = (refusal.why.as_str(), refusal.note);
        let shown = match field.kind.shape() {
            Shape::Whole if is_number(text) => text.into(),
            _ => quoted(text),
        };
        let what = format!("{} is {shown}, which {why}", field.full());
        let instead = field.set(&place, &value) + note;
        self.mistake(place, what, instead);
    }

    fn given(&mut self, field: &Field, place: Place, good: bool) {
        self.given.insert(field.full(), Given { place, good });
    }

    fn mistake(&mut self, place: Place, what: impl Into<String>, instead: impl Into<String>) {
        self.mistakes.push(Mistake { place, what: what.into(), instead: instead.into() });
    }

    /// Reports what is absent and must not be, and what is there to no effect.
    pub(super) fn complete(&mut self) {
        for section in table::SECTIONS {
            let mut needs = table::fields(section.name);
            if let Some(kind) = needs.find(|field| matches!(field.need, Need::Always(_))) {
                self.kind(kind);
            }
        }
        for (section, field, other) in table::BESIDE {
            self.beside(section, field, other);
        }
        self.grant_times();
    }

    /// Reports a default that every grant without a time of its own would be refused for.
    fn grant_times(&mut self) {
        let grants = self.draft.grants;
        if grants.default <= grants.maximum {
            return;
        }
        // One of the two was given, or they would fit.
        let given = ["grants.default", "grants.maximum"].map(|name| self.given.get(name));
        let Some(place) = given.into_iter().flatten().map(|given| given.place.clone()).next()
        else {
            return;
        };
        let what = "grants.default is more than grants.maximum".to_owned();
        self.mistake(place, what, "give the maximum the longer time");
    }

    /// Reports a field that means nothing without another one.
    fn beside(&mut self, section: &str, field: &str, other: &str) {
        let given = |name: &str| self.given.get(&format!("{section}.{name}"));
        let (Some(Given { place, good: true }), None) = (given(field), given(other)) else {
            return;
        };
        let place = place.clone();
        let complained = self.mistakes.iter().any(|mistake| mistake.place == place);
        if complained || self.unsure || self.lost.contains(section) {
            return;
        }
        let what = format!("{section}.{field} has no effect without {section}.{other}");
        let instead = match table::field_named(section, other) {
            Some(other) => format!("remove it, or {}", other.set(&place, &other.example())),
            None => "remove it".into(),
        };
        self.mistake(place, what, instead);
    }

    fn kind(&mut self, kind: &'static Field) {
        let certain = !self.unsure && !self.lost.contains(kind.section);
        match self.given.get(&kind.full()) {
            None if certain => self.absent(kind),
            Some(Given { good: true, place }) => {
                let place = place.clone();
                let word = kind.kind.show(&mut self.draft).unwrap_or_default();
                for field in table::fields(kind.section) {
                    match field.need {
                        Need::With(needed, _) => {
                            self.dependent(field, &word, needed, &place, certain);
                        }
                        Need::May(needed, _) => {
                            self.dependent(field, &word, needed, &place, false);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// Checks a field that goes with one word of its section's kind, which is at `kind`.
    fn dependent(&mut self, field: &Field, word: &str, needed: &str, kind: &Place, certain: bool) {
        let section = field.section;
        match self.given.get(&field.full()) {
            None if word == needed && certain => {
                let place = self.sections.get(section).unwrap_or(kind).clone();
                let what = format!("{} is missing, and kind = {word:?} needs it", field.full());
                let instead = field.set(&place, &field.example());
                self.mistake(place, what, instead);
            }
            // An override of the kind may leave the file's field without effect.
            Some(given) if word != needed && given.good => {
                if given.place.in_file() && !kind.in_file() {
                    return;
                }
                let place = given.place.clone();
                let what = format!("{} has no effect with kind = {word:?}", field.full());
                self.mistake(place, what, format!("remove it, or write kind = {needed:?}"));
            }
            _ => {}
        }
    }

    /// Reports that a section, or its kind, is missing.
    fn absent(&mut self, kind: &Field) {
        let section = kind.section;
        let variable = || {
            let mut given =
                table::fields(section).filter_map(|field| self.given.get(&field.full()));
            given.next().map(|given| &given.place)
        };
        if let Some(place) = self.sections.get(section).or_else(variable).cloned() {
            let what = format!("{} is missing", kind.full());
            let instead = kind.set(&place, &kind.example());
            return self.mistake(place, what, instead);
        }
        let word = kind.example();
        let needed = table::fields(section)
            .filter(|field| match field.need {
                Need::Always(_) => true,
                Need::With(with, _) => with == word,
                _ => false,
            })
            .map(|field| format!("\n  {}", field.line(&field.example())));
        let instead = format!("write:\n  [{section}]{}", needed.collect::<String>());
        self.mistake(Place::Whole, format!("the section [{section}] is missing"), instead);
    }
}

impl Place {
    fn in_file(&self) -> bool {
        !matches!(self, Self::Environment(_))
    }
}

/// Whether a value can stand in a list: a comma would make two of it.
fn is_item(value: &Spanned<DeValue<'_>>) -> bool {
    value.get_ref().as_str().is_some_and(|text| !text.contains(','))
}

/// A list as the environment writes it.
fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

/// A number in decimal, if it is one of up to 128 bits; else as it is.
fn decimal(number: &DeInteger<'_>) -> String {
    i128::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| number.to_string(), |value| value.to_string())
}

/// Whether a text reads as a number of a length that can be shown.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (1..=20).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit())
}

/// What kind of thing a value is.
fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
