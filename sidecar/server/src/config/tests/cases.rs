//! Files of cases: what is read, and every mistake.

use lunasec_core::{
    ids::Namespace,
    policy::{Caller, Operation},
};

use super::*;
use crate::config::cases::CASES;

const CASES_EXAMPLE: &str = include_str!("../example-cases.toml");

fn wrong(text: &str) -> Vec<String> {
    let mistakes = Case::parse(text).unwrap_err();
    mistakes.iter().map(|mistake| mistake.render("f").replace("\n    ", " / ")).collect()
}

#[test]
fn the_example_has_every_field() {
    let cases = Case::parse(CASES_EXAMPLE).unwrap();
    let second = Case {
        name: "the shop stays in its own namespace".into(),
        caller: Caller { uid: 10001, gid: 10001, pid: None },
        operation: Operation::Detokenize,
        namespace: Some(Namespace::parse("payroll").unwrap()),
        session: true,
        jwt: Jwt::Same,
        purpose: true,
        expect: Verdict::Deny,
        client: None,
    };
    assert_eq!(cases[1], second);
    let first = Case {
        name: "the shop reveals".into(),
        namespace: None,
        session: false,
        jwt: Jwt::None,
        purpose: false,
        expect: Verdict::Allow,
        client: Some("shop".into()),
        ..second
    };
    assert_eq!((cases.len(), &cases[0]), (3, &first));
    for field in CASES.fields {
        assert!(CASES_EXAMPLE.contains(&format!("\n{} = ", field.name)), "{}", field.full());
    }
}

#[test]
fn every_operation_can_be_asked_about() {
    for operation in Operation::ALL {
        let word = operation.as_str();
        let text = format!(
            "[[cases]]\nname = \"a\"\nuid = 1\ngid = 1\noperation = {word:?}\nexpect = \"deny\"\n"
        );
        assert_eq!(Case::parse(&text).unwrap()[0].operation, operation);
    }
}

#[test]
fn a_file_without_cases_is_told_what_to_write() {
    let expected = "f: there is no [[cases]] / write: /   [[cases]] /   name = \"the shop reveals\" /   uid = 10001 /   gid = 10001 /   operation = \"detokenize\" /   expect = \"allow\"";
    assert_eq!(wrong(""), [expected]);
    assert_eq!(wrong("cases = []\n"), [expected]);
    assert_eq!(
        wrong("[listen]\n")[0],
        "f:1:1: there is no section [listen] / remove it; the sections are [[cases]]"
    );
}

#[test]
fn every_mistake_of_a_case() {
    let text = r#"
[[cases]]
name = "a"
uid = 1
operation = "detokenise"
expect = "yes"
namespace = "A"
session = 1
clinet = "b"
[[cases]]
name = "a"
uid = -1
gid = 1
operation = "status"
expect = deny
"#;
    assert_eq!(
        wrong(text),
        [
            "f:2:1: cases.gid is missing / write gid = 10001",
            "f:5:13: cases.operation is \"detokenise\", which is not one of \"tokenize\", \"detokenize\", \"metadata\", \"grants\", \"delete\", \"status\", \"sweep\", \"canaries\" / write operation = \"detokenize\"",
            "f:6:10: cases.expect is \"yes\", which is not one of \"allow\", \"deny\" / write expect = \"allow\"",
            "f:7:13: cases.namespace is \"A\", which is no namespace / write namespace = \"default\": 1 to 63 characters of a-z, 0-9 and -, the first a letter or digit",
            "f:8:11: cases.session is a whole number, which should be true or false / write session = false",
            "f:9:1: [[cases]] has no field clinet / did you mean client?",
            "f:11:8: \"a\" is the name of another, at line 3 / give each a name of its own",
            "f:12:7: cases.uid is -1, which is less than nothing / write uid = 10001, 0 or more",
            "f:15:10: this is not TOML: string values must be quoted, expected literal string / write expect = \"allow\"",
        ]
    );
}
