//! Paths of fields: `card`, `address.street`, `items[].card`, `tags[]`. One with `?` at its end may be missing or null, or
//! what it is in may be; any other has to be there. A list of a type that is [`Protected`](super::Protected) is taken
//! item by item.
//!
//! What is on the way has to be of the shape that the path says, from the root on: serde reads structs also from lists, by
//! position, and what it read there would not be what was looked at here.

use serde_json::Value as Json;

use super::{Problem, Protected};
use crate::{Error, ErrorKind, limits::FIELDS, token::looks_like_a_token};

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

/// Every text that the paths of `T` name; a field that is missing or of another type is named, and never shown.
pub(super) fn places<T: Protected + ?Sized>(data: &mut Json) -> Result<Vec<Place<'_>>, Problem> {
    in_lists(data, T::LISTS, T::FIELDS)
}

fn in_lists<'a>(
    data: &'a mut Json,
    lists: usize,
    paths: &'static [&'static str],
) -> Result<Vec<Place<'a>>, Problem> {
    let mut found = Vec::new();
    let fields = paths.iter().map(|path| parse(path)).collect::<Result<Vec<_>, _>>()?;
    each_root(data, lists, &fields, &mut found)?;
    if found.len() > FIELDS {
        let words = "is one of more than 10,000 fields, which is more than one request may have";
        return Err(Problem::of_field(found[0].name, ErrorKind::PayloadTooLarge, words));
    }
    Ok(found)
}

/// Whether nothing in a body looks like a token but what is among these: wherever a type takes it from (under an alias,
/// flattened, by position), it holds no token that was not looked at.
pub(super) fn no_others(data: &Json, known: &dyn Fn(&str) -> bool) -> Result<(), Problem> {
    let fits = |text: &str| {
        if !looks_like_a_token(text) || known(text) {
            return Ok(());
        }
        let words = "the body holds a token where no path of FIELDS leads: list every field that may hold one, also its aliases";
        Err(Error::invalid(words).into())
    };
    match data {
        Json::String(text) => fits(text),
        Json::Array(items) => items.iter().try_for_each(|item| no_others(item, known)),
        Json::Object(members) => members.iter().try_for_each(|(name, member)| {
            fits(name)?;
            no_others(member, known)
        }),
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(()),
    }
}

fn each_root<'a>(
    data: &'a mut Json,
    lists: usize,
    fields: &[Field<'static>],
    found: &mut Vec<Place<'a>>,
) -> Result<(), Problem> {
    match (data, lists) {
        (Json::Null, _) => Ok(()),
        (Json::Array(items), 1..) => {
            items.iter_mut().try_for_each(|item| each_root(item, lists - 1, fields, found))
        }
        (_, 1..) => Err(fields.first().map_or_else(
            || Error::invalid("what was expected is a list").into(),
            |field| refused(field, "is in something that is no list"),
        )),
        // One pass for all fields: each borrows its own part of the data.
        (data, 0) => {
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
    let shape = |steps: &[Step<'_>]| steps.first().map(|step| matches!(step, Step::Each));
    if wanted.iter().any(|(_, others)| shape(others) != shape(steps)) {
        return Err(refused(first, "is named as one thing and as another"));
    }
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
            _ => {}
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

    fn found(data: Json, paths: &'static [&'static str]) -> Result<Vec<String>, String> {
        found_in(0, data, paths)
    }

    fn found_in(
        lists: usize,
        mut data: Json,
        paths: &'static [&'static str],
    ) -> Result<Vec<String>, String> {
        let places = in_lists(&mut data, lists, paths)
            .map_err(|problem| problem.error().detail().to_owned())?;
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
        let list = json!([{ "name": "a" }, null, { "name": "b" }]);
        assert_eq!(found_in(1, list.clone(), &["name"]).unwrap(), ["a", "b"]);
        assert_eq!(found_in(2, json!([list, null]), &["name"]).unwrap(), ["a", "b"]);
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
    fn what_has_another_shape_than_its_type_is_refused() {
        let no_object = Err("name is in something that is no object".to_owned());
        let one = json!({ "name": "a" });
        assert_eq!(found(json!([one]), &["name?"]), no_object);
        assert_eq!(found(json!([]), &["name?"]), no_object);
        assert_eq!(found_in(1, json!([[one]]), &["name?"]), no_object);
        let no_list = Err("name is in something that is no list".to_owned());
        assert_eq!(found_in(1, one.clone(), &["name?"]), no_list);
        assert_eq!(found_in(2, json!([one]), &["name?"]), no_list);
        let nested = json!({ "address": ["a"] });
        assert!(found(nested, &["address.street?"]).unwrap_err().contains("no object"));
    }

    #[test]
    fn mistakes_in_paths_are_told() {
        for path in [&["a..b"] as &[&str], &[""], &["a[]b"], &["?"], &["[]"]] {
            let error = found(json!({}), Box::leak(Box::new(path.to_vec()))).unwrap_err();
            assert!(error.contains("is no path of a field"), "{path:?}: {error}");
        }
        for (data, paths) in [
            (json!({ "tags": ["a"] }), &["tags[]", "tags"] as &[&str]),
            (json!({ "tags": { "a": "b" } }), &["tags.a", "tags"]),
        ] {
            let error = found(data, Box::leak(Box::new(paths.to_vec()))).unwrap_err();
            assert!(error.contains("as one thing and as another"), "{error}");
        }
    }

    #[test]
    fn there_are_so_many_fields() {
        let many = json!({ "tags": vec!["x"; FIELDS + 1] });
        assert!(found(many, &["tags[]"]).unwrap_err().contains("10,000"));
    }
}
