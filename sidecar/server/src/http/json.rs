//! JSON in: strict, and with errors that never repeat what the caller sent.

use std::{borrow::Cow, collections::HashSet, fmt};

use lunasec_api::{Code, LIST_LENGTH, Named};
use lunasec_core::limits;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::error::Category;

use crate::failure::Failure;

/// Parses a body.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Failure> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    T::deserialize(Named(&mut deserializer))
        .and_then(|parsed| deserializer.end().map(|()| parsed))
        .map_err(|error| invalid(explain(&error, "the body")))
}

/// Checks metadata: a JSON object, no key twice at any depth, no lone surrogate, not too deep.
pub fn check_metadata(text: &str, most: usize) -> Result<(), Failure> {
    if text.len() > most {
        return Err(Failure::new(
            Code::PayloadTooLarge,
            format!("metadata is larger than {most} bytes"),
        ));
    }
    if !text.starts_with('{') {
        return Err(invalid("metadata must be a JSON object".into()));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Strict { depth: limits::METADATA_DEPTH }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| invalid(explain(&error, "metadata")))
}

fn invalid(detail: Cow<'static, str>) -> Failure {
    Failure::new(Code::InvalidRequest, detail)
}

const TWICE: &str = "a key stands twice in the same object";
const TOO_DEEP: &str = "it is nested too deeply";

/// Says what is wrong in our own words. Of what the caller sent, only a place and a field's name can
/// appear, and the name only if it looks like one: a mistyped body may hold the value anywhere.
fn explain(error: &serde_json::Error, whole: &str) -> Cow<'static, str> {
    let text = error.to_string();
    let what = match error.classify() {
        Category::Eof => format!("{whole} is not complete JSON"),
        Category::Syntax if text.starts_with("recursion limit") => TOO_DEEP.to_owned(),
        Category::Syntax => format!("{whole} is not valid JSON"),
        Category::Data => explain_data(&text),
        Category::Io => format!("{whole} could not be read"),
    };
    format!("{what} (line {}, column {} of {whole})", error.line(), error.column()).into()
}

fn explain_data(text: &str) -> String {
    if let Some(own) = [LIST_LENGTH, TWICE, TOO_DEEP].iter().find(|own| text.starts_with(**own)) {
        return (*own).to_owned();
    }
    let name = || quoted(text).filter(|name| looks_like_a_name(name));
    let field = |what: &str| match name() {
        Some(name) => format!("{what} field {name}"),
        None => format!("{what} field"),
    };
    if text.starts_with("unknown field") {
        return field("unknown");
    }
    if text.starts_with("missing field") {
        return field("missing");
    }
    if text.starts_with("duplicate field") {
        return field("duplicate");
    }
    // What stands behind the last `expected` is the type's own description, never the input.
    match text.rsplit_once(", expected ") {
        Some((_, rest)) => {
            let expected = match rest.split(" at line ").next().unwrap_or_default() {
                structure if structure.starts_with("struct ") => "an object",
                "u64" => "a whole number",
                other => other,
            };
            format!("wrong type or value, expected {expected}")
        }
        None => "wrong type or value".to_owned(),
    }
}

/// What stands between the first backticks, unless more of the same name follows.
fn quoted(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('`')?;
    rest.split_once('`').filter(|(_, rest)| rest.starts_with([',', ' '])).map(|(name, _)| name)
}

fn looks_like_a_name(name: &str) -> bool {
    (1..=32).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_')
}

/// Walks a whole value and keeps none of it but the keys of the objects it is in.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth }),
            None => Err(E::custom(TOO_DEEP)),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while seq.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        let mut keys = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            if !keys.insert(key) {
                return Err(A::Error::custom(TWICE));
            }
            map.next_value_seed(inside)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lunasec_api::{TokenRequest, TokenizeBatch, TokenizeRequest, TokensRequest};
    use proptest::prelude::*;

    use super::*;

    fn detail<T: for<'a> Deserialize<'a>>(body: &str) -> String {
        match parse::<T>(body.as_bytes()) {
            Ok(_) => panic!("accepted: {body}"),
            Err(failure) => {
                assert_eq!(failure.code, Code::InvalidRequest);
                failure.detail.into_owned()
            }
        }
    }

    fn tokenize(body: &str) -> String {
        match parse::<TokenizeRequest<'_>>(body.as_bytes()) {
            Ok(_) => panic!("accepted: {body}"),
            Err(failure) => failure.detail.into_owned(),
        }
    }

    #[test]
    fn says_what_is_wrong_and_never_repeats_it() {
        let cases = [
            ("", "the body is not complete JSON"),
            (r#"{"value": "4111"#, "the body is not complete JSON"),
            (r#"{"value": 4111}"#, "wrong type or value, expected a string"),
            (r#"{"value": NaN}"#, "the body is not valid JSON"),
            (r#"{"value": "\uD800"}"#, "the body is not"),
            (r#"{"value": "a", "secret": 1}"#, "unknown field secret"),
            (r#"{"value": "a", "4111111111111111": 1}"#, "unknown field ("),
            (r#"{"value": "a", "Secret": 1}"#, "unknown field ("),
            (r#"{}"#, "missing field value"),
            (r#"{"value": "a", "value": "b"}"#, "duplicate field value"),
            (r#"{"value": "a", "encoding": "4111"}"#, "expected `utf8` or `base64`"),
            (r#"["4111"]"#, "wrong type or value"),
            (r#"["4111", "utf8", {}, "1h"]"#, "wrong type or value"),
            (r#"{"value": "a", "x`4111": 1}"#, "unknown field ("),
            (r#"{"value": "a"} 4111"#, "the body is not valid JSON"),
            (r#"{"value": ", expected 4111"  , "x": , expected 4111"#, "unknown field x"),
        ];
        for (body, expected) in cases {
            let said = tokenize(body);
            assert!(said.contains(expected), "{body}: {said}");
            assert!(!said.contains("4111"), "{body}: {said}");
        }
    }

    #[test]
    fn lists_stop_at_their_limit() {
        for most in [0, 1_001, 500_000] {
            let body = format!(r#"{{"tokens": [{}]}}"#, vec!["\"x\""; most].join(","));
            let said = parse::<TokensRequest<'_>>(body.as_bytes()).err().unwrap().detail;
            assert!(said.contains("1 to 1,000"), "{said}");
        }
        let body = format!(r#"{{"items": [{}]}}"#, vec![r#"{"value":""}"#; 1_000].join(","));
        assert_eq!(parse::<TokenizeBatch<'_>>(body.as_bytes()).unwrap().items.len(), 1_000);
    }

    #[test]
    fn metadata_is_checked_at_every_depth() {
        let deep = |n| format!(r#"{{"a":{}1{}}}"#, "[".repeat(n), "]".repeat(n));
        for good in ["{}", r#"{"a": {"b": [1, 2.5, null, true, "é"]}, "c": {"b": 1}}"#, &deep(31)]
        {
            assert!(check_metadata(good, 1024).is_ok(), "{good}");
        }
        let cases = [
            ("[]", "must be a JSON object"),
            ("null", "must be a JSON object"),
            (r#"{"a": 1, "a": 2}"#, TWICE),
            (r#"{"a": [{"b": 1, "\u0062": 2}]}"#, TWICE),
            (r#"{"a": "\uD800"}"#, "not"),
            (&deep(32), TOO_DEEP),
            (&deep(500), TOO_DEEP),
        ];
        for (bad, expected) in cases {
            let said = check_metadata(bad, 1024).unwrap_err().detail;
            assert!(said.contains(expected), "{bad}: {said}");
        }
        assert_eq!(check_metadata("{}", 1).unwrap_err().code, Code::PayloadTooLarge);
    }

    proptest! {
        #[test]
        fn no_body_panics_and_no_detail_repeats_a_digit_string(body in ".*") {
            let body = body + "\"4111111111111111\"";
            if let Err(failure) = parse::<TokenRequest<'_>>(body.as_bytes()) {
                prop_assert!(!failure.detail.contains("4111111111111111"));
            }
        }
    }

    #[test]
    fn owned_bodies_parse_too() {
        assert!(
            detail::<lunasec_api::SweepRequest>(r#"{"nope": 1}"#).contains("unknown field nope")
        );
    }
}
