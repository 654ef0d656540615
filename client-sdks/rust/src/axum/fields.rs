//! Paths of fields: `card`, `address.street`, `items[].card`, `tags[]`. One with `?` at its end may be missing or null, or
//! what it is in may be; any other has to be there. A list of a type that is [`Protected`](super::Protected) is taken
//! item by item.

use serde_json::Value as Json;

use super::Problem;
use crate::{Error, ErrorKind, limits::FIELDS};

/// A step into the data.
enum Step<'a> {
    Member(&'a str),
    Each,
}

struct Field<'a> {
    name: &'a str,
    steps: Vec<Step<'a>>,
    optional: bool,
}

/// A mistake in a path is the developer's.
fn parse(text: &str) -> Result<Field<'_>, Error> {
    let name = text.strip_suffix('?').unwrap_or(text);
    let wrong = || {
        Error::invalid(format!(
            "{text:?} is no path of a field: write card, address.street, items[].card or note?"
        ))
    };
    let mut steps = Vec::new();
    for part in name.split('.') {
        let member = part.trim_end_matches("[]");
        if member.is_empty() || member.contains(['[', ']', '?']) {
            return Err(wrong());
        }
        steps.push(Step::Member(member));
        steps.extend((0..(part.len() - member.len()) / 2).map(|_| Step::Each));
    }
    Ok(Field { name, steps, optional: name.len() < text.len() })
}

/// A place that a path names, and the text in it.
pub(super) struct Place<'a> {
    pub(super) name: &'static str,
    pub(super) text: &'a mut Json,
}

/// Every text that these paths name; a field that is missing or of another type is named, and never shown.
pub(super) fn places<'a>(
    data: &'a mut Json,
    paths: &'static [&'static str],
) -> Result<Vec<Place<'a>>, Problem> {
    let mut found = Vec::new();
    let fields = paths.iter().map(|path| parse(path)).collect::<Result<Vec<_>, _>>()?;
    each_root(data, &fields, &mut found)?;
    if found.len() > FIELDS {
        let words = "is one of more than 10,000 fields, which is more than one request may have";
        return Err(Problem::of_field(found[0].name, ErrorKind::PayloadTooLarge, words));
    }
    Ok(found)
}

fn each_root<'a>(
    data: &'a mut Json,
    fields: &[Field<'static>],
    found: &mut Vec<Place<'a>>,
) -> Result<(), Problem> {
    match data {
        Json::Array(items) => items.iter_mut().try_for_each(|item| each_root(item, fields, found)),
        Json::Null => Ok(()),
        // One pass for all fields: each borrows its own part of the data.
        data => {
            let wanted: Vec<_> = fields.iter().map(|field| (field, &field.steps[..])).collect();
            descend(Some(data), &wanted, found)
        }
    }
}

type Wanted<'f> = [(&'f Field<'static>, &'f [Step<'static>])];

/// Everything that is wanted of `data`, member by member, so that no part of it is borrowed twice.
fn descend<'a>(
    data: Option<&'a mut Json>,
    wanted: &Wanted<'_>,
    found: &mut Vec<Place<'a>>,
) -> Result<(), Problem> {
    let Some((first, steps)) = wanted.first() else { return Ok(()) };
    let data = match data {
        None | Some(Json::Null) => {
            return match wanted.iter().find(|(field, _)| !field.optional) {
                Some((field, _)) => Err(refused(field, "is missing")),
                None => Ok(()),
            };
        }
        Some(data) => data,
    };
    match (data, steps.first()) {
        // What is named twice counts once.
        (text @ Json::String(_), None) => {
            found.push(Place { name: first.name, text });
            Ok(())
        }
        (_, None) => Err(refused(first, "is no text")),
        (Json::Array(items), Some(Step::Each)) => items.iter_mut().try_for_each(|item| {
            let wanted: Vec<_> =
                wanted.iter().map(|(field, steps)| (*field, &steps[1..])).collect();
            descend(Some(item), &wanted, found)
        }),
        (_, Some(Step::Each)) => Err(refused(first, "is no list")),
        (Json::Object(members), Some(Step::Member(_))) => descend_members(members, wanted, found),
        (_, Some(Step::Member(_))) => Err(refused(first, "is in something that is no object")),
    }
}

fn descend_members<'a>(
    members: &'a mut serde_json::Map<String, Json>,
    wanted: &Wanted<'_>,
    found: &mut Vec<Place<'a>>,
) -> Result<(), Problem> {
    let of = |name: &str| -> Vec<_> {
        let named = wanted.iter().filter(
            |(_, steps)| matches!(steps.first(), Some(Step::Member(member)) if *member == name),
        );
        named.map(|(field, steps)| (*field, &steps[1..])).collect()
    };
    for (field, steps) in wanted {
        match steps.first() {
            Some(Step::Member(member)) if !members.contains_key(*member) => {
                descend(None, &[(*field, *steps)], found)?;
            }
            Some(Step::Member(_)) => {}
            _ => return Err(refused(field, "is named both as an object and as something else")),
        }
    }
    for (name, member) in members.iter_mut() {
        descend(Some(member), &of(name), found)?;
    }
    Ok(())
}

fn refused(field: &Field<'_>, words: &str) -> Problem {
    Problem::of_field(field.name, ErrorKind::InvalidRequest, words)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(mut data: Json, paths: &'static [&'static str]) -> Result<Vec<String>, String> {
        let places =
            places(&mut data, paths).map_err(|problem| problem.error().detail().to_owned())?;
        Ok(places.iter().map(|place| place.text.as_str().unwrap().to_owned()).collect())
    }

    #[test]
    fn paths_name_fields_of_objects_and_of_lists() {
        let data = json!({
            "name": "a", "address": { "street": "b" },
            "cards": [{ "number": "c" }, { "number": "d" }], "tags": ["e", "f"],
        });
        let paths = &["name", "address.street", "cards[].number", "tags[]", "note?"];
        let mut all = found(data.clone(), paths).unwrap();
        all.sort();
        assert_eq!(all, ["a", "b", "c", "d", "e", "f"]);
        assert_eq!(
            found(json!([{ "name": "a" }, { "name": "b" }]), &["name"]).unwrap(),
            ["a", "b"]
        );
        assert_eq!(found(data, &["name", "name"]).unwrap(), ["a"]);
    }

    #[test]
    fn what_is_missing_or_no_text_is_named_and_not_shown() {
        let said = |data, paths| found(data, paths).unwrap_err();
        assert_eq!(said(json!({}), &["name"]), "name is missing");
        assert_eq!(said(json!({ "name": null }), &["name"]), "name is missing");
        assert_eq!(said(json!({ "name": 4111 }), &["name"]), "name is no text");
        assert_eq!(said(json!({ "name": 4111 }), &["name?"]), "name is no text");
        assert_eq!(
            said(json!({ "cards": { "number": "x" } }), &["cards[].number"]),
            "cards[].number is no list"
        );
        assert_eq!(said(json!("4111"), &["name"]), "name is in something that is no object");
        assert!(found(json!({ "address": null }), &["address.street?"]).unwrap().is_empty());
    }

    #[test]
    fn mistakes_in_paths_are_told() {
        for path in [&["a..b"] as &[&str], &[""], &["a[]b"], &["?"], &["[]"]] {
            let error = found(json!({}), Box::leak(Box::new(path.to_vec()))).unwrap_err();
            assert!(error.contains("is no path of a field"), "{path:?}: {error}");
        }
    }

    #[test]
    fn there_are_so_many_fields() {
        let many = json!({ "tags": vec!["x"; FIELDS + 1] });
        assert!(found(many, &["tags[]"]).unwrap_err().contains("10,000"));
    }
}
