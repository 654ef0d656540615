//! JSON as it is written. Any crate of an application can turn on serde_json's features `raw_value` and
//! `arbitrary_precision` for all of it. Its own [`Json`] then takes an object with a private name for something else, and
//! parses the text in it anew, with a new limit of depth each time, until the stack is full.

use std::{fmt, sync::LazyLock};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess},
};
use serde_json::{Map, Number, Value as Json};

use crate::JsonObject;

const NUMBER: &str = "$serde_json::private::Number";

/// Whether every number comes as an object.
static PRECISE: LazyLock<bool> = LazyLock::new(|| is_taken_for_a_number(NUMBER));

pub(crate) fn is_taken_for_a_number(name: &str) -> bool {
    serde_json::from_str::<Json>(&format!("{{\"{name}\":\"1\"}}"))
        .is_ok_and(|json| json.is_number())
}

/// Whatever it is, with each object an object.
pub(crate) struct Plain(pub(crate) Json);

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor).map(Self)
    }
}

struct Visitor;

impl<'de> serde::de::Visitor<'de> for Visitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(text.into())
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(Plain(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        let mut members = Map::new();
        while let Some((name, Plain(member))) = object.next_entry::<String, Plain>()? {
            members.insert(name, member);
        }
        Ok(number(&members).map_or_else(|| members.into(), Json::Number))
    }
}

/// With `arbitrary_precision`, an object of this one name cannot be told from a number.
fn number(members: &JsonObject) -> Option<Number> {
    if members.len() != 1 || !*PRECISE {
        return None;
    }
    members.get(NUMBER)?.as_str()?.parse().ok()
}

/// A member that is an object, where there is one.
pub(crate) fn object<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<JsonObject>, D::Error> {
    match Option::deserialize(deserializer)? {
        None => Ok(None),
        Some(Plain(Json::Object(members))) => Ok(Some(members)),
        Some(Plain(_)) => Err(D::Error::custom("it is no object")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As deep as each text may be, a hundred times.
    pub(crate) fn texts_in_texts() -> String {
        let (open, close) = ("[".repeat(100), "]".repeat(100));
        (0..100).fold("1".to_owned(), |inner, _| {
            let inner = inner.replace('\\', "\\u005c").replace('"', "\\u0022");
            format!("{open}{{\"$serde_json::private::RawValue\":\"{inner}\"}}{close}")
        })
    }

    #[test]
    fn objects_are_read_as_objects() {
        for text in [
            r#"{"$serde_json::private::RawValue":"{\"a\":1}"}"#,
            r#"{"a":[{"$serde_json::private::RawValue":"no json"},true,null]}"#,
            r#"{"a":1,"b":-1,"c":1.5,"d":"text","e":{}}"#,
        ] {
            let Plain(json) = serde_json::from_str(text).unwrap();
            assert_eq!(json.to_string(), text);
        }
    }

    #[test]
    fn texts_in_texts_are_texts() {
        let Plain(json) = serde_json::from_str(&texts_in_texts()).unwrap();
        let mut inner = &json;
        while let Json::Array(items) = inner {
            inner = &items[0];
        }
        let members: Vec<_> = inner.as_object().unwrap().values().collect();
        assert!(matches!(members[..], [Json::String(_)]));
        assert!(serde_json::from_str::<Plain>(&"[".repeat(1_000)).is_err());
    }
}
