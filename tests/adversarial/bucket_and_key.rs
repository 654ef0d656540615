//! Holds: the bucket, to read, and the KMS key: every data key and index key, unwrapped. Lacks: the tokens.
//!
//! Tries: to open records with the data keys alone, and with whatever the bucket shows in the place of a token. Stopped by:
//! a record key that is made from the token as well, of which no object holds anything.

use lunasec_core::derive::length_prefixed;
use ring::hmac;

use crate::{
    attack::{End, OWN, SECRET, decide, reveal_as},
    storage::{cloud, objects, open, pod, unwrap},
};

#[test]
fn records_are_opened_with_the_data_keys_and_whatever_may_stand_for_a_token() {
    let cloud = cloud();
    let pod = pod(&cloud, "");
    let token = pod.tokenize(SECRET);
    let objects = objects(&cloud);
    let wrapped = objects.iter().filter(|(name, _)| name.starts_with("k/"));
    let keys: Vec<[u8; 32]> =
        wrapped.map(|(name, bytes)| unwrap(&cloud, name, bytes).unwrap()).collect();
    assert!(!keys.is_empty(), "there is no keyring");
    let records: Vec<_> = objects.iter().filter(|(name, _)| name.starts_with("r/")).collect();
    assert_eq!(records.len(), 1);
    let (name, record) = records[0];
    let digits = name.rsplit('/').next().unwrap();
    let named: Vec<u8> = (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    let shown = [&named[..], digits.as_bytes(), record].concat();
    let mut guesses: Vec<&[u8]> = vec![&[], &[0; 16], &[0; 32]];
    guesses.extend(shown.windows(16).chain(shown.windows(32)));
    assert!(guesses.len() > 300);
    let found =
        keys.iter().find_map(|key| guesses.iter().find_map(|it| open(name, record, &[key, it])));
    decide(
        "token-in-the-record-key",
        &End::found(found, "no guess opens it"),
        SECRET,
        "no guess opens it",
    );
    assert_eq!(pod.detokenize(&token).json()["value"], SECRET);
}

/// What is not defended, in the words of CRYPTOGRAPHY.md.
mod stated {
    use super::*;
    use crate::storage::{bytes_of, value_of};

    #[test]
    fn guesses_of_weak_sessions_can_be_tested() {
        let cloud = cloud();
        let pod = pod(&cloud, &lunasec_tests::apart::strict());
        let token = pod.tokenize(OWN);
        lunasec_tests::apart::grant(&pod, "carol", &[&token]);
        assert_eq!(reveal_as(&pod, "carol", &token).json()["value"], OWN);
        let objects = objects(&cloud);
        let index = unwrap(&cloud, "k/default/index", &objects["k/default/index"]).unwrap();
        let key = hmac::Key::new(hmac::HMAC_SHA256, &index);
        let guessed = ["alice", "bob", "carol", "dave"].into_iter().find(|guess| {
            let tag = hmac::sign(&key, &length_prefixed(&[b"default", guess.as_bytes()]));
            let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            objects.contains_key(&format!("s/default/{digits}"))
        });
        assert_eq!(guessed, Some("carol"));
    }

    #[test]
    fn a_token_that_is_shown_meanwhile_opens() {
        let cloud = cloud();
        let pod = pod(&cloud, "");
        let token = pod.tokenize(SECRET);
        let (objects, name) = (objects(&cloud), value_of(&token));
        let wrapped = objects.iter().filter(|(name, _)| name.starts_with("k/"));
        let opened: Vec<_> = wrapped
            .map(|(name, bytes)| unwrap(&cloud, name, bytes).unwrap())
            .filter_map(|key| open(&name, &objects[&name], &[&key, &bytes_of(&token)]))
            .collect();
        assert_eq!(opened, [SECRET]);
    }
}
