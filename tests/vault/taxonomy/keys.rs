//! What KMS says, row by row.

use lunasec_tests::fake::KeyState;

use super::*;

/// What a failure to unwrap comes to.
#[derive(Clone, Copy)]
struct Unwrap {
    away: bool,
    tries: usize,
    said: Code,
}

const AWAY: Unwrap = Unwrap { away: true, tries: 3, said: Code::KeysUnavailable };
const PASSING: Unwrap = Unwrap { away: false, ..AWAY };
const REFUSED: Unwrap = Unwrap { tries: 1, ..PASSING };
const DAMAGED: Unwrap = Unwrap { said: Code::Corrupted, ..REFUSED };

/// A key and what it is wrapped into, and then `change` happens.
async fn unwrap(change: impl FnOnce(&mut Fake, &mut Vec<u8>), expected: Unwrap) {
    let (rig, namespace) = (Rig::new().await, Namespace::default());
    let (key, whole) = rig.keys.make(&context(&namespace)).await.unwrap();
    let mut wrapped = whole.clone();
    change(&mut rig.fake(), &mut wrapped);
    for times in 1..=limits::BREAKER_FAILURES {
        let opened = rig.keys.unwrap(&context(&namespace), &wrapped).await;
        assert_eq!(said(opened).err(), Some(expected.said));
        assert_eq!(rig.keys_are_away(), expected.away && times == limits::BREAKER_FAILURES);
        if times == 1 {
            assert_eq!(rig.fake().count(Asked::Unwrap), expected.tries);
        }
    }
    assert!(!rig.storage_is_away(), "that keys are away says nothing of storage");

    rig.fake().heal();
    rig.fake().kms.keys.insert(KEY.into(), KeyState::Enabled);
    rig.clock.pass(limits::BREAKER_PAUSE);
    let opened = rig.keys.unwrap(&context(&namespace), &whole).await;
    assert_eq!(opened.is_ok(), !expected.away, "it takes a probe to find out");
    tokio::time::sleep(limits::BREAKER_PROBE_TIME).await;
    let opened = rig.keys.unwrap(&context(&namespace), &whole).await.unwrap();
    assert_eq!(opened.expose(), key.expose());
}

macro_rules! unwraps {
    ($($name:ident: $fault:expr => $expected:expr,)+) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            unwrap(|fake, _| fake.fail(Asked::Unwrap, usize::MAX, $fault), $expected).await;
        })+
    };
}

unwraps! {
    no_answer_in_time: Fault::Hang => AWAY,
    a_connection_that_ends: Fault::Reset => AWAY,
    an_internal_error: Fault::Refuse(500, "KMSInternalException") => AWAY,
    a_server_error_without_a_code: Fault::Refuse(502, "") => AWAY,
    a_dependency_of_its_own: Fault::Refuse(503, "DependencyTimeoutException") => AWAY,
    a_key_that_is_not_there_just_now: Fault::Refuse(500, "KeyUnavailableException") => AWAY,
    expired_credentials: Fault::Refuse(400, "ExpiredTokenException") => AWAY,
    throttling: Fault::Refuse(400, "ThrottlingException") => PASSING,
    a_limit: Fault::Refuse(400, "LimitExceededException") => PASSING,
    too_many_requests_without_a_code: Fault::Refuse(429, "") => PASSING,
    access_denied: Fault::Refuse(400, "AccessDeniedException") => REFUSED,
    a_wrong_signature: Fault::Refuse(400, "InvalidSignatureException") => REFUSED,
    another_keys: Fault::Refuse(400, "IncorrectKeyException") => REFUSED,
    a_key_for_something_else: Fault::Refuse(400, "InvalidKeyUsageException") => REFUSED,
    ciphertext_of_something_else: Fault::Refuse(400, "InvalidCiphertextException") => DAMAGED,
}

#[tokio::test(start_paused = true)]
async fn a_disabled_key() {
    let disable = |fake: &mut Fake, _: &mut Vec<u8>| {
        fake.kms.keys.insert(KEY.into(), KeyState::Disabled);
    };
    unwrap(disable, REFUSED).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_going_to_be_deleted() {
    let delete = |fake: &mut Fake, _: &mut Vec<u8>| {
        fake.kms.keys.insert(KEY.into(), KeyState::PendingDeletion);
    };
    unwrap(delete, REFUSED).await;
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_gone() {
    unwrap(|fake, _| fake.kms.keys.clear(), REFUSED).await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_blob() {
    unwrap(|_, wrapped| *wrapped.last_mut().unwrap() ^= 1, DAMAGED).await;
}

/// The first few wait, and nobody after them: neither makes nor unwraps, and a probe a second is all it costs.
#[tokio::test(start_paused = true)]
async fn with_kms_away_nobody_waits_and_it_costs_a_probe_a_second() {
    let (rig, namespace) = (Rig::new().await, Namespace::default());
    let context = context(&namespace);
    let (_, wrapped) = rig.keys.make(&context).await.unwrap();
    for asked in [Asked::Make, Asked::Unwrap, Asked::Rewrap] {
        rig.fail(asked, Fault::Hang);
    }
    for _ in 0..limits::BREAKER_FAILURES {
        assert!(matches!(rig.keys.unwrap(&context, &wrapped).await, Err(KeyError::Unavailable(_))));
    }
    let before = rig.fake().asked.len();
    for _ in 0..10 {
        rig.clock.pass(limits::BREAKER_PAUSE);
        let began = tokio::time::Instant::now();
        for _ in 0..100 {
            assert!(rig.keys.make(&context).await.is_err());
            assert!(rig.keys.unwrap(&context, &wrapped).await.is_err());
            assert!(rig.keys.rewrap(&context, &wrapped).await.is_err());
        }
        assert_eq!(began.elapsed(), std::time::Duration::ZERO);
        tokio::time::sleep(2 * limits::BREAKER_PROBE_TIME).await;
    }
    assert_eq!(rig.fake().asked.len() - before, 10);
}
