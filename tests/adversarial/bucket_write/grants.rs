//! Tries: to make a grant of his own count for a victim's token, or for another action, or the victim's in his session, by
//! copies of their objects; to edit the end of one; to put back one that was taken back; to forge his session's object.
//! Stopped by: keys and associated data that bind a grant to its token, session, action and header; its end, which is
//! looked at; the session's MAC.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use lunasec_core::{
    derive::SessionTag,
    grant::{Action, SessionState, extra},
    ids::Locator,
    record::{Header, Kind},
};
use lunasec_tests::{
    Sidecar,
    apart::{grant, revoke, strict},
    aws::Cloud,
    sidecar::eventually,
};
use serde_json::json;

use crate::{
    attack::{End, OWN, SECRET, decide, reveal_as},
    storage::{cloud, get, name_of, objects, only, pod, put},
};

const MALLORY: &str = "mallory";

/// Grants his own token to his session, and sees by the bucket how that is named.
fn mallorys(cloud: &Cloud, sidecar: &Sidecar) -> (String, SessionTag) {
    let sessions = || -> BTreeSet<String> {
        objects(cloud).into_keys().filter(|name| name.starts_with("s/")).collect()
    };
    let before = sessions();
    let token = sidecar.tokenize(OWN);
    grant(sidecar, MALLORY, &[&token]);
    let new: Vec<String> = sessions().difference(&before).cloned().collect();
    let [session] = &new[..] else { panic!("new are {new:?}") };
    let tag = Locator::parse(session.rsplit('/').next().unwrap()).unwrap();
    (token, SessionTag(tag.0))
}

fn grant_of(token: &str, tag: &SessionTag) -> String {
    name_of(token, Kind::Grant, &extra(tag, Action::Detokenize))
}

fn session_of(tag: &SessionTag) -> String {
    format!("s/default/{}", Locator(tag.0))
}

#[test]
fn copied_to_a_victims_token() {
    let cloud = cloud();
    let first = pod(&cloud, &strict());
    let alices = first.tokenize(SECRET);
    grant(&first, "alice", &[&alices]);
    let (own, tag) = mallorys(&cloud, &first);
    assert_eq!(reveal_as(&first, MALLORY, &alices).code(), "grant_denied");
    put(&cloud, &grant_of(&alices, &tag), &get(&cloud, &grant_of(&own, &tag)));
    let second = pod(&cloud, &strict());
    assert_eq!(reveal_as(&second, MALLORY, &own).json()["value"], OWN);
    let end = End::of(&reveal_as(&second, MALLORY, &alices));
    decide("bound-to-its-name", &end, SECRET, "corrupted");
    assert_eq!(reveal_as(&second, "alice", &alices).json()["value"], SECRET);
}

/// Alice has a grant for her token, and Mallory a session with a grant for his; with the tags of both.
fn both() -> (Cloud, String, [SessionTag; 2]) {
    let cloud = cloud();
    let first = pod(&cloud, &strict());
    let alices = first.tokenize(SECRET);
    grant(&first, "alice", &[&alices]);
    let (session, _) = only(&cloud, "s/");
    let tag = Locator::parse(session.rsplit('/').next().unwrap()).unwrap();
    let (_, mallorys) = mallorys(&cloud, &first);
    assert_eq!(reveal_as(&first, MALLORY, &alices).code(), "grant_denied");
    (cloud, alices, [SessionTag(tag.0), mallorys])
}

/// The victim's own grant, for the same token.
#[test]
fn copied_from_the_victims_session() {
    let (cloud, alices, [from, to]) = both();
    put(&cloud, &grant_of(&alices, &to), &get(&cloud, &grant_of(&alices, &from)));
    let second = pod(&cloud, &strict());
    let end = End::of(&reveal_as(&second, MALLORY, &alices));
    decide("session-of-a-grant", &end, SECRET, "corrupted");
    assert_eq!(reveal_as(&second, "alice", &alices).json()["value"], SECRET);
}

/// The same, with the session's object, so that its generation counts in his.
#[test]
fn copied_with_the_victims_session() {
    let (cloud, alices, [from, to]) = both();
    put(&cloud, &grant_of(&alices, &to), &get(&cloud, &grant_of(&alices, &from)));
    put(&cloud, &session_of(&to), &get(&cloud, &session_of(&from)));
    let second = pod(&cloud, &strict());
    let end = End::of(&reveal_as(&second, MALLORY, &alices));
    decide("session-in-its-mac", &end, SECRET, "corrupted");
    assert_eq!(reveal_as(&second, "alice", &alices).json()["value"], SECRET);
}

/// He may read what is beside the value.
#[test]
fn copied_from_metadata_to_detokenize() {
    let cloud = cloud();
    let first = pod(&cloud, &strict());
    let alices = first.tokenize(SECRET);
    let (_, tag) = mallorys(&cloud, &first);
    let body = json!({ "session": MALLORY, "tokens": [alices], "actions": ["metadata"] });
    assert_eq!(first.post("/v1/grants/create", &body).status, 200);
    assert_eq!(reveal_as(&first, MALLORY, &alices).code(), "grant_denied");
    let held = get(&cloud, &name_of(&alices, Kind::Grant, &extra(&tag, Action::Metadata)));
    put(&cloud, &grant_of(&alices, &tag), &held);
    let end = End::of(&reveal_as(&pod(&cloud, &strict()), MALLORY, &alices));
    decide("extra-of-a-grant", &end, SECRET, "corrupted");
}

/// Waits until the end that stands in a grant is over.
fn outlive(grant: &[u8]) {
    let ends = Header::parse(grant).unwrap().expires_at.unwrap();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    eventually("the grant's time is over", || now() > u128::from(ends));
}

#[test]
fn with_an_edited_end() {
    const END: std::ops::Range<usize> = 12..20;
    let cloud = cloud();
    let first = pod(&cloud, &strict());
    let (_, tag) = mallorys(&cloud, &first);
    let alices = first.tokenize(SECRET);
    let body = json!({ "session": MALLORY, "tokens": [alices], "expires_in": "100ms" });
    assert_eq!(first.post("/v1/grants/create", &body).status, 200);
    let mut held = get(&cloud, &grant_of(&alices, &tag));
    outlive(&held);
    assert_eq!(reveal_as(&first, MALLORY, &alices).code(), "grant_expired");
    let later = Header::parse(&held).unwrap().expires_at.unwrap() + 3_600_000;
    held[END].copy_from_slice(&later.to_be_bytes());
    assert_eq!(Header::parse(&held).unwrap().expires_at, Some(later));
    put(&cloud, &grant_of(&alices, &tag), &held);
    let end = End::of(&reveal_as(&pod(&cloud, &strict()), MALLORY, &alices));
    decide("authenticated-header", &end, SECRET, "corrupted");
}

/// Mallory was granted the victim's token for a moment; the grant was taken back, and he has a copy.
fn taken_back(cloud: &Cloud, expires_in: &str) -> (String, String, Vec<u8>) {
    let first = pod(cloud, &strict());
    let (_, tag) = mallorys(cloud, &first);
    let alices = first.tokenize(SECRET);
    let body = json!({ "session": MALLORY, "tokens": [alices], "expires_in": expires_in });
    assert_eq!(first.post("/v1/grants/create", &body).status, 200);
    let name = grant_of(&alices, &tag);
    let copy = get(cloud, &name);
    assert_eq!(revoke(&first, MALLORY, Some(&[&alices])), 1);
    assert_eq!(reveal_as(&first, MALLORY, &alices).code(), "grant_denied");
    (alices, name, copy)
}

#[test]
fn put_back_after_its_end() {
    let cloud = cloud();
    let (alices, name, copy) = taken_back(&cloud, "5s");
    outlive(&copy);
    put(&cloud, &name, &copy);
    let end = End::of(&reveal_as(&pod(&cloud, &strict()), MALLORY, &alices));
    decide("end-of-a-grant", &end, SECRET, "grant_expired");
}

/// He was granted two tokens one after the other, and noted his session's generation each time; after all was taken back
/// he writes an object that has both. An older object that is put back has one of them; both never counted at one time,
/// and no object of his lasted as long.
#[test]
fn made_to_count_together_by_a_forged_session() {
    const SECOND: &str = "another value, of Alice";
    const VERSION: usize = 1;
    const HEAD: usize = 10;
    const GENERATION: usize = 24;
    const MAC: usize = 32;
    let cloud = cloud();
    let first = pod(&cloud, &strict());
    let (_, tag) = mallorys(&cloud, &first);
    revoke(&first, MALLORY, None);
    let granted = [SECRET, SECOND].map(|value| {
        let token = first.tokenize(value);
        grant(&first, MALLORY, &[&token]);
        let seen = get(&cloud, &session_of(&tag));
        // Behind the revokes there is one generation, the one that counts.
        let noted = seen[..seen.len() - MAC].last_chunk::<GENERATION>().unwrap().to_vec();
        revoke(&first, MALLORY, None);
        (token, noted)
    });
    let before = get(&cloud, &session_of(&tag));
    for (token, noted) in &granted {
        assert_eq!(reveal_as(&first, MALLORY, token).code(), "grant_denied");
        assert!(!before.windows(GENERATION).any(|it| it == noted), "it was not taken back");
    }
    let later = SessionState::peek_until(&before).unwrap() + 86_400_000;
    let forged = [
        &before[..VERSION],
        &later.to_be_bytes(),
        &[0],
        &granted[0].1,
        &granted[1].1,
        &[0x66; MAC],
    ]
    .concat();
    assert_eq!(forged.len(), HEAD + 2 * GENERATION + MAC);
    put(&cloud, &session_of(&tag), &forged);
    let second = pod(&cloud, &strict());
    let ends = granted.map(|(token, _)| End::of(&reveal_as(&second, MALLORY, &token)));
    let prize = format!("{SECRET}, {SECOND}");
    decide("mac-of-a-session", &End::of_each(ends), &prize, "corrupted");
}

/// What is not defended, in the words of CRYPTOGRAPHY.md.
mod stated {
    use super::*;

    #[test]
    fn a_grant_that_was_taken_back_is_put_back_until_its_end() {
        let cloud = cloud();
        let (alices, name, copy) = taken_back(&cloud, "1h");
        assert_eq!(reveal_as(&pod(&cloud, &strict()), MALLORY, &alices).code(), "grant_denied");
        put(&cloud, &name, &copy);
        assert_eq!(reveal_as(&pod(&cloud, &strict()), MALLORY, &alices).json()["value"], SECRET);
    }

    #[test]
    fn an_older_object_of_a_session_makes_its_grants_count_again() {
        let cloud = cloud();
        let first = pod(&cloud, &strict());
        let (_, tag) = mallorys(&cloud, &first);
        let alices = first.tokenize(SECRET);
        grant(&first, MALLORY, &[&alices]);
        let older = get(&cloud, &session_of(&tag));
        revoke(&first, MALLORY, None);
        assert_eq!(reveal_as(&pod(&cloud, &strict()), MALLORY, &alices).code(), "grant_denied");
        put(&cloud, &session_of(&tag), &older);
        assert_eq!(reveal_as(&pod(&cloud, &strict()), MALLORY, &alices).json()["value"], SECRET);
    }
}
