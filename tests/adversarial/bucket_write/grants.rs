//! Tries: to make a grant of his own count for a victim's token, by a copy of its object or of his session's; to put back
//! a grant that was taken back. Stopped by: keys and associated data that bind a grant to its token, session and action;
//! its end, which is looked at; the session's MAC.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use lunasec_core::{
    derive::SessionTag,
    grant::{Action, extra},
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
    storage::{cloud, get, name_of, objects, pod, put},
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
    let ends = Header::parse(&copy).unwrap().expires_at.unwrap();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    eventually("the grant's time is over", || now() > u128::from(ends));
    put(&cloud, &name, &copy);
    let end = End::of(&reveal_as(&pod(&cloud, &strict()), MALLORY, &alices));
    decide("end-of-a-grant", &end, SECRET, "grant_expired");
}

/// He noted his session's generation while he was granted something; after all was taken back he writes an object that has
/// it again, and no revokes.
#[test]
fn made_to_count_again_by_a_forged_session() {
    const VERSION_AND_UNTIL: usize = 9;
    const GENERATION: usize = 24;
    const MAC: usize = 32;
    let cloud = cloud();
    let first = pod(&cloud, &strict());
    let (_, tag) = mallorys(&cloud, &first);
    let alices = first.tokenize(SECRET);
    grant(&first, MALLORY, &[&alices]);
    let seen = get(&cloud, &session_of(&tag));
    let noted = seen[VERSION_AND_UNTIL + 1..][..GENERATION].to_vec();
    revoke(&first, MALLORY, None);
    assert_eq!(reveal_as(&first, MALLORY, &alices).code(), "grant_denied");
    let now = get(&cloud, &session_of(&tag));
    assert!(!now.windows(GENERATION).any(|it| it == noted), "its generation was not taken back");
    // Another session's object is none of his, and its generation not that of his grants.
    let another = pod(&cloud, &strict());
    grant(&another, "alice", &[&alices]);
    let mut sessions = objects(&cloud).into_iter().filter(|(name, _)| name.starts_with("s/"));
    let alices_session = sessions.find(|(name, _)| *name != session_of(&tag)).unwrap().1;
    put(&cloud, &session_of(&tag), &alices_session);
    assert_ne!(reveal_as(&pod(&cloud, &strict()), MALLORY, &alices).status, 200);
    let forged = [&now[..VERSION_AND_UNTIL], &[0], &noted, &[0x66; MAC]].concat();
    put(&cloud, &session_of(&tag), &forged);
    let end = End::of(&reveal_as(&pod(&cloud, &strict()), MALLORY, &alices));
    decide("mac-of-a-session", &end, SECRET, "corrupted");
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
