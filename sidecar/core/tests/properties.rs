//! What must hold for every record, token and input, beside the fixed vectors.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "clippy.toml allows it in #[test] functions, but not in their helpers"
)]

use std::collections::HashSet;

use lunasec_core::{
    aead, derive,
    envelope::{self, Fresh, OpenError, Opened, Stamp, Subject},
    ids::{KeyId, Namespace, PutId, Session},
    limits,
    record::{ASSOCIATED_LEN, HEADER_LEN, Header, Kind, Malformed, OVERHEAD},
    secret::DataKey,
    token::{InvalidToken, Token},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

const KINDS: [Kind; 4] = [Kind::Value, Kind::Metadata, Kind::Grant, Kind::Audit];
const TOKEN: [u8; 16] = *b"\x00\x11\x22\x33\x44\x55\x46\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
const COMMITMENT: usize = 42;

/// All that a record's keys are made of.
#[derive(Clone, PartialEq, Eq, Debug)]
struct About {
    token: [u8; 16],
    namespace: Namespace,
    kind: Kind,
    extra: Vec<u8>,
    data_key: [u8; 32],
}

/// All that its header says.
#[derive(Clone, Copy, Debug)]
struct Says {
    tombstone: bool,
    created_at: u64,
    expires_at: Option<u64>,
    key_id: KeyId,
    put_id: [u8; 16],
    nonce: [u8; 12],
}

const SAYS: Says = Says {
    tombstone: false,
    created_at: 1_763_942_400_000,
    expires_at: Some(1_763_946_000_000),
    key_id: KeyId { epoch: 29_399_040, generation: 1 },
    put_id: [0x70; 16],
    nonce: [0x90; 12],
};

impl About {
    fn fixed(kind: Kind, extra: &[u8]) -> Self {
        let (token, namespace) = (TOKEN, Namespace::default());
        Self { token, namespace, kind, extra: extra.to_vec(), data_key: [0x4b; 32] }
    }

    fn token(&self) -> Token {
        Token::from_random(self.token)
    }

    fn data_key(&self) -> DataKey {
        DataKey::take(&mut self.data_key.clone())
    }

    fn subject(&self) -> Subject {
        Subject::new(self.token(), self.namespace.clone(), self.kind, &self.extra)
    }

    fn keys(&self) -> derive::RecordKeys {
        let (data_key, token) = (self.data_key(), self.token());
        derive::record_keys(&data_key, &token, &self.namespace, self.kind, &self.extra)
    }

    fn seal(&self, says: &Says, plaintext: &[u8]) -> Vec<u8> {
        let fresh = Fresh { nonce: says.nonce, put_id: PutId(says.put_id) };
        let Says { tombstone, created_at, expires_at, .. } = *says;
        let stamp = Stamp { tombstone, created_at, expires_at };
        let (subject, data_key) = (self.subject(), self.data_key());
        envelope::seal(&subject, says.key_id, &data_key, stamp, &fresh, &[plaintext]).unwrap()
    }

    fn open(&self, record: &[u8]) -> Result<Opened, OpenError> {
        envelope::open(&self.subject(), &self.data_key(), record)
    }

    /// Why it does not open. An opened record is a failure of the test.
    fn refusal(&self, record: &[u8]) -> OpenError {
        self.open(record).err().unwrap()
    }
}

fn samples() -> [(About, Vec<u8>); 2] {
    let value = About::fixed(Kind::Value, b"");
    let grant = About::fixed(Kind::Grant, b"\x5e\x55detokenize");
    let records = [value.seal(&SAYS, b"4111 1111 1111 1111, twice"), grant.seal(&SAYS, b"")];
    let [of_value, of_grant] = records;
    [(value, of_value), (grant, of_grant)]
}

// One changed bit, byte or length.

/// What the layout promises for a record whose byte at `at` has become `changed`.
fn expected_refusal(at: usize, changed: u8) -> OpenError {
    match at {
        0 => OpenError::Malformed(Malformed::Unknown("version")),
        1 if (1..=4).contains(&changed) => OpenError::OtherKind,
        1 => OpenError::Malformed(Malformed::Unknown("kind")),
        2 => OpenError::Malformed(Malformed::Unknown("algorithm")),
        3 if changed > 1 => OpenError::Malformed(Malformed::Unknown("flag")),
        COMMITMENT..ASSOCIATED_LEN => OpenError::OtherKey,
        _ => OpenError::Changed,
    }
}

#[test]
fn a_record_with_one_flipped_bit_does_not_open() {
    for (about, record) in samples() {
        for bit in 0..8 * record.len() {
            let mut flipped = record.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let expected = expected_refusal(bit / 8, flipped[bit / 8]);
            assert_eq!(about.refusal(&flipped), expected, "bit {bit}");
        }
        assert!(about.open(&record).is_ok());
    }
}

#[test]
fn a_truncated_record_does_not_open() {
    for (about, record) in samples() {
        for length in 0..record.len() {
            let short = length < OVERHEAD;
            let expected = if short { Malformed::Truncated.into() } else { OpenError::Changed };
            assert_eq!(about.refusal(&record[..length]), expected, "{length} bytes");
        }
    }
}

#[test]
fn a_record_with_bytes_added_or_missing_anywhere_does_not_open() {
    for (about, record) in samples() {
        for at in 0..=record.len() {
            for added in [0, 0xff] {
                let mut longer = record.clone();
                longer.insert(at, added);
                about.refusal(&longer);
            }
        }
        for at in 0..record.len() {
            let mut shorter = record.clone();
            shorter.remove(at);
            about.refusal(&shorter);
        }
        assert_eq!(about.refusal(&[&record[..], &record[..]].concat()), OpenError::Changed);
    }
}

// Another token.

fn token_text(bytes: [u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    format!("lunasec-{}", parts.join("-"))
}

fn is_version_or_variant(bit: usize) -> bool {
    matches!((bit / 8, bit % 8), (6, 4..=7) | (8, 6..=7))
}

#[test]
fn a_token_with_one_flipped_bit_is_refused_or_finds_and_opens_nothing() {
    let about = About::fixed(Kind::Value, b"");
    let record = about.seal(&SAYS, b"value");
    let (mut locators, mut refused) = (HashSet::from([about.subject().locator()]), 0);
    for bit in 0..128 {
        let mut flipped = about.clone();
        flipped.token[bit / 8] ^= 1 << (bit % 8);
        let parsed = Token::parse(&token_text(flipped.token));
        if is_version_or_variant(bit) {
            assert_eq!(parsed, Err(InvalidToken), "bit {bit}");
            assert_eq!(flipped.token(), about.token(), "bit {bit} is not the caller's to choose");
            refused += 1;
        } else {
            assert_eq!(parsed, Ok(flipped.token()), "bit {bit}");
            assert!(locators.insert(flipped.subject().locator()), "bit {bit}");
            assert_ne!(*flipped.keys().key, *about.keys().key, "bit {bit}");
            assert_eq!(flipped.refusal(&record), OpenError::OtherKey, "bit {bit}");
        }
    }
    assert_eq!((refused, locators.len()), (6, 123));
}

// Another subject or data key.

fn namespaces() -> impl Strategy<Value = Namespace> {
    "[a-z0-9][a-z0-9-]{0,62}".prop_map(|name| Namespace::parse(&name).unwrap())
}

fn abouts() -> impl Strategy<Value = About> {
    let token = any::<[u8; 16]>().prop_map(|bytes| *Token::from_random(bytes).expose());
    let parts = (token, namespaces(), select(&KINDS), vec(any::<u8>(), 0..48), any::<[u8; 32]>());
    parts.prop_map(|(token, namespace, kind, extra, data_key)| About {
        token,
        namespace,
        kind,
        extra,
        data_key,
    })
}

fn said() -> impl Strategy<Value = Says> {
    let key_id = any::<(u32, u16)>().prop_map(|(epoch, generation)| KeyId { epoch, generation });
    let expires_at = option::of(prop_oneof![1 => Just(0), 9 => any::<u64>()]);
    let parts =
        (any::<bool>(), any::<u64>(), expires_at, key_id, any::<[u8; 16]>(), any::<[u8; 12]>());
    parts.prop_map(|(tombstone, created_at, expires_at, key_id, put_id, nonce)| Says {
        tombstone,
        created_at,
        expires_at,
        key_id,
        put_id,
        nonce,
    })
}

/// `about` with the chosen parts taken from `other`.
fn mixed(about: &About, other: &About, chosen: [bool; 5]) -> About {
    let [token, namespace, kind, extra, data_key] =
        chosen.map(|chosen| if chosen { other } else { about });
    About {
        token: token.token,
        namespace: namespace.namespace.clone(),
        kind: kind.kind,
        extra: extra.extra.clone(),
        data_key: data_key.data_key,
    }
}

proptest! {
    #[test]
    fn a_record_opens_under_nothing_but_its_own_token_namespace_kind_extra_and_key(
        about in abouts(), other in abouts(), chosen: [bool; 5], plaintext in vec(any::<u8>(), 0..64),
    ) {
        let wrong = mixed(&about, &other, chosen);
        prop_assume!(wrong != about);
        let mut record = about.seal(&SAYS, &plaintext);
        let expected =
            if wrong.kind == about.kind { OpenError::OtherKey } else { OpenError::OtherKind };
        prop_assert_eq!(wrong.refusal(&record), expected);
        // The kind is bound by more than the byte that names it.
        record[1] = wrong.seal(&SAYS, b"")[1];
        prop_assert_eq!(wrong.refusal(&record), OpenError::OtherKey);
    }
}

/// The same with each part alone, so that none depends on what the generator happens to choose.
#[test]
fn each_part_of_a_subject_counts_alone() {
    let about = About::fixed(Kind::Grant, b"extra");
    let other = About {
        token: [0x4f; 16],
        namespace: Namespace::parse("other").unwrap(),
        kind: Kind::Value,
        extra: b"Extra".to_vec(),
        data_key: [0x4c; 32],
    };
    let record = about.seal(&SAYS, b"plaintext");
    for part in 0..5 {
        let wrong = mixed(&about, &other, std::array::from_fn(|at| at == part));
        let mut record = record.clone();
        record[1] = wrong.seal(&SAYS, b"")[1];
        assert_eq!(wrong.refusal(&record), OpenError::OtherKey, "part {part}");
        assert_ne!(*wrong.keys().key, *about.keys().key, "part {part}");
        // All but the data key decide where the record lies.
        let same_place = wrong.subject().locator() == about.subject().locator();
        assert_eq!(same_place, part == 4, "part {part}");
    }
}

/// AES-GCM alone would let one ciphertext be good under two keys. Here a writer who holds the token
/// and a second data key seals under that key, beneath the first key's commitment.
#[test]
fn a_ciphertext_good_under_a_second_key_is_refused_by_its_commitment() {
    let first = About::fixed(Kind::Value, b"");
    let second = About { data_key: [0x4c; 32], ..first.clone() };
    let (head, nonce) = (&first.seal(&SAYS, b"")[..ASSOCIATED_LEN], SAYS.nonce);
    let name = second.subject().locator().0;
    let associated =
        [head, b"\x00\x00\x00\x07default", b"\x00\x00\x00\x20".as_slice(), &name].concat();
    let mut body = b"chosen by the writer".to_vec();
    let key = second.keys().key;
    let tag = aead::encrypt(&key, &nonce, &associated, &mut body).unwrap();
    let record = [head, &nonce, &body, &tag].concat();
    assert_eq!(second.refusal(&record), OpenError::OtherKey);
    assert_eq!(first.refusal(&record), OpenError::Changed);
    // The cipher has nothing against it: without the comparison, it would open.
    aead::decrypt(&key, &nonce, &associated, &mut body, &tag).unwrap();
    assert_eq!(body, b"chosen by the writer");
}

// Fields keep their borders.

#[test]
fn the_border_between_two_fields_counts() {
    // Without lengths, both would derive from `agrantgrantb`.
    let left = About { namespace: ns("agrant"), ..About::fixed(Kind::Grant, b"b") };
    let right = About { namespace: ns("a"), ..About::fixed(Kind::Grant, b"grantb") };
    assert_ne!(left.subject().locator(), right.subject().locator());
    assert_ne!(*left.keys().key, *right.keys().key);
    assert_ne!(left.keys().commitment, right.keys().commitment);

    let left = About { namespace: ns("ab"), ..About::fixed(Kind::Grant, b"c") };
    let right = About { namespace: ns("a"), ..About::fixed(Kind::Grant, b"bc") };
    assert_ne!(left.subject().locator(), right.subject().locator());
    assert_ne!(tag("ab", "c"), tag("a", "bc"));
}

fn ns(name: &str) -> Namespace {
    Namespace::parse(name).unwrap()
}

fn tag(namespace: &str, session: &str) -> derive::SessionTag {
    let index_key = DataKey::take(&mut [7; 32]);
    derive::session_tag(&index_key, &ns(namespace), &Session::parse(session).unwrap())
}

#[test]
fn a_session_has_another_tag_in_another_namespace_and_under_another_index_key() {
    let other_key = DataKey::take(&mut [8; 32]);
    let alice = Session::parse("alice").unwrap();
    assert_eq!(tag("a", "alice"), tag("a", "alice"));
    assert_ne!(tag("a", "alice"), tag("b", "alice"));
    assert_ne!(tag("a", "alice"), tag("a", "alicf"));
    assert_ne!(tag("a", "alice"), derive::session_tag(&other_key, &ns("a"), &alice));
}

// Edited headers.

/// Writes `bytes` over the record at `at`, and shows that the header reads as edited.
fn edited(record: &[u8], at: usize, bytes: &[u8], expected: Header) -> Vec<u8> {
    let mut edited = record.to_vec();
    edited[at..at + bytes.len()].copy_from_slice(bytes);
    assert_eq!(Header::parse(&edited), Ok(expected));
    edited
}

#[test]
fn an_edited_header_reads_well_and_does_not_open() {
    let about = About::fixed(Kind::Value, b"");
    let record = about.seal(&SAYS, b"value");
    let header = Header::parse(&record).unwrap();
    let later = SAYS.created_at + 1;
    let key_id = KeyId { epoch: 29_400_480, generation: 1 };
    let edits = [
        edited(&record, 3, &[1], Header { tombstone: true, ..header }),
        edited(&record, 4, &later.to_be_bytes(), Header { created_at: later, ..header }),
        edited(&record, 12, &[0xff; 8], Header { expires_at: Some(u64::MAX), ..header }),
        edited(&record, 12, &[0; 8], Header { expires_at: None, ..header }),
        edited(&record, 20, &key_id.to_bytes(), Header { key_id, ..header }),
        edited(
            &record,
            25,
            &[2],
            Header { key_id: KeyId { generation: 2, ..header.key_id }, ..header },
        ),
        edited(&record, 26, &[0; 16], Header { put_id: PutId([0; 16]), ..header }),
    ];
    for (at, edit) in edits.iter().enumerate() {
        assert_eq!(about.refusal(edit), OpenError::Changed, "edit {at}");
    }
}

#[test]
fn a_tombstone_does_not_turn_back_into_a_value() {
    let about = About::fixed(Kind::Value, b"");
    let says = Says { tombstone: true, ..SAYS };
    let tombstone = about.seal(&says, b"");
    let header = about.open(&tombstone).unwrap().header;
    assert!(header.tombstone);
    let edit = edited(&tombstone, 3, &[0], Header { tombstone: false, ..header });
    assert_eq!(about.refusal(&edit), OpenError::Changed);
}

// Arbitrary bytes.

/// Bytes that get past the header's checks as often as not.
fn almost_records() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![any::<[u8; 4]>(), (1..=4u8, 0..=1u8).prop_map(|(k, f)| [1, k, 1, f])];
    (start, vec(any::<u8>(), 0..300)).prop_map(|(start, rest)| [&start[..], &rest].concat())
}

proptest! {
    #[test]
    fn parsing_a_header_never_panics_and_checks_the_length_first(bytes in almost_records()) {
        let parsed = Header::parse(&bytes);
        let short = bytes.len() < HEADER_LEN;
        prop_assert_eq!(parsed == Err(Malformed::Truncated), short);
        if let Ok(header) = parsed {
            prop_assert_eq!(&header.key_id.to_bytes()[..], &bytes[20..26]);
            prop_assert_eq!(&header.put_id.0[..], &bytes[26..42]);
            prop_assert_eq!(Header::parse(&bytes[..HEADER_LEN]), Ok(header));
        }
    }

    #[test]
    fn opening_never_panics_and_checks_the_length_first(
        about in abouts(), bytes in almost_records(),
    ) {
        let short = bytes.len() < OVERHEAD;
        let refusal = about.refusal(&bytes);
        prop_assert_eq!(refusal == OpenError::Malformed(Malformed::Truncated), short);
    }

    /// With the commitment right, whatever else is wrong must fail in the cipher.
    #[test]
    fn a_right_commitment_is_not_enough(
        about in abouts(), says in said(), rest in vec(any::<u8>(), 28..300),
    ) {
        let record = about.seal(&says, b"");
        let forged = [&record[..ASSOCIATED_LEN], &rest].concat();
        prop_assert_eq!(about.refusal(&forged), OpenError::Changed);
    }
}

// Round trips.

fn assert_opens(about: &About, says: &Says, plaintext: &[u8]) {
    let record = about.seal(says, plaintext);
    assert_eq!(record.len(), OVERHEAD + plaintext.len());
    let opened = about.open(&record).unwrap();
    assert_eq!(*opened.plaintext, plaintext);
    // Opening holds one copy of what it was given, no more: no length is read from the record.
    assert_eq!(opened.plaintext.capacity(), plaintext.len());
    let header = Header {
        kind: about.kind,
        tombstone: says.tombstone,
        created_at: says.created_at,
        // 0 is how the bytes say never.
        expires_at: says.expires_at.map(|at| at.max(1)),
        key_id: says.key_id,
        put_id: PutId(says.put_id),
    };
    assert_eq!(opened.header, header);
    assert_eq!(Header::parse(&record[..HEADER_LEN]), Ok(header));
}

proptest! {
    #[test]
    fn what_was_sealed_opens(
        about in abouts(), says in said(), plaintext in vec(any::<u8>(), 0..=4096),
    ) {
        assert_opens(&about, &says, &plaintext);
    }
}

#[test]
fn the_largest_value_opens() {
    let plaintext: Vec<u8> = (0..=250u8).cycle().take(limits::VALUE_BYTES).collect();
    assert_eq!(plaintext.len(), 1 << 20);
    assert_opens(&About::fixed(Kind::Value, b""), &SAYS, &plaintext);
}
