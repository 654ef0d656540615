//! Replays vectors.json, which vectors.py computed without any of this crate's code.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy.toml allows it in #[test] functions, but not in their helpers"
)]

use std::collections::HashSet;

use lunasec_core::{
    aead, derive,
    envelope::{self, Fresh, Stamp, Subject},
    grant::{self, Action, Forged, Generation, SessionState},
    ids::{KeyId, Namespace, PutId, Session},
    record::{ASSOCIATED_LEN, HEADER_LEN, Kind, OVERHEAD},
    secret::DataKey,
    token::Token,
};
use serde::Deserialize;

/// Bytes that JSON spells in hexadecimal.
#[derive(Deserialize, PartialEq, Eq, Hash, Clone)]
#[serde(try_from = "String")]
struct Hex(Vec<u8>);

impl TryFrom<String> for Hex {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.as_bytes().chunks(2).map(|pair| {
            let pair = str::from_utf8(pair).map_err(|error| error.to_string())?;
            u8::from_str_radix(pair, 16).map_err(|error| error.to_string())
        });
        digits.collect::<Result<_, _>>().map(Self)
    }
}

impl Hex {
    fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap()
    }

    fn key(&self) -> DataKey {
        DataKey::from_slice(&self.0).unwrap()
    }
}

#[derive(Deserialize)]
struct Vectors {
    locators: Vec<LocatorVector>,
    record_keys: Vec<KeyVector>,
    session_tags: Vec<TagVector>,
    session_objects: Vec<SessionVector>,
    grants: Vec<GrantVector>,
    records: Vec<RecordVector>,
}

#[derive(Deserialize)]
struct About {
    token: String,
    namespace: String,
    kind: String,
    extra: Hex,
}

#[derive(Deserialize)]
struct LocatorVector {
    #[serde(flatten)]
    about: About,
    locator: Hex,
}

#[derive(Deserialize)]
struct KeyVector {
    #[serde(flatten)]
    about: About,
    data_key: Hex,
    key: Hex,
    commitment: Hex,
}

#[derive(Deserialize)]
struct TagVector {
    index_key: Hex,
    namespace: String,
    session: String,
    tag: Hex,
}

#[derive(Deserialize)]
struct SessionVector {
    index_key: Hex,
    namespace: String,
    session: String,
    generations: Vec<(Hex, u64)>,
    until: u64,
    revokes: Vec<(Hex, u64)>,
    tag: Hex,
    mac: Hex,
    object: Hex,
}

#[derive(Deserialize)]
struct GrantVector {
    index_key: Hex,
    session: String,
    action: String,
    record: RecordVector,
}

#[derive(Deserialize)]
struct RecordVector {
    name: String,
    #[serde(flatten)]
    about: About,
    data_key: Hex,
    epoch: u32,
    generation: u16,
    tombstone: bool,
    created_at: u64,
    expires_at: Option<u64>,
    put_id: Hex,
    nonce: Hex,
    plaintext: Hex,
    locator: Hex,
    associated: Hex,
    record: Hex,
}

impl About {
    fn token(&self) -> Token {
        Token::parse(&self.token).unwrap()
    }

    fn namespace(&self) -> Namespace {
        Namespace::parse(&self.namespace).unwrap()
    }

    fn kind(&self) -> Kind {
        match self.kind.as_str() {
            "value" => Kind::Value,
            "metadata" => Kind::Metadata,
            "grant" => Kind::Grant,
            "audit" => Kind::Audit,
            other => panic!("no such kind: {other}"),
        }
    }

    fn locator(&self) -> [u8; 32] {
        derive::locator(&self.token(), &self.namespace(), self.kind(), &self.extra.0).0
    }

    fn keys(&self, data_key: &Hex) -> derive::RecordKeys {
        let (token, namespace) = (self.token(), self.namespace());
        derive::record_keys(&data_key.key(), &token, &namespace, self.kind(), &self.extra.0)
    }

    fn subject(&self) -> Subject {
        Subject::new(self.token(), self.namespace(), self.kind(), &self.extra.0)
    }
}

impl SessionVector {
    fn namespace(&self) -> Namespace {
        Namespace::parse(&self.namespace).unwrap()
    }

    fn tag(&self) -> derive::SessionTag {
        let session = Session::parse(&self.session).unwrap();
        derive::session_tag(&self.index_key.key(), &self.namespace(), &session)
    }

    /// What the object of another vector says, taken for this one's.
    fn open(&self, object: &Hex) -> Result<SessionState, Forged> {
        let key = self.index_key.key();
        SessionState::open(&key, &self.namespace(), &self.tag(), &object.0)
    }
}

impl RecordVector {
    fn key_id(&self) -> KeyId {
        KeyId { epoch: self.epoch, generation: self.generation }
    }

    fn seal(&self, plaintext: &[&[u8]]) -> Vec<u8> {
        let fresh = Fresh { nonce: self.nonce.array(), put_id: PutId(self.put_id.array()) };
        let stamp = Stamp {
            tombstone: self.tombstone,
            created_at: self.created_at,
            expires_at: self.expires_at,
        };
        let (subject, key) = (self.about.subject(), self.data_key.key());
        envelope::seal(&subject, self.key_id(), &key, stamp, &fresh, plaintext).unwrap()
    }
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

/// Every kind, each with and without extra.
fn assert_covers_every_kind<'a>(all: impl Iterator<Item = &'a About>) {
    let seen: HashSet<_> = all.map(|about| (about.kind(), about.extra.0.is_empty())).collect();
    assert_eq!(seen.len(), 8);
}

#[test]
fn locators() {
    let all = vectors().locators;
    assert_covers_every_kind(all.iter().map(|vector| &vector.about));
    for vector in &all {
        assert_eq!(vector.about.locator(), vector.locator.array());
        assert_eq!(vector.about.subject().locator().0, vector.locator.array());
    }
    let distinct: HashSet<_> = all.iter().map(|vector| &vector.locator).collect();
    assert_eq!(distinct.len(), all.len());
}

#[test]
fn record_keys_and_commitments() {
    let all = vectors().record_keys;
    assert_covers_every_kind(all.iter().map(|vector| &vector.about));
    for vector in &all {
        let keys = vector.about.keys(&vector.data_key);
        assert_eq!(*keys.key, vector.key.array());
        assert_eq!(keys.commitment, vector.commitment.array());
    }
    let distinct: HashSet<_> =
        all.iter().flat_map(|vector| [&vector.key, &vector.commitment]).collect();
    assert_eq!(distinct.len(), 2 * all.len());
}

#[test]
fn session_tags() {
    let all = vectors().session_tags;
    for vector in &all {
        let namespace = Namespace::parse(&vector.namespace).unwrap();
        let session = Session::parse(&vector.session).unwrap();
        let tag = derive::session_tag(&vector.index_key.key(), &namespace, &session);
        assert_eq!(tag.0, vector.tag.array());
    }
    let distinct: HashSet<_> = all.iter().map(|vector| &vector.tag).collect();
    assert_eq!((all.len(), distinct.len()), (12, 12));
}

#[test]
fn session_objects_are_sealed_byte_for_byte_and_open_as_their_own() {
    let all = vectors().session_objects;
    for vector in &all {
        let (tag, key) = (vector.tag(), vector.index_key.key());
        assert_eq!(tag.0, vector.tag.array());
        let (signed, mac) = vector.object.0.split_at(vector.object.0.len() - vector.mac.0.len());
        assert_eq!(mac, vector.mac.0);
        assert_eq!(
            derive::session_mac(&key, &vector.namespace(), &tag, signed),
            vector.mac.array()
        );
        let new = SessionState::new(vector.until);
        let revoked =
            vector.revokes.iter().fold(new, |state, (id, at)| state.revoke(id.array(), *at));
        let state = vector.generations.iter().fold(revoked, |state, (generation, at)| {
            state.begin(Generation(generation.array()), *at)
        });
        assert_eq!(state.seal(&key, &vector.namespace(), &tag), vector.object.0);
        assert_eq!(SessionState::peek_until(&vector.object.0), Some(vector.until));
        assert!(vector.open(&vector.object) == Ok(state));
        for other in &all {
            let own = (&other.index_key, &other.tag) == (&vector.index_key, &vector.tag);
            assert_eq!(vector.open(&other.object).is_ok(), own);
        }
    }
    let distinct: HashSet<_> = all.iter().map(|vector| &vector.mac).collect();
    assert_eq!((all.len(), distinct.len()), (24, 24));
}

/// The extra of a grant is its session's tag and the action, and what it seals is the generation.
#[test]
fn grants_are_named_and_sealed_byte_for_byte() {
    let all = vectors().grants;
    for vector in &all {
        let record = &vector.record;
        let session = Session::parse(&vector.session).unwrap();
        let tag = derive::session_tag(&vector.index_key.key(), &record.about.namespace(), &session);
        let action = Action::parse(&vector.action).unwrap();
        let extra = grant::extra(&tag, action);
        assert_eq!((&extra, record.about.kind()), (&record.about.extra.0, Kind::Grant));
        let subject =
            Subject::new(record.about.token(), record.about.namespace(), Kind::Grant, &extra);
        assert_eq!(subject.locator().0, record.locator.array());
        let generation = Generation::from_slice(&record.plaintext.0).unwrap();
        assert_eq!(record.seal(&[&generation.0]), record.record.0);
    }
    let actions: HashSet<_> = all.iter().map(|vector| &vector.action).collect();
    assert_eq!((all.len(), actions.len()), (Action::ALL.len(), Action::ALL.len()));
}

#[test]
fn records_are_sealed_byte_for_byte() {
    let all = vectors().records;
    assert_eq!(all.len(), 12);
    for vector in &all {
        let sealed = vector.seal(&[&vector.plaintext.0]);
        assert_eq!(sealed, vector.record.0, "{}", vector.name);
        let (first, rest) = vector.plaintext.0.split_at(vector.plaintext.0.len() / 3);
        assert_eq!(vector.seal(&[first, &[], rest]), sealed, "{} in parts", vector.name);
        assert_eq!(sealed.len(), OVERHEAD + vector.plaintext.0.len(), "{}", vector.name);
    }
}

#[test]
fn records_open() {
    for vector in &vectors().records {
        let subject = vector.about.subject();
        let opened = envelope::open(&subject, &vector.data_key.key(), &vector.record.0);
        let Ok(opened) = opened else { panic!("{} does not open", vector.name) };
        assert_eq!(*opened.plaintext, vector.plaintext.0, "{}", vector.name);
        assert_eq!(opened.header.kind, vector.about.kind());
        assert_eq!(opened.header.tombstone, vector.tombstone);
        assert_eq!(opened.header.created_at, vector.created_at);
        assert_eq!(opened.header.expires_at, vector.expires_at);
        assert_eq!(opened.header.key_id, vector.key_id());
        assert_eq!(opened.header.put_id.0, vector.put_id.array());
        assert_eq!(subject.locator().0, vector.locator.array());
    }
}

/// The associated data of the vectors, and no other, authenticates the record.
#[test]
fn associated_data_is_as_written_down() {
    for vector in &vectors().records {
        let key = vector.about.keys(&vector.data_key).key;
        let (rest, tag) = vector.record.0.split_at(vector.record.0.len() - aead::TAG_LEN);
        let nonce = rest[ASSOCIATED_LEN..HEADER_LEN].try_into().unwrap();
        let mut plaintext = rest[HEADER_LEN..].to_vec();
        let tag = tag.try_into().unwrap();
        aead::decrypt(&key, nonce, &vector.associated.0, &mut plaintext, tag).unwrap();
        assert_eq!(plaintext, vector.plaintext.0, "{}", vector.name);
    }
}
