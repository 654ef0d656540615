//! Holds: the bucket, to read; tokens, out of the application's database. Lacks: KMS, and a sidecar that would answer.
//!
//! Tries: to find values and tokens in what lies there; to open records with the tokens and whatever could be a data key:
//! every 32 bytes in a row of every object; to guess sessions by the names of their objects, also with each of those for
//! the index key. Stopped by: data keys and index keys that lie there wrapped by KMS alone, and names that do not lead back
//! to tokens.

use std::collections::{BTreeMap, HashSet};

use lunasec_core::ids::Locator;
use lunasec_tests::{apart::grant, aws::Cloud};

use crate::{
    attack::{End, OWN, SECRET, decide},
    storage::{
        Pod, bytes_of, cloud, get, guessed_session, guessed_under, objects, open, pod, value_of,
    },
};

/// With the victim's token, and some of others.
fn used() -> (Cloud, Pod, String) {
    let cloud = cloud();
    let pod = pod(&cloud, "");
    let token = pod.tokenize(SECRET);
    for _ in 0..3 {
        pod.tokenize(OWN);
    }
    assert!(get(&cloud, &value_of(&token)).len() > SECRET.len());
    (cloud, pod, token)
}

#[test]
fn every_window_of_every_object_is_tried_as_a_data_key() {
    let (cloud, _pod, token) = used();
    let (objects, name) = (objects(&cloud), value_of(&token));
    assert!(objects.keys().any(|name| name.starts_with("k/default/")), "there is no keyring");
    let windows: HashSet<&[u8]> = objects.values().flat_map(|bytes| bytes.windows(32)).collect();
    assert!(windows.len() > 300, "{} is too few", windows.len());
    let (record, token) = (&objects[&name], bytes_of(&token));
    let found = windows.iter().find_map(|key| open(&name, record, &[key, &token]));
    decide(
        "wrapped-data-keys",
        &End::found(found, "no window opens it"),
        SECRET,
        "no window opens it",
    );
}

/// Whether an object holds one of these, or its name does.
fn search(objects: &BTreeMap<String, Vec<u8>>, wanted: &[&[u8]]) -> Option<String> {
    let holds = |bytes: &[u8]| {
        wanted.iter().any(|wanted| bytes.windows(wanted.len()).any(|it| it == *wanted))
    };
    let found = objects.iter().find(|(name, bytes)| holds(name.as_bytes()) || holds(bytes));
    found.map(|(name, _)| name.clone())
}

#[test]
fn values_and_tokens_are_searched_for() {
    let (cloud, _pod, token) = used();
    let digits = token["lunasec-".len()..].replace('-', "");
    let wanted: [&[u8]; 4] =
        [SECRET.as_bytes(), token.as_bytes(), &bytes_of(&token), digits.as_bytes()];
    let end = End::found(search(&objects(&cloud), &wanted), "none is there");
    decide("sealed-values", &end, &value_of(&token), "none is there");
}

const SESSION: &str = "alice@example.com";

/// What lies there once a session was granted something, and its tag, which is the name of its object.
fn with_a_session() -> (BTreeMap<String, Vec<u8>>, Vec<Vec<u8>>) {
    let (cloud, pod, token) = used();
    grant(&pod, SESSION, &[&token]);
    let objects = objects(&cloud);
    let tags = objects.keys().filter_map(|name| Locator::parse(name.strip_prefix("s/default/")?));
    let tags: Vec<_> = tags.map(|tag| tag.0.to_vec()).collect();
    assert_eq!(tags.len(), 1);
    (objects, tags)
}

#[test]
fn sessions_are_guessed() {
    let (_objects, tags) = with_a_session();
    let end = End::found(guessed_session(&tags, SESSION), "no guess fits");
    decide("index-key-in-the-tag", &end, SESSION, "no guess fits");
}

#[test]
fn every_window_of_every_object_is_tried_as_an_index_key() {
    let (objects, tags) = with_a_session();
    assert!(objects.contains_key("k/default/index"), "there is no index key");
    let windows: HashSet<&[u8]> = objects.values().flat_map(|bytes| bytes.windows(32)).collect();
    assert!(windows.len() > 300, "{} is too few", windows.len());
    let end = End::found(guessed_under(&tags, SESSION, windows), "no window fits");
    decide("wrapped-data-keys", &end, SESSION, "no window fits");
}
