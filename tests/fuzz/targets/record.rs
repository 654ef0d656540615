//! No bytes but those that were sealed open, and none make the reader stumble: records, and the objects of
//! sessions.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use lunasec_core::{
    derive::SessionTag,
    envelope::{Fresh, Stamp, Subject, open, seal},
    grant::{Generation, SessionState},
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

/// The object of a session, likewise.
static SESSION: LazyLock<Vec<u8>> = LazyLock::new(|| STATE.seal(&SEALED.key, &NAMESPACE, &TAG));
static NAMESPACE: LazyLock<Namespace> = LazyLock::new(Namespace::default);
static STATE: LazyLock<SessionState> = LazyLock::new(|| {
    SessionState::new(1_763_942_400_000).begin(Generation([5; Generation::LEN]), 1_763_942_399_000)
});
const TAG: SessionTag = SessionTag([6; 32]);

fuzz_target!(|bytes: &[u8]| {
    session(bytes);
    let Sealed { subject, key, record } = &*SEALED;
    // As they are, and as changes to a record that opens.
    for candidate in [bytes, &changed(record, bytes)] {
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

fn changed(sealed: &[u8], bytes: &[u8]) -> Vec<u8> {
    sealed
        .iter()
        .enumerate()
        .map(|(at, byte)| byte ^ bytes.get(at).copied().unwrap_or_default())
        .chain(bytes.iter().skip(sealed.len()).copied())
        .collect()
}

fn session(bytes: &[u8]) {
    for candidate in [bytes, &changed(&SESSION, bytes)] {
        let opened = SessionState::open(&SEALED.key, &NAMESPACE, &TAG, candidate);
        assert_eq!(opened.is_ok(), candidate == SESSION.as_slice());
        if let Ok(state) = opened {
            assert!(state == *STATE && SessionState::peek_until(candidate) == Some(STATE.until));
        }
    }
}
