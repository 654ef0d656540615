//! What S3 says, row by row.

use super::*;

/// What a failure of reads comes to.
#[derive(Clone, Copy)]
struct Read {
    away: bool,
    tries: usize,
    /// None where the answer is that nothing is there.
    said: Option<Code>,
    kept: bool,
}

const UNAVAILABLE: Option<Code> = Some(Code::StorageUnavailable);
const AWAY: Read = Read { away: true, tries: 3, said: UNAVAILABLE, kept: true };
const PASSING: Read = Read { away: false, ..AWAY };
const REFUSED: Read = Read { tries: 1, ..PASSING };
const ABSENT: Read = Read { tries: 1, said: None, kept: false, away: false };

async fn read(fault: Fault, expected: Read) {
    let rig = Rig::new().await;
    let (seen, unseen) = (name(1), name(2));
    rig.store.put_new(&seen, OLD).await.unwrap();
    rig.lies_there(&unseen);
    rig.clock.pass(limits::CACHED_GRANT_AGE);
    rig.fail(Asked::Get, fault);

    // Past its deadline it is given only where storage is away.
    let given = said(rig.store.get(&seen).await);
    assert_eq!(rig.fake().count(Asked::Get), expected.tries);
    match expected.said {
        _ if expected.away => {
            let object = given.unwrap().unwrap();
            assert_eq!((object.bytes, object.age), (OLD, Some(limits::CACHED_GRANT_AGE)));
        }
        Some(code) => assert_eq!(given.map(|_| ()), Err(code)),
        None => assert!(given.unwrap().is_none()),
    }
    // What was never seen is not told to be absent, unless it is.
    for _ in 1..limits::BREAKER_FAILURES {
        let given = said(rig.store.get(&unseen).await);
        assert_eq!(given.map(|object| object.is_some()), expected.said.map_or(Ok(false), Err));
    }
    assert_eq!(rig.storage_is_away(), expected.away);
    assert_eq!(rig.remembers(&seen).await, expected.kept);

    rig.fake().heal();
    rig.clock.pass(limits::CACHED_NOTHING_AGE);
    assert_eq!(bytes(rig.store.get(&unseen).await), Some(OLD));
}

macro_rules! reads {
    ($($name:ident: $fault:expr => $expected:expr,)+) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            read($fault, $expected).await;
        })+
    };
}

reads! {
    no_answer_in_time: Fault::Hang => AWAY,
    a_connection_that_ends: Fault::Reset => AWAY,
    an_answer_that_is_lost: Fault::LoseAnswer => AWAY,
    an_answer_that_comes_too_late: Fault::Delay(limits::STORAGE_ATTEMPT_TIME * 2) => AWAY,
    an_internal_error: Fault::Refuse(500, "InternalError") => AWAY,
    a_server_error_without_a_code: Fault::Refuse(502, "") => AWAY,
    out_of_service: Fault::Refuse(503, "ServiceUnavailable") => AWAY,
    expired_credentials: Fault::Refuse(400, "ExpiredToken") => AWAY,
    a_request_that_took_too_long: Fault::Refuse(400, "RequestTimeout") => AWAY,
    slow_down: Fault::Refuse(503, "SlowDown") => PASSING,
    too_many_requests: Fault::Refuse(429, "TooManyRequests") => PASSING,
    too_many_requests_without_a_code: Fault::Refuse(429, "") => PASSING,
    a_checksum_that_does_not_fit: Fault::Spoil => PASSING,
    access_denied: Fault::Refuse(403, "AccessDenied") => REFUSED,
    forbidden_without_a_code: Fault::Refuse(403, "") => REFUSED,
    no_such_bucket: Fault::Refuse(404, "NoSuchBucket") => REFUSED,
    a_404_of_something_else: Fault::Refuse(404, "") => REFUSED,
    a_wrong_clock: Fault::Refuse(403, "RequestTimeTooSkewed") => REFUSED,
    a_wrong_key: Fault::Refuse(403, "InvalidAccessKeyId") => REFUSED,
    a_wrong_region: Fault::Refuse(301, "PermanentRedirect") => REFUSED,
    a_redirect: Fault::Refuse(307, "") => REFUSED,
    no_such_key: Fault::Refuse(404, "NoSuchKey") => ABSENT,
}

/// Without the permission to list, S3 says of what is missing that it is forbidden.
#[tokio::test(start_paused = true)]
async fn a_403_that_means_missing_is_not_absence() {
    let rig = Rig::new().await;
    rig.fake().s3.hides_what_is_missing = true;
    let given = rig.store.get(&name(1)).await.unwrap_err();
    let StoreError::Refused(cause) = &given else { panic!("{given:?}") };
    assert!(cause.contains("s3:ListBucket"), "{cause}");
    assert_eq!(said::<()>(Err(given)), Err(Code::StorageUnavailable));
}

/// What a failure of writes comes to.
#[derive(Clone, Copy)]
struct Write {
    away: bool,
    tries: usize,
    said: Code,
    kept: bool,
}

const LOST: Write = Write { away: true, tries: 3, said: Code::StorageUnavailable, kept: false };
const PUT_OFF: Write = Write { away: false, kept: true, ..LOST };
const FORBIDDEN: Write = Write { tries: 1, ..PUT_OFF };
const OVERTAKEN: Write = Write { tries: 1, said: Code::Conflict, kept: false, away: false };

async fn write(fault: Fault, expected: Write) {
    let rig = Rig::new().await;
    let seen = name(1);
    let version = rig.store.put_new(&seen, OLD).await.unwrap();
    rig.fail(Asked::Put, fault.clone());
    let before = rig.fake().count(Asked::Put);
    let change = || rig.store.put_if(&seen, Bytes::from_static(b"new"), &version);
    assert_eq!(said(change().await), Err(expected.said));
    assert_eq!(rig.fake().count(Asked::Put) - before, expected.tries);
    assert_eq!(rig.remembers(&seen).await, expected.kept);
    for _ in 0..limits::BREAKER_FAILURES {
        assert_eq!(said(change().await), Err(expected.said));
    }
    assert_eq!(rig.storage_is_away(), expected.away);
}

macro_rules! writes {
    ($($name:ident: $fault:expr => $expected:expr,)+) => {
        $(#[tokio::test(start_paused = true)]
        async fn $name() {
            write($fault, $expected).await;
        })+
    };
}

writes! {
    a_write_that_is_not_answered: Fault::Hang => LOST,
    a_write_whose_answers_are_all_lost: Fault::LoseAnswer => LOST,
    a_write_and_an_internal_error: Fault::Refuse(500, "InternalError") => LOST,
    a_write_and_slow_down: Fault::Refuse(503, "SlowDown") => PUT_OFF,
    a_write_while_another_is_under_way: Fault::Refuse(409, "ConditionalRequestConflict") => PUT_OFF,
    a_write_that_came_in_damaged: Fault::Refuse(400, "BadDigest") => PUT_OFF,
    a_write_whose_body_came_in_damaged: Fault::Refuse(400, "XAmzContentSHA256Mismatch") => PUT_OFF,
    a_write_without_permission: Fault::Refuse(403, "AccessDenied") => FORBIDDEN,
    a_write_by_a_wrong_clock: Fault::Refuse(403, "RequestTimeTooSkewed") => FORBIDDEN,
    a_write_to_no_bucket: Fault::Refuse(404, "NoSuchBucket") => FORBIDDEN,
    a_write_whose_condition_is_broken: Fault::Refuse(412, "PreconditionFailed") => OVERTAKEN,
}

/// One fault each, and all is done as if there had been none.
#[tokio::test(start_paused = true)]
async fn what_passes_is_not_noticed() {
    let rig = Rig::new().await;
    let passing = [
        Fault::Hang,
        Fault::Reset,
        Fault::LoseAnswer,
        Fault::Refuse(500, "InternalError"),
        Fault::Refuse(503, "SlowDown"),
        Fault::Refuse(409, "ConditionalRequestConflict"),
        Fault::Refuse(400, "BadDigest"),
        Fault::Delay(limits::STORAGE_ATTEMPT_TIME / 2),
    ];
    for (number, fault) in (1..).zip(passing) {
        let name = name(number);
        for asked in [Asked::Put, Asked::Get, Asked::List, Asked::Delete] {
            rig.fake().fail(asked, 1, fault.clone());
        }
        let version = rig.store.put_new(&name, OLD).await.unwrap();
        let found = rig.store.get_now(&name).await.unwrap().unwrap();
        assert_eq!((found.bytes, found.version), (OLD, version.clone()), "{fault:?}");
        let listed = rig.store.list(Name::SESSIONS, None, 9).await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&name));
        // A removal whose answer was lost may count as none.
        rig.store.remove_if(&name, &version).await.unwrap();
        assert!(rig.store.get_now(&name).await.unwrap().is_none(), "{fault:?}");
        rig.fake().heal();
    }
    assert!(!rig.storage_is_away());
}

/// More wait than may: the others go on, and nothing says that storage is away.
#[tokio::test(start_paused = true)]
async fn a_crowd_is_told_so_at_once() {
    let rig = Rig::new().await;
    let places = limits::STORAGE_REQUESTS + limits::STORAGE_WAITING;
    let slow = std::time::Duration::from_millis(100);
    rig.fail(Asked::Get, Fault::Delay(slow));
    let names: Vec<_> =
        (0..places + 100).map(|at| Name::from_text(&format!("r/default/{at}"))).collect();
    let all = names.iter().map(|name| rig.store.get(name));
    let results = futures_util::future::join_all(all).await;
    let shed = results.into_iter().filter(|found| matches!(found, Err(StoreError::Overloaded)));
    assert_eq!((shed.count(), rig.fake().count(Asked::Get)), (100, places));
    assert!(!rig.storage_is_away());
}

/// Nor do those whose turn does not come in time, which says nothing of storage: it has answered everything that it
/// was asked.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_long_for_a_turn_is_told_so() {
    let rig = Rig::new().await;
    // Two turns come within the time, and a third does not.
    let slow = limits::TURN_TIME * 2 / 3;
    rig.fail(Asked::Get, Fault::Delay(slow));
    let names: Vec<_> = (0..limits::STORAGE_REQUESTS * 3)
        .map(|at| Name::from_text(&format!("r/default/{at}")))
        .collect();
    let all = names.iter().map(|name| rig.store.get(name));
    let results = futures_util::future::join_all(all).await;
    let shed = results.into_iter().filter(|found| matches!(found, Err(StoreError::Overloaded)));
    assert_eq!(
        (shed.count(), rig.fake().count(Asked::Get)),
        (limits::STORAGE_REQUESTS, 2 * limits::STORAGE_REQUESTS)
    );
    assert!(!rig.storage_is_away());
}
