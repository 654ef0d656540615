//! No bytes but those that were sealed open, and none make the reader stumble.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lunasec_core::{
    envelope::{Fresh, Stamp, Subject, open, seal},
    ids::{KeyId, Locator, Namespace, PutId},
    record::{HEADER_LEN, Header, Kind},
    secret::DataKey,
    token::Token,
};

const KEY_ID: KeyId = KeyId { epoch: 1, generation: 0 };

/// A record that opens, so that the fuzzer begins next to one.
struct Sealed {
    subject: Subject,
    key: DataKey,
    record: Vec<u8>,
}

static SEALED: LazyLock<Sealed> = LazyLock::new(|| {
    let token = Token::from_random([7; Token::LEN]);
    let subject = Subject::new(token, Namespace::default(), Kind::Value, &[]);
    let key = DataKey::take(&mut [9; DataKey::LEN]);
    let stamp = Stamp { tombstone: false, created_at: 1, expires_at: Some(2) };
    let fresh = Fresh { nonce: [3; 12], put_id: PutId([4; PutId::LEN]) };
    let record = seal(&subject, KEY_ID, &key, stamp, &fresh, &[b"value"]).unwrap();
    Sealed { subject, key, record }
});

fuzz_target!(|bytes: &[u8]| {
    let Sealed { subject, key, record } = &*SEALED;
    // As they are, and as changes to a record that opens.
    let changed: Vec<u8> = record
        .iter()
        .enumerate()
        .map(|(at, byte)| byte ^ bytes.get(at).copied().unwrap_or_default())
        .chain(bytes.iter().skip(record.len()).copied())
        .collect();
    for candidate in [bytes, &changed] {
        let header = Header::parse(candidate);
        assert_eq!(
            header.is_ok(),
            Header::parse(&candidate[..candidate.len().min(HEADER_LEN)]).is_ok()
        );
        let opened = open(subject, key, candidate);
        assert_eq!(opened.is_ok(), candidate == record.as_slice());
    }
    if let Ok(locator) = <[u8; Locator::LEN]>::try_from(bytes) {
        assert_eq!(Locator(locator).to_string().len(), 2 * Locator::LEN);
    }
});
