//! JSON of others, where serde_json's feature `raw_value` is on; see [`crate::plain`].

use std::sync::LazyLock;

use serde::Serialize;
use serde_json::Value as Json;

use crate::plain::{Plain, is_taken_for_a_number};

const PRIVATE: &str = "$serde_json::private::";

/// Whether there may be raw text in what is serialized.
static RAW: LazyLock<bool> =
    LazyLock::new(|| is_taken_for_a_number("$serde_json::private::RawValue"));

/// Whether an object in it has a private name: a type may read it otherwise than it was looked at.
pub(super) fn has_private_names(json: &Json) -> bool {
    match json {
        Json::Array(items) => items.iter().any(has_private_names),
        Json::Object(members) => members
            .iter()
            .any(|(name, member)| name.starts_with(PRIVATE) || has_private_names(member)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => false,
    }
}

/// What is written of this. serde_json parses raw text in it, with all that is private in there.
pub(super) fn json_of<T: Serialize + ?Sized>(data: &T) -> Result<Json, serde_json::Error> {
    if *RAW {
        let Plain(json) = serde_json::from_slice(&serde_json::to_vec(data)?)?;
        if has_private_names(&json) {
            return Ok(json);
        }
    }
    serde_json::to_value(data)
}

#[cfg(test)]
mod tests {
    use serde_json::{json, value::RawValue};

    use super::*;

    #[test]
    fn raw_text_of_an_answer_is_not_parsed_text_in_text() {
        assert!(*RAW, "the tests are built with raw_value");
        let raw = |text: String| json_of(&RawValue::from_string(text).unwrap());
        assert_eq!(raw("{\"a\":[1.1]}".into()).unwrap(), json!({ "a": [1.1] }));
        assert!(raw(crate::plain::tests::texts_in_texts()).unwrap().is_array());
        let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
        assert!(raw(deep).is_err());
    }
}
