//! Tries: to move a victim's record to the name of his own token, or to swap the two, and to reveal his own; to edit an
//! expiry; to put an old record back; to forge one. Stopped by: keys and associated data that bind a record to its token,
//! name and header; the expiry, which is looked at whenever it opens; the tag; the wrapping of data keys.

use std::time::{SystemTime, UNIX_EPOCH};

use lunasec_core::{
    envelope::{self, Fresh, Stamp, Subject},
    ids::{KeyId, Millis, Namespace, PutId},
    record::{HEADER_LEN, Header, Kind},
    secret::DataKey,
    token::Token,
};
use lunasec_tests::sidecar::eventually;
use serde_json::json;

use crate::{
    attack::{End, OWN, SECRET, decide, tokenize},
    storage::{cloud, get, joined, objects, only, pod, put, unjoined, value_of},
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
    let (alices, mallorys) = (value_of(&first.tokenize(SECRET)), first.tokenize(OWN));
    let (one, other) = (get(&cloud, &alices), get(&cloud, &value_of(&mallorys)));
    put(&cloud, &alices, &other);
    put(&cloud, &value_of(&mallorys), &one);
    let end = End::of(&pod(&cloud, "").detokenize(&mallorys));
    decide("bound-to-its-name", &end, SECRET, "corrupted");
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
