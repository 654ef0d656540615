//! The table as a JSON Schema for editors, and as a reference for the documentation.

use std::fmt::Write as _;

use lunasec_core::policy::Operation;
use serde_json::{Map, Value, json};

use super::{
    fields::{Field, Kind, Need, Section, Times},
    forms::Form,
    kinds::{Shape, items, show_size, show_time},
    rules,
    settings::words,
    table::CONFIG,
};

/// The schema of the file, for editors: JSON Schema, draft 2020-12.
pub fn schema() -> Value {
    let sections: Map<String, Value> = CONFIG
        .sections
        .iter()
        .filter(|section| !section.name.contains('.'))
        .map(|section| (section.name.into(), section_schema(section)))
        .collect();
    let required: Vec<&str> = CONFIG
        .sections
        .iter()
        .filter(|section| section.times != Times::Any && !required(section).is_empty())
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
    CONFIG.fields_of(section.name).filter(always).map(|field| field.name).collect()
}

fn section_schema(section: &Section) -> Value {
    if section.is_list() {
        json!({ "type": "array", "description": section.about, "items": table_schema(section) })
    } else {
        table_schema(section)
    }
}

fn table_schema(section: &Section) -> Value {
    let inside = CONFIG
        .sections_inside(section.name)
        .map(|(name, section)| (name.into(), section_schema(section)));
    let fields: Map<String, Value> = CONFIG
        .fields_of(section.name)
        .map(|field| (field.name.into(), field_schema(field)))
        .chain(inside)
        .collect();
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
    let either = either(section);
    if !either.is_empty() {
        schema["anyOf"] = json!(either);
    }
    let conditions: Vec<Value> = CONFIG.fields_of(section.name).filter_map(condition).collect();
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
    let of_section = CONFIG.beside.iter().filter(|(name, ..)| *name == section.name);
    of_section.map(|(_, field, other)| ((*field).into(), json!([other]))).collect()
}

/// That one of two fields is there.
fn either(section: &Section) -> Vec<Value> {
    let of_section = CONFIG.either.iter().filter(|(name, ..)| *name == section.name);
    of_section
        .flat_map(|(_, one, other)| [one, other])
        .map(|field| json!({ "required": [field] }))
        .collect()
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
        Some(default) => schema["default"] = typed(field, &default),
        None => schema["examples"] = json!([typed(field, &field.example())]),
    }
    for (name, value) in constraints(&field.kind) {
        schema[name] = value;
    }
    schema
}

/// A field's value, in its own type.
fn typed(field: &Field, text: &str) -> Value {
    let pair = |item: &str| item.split_once('=').map(|(name, value)| (name.into(), value.into()));
    match field.kind.shape() {
        Shape::List => items(text).collect(),
        Shape::Table => Value::Object(items(text).filter_map(pair).collect()),
        Shape::Switch => json!(text == "true"),
        Shape::Whole => json!(text.parse::<u64>().ok()),
        Shape::Text => json!(text),
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
            ("propertyNames", json!({ "pattern": Form::Namespace.pattern() })),
            ("additionalProperties", json!({ "type": "string", "pattern": Form::KeyId.pattern() })),
        ],
        Kind::Switch(_) => vec![],
        Kind::Id(_) => vec![("minimum", json!(0)), ("maximum", json!(rules::LAST_ID))],
        Kind::Rate(_) => vec![("minimum", json!(1)), ("maximum", json!(u32::MAX))],
        Kind::Namespaces(_) => {
            some(&json!({ "type": "string", "pattern": Form::Namespace.pattern() }))
        }
        Kind::Operations(_) => {
            some(&json!({ "type": "string", "enum": words(Operation::GRANTABLE) }))
        }
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

/// A list of different things, at least one.
fn some(item: &Value) -> Vec<(&'static str, Value)> {
    vec![("items", item.clone()), ("minItems", json!(1)), ("uniqueItems", json!(true))]
}

/// What a field means, with the bounds that its text cannot show.
fn meaning(field: &Field) -> String {
    let bounds = match &field.kind {
        Kind::Size { least: 1, most, .. } => format!(" At most {}.", show_size(*most)),
        Kind::Size { least, most, .. } => {
            format!(" From {} to {}.", show_size(*least), show_size(*most))
        }
        Kind::Count { most, .. } => format!(" At most {most}."),
        Kind::Entries { most, .. } => format!(" At most {most}."),
        Kind::Time { most, .. }
            if ["limits", "sessions", "cache.values", "cache.grants"].contains(&field.section) =>
        {
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
    for field in CONFIG.fields {
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
