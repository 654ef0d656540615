//! Tries: to move a victim's record to the name of his own token, or to swap the two, and to reveal his own; to move it
//! into a namespace of his own; to edit an expiry; to put an old record back; to forge one. Stopped by: keys and associated
//! data that bind a record to its token, name, namespace and header; the expiry, which is looked at whenever it opens; the
//! tag; the wrapping of data keys.

use std::time::{SystemTime, UNIX_EPOCH};

use lunasec_core::{
    envelope::{self, Fresh, Stamp, Subject},
    ids::{KeyId, Millis, Namespace, PutId},
    record::{HEADER_LEN, Header, Kind},
    secret::DataKey,
    token::Token,
};
use lunasec_tests::{
    apart::{grant, strict},
    sidecar::eventually,
};
use serde_json::json;

use crate::{
    attack::{End, OWN, SECRET, decide, reveal_as, tokenize},
    storage::{cloud, get, joined, name_in, objects, only, pod, put, unjoined, value_of},
};

#[test]
fn moved_to_the_attackers_own_name() {
    let cloud = cloud();
    let first = pod(&cloud, "");
    let (alices, mallorys) = (first.tokenize(SECRET), first.tokenize(OWN));
    put(&cloud, &value_of(&mallorys), &get(&cloud, &value_of(&alices)));
    let second = pod(&cloud, "");
    let end = End::of(&second.detokenize(&mallorys));
    decide("bound-to-its-name", &end, SECRET, "corrupted");
    assert_eq!(second.detokenize(&alices).json()["value"], SECRET);
}

#[test]
fn swapped_with_the_attackers_own() {
    let cloud = cloud();
    let first = pod(&cloud, "");
    let (alices, mallorys) = (first.tokenize(SECRET), first.tokenize(OWN));
    let [one, other] = [&alices, &mallorys].map(|token| get(&cloud, &value_of(token)));
    put(&cloud, &value_of(&alices), &other);
    put(&cloud, &value_of(&mallorys), &one);
    let second = pod(&cloud, "");
    // Alice's token must not give what is his either: that may be the account that is paid.
    let ends = [&alices, &mallorys].map(|token| End::of(&second.detokenize(token)));
    decide("bound-to-its-name", &End::of_each(ends), &format!("{SECRET}, {OWN}"), "corrupted");
}

/// A namespace in which he may reveal without a grant. The victim's records lie in one where he may not.
#[test]
fn moved_into_a_namespace_of_his_own() {
    let cloud = cloud();
    let first = pod(&cloud, &strict());
    let alices = first.tokenize(SECRET);
    assert_eq!(reveal_as(&first, "mallory", &alices).code(), "grant_denied");
    let own = Namespace::parse("mallory").unwrap();
    for (name, bytes) in objects(&cloud) {
        if let Some(key) = name.strip_prefix("k/default/") {
            put(&cloud, &format!("k/mallory/{key}"), &bytes);
        }
    }
    put(&cloud, &name_in(&own, &alices, Kind::Value, &[]), &get(&cloud, &value_of(&alices)));
    let policy = strict().replace("default", "mallory").replace("require_grant = true", "");
    let second = pod(&cloud, &policy);
    let reveal = |namespace: &str| {
        let (headers, body) = ([("lunasec-namespace", namespace)], json!({ "token": alices }));
        second.connect().post_with("/v1/detokenize", &headers, body.to_string().as_bytes())
    };
    assert_eq!(reveal("default").code(), "forbidden");
    decide("bound-to-its-namespace", &End::of(&reveal("mallory")), SECRET, "corrupted");
    grant(&first, "alice", &[&alices]);
    assert_eq!(reveal_as(&first, "alice", &alices).json()["value"], SECRET);
}

/// Waits until the expiry that stands in a record is over.
fn outlive(record: &[u8]) {
    let ends = Header::parse(record).unwrap().expires_at.unwrap();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    eventually("its time is over", || now() > u128::from(ends));
}

#[test]
fn with_an_edited_expiry() {
    let cloud = cloud();
    let first = pod(&cloud, "");
    let token = tokenize(&first, &json!({ "value": SECRET, "expires_in": "100ms" }));
    let mut record = get(&cloud, &value_of(&token));
    outlive(&record);
    assert_eq!(first.detokenize(&token).code(), "expired");
    // 0 is never.
    record[12..20].fill(0);
    assert_eq!(Header::parse(&record).unwrap().expires_at, None);
    put(&cloud, &value_of(&token), &record);
    let end = End::of(&pod(&cloud, "").detokenize(&token));
    decide("authenticated-header", &end, SECRET, "corrupted");
}

#[test]
fn put_back_after_its_expiry() {
    let cloud = cloud();
    let first = pod(&cloud, "");
    let token = tokenize(&first, &json!({ "value": SECRET, "expires_in": "5s" }));
    let record = get(&cloud, &value_of(&token));
    first.delete(&token);
    assert_ne!(get(&cloud, &value_of(&token)), record);
    outlive(&record);
    put(&cloud, &value_of(&token), &record);
    let end = End::of(&pod(&cloud, "").detokenize(&token));
    decide("expiry", &end, SECRET, "expired");
}

/// He knows what is sealed, and wants it to say something else: without its tag, GCM's ciphertext takes the
/// difference of two plaintexts.
#[test]
fn forged_by_the_difference_of_two_values() {
    const BEFORE: &str = "pay to account 1000-0001";
    const AFTER: &str = "pay to account 6666-6666";
    let cloud = cloud();
    let token = pod(&cloud, "").tokenize(BEFORE);
    let mut record = get(&cloud, &value_of(&token));
    // Behind the byte that says how it is written in JSON.
    let sealed = &mut record[HEADER_LEN + 1..];
    for (byte, (before, after)) in sealed.iter_mut().zip(BEFORE.bytes().zip(AFTER.bytes())) {
        *byte ^= before ^ after;
    }
    put(&cloud, &value_of(&token), &record);
    let end = End::of(&pod(&cloud, "").detokenize(&token));
    decide("tag", &end, AFTER, "corrupted");
}

/// He makes a data key, puts it into the keyring as it is, and seals under it and the victim's token.
#[test]
fn forged_under_a_data_key_of_his_own() {
    const FORGED: &str = "DE02 of Mallory";
    let cloud = cloud();
    let token = pod(&cloud, "").tokenize(SECRET);
    let (name, wrapped) = only(&cloud, "k/default/0");
    let last = KeyId::parse(name.rsplit('/').next().unwrap()).unwrap();
    let id = KeyId { generation: last.generation + 1, ..last };
    let key = [0x66; 32];
    put(&cloud, &format!("k/default/{id}"), &joined(wrapped[0], unjoined(&wrapped).0, &key));
    let subject =
        Subject::new(Token::parse(&token).unwrap(), Namespace::default(), Kind::Value, &[]);
    let real = Header::parse(&objects(&cloud)[&value_of(&token)]).unwrap();
    let stamp = Stamp { tombstone: false, created_at: real.created_at as Millis, expires_at: None };
    let fresh = Fresh { nonce: [1; 12], put_id: PutId([2; PutId::LEN]) };
    let key = DataKey::from_slice(&key).unwrap();
    let plaintext: [&[u8]; 2] = [&[0], FORGED.as_bytes()];
    let record = envelope::seal(&subject, id, &key, stamp, &fresh, &plaintext).unwrap();
    put(&cloud, &value_of(&token), &record);
    let end = End::of(&pod(&cloud, "").detokenize(&token));
    decide("wrapped-data-keys", &end, FORGED, "corrupted");
}

/// What is not defended, in the words of CRYPTOGRAPHY.md.
mod stated {
    use super::*;

    #[test]
    fn a_deleted_value_is_put_back_where_it_has_no_expiry() {
        let cloud = cloud();
        let first = pod(&cloud, "");
        let token = first.tokenize(SECRET);
        let record = get(&cloud, &value_of(&token));
        first.delete(&token);
        assert_eq!(pod(&cloud, "").detokenize(&token).code(), "not_found");
        put(&cloud, &value_of(&token), &record);
        assert_eq!(pod(&cloud, "").detokenize(&token).json()["value"], SECRET);
    }
}
