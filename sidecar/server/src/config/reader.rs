//! From a file and the environment to a draft, collecting every mistake on the way.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    mem,
};

use toml::{
    Spanned,
    de::{DeInteger, DeString, DeTable, DeValue},
};

use super::{
    fields::{Field, Section},
    kinds::Shape,
    lines::Lines,
    mistake::{Mistake, Place, quoted},
    names, repair,
    repair::Repaired,
    settings::Draft,
    table::Table,
};

/// What was said about a field.
pub(super) struct Given {
    pub(super) place: Place,
    pub(super) good: bool,
}

/// One section of a list: what was read of it, apart from the others.
pub(super) struct Item {
    pub(super) section: &'static Section,
    pub(super) place: Place,
    pub(super) draft: Draft,
    pub(super) given: BTreeMap<String, Given>,
}

/// The draft, and what is known about where it comes from.
pub(super) struct Reader {
    /// What is read.
    pub(super) table: &'static Table,
    /// The settings so far.
    pub(super) draft: Draft,
    /// The mistakes so far.
    pub(super) mistakes: Vec<Mistake>,
    /// The sections of lists, in their order.
    pub(super) items: Vec<Item>,
    /// What was said of each field.
    pub(super) given: BTreeMap<String, Given>,
    /// The sections that are there.
    pub(super) sections: BTreeMap<&'static str, Place>,
    /// Sections whose content could not be read.
    pub(super) lost: BTreeSet<&'static str>,
    /// Whether anything at all could not be read, so that absence proves nothing.
    pub(super) unsure: bool,
}

impl Reader {
    /// Nothing read yet.
    pub(super) fn new(table: &'static Table) -> Self {
        Self {
            table,
            draft: Draft::default(),
            mistakes: Vec::new(),
            items: Vec::new(),
            given: BTreeMap::new(),
            sections: BTreeMap::new(),
            lost: BTreeSet::new(),
            unsure: false,
        }
    }

    /// Reads the file.
    pub(super) fn file(&mut self, text: &str) {
        let lines = Lines::new(text);
        let repaired = Repaired::new(text, self.table);
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
            match self.table.section_like(&name) {
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
        let known = self.table.section_named(name);
        if known.is_none() {
            self.unknown_section(place.clone(), name, value.get_ref());
        }
        // What is in a misspelt section is checked as if it were spelt well.
        let meant =
            || self.table.section_like(name).filter(|section| !all.contains_key(section.name));
        let Some(section) = known.or_else(meant) else { return };
        self.sections.insert(section.name, place.clone());
        match value.get_ref() {
            DeValue::Array(items) if section.is_list() => {
                items.iter().for_each(|item| self.item(lines, section, item));
            }
            DeValue::Table(fields) if !section.is_list() => self.fields(lines, section, fields),
            other => {
                self.lost.insert(section.name);
                if known.is_some() {
                    let (one, each) = match section.is_list() {
                        true => ("a list of sections", ", once for each"),
                        false => ("one section", ""),
                    };
                    let what = format!("{name} is {}, which should be {one}", article(other));
                    let header = section.header();
                    self.mistake(place, what, format!("write {header} and its fields below{each}"));
                }
            }
        }
    }

    /// Reads one section of a list, which may be written as a table in one.
    fn item(&mut self, lines: &Lines<'_>, section: &'static Section, value: &Spanned<DeValue<'_>>) {
        let place = lines.place(value.span().start);
        let DeValue::Table(fields) = value.get_ref() else {
            self.lost.insert(section.name);
            let what = format!(
                "{} holds {}, which should be a table",
                section.name,
                article(value.get_ref())
            );
            return self.mistake(
                place,
                what,
                format!("write {} and its fields below", section.header()),
            );
        };
        let (draft, given) = (mem::take(&mut self.draft), mem::take(&mut self.given));
        self.fields(lines, section, fields);
        let draft = mem::replace(&mut self.draft, draft);
        let given = mem::replace(&mut self.given, given);
        self.items.push(Item { section, place, draft, given });
    }

    fn fields(&mut self, lines: &Lines<'_>, section: &'static Section, fields: &DeTable<'_>) {
        for (key, value) in fields {
            self.entry(lines, section.name, key, value);
        }
    }

    fn unknown_section(&mut self, place: Place, name: &str, value: &DeValue<'_>) {
        let (what, instead) = match value {
            DeValue::Table(_) | DeValue::Array(_) => (
                format!("there is no section [{}]", names::shown(name)),
                self.table.section_advice(name),
            ),
            _ => {
                let what = format!("{} is a field outside of any section", names::shown(name));
                (what, self.table.stray_advice(name))
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
        if let Some(inside) = self.table.section_inside(section, name) {
            self.inside(lines, inside, place, value);
        } else if let Some(field) = self.table.field_named(section, name) {
            self.value(field, lines.place(value.span().start), value.get_ref());
        } else {
            if let Some(meant) = self.table.field_like(section, name) {
                self.given(meant, place.clone(), false);
            }
            let what =
                format!("{} has no field {}", self.table.header(section), names::shown(name));
            self.mistake(place, what, self.table.field_advice(section, name));
        }
    }

    /// Reads a section inside another, which may be written as a table in one line.
    fn inside(
        &mut self,
        lines: &Lines<'_>,
        section: &'static Section,
        place: Place,
        value: &Spanned<DeValue<'_>>,
    ) {
        self.sections.insert(section.name, place);
        if let DeValue::Table(fields) = value.get_ref() {
            return self.fields(lines, section, fields);
        }
        let header = section.header();
        let what =
            format!("{} is {}, which should be a table", section.name, article(value.get_ref()));
        let instead = format!("write {header} and its fields below");
        self.mistake(lines.place(value.span().start), what, instead);
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
            let Some(rest) = name.strip_prefix("LUNASEC_") else { continue };
            let place = Place::Environment(name.clone());
            let parts = rest.split_once("__");
            let section = parts.map_or(rest, |(section, _)| section).to_ascii_lowercase();
            if let Some(list) = self.table.section_named(&section).filter(|named| named.is_list()) {
                let what = format!("{section} cannot be set by variables");
                let instead = format!("unset it, and write {} in the file", list.header());
                self.mistake(place, what, instead);
                continue;
            }
            if parts.is_none() {
                continue;
            }
            let named = |field: &&Field| field.variable() == *name;
            if let Some(field) = self.table.fields_with_variables().find(named) {
                self.text(field, place, value);
            } else {
                self.unknown_variable(place, name);
            }
        }
    }

    fn unknown_variable(&mut self, place: Place, name: &str) {
        if let Some(meant) = self.table.variable_like(name) {
            self.given(meant, place.clone(), false);
        }
        self.mistake(place, "there is no such setting", self.table.variable_advice(name));
    }

    fn text(&mut self, field: &'static Field, place: Place, text: &str) {
        let outcome = field.kind.read(text, &mut self.draft);
        self.given(field, place.clone(), outcome.is_ok());
        let Err(refusal) = outcome else { return };
        let value = refusal.value.unwrap_or_else(|| field.example());
        let (why, note) = (refusal.why.as_str(), refusal.note);
        let shown = match field.kind.shape() {
            Shape::Whole if is_number(text) => text.into(),
            Shape::List if text.is_empty() && place.in_file() => "[]".into(),
            _ => quoted(text),
        };
        let what = format!("{} is {shown}, which {why}", field.full());
        let instead = field.set(&place, &value) + note;
        self.mistake(place, what, instead);
    }

    fn given(&mut self, field: &Field, place: Place, good: bool) {
        self.given.insert(field.full(), Given { place, good });
    }

    pub(super) fn mistake(
        &mut self,
        place: Place,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.mistakes.push(Mistake { place, what: what.into(), instead: instead.into() });
    }
}

impl Place {
    pub(super) fn in_file(&self) -> bool {
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
