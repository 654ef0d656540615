//! The table as a JSON Schema for editors, and as a reference for the documentation.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{
    fields::{Field, Kind, Need, Section},
    forms::Form,
    kinds::{Shape, items, show_size, show_time},
    table::{self, SECTIONS},
};

/// The schema of the file, for editors: JSON Schema, draft 2020-12.
pub fn schema() -> Value {
    let sections: Map<String, Value> =
        SECTIONS.iter().map(|section| (section.name.into(), section_schema(section))).collect();
    let required: Vec<&str> = SECTIONS
        .iter()
        .filter(|section| !required(section).is_empty())
        .map(|section| section.name)
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of the LunaSec sidecar",
        "type": "object",
        "additionalProperties": false,
        "required": required,
        "properties": sections,
    })
}

fn required(section: &Section) -> Vec<&'static str> {
    let always = |field: &&Field| matches!(field.need, Need::Always(_));
    table::fields(section.name).filter(always).map(|field| field.name).collect()
}

fn section_schema(section: &Section) -> Value {
    let fields: Map<String, Value> =
        table::fields(section.name).map(|field| (field.name.into(), field_schema(field))).collect();
    let mut schema = json!({
        "type": "object",
        "description": section.about,
        "additionalProperties": false,
        "properties": fields,
    });
    let required = required(section);
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let beside = beside(section);
    if !beside.is_empty() {
        schema["dependentRequired"] = beside.into();
    }
    let conditions: Vec<Value> = table::fields(section.name).filter_map(condition).collect();
    if !conditions.is_empty() {
        schema["allOf"] = json!(conditions);
    }
    schema
}

/// That a field goes with one word of its section's kind, and only with that.
fn condition(field: &Field) -> Option<Value> {
    let (word, then) = match field.need {
        Need::With(word, _) => (word, json!({ "required": [field.name] })),
        Need::May(word, _) => (word, json!(true)),
        _ => return None,
    };
    Some(json!({
        "if": { "properties": { "kind": { "const": word } } },
        "then": then,
        "else": { "properties": { (field.name): false } },
    }))
}

/// That a field needs another one beside it.
fn beside(section: &Section) -> Map<String, Value> {
    let of_section = table::BESIDE.iter().filter(|(name, ..)| *name == section.name);
    of_section.map(|(_, field, other)| ((*field).into(), json!([other]))).collect()
}

fn field_schema(field: &Field) -> Value {
    let mut schema = json!({ "description": meaning(field) });
    schema["type"] = match field.kind.shape() {
        Shape::Text => json!("string"),
        Shape::Whole => json!("integer"),
        Shape::Switch => json!("boolean"),
        Shape::List => json!("array"),
        Shape::Table => json!("object"),
    };
    match field.default() {
        Some(default) if field.kind.shape() == Shape::Whole => {
            schema["default"] = json!(default.parse::<u64>().ok());
        }
        Some(default) => schema["default"] = json!(default),
        None => schema["examples"] = json!([example(field)]),
    }
    for (name, value) in constraints(&field.kind) {
        schema[name] = value;
    }
    schema
}

/// A field's example, in its own type.
fn example(field: &Field) -> Value {
    let text = field.example();
    let pair = |item: &str| item.split_once('=').map(|(name, value)| (name.into(), value.into()));
    match field.kind.shape() {
        Shape::List => items(&text).collect(),
        Shape::Table => Value::Object(items(&text).filter_map(pair).collect()),
        Shape::Switch => json!(text == "true"),
        Shape::Text | Shape::Whole => json!(text),
    }
}

fn constraints(kind: &Kind) -> Vec<(&'static str, Value)> {
    match kind {
        Kind::Socket(_) => vec![
            ("minLength", json!(1)),
            ("maxLength", json!(lunasec_core::limits::SOCKET_PATH_BYTES)),
        ],
        Kind::Path(_) => vec![("minLength", json!(1))],
        Kind::Mode(_) => vec![("pattern", json!("^0?([2367][0-7]|[0-7][2367])0$"))],
        Kind::Group(_) => vec![("pattern", json!(r"^[^\s:,/\x00-\x1f\x7f-\x9f]{1,32}$"))],
        Kind::Name(form, _) => vec![("pattern", json!(form.pattern()))],
        Kind::KeyIds(_) => vec![
            ("items", json!({ "type": "string", "pattern": Form::KeyId.pattern() })),
            ("maxItems", json!(lunasec_core::limits::ACCEPTED_KEYS)),
        ],
        Kind::KeyIdsByNamespace(_) => vec![
            ("propertyNames", json!({ "pattern": "^[a-z0-9][a-z0-9-]{0,62}$" })),
            ("additionalProperties", json!({ "type": "string", "pattern": Form::KeyId.pattern() })),
        ],
        Kind::Switch(_) => vec![],
        Kind::Address(_) => {
            vec![("pattern", json!(r"^(off|[0-9.]+:[0-9]+|\[[0-9A-Fa-f:.%]+\]:[0-9]+)$"))]
        }
        Kind::Word { words, .. } => vec![("enum", json!(words))],
        Kind::Size { .. } => vec![("pattern", json!("^[0-9]+ *(B|KiB|MiB|GiB)$"))],
        Kind::Count { most, .. } => vec![("minimum", json!(1)), ("maximum", json!(most))],
        Kind::Entries { most, .. } => vec![("minimum", json!(1)), ("maximum", json!(most))],
        Kind::Time { .. } => vec![("pattern", json!("^[0-9]+(ms|s|m|h|d)$"))],
    }
}

/// What a field means, with the bounds that its text cannot show.
fn meaning(field: &Field) -> String {
    let bounds = match &field.kind {
        Kind::Size { most, .. } => format!(" At most {}.", show_size(*most)),
        Kind::Count { most, .. } => format!(" At most {most}."),
        Kind::Entries { most, .. } => format!(" At most {most}."),
        Kind::Time { most, .. } if field.section == "limits" => {
            format!(" At most {}.", show_time(*most))
        }
        Kind::Time { least, .. } if !least.is_zero() => format!(" At least {}.", show_time(*least)),
        _ => String::new(),
    };
    format!("{}{bounds}", field.about)
}

/// Every field in a Markdown table, for the documentation.
pub fn reference() -> String {
    let mut text =
        String::from("| section | field | default | meaning |\n| --- | --- | --- | --- |\n");
    for field in table::FIELDS {
        let default = match (field.need, field.default()) {
            (Need::Always(_), _) => "required".into(),
            (Need::With(word, _), _) => format!("required with kind `{word}`"),
            (Need::May(word, _), _) => format!("none; with kind `{word}`"),
            (_, None) => "none".into(),
            (_, Some(default)) => format!("`{default}`"),
        };
        let (section, name) = (field.section, field.name);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| `{section}` | `{name}` | {default} | {} |", meaning(field));
    }
    text
}
