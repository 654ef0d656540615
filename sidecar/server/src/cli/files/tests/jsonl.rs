//! JSON Lines: only the selected strings change.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    super::{Direction, Format, Options, Spelling},
    fake::Sidecar,
    message, options, round_trip, stream,
};

fn paths(columns: &[&str]) -> Options {
    options(Direction::Tokenize, Format::JsonLines, columns)
}

fn tokenized(columns: &[&str], text: &str) -> String {
    let mut sidecar = Sidecar::default();
    let (out, _) = stream(&paths(columns), &mut sidecar, text.as_bytes()).unwrap();
    let mut text = String::from_utf8(out).unwrap();
    for (number, token) in sidecar.tokens().iter().enumerate() {
        text = text.replace(token, &format!("<{number}>"));
    }
    text
}

#[test]
fn replaces_strings_and_nothing_else() {
    let cases = [
        (&["a"][..], r#"{"a":"1"}"#, r#"{"a":"<0>"}"#),
        (
            &["a"],
            "\u{feff}{ \"b\" : 1.50e+3,\t\"a\" :\"1\" }\r\n\n{}",
            "\u{feff}{ \"b\" : 1.50e+3,\t\"a\" :\"<0>\" }\r\n\n{}",
        ),
        (
            &["u.e", "u.n"],
            r#"{"u":{"n":"1","x":"2","e":"3"}}"#,
            r#"{"u":{"n":"<0>","x":"2","e":"<1>"}}"#,
        ),
        (
            &["c.n"],
            r#"{"c":[{"n":"1"},{},{"n":null},[{"n":"2"}]]}"#,
            r#"{"c":[{"n":"<0>"},{},{"n":null},[{"n":"<1>"}]]}"#,
        ),
        (&["t"], r#"{"t":["1","",null,[ "2" ],[]]}"#, r#"{"t":["<0>","",null,[ "<1>" ],[]]}"#),
        (&[r"a\.b"], r#"{"a":{"b":"1"},"a.b":"2"}"#, r#"{"a":{"b":"1"},"a.b":"<0>"}"#),
        (&["é"], r#"{"\u00e9":"1"}"#, r#"{"\u00e9":"<0>"}"#),
        (&["a"], r#"[{"a":"1"},{"a":"2"}]"#, r#"[{"a":"<0>"},{"a":"<1>"}]"#),
        (
            &["a"],
            r#"{"x":{"a":"1"},"y":[[{"k":[1,"]}"]}],"a"],"a":"2"}"#,
            r#"{"x":{"a":"1"},"y":[[{"k":[1,"]}"]}],"a"],"a":"<0>"}"#,
        ),
        (
            &["a.b"],
            r#"{"a":null,"n":NaN,"x":{"q":1,"q":2}}"#,
            r#"{"a":null,"n":NaN,"x":{"q":1,"q":2}}"#,
        ),
    ];
    for (columns, text, expected) in cases {
        assert_eq!(tokenized(columns, text), expected);
        round_trip(&paths(columns), text.as_bytes());
    }
}

#[test]
fn bytes_that_are_not_utf8_survive_where_they_are_not_selected() {
    round_trip(&paths(&["a"]), b"{\"b\":\"\xff\",\"a\":\"1\",\"\xfe\":0}\n");
    assert!(
        message(&paths(&["a"]), b"{\"a\":\"\xff\"}").contains("row 1, column a: the value is not")
    );
}

#[test]
fn names_row_and_path_of_what_cannot_be_turned() {
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    let cases = [
        (r#"{"a":1}"#, "row 2, column a: this is a number; only strings"),
        (r#"{"a":[true]}"#, "row 2, column a: this is a boolean; only strings"),
        (r#"{"a":{}}"#, "row 2, column a: this is an object; only strings"),
        (r#"{"b":"x"}"#, "row 2, column b.c: the path goes through a string"),
        (r#"{"b":7}"#, "row 2, column b.c: the path goes through a number"),
        (r#""x""#, "row 2, column a: the path goes through a string"),
        (r#"{"a":"1","\u0061":"2"}"#, "row 2, column a: a key on this path is there twice"),
        (r#"{"b":{},"b":{}}"#, "row 2, column b.c: a key on this path is there twice"),
        (r#"{"a":"\ud800"}"#, "row 2, column a: the string has an unpaired surrogate"),
        (r#"{"a":"\x"}"#, "row 2, column a: the line is not valid JSON"),
        (r#"{"a":"1"} {}"#, "row 2: the line is not valid JSON"),
        (r#"{"a":"1""#, "row 2: the line is not valid JSON"),
        (r#"{"x":[1}}"#, "row 2: the line is not valid JSON"),
        (r#"{"x":[1,]}"#, "row 2: the line is not valid JSON"),
        (r#"{"x" 1}"#, "row 2: the line is not valid JSON"),
        (r#"{x:1}"#, "row 2: the line is not valid JSON"),
        (r#"{"x":"\"#, "row 2: the line is not valid JSON"),
        (&deep, "row 2, column a: the arrays are nested too deeply"),
    ];
    for (line, expected) in cases {
        let message = message(&paths(&["a", "b.c"]), format!("{{}}\n{line}\n").as_bytes());
        assert!(message.contains(expected), "{line:.40}: {message}");
    }
    let elsewhere = format!("{{\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    round_trip(&paths(&["a"]), elsewhere.as_bytes());
}

#[test]
fn refuses_what_goes_the_wrong_way() {
    let (tokens, _) = round_trip(&paths(&["a"]), br#"{"a":["", "1"]}"#);
    assert!(
        message(&paths(&["a"]), &tokens).contains("row 1, column a: the cell is a token already")
    );
    let back = Options { direction: Direction::Detokenize, ..paths(&["a"]) };
    assert_eq!(message(&back, br#"{"a":"x"}"#), "row 1, column a: the cell is not a token");
    let sidecar = Sidecar::default();
    let scan = format!("{{\"a\":\"{}\"}}", sidecar.store(b"\xff\xd8"));
    let refused = stream(&back, &mut sidecar.clone(), scan.as_bytes()).unwrap_err();
    assert!(refused.to_string().contains("row 1, column a: the value is not UTF-8"));
}

#[test]
fn counts_strings_that_will_be_spelled_otherwise() {
    let lines = r#"{"a":"é"}
{"a":"\u00e9"}
{"a":"\u00E9"}
{"a":"a\/b"}
{"a":"\"\\\n\u0001"}
{"a":"\ud83d\ude00"}
"#;
    let mut sidecar = Sidecar::default();
    let (out, summary) = stream(&paths(&["a"]), &mut sidecar, lines.as_bytes()).unwrap();
    assert_eq!(summary.spelling, Spelling { respelled: 2, needs_ascii: 2, needs_plain: 1 });
    for ascii in [false, true] {
        let back = Options { direction: Direction::Detokenize, ascii, ..paths(&["a"]) };
        let (again, _) = stream(&back, &mut sidecar, &out).unwrap();
        let again = String::from_utf8(again).unwrap();
        let same = again.lines().zip(lines.lines()).filter(|(new, old)| new == old).count();
        assert_eq!(same, if ascii { 3 } else { 2 });
        for (new, old) in again.lines().zip(lines.lines()) {
            let [new, old] = [new, old].map(|line| serde_json::from_str::<Value>(line).unwrap());
            assert_eq!(new, old);
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-d\"\\\\.é]{0,3}", inner), 0..4)
                .prop_map(|pairs| pairs.into_iter().collect::<Value>()),
        ]
    })
}

/// Puts the values back by hand.
fn with_values(value: &mut Value, sidecar: &mut Sidecar) {
    match value {
        Value::String(text) if text.starts_with("lunasec-") => {
            let tokens = [text.clone()];
            let values = super::wait(super::Batches::detokenize(sidecar, &tokens)).unwrap();
            *text = String::from_utf8(values[0].as_ref().unwrap().0.clone()).unwrap();
        }
        Value::Array(values) => values.iter_mut().for_each(|value| with_values(value, sidecar)),
        Value::Object(values) => values.values_mut().for_each(|value| with_values(value, sidecar)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn any_lines_come_back(
        lines in prop::collection::vec((".*", value(), prop::collection::vec(".*", 0..3)), 0..5),
        spaced: bool,
    ) {
        let lines: Vec<_> = lines.into_iter()
            .map(|(s, other, more)| json!({"z": other, "s": s, "o": {"x": other, "p.q": more}}))
            .collect();
        let text = lines.iter().fold(String::new(), |text, line| {
            let line = line.to_string();
            text + &if spaced { format!(" {line} \r\n") } else { format!("{line}\n") }
        });
        let options = paths(&["s", r"o.p\.q"]);
        round_trip(&options, text.as_bytes());
        let mut sidecar = Sidecar::default();
        let (out, _) = stream(&options, &mut sidecar, text.as_bytes()).unwrap();
        for (line, original) in String::from_utf8(out).unwrap().lines().zip(&lines) {
            let mut line: Value = serde_json::from_str(line).unwrap();
            if let Some(s) = original["s"].as_str().filter(|s| !s.is_empty()) {
                prop_assert_ne!(line["s"].as_str().unwrap(), s);
            }
            with_values(&mut line, &mut sidecar);
            prop_assert_eq!(&line, original);
        }
    }

    #[test]
    fn whatever_serde_json_reads_is_read(value in value()) {
        let line = json!({"other": value}).to_string();
        round_trip(&paths(&["a"]), line.as_bytes());
        round_trip(&paths(&["a"]), serde_json::to_string(&json!([[], {"b": value}])).unwrap().as_bytes());
    }

    #[test]
    fn no_line_makes_it_panic(
        bytes in prop::collection::vec(prop::sample::select(br#"{}[]",:\ua1d8.n"#.to_vec()), 0..24),
    ) {
        let turned = stream(&paths(&["a", "n.a"]), &mut Sidecar::default(), &bytes);
        let strict = str::from_utf8(&bytes).ok().map(|text| serde_json::from_str::<Value>(text).is_ok());
        if let Err(error) = turned && strict == Some(true) {
            prop_assert!(!error.to_string().contains("not valid JSON"), "{}", error);
        }
    }
}
