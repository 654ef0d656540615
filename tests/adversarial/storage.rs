//! What is in the hands of whoever has a bucket, or a KMS key: clients of both, and the published formats.

use std::{collections::BTreeMap, ops::Deref, path::Path};

use aws_sdk_kms::primitives::Blob;
use lunasec_core::{
    aead,
    derive::{self, Extractor, length_prefixed},
    ids::{Locator, Namespace},
    record::{ASSOCIATED_LEN, HEADER_LEN, Kind},
    token::Token,
};
use lunasec_tests::{
    Sidecar,
    aws::{Cloud, Engine, wait},
};
use ring::{digest, hmac};
use tempfile::TempDir;

/// A bucket and a KMS key of one attack.
pub(crate) fn cloud() -> Cloud {
    wait(Cloud::new(Engine::Moto))
}

/// A sidecar that has nothing in memory, and no state on its disk. Everybody's pods are such.
pub(crate) struct Pod {
    sidecar: Sidecar,
    _directory: TempDir,
}

impl Deref for Pod {
    type Target = Sidecar;

    fn deref(&self) -> &Sidecar {
        &self.sidecar
    }
}

/// Starts one.
pub(crate) fn pod(cloud: &Cloud, extra: &str) -> Pod {
    pod_with(cloud, |_| extra.into())
}

/// The same, with what depends on its directory.
pub(crate) fn pod_with(cloud: &Cloud, extra: impl FnOnce(&Path) -> String) -> Pod {
    let directory = tempfile::tempdir().unwrap();
    let extra = extra(directory.path());
    Pod { sidecar: cloud.sidecar(directory.path(), &extra), _directory: directory }
}

/// Everything in the bucket, by names as the formats have them.
pub(crate) fn objects(cloud: &Cloud) -> BTreeMap<String, Vec<u8>> {
    let prefix = cloud.place.prefix.len();
    wait(cloud.objects())
        .into_iter()
        .map(|(key, bytes)| (key[prefix..].to_owned(), bytes))
        .collect()
}

/// What is below a prefix, and its only object there.
pub(crate) fn only(cloud: &Cloud, prefix: &str) -> (String, Vec<u8>) {
    let mut found = objects(cloud).into_iter().filter(|(name, _)| name.starts_with(prefix));
    let only = found.next().unwrap_or_else(|| panic!("nothing is below {prefix}"));
    assert!(found.next().is_none(), "more than one object is below {prefix}");
    only
}

pub(crate) fn get(cloud: &Cloud, name: &str) -> Vec<u8> {
    objects(cloud).remove(name).unwrap_or_else(|| panic!("{name} is not there"))
}

/// Writes what an attacker wants there, and looks whether it is.
pub(crate) fn put(cloud: &Cloud, name: &str, bytes: &[u8]) {
    let key = format!("{}{name}", cloud.place.prefix);
    let put =
        cloud.s3.put_object().bucket(&cloud.place.bucket).key(key).body(bytes.to_vec().into());
    wait(put.send()).unwrap();
    assert_eq!(get(cloud, name), bytes);
}

/// Where a token's record lies. It takes the token and nothing else.
pub(crate) fn name_of(token: &str, kind: Kind, extra: &[u8]) -> String {
    name_in(&Namespace::default(), token, kind, extra)
}

/// Where it would lie in a namespace.
pub(crate) fn name_in(namespace: &Namespace, token: &str, kind: Kind, extra: &[u8]) -> String {
    let token = Token::parse(token).unwrap();
    format!("r/{}/{}", namespace.as_str(), derive::locator(&token, namespace, kind, extra))
}

/// Where its value lies.
pub(crate) fn value_of(token: &str) -> String {
    name_of(token, Kind::Value, &[])
}

/// The 16 bytes of a token.
pub(crate) fn bytes_of(token: &str) -> [u8; 16] {
    *Token::parse(token).unwrap().expose()
}

/// Opens the record of a value with whatever stands for `K ‖ T`, as the format says. Its commitment is not looked at:
/// whoever attacks takes what decrypts.
pub(crate) fn open(name: &str, record: &[u8], key_and_token: &[&[u8]]) -> Option<String> {
    let (namespace, digits) = name.strip_prefix("r/")?.split_once('/')?;
    let locator = Locator::parse(digits)?;
    let mut key = [0; 32];
    let info = length_prefixed(&[b"key", namespace.as_bytes(), Kind::Value.label(), b""]);
    let extracted = Extractor::new(b"lunasec/v1/seal").extract(key_and_token);
    extracted.expand(&[&info], &mut key).ok()?;
    let (rest, tag) = record.split_last_chunk()?;
    let nonce = rest.get(ASSOCIATED_LEN..HEADER_LEN)?.try_into().ok()?;
    let mut plaintext = rest.get(HEADER_LEN..)?.to_vec();
    let subject = length_prefixed(&[namespace.as_bytes(), &locator.0]);
    let associated = [&record[..ASSOCIATED_LEN], &subject].concat();
    aead::decrypt(&key, nonce, &associated, &mut plaintext, tag).ok()?;
    // Its first byte says how it is written in JSON.
    String::from_utf8(plaintext.split_off(1)).ok()
}

/// The parts of a wrapped key: the name of a KMS key, and what that made.
pub(crate) fn unjoined(wrapped: &[u8]) -> (&str, &[u8]) {
    let (length, rest) = wrapped[1..].split_first_chunk().unwrap();
    let (arn, blob) = rest.split_at(u16::from_be_bytes(*length).into());
    (std::str::from_utf8(arn).unwrap(), blob)
}

/// The same put together.
pub(crate) fn joined(version: u8, arn: &str, blob: &[u8]) -> Vec<u8> {
    let length = u16::try_from(arn.len()).unwrap().to_be_bytes();
    [&[version][..], &length, arn.as_bytes(), blob].concat()
}

/// Has KMS unwrap a key, with the context that belongs to an object's name, or else with one that says nothing.
pub(crate) fn unwrap(cloud: &Cloud, name: &str, wrapped: &[u8]) -> Option<[u8; 32]> {
    let (arn, blob) = unjoined(wrapped);
    let [_, namespace, key] = name.split('/').collect::<Vec<_>>().try_into().ok()?;
    let purpose = if key == "index" { "index" } else { "data" };
    [[namespace, key], ["any", "any"]].into_iter().find_map(|[namespace, key]| {
        let request = cloud.kms.decrypt().key_id(arn).ciphertext_blob(Blob::new(blob));
        let request = request
            .encryption_context("lunasec:namespace", namespace)
            .encryption_context("lunasec:key", key)
            .encryption_context("lunasec:purpose", purpose);
        let answer = wait(request.send()).ok()?;
        answer.plaintext?.as_ref().try_into().ok()
    })
}

/// Some likely names of sessions.
fn guesses(likely: &str) -> [&str; 5] {
    ["bob", "alice", "alice@example.org", likely, "carol@example.com"]
}

/// The first of them whose tag, made without the index key, is one of these.
pub(crate) fn guessed_session(tags: &[Vec<u8>], likely: &str) -> Option<String> {
    let fits = |name: &&str| {
        let message = length_prefixed(&[b"default", name.as_bytes()]);
        let plain = [name.as_bytes(), &message];
        let hashes = plain.map(|it| digest::digest(&digest::SHA256, it).as_ref().to_vec());
        hashes.iter().any(|it| tags.contains(it))
    };
    let hashed = guesses(likely).into_iter().find(fits).map(Into::into);
    hashed.or_else(|| guessed_under(tags, likely, [&[][..], &[0; 32], b"default"]))
}

/// The first of them whose tag under one of these keys is one of these.
pub(crate) fn guessed_under<'a>(
    tags: &[Vec<u8>],
    likely: &str,
    keys: impl IntoIterator<Item = &'a [u8]>,
) -> Option<String> {
    let messages = guesses(likely).map(|name| {
        (name, [name.as_bytes().to_vec(), length_prefixed(&[b"default", name.as_bytes()])])
    });
    keys.into_iter().find_map(|key| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let fits = |message: &Vec<u8>| {
            let made = hmac::sign(&key, message);
            tags.iter().any(|tag| *tag == made.as_ref())
        };
        let found = messages.iter().find(|(_, messages)| messages.iter().any(fits));
        found.map(|(name, _)| (*name).to_owned())
    })
}
