//! Holds: the audit trail's file, and a list of the bucket. Lacks: every key, and the tokens.
//!
//! Tries: to find tokens, values and sessions in it; to guess the names of sessions, which are weak; to find the object
//! that a line is about. Stopped by: a token is there by its audit id, a name of its own; a session by its tag, for which
//! the index key is needed.

use std::{collections::BTreeSet, fs};

use lunasec_tests::{aws::Cloud, sidecar::eventually};
use serde_json::Value;

use crate::{
    attack::{End, SECRET, decide, reveal_as},
    storage::{bytes_of, cloud, guessed_session, objects, pod_with, value_of},
};

const SESSION: &str = "alice@example.com";

/// What is stolen: the lines of a tokenize and a reveal; and what nobody is to find in them.
fn stolen() -> (Cloud, Vec<Value>, String) {
    let cloud = cloud();
    let pod = pod_with(&cloud, |directory| {
        format!("[audit]\nsink = \"file\"\npath = \"{}/audit.jsonl\"\n", directory.display())
    });
    let token = pod.tokenize(SECRET);
    assert_eq!(reveal_as(&pod, SESSION, &token).json()["value"], SECRET);
    let file = pod.directory().join("audit.jsonl");
    let lines = || {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let lines = whole.map(|line| serde_json::from_str(line).unwrap());
        lines.filter(|line: &Value| line.get("op").is_some()).collect::<Vec<_>>()
    };
    eventually("both are written", || lines().len() == 2);
    (cloud, lines(), token)
}

/// Whatever stands in a member of each line, out of hexadecimal digits.
fn members(lines: &[Value], name: &str) -> Vec<Vec<u8>> {
    let digits = lines.iter().filter_map(|line| line[name].as_str());
    let bytes = |digits: &str| -> Vec<u8> {
        let pairs = (0..digits.len() / 2).map(|at| &digits[2 * at..2 * at + 2]);
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    };
    digits.map(bytes).collect()
}

#[test]
fn tokens_values_and_sessions_are_searched_for() {
    let (_cloud, lines, token) = stolen();
    let whole: String = lines.iter().map(ToString::to_string).collect();
    assert!(whole.contains("\"op\":\"detokenize\""), "{whole}");
    for secret in [SECRET, SESSION, &token, &token["lunasec-".len()..]] {
        assert!(!whole.contains(secret), "{secret} is in {whole}");
    }
    // Any 16 bytes of an id may be a token.
    let ids = members(&lines, "token");
    assert_eq!(ids.len(), 2);
    let wanted = bytes_of(&token);
    let found = ids.iter().any(|id| id.windows(16).any(|it| it == wanted));
    let end = End::found(found.then_some(token.clone()), "no id holds it");
    decide("audit-ids", &end, &token, "no id holds it");
}

#[test]
fn sessions_are_guessed() {
    let (_cloud, lines, _token) = stolen();
    let tags = members(&lines, "session");
    assert_eq!(tags.len(), 1);
    let end = End::found(guessed_session(&tags, SESSION), "no guess fits");
    decide("index-key-in-the-tag", &end, SESSION, "no guess fits");
}

/// So that whoever has the list of the bucket as well knows of each object who read it, and when.
#[test]
fn the_objects_of_lines_are_looked_for() {
    let (cloud, lines, token) = stolen();
    let ids: BTreeSet<&str> = lines.iter().filter_map(|line| line["token"].as_str()).collect();
    assert_eq!(ids.len(), 1, "both lines are of one token");
    let names: Vec<String> = objects(&cloud).into_keys().collect();
    let name = value_of(&token);
    assert!(names.contains(&name));
    let found = names.into_iter().find(|name| ids.iter().any(|id| name.contains(id)));
    decide("names-of-audit-ids", &End::found(found, "no object is"), &name, "no object is");
}
