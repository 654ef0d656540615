//! When an issuer's keys are read, and for how long they are believed, on a clock that only moves while
//! everything waits.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{Instant, advance, sleep};

use super::{super::source::Trouble, *};
use crate::{config::Jwks, env::SystemClock, telemetry::Telemetry};

/// What the source does from now on.
#[derive(Clone, Copy)]
enum Serving {
    /// The public key that has this byte in it.
    Key(u8),
    /// A set without keys.
    Nothing,
    Failure,
    Silence,
}

struct Shared {
    serving: Mutex<Serving>,
    reads: AtomicUsize,
}

impl Shared {
    fn serve(&self, serving: Serving) {
        *self.serving.lock().unwrap() = serving;
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }
}

struct Scripted(Arc<Shared>);

#[async_trait]
impl Source for Scripted {
    async fn read(&self) -> Result<Bytes, Trouble> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        let serving = *self.0.serving.lock().unwrap();
        match serving {
            Serving::Key(byte) => {
                let x = BASE64URL.encode([byte; 32]);
                let key = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{x}"}}]}}"#);
                Ok(key.into())
            }
            Serving::Nothing => Ok(r#"{"keys":[]}"#.into()),
            Serving::Failure => Err(Trouble::new("refused", "it answered 500")),
            Serving::Silence => std::future::pending().await,
        }
    }
}

fn issuer(serving: Serving) -> (Issuer, Arc<Shared>) {
    let shared = Arc::new(Shared { serving: Mutex::new(serving), reads: AtomicUsize::new(0) });
    let settings = config::Issuer {
        issuer: "https://id.test".into(),
        audience: "shop".into(),
        jwks: Jwks::File("keys.json".into()),
        session_claim: "sid".into(),
        skew: Duration::ZERO,
    };
    let telemetry = Telemetry::new(Arc::new(SystemClock::default()));
    let source = Box::new(Scripted(Arc::clone(&shared)));
    (Issuer::new(settings, source, telemetry.dependency("jwks")), shared)
}

async fn revision(issuer: &Issuer) -> Result<u64, Code> {
    issuer.keys(|_| true).await.map(|held| held.revision).map_err(|failure| failure.code)
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn keys_are_read_every_five_minutes_and_the_same_set_stays_the_same() {
    let (issuer, shared) = issuer(Serving::Key(1));
    assert_eq!(revision(&issuer).await, Ok(0));
    sleep(30 * MINUTE + MINUTE).await;
    assert_eq!((shared.reads(), revision(&issuer).await), (7, Ok(0)));
    shared.serve(Serving::Key(2));
    sleep(5 * MINUTE).await;
    assert_eq!((shared.reads(), revision(&issuer).await), (8, Ok(1)));
}

#[tokio::test(start_paused = true)]
async fn the_last_good_keys_count_for_a_day_and_then_none_do() {
    for outage in [Serving::Failure, Serving::Silence] {
        let (issuer, shared) = issuer(Serving::Key(1));
        assert_eq!(revision(&issuer).await, Ok(0));
        let read = Instant::now();
        shared.serve(outage);
        sleep(limits::JWKS_AGE - MINUTE).await;
        assert!(shared.reads() > 1_000, "{} attempts in a day", shared.reads());
        // Nobody waits for an attempt while the old ones count.
        let before = Instant::now();
        assert_eq!(revision(&issuer).await, Ok(0));
        assert_eq!(before.elapsed(), Duration::ZERO);
        sleep(MINUTE).await;
        assert!(read.elapsed() >= limits::JWKS_AGE);
        assert_eq!(revision(&issuer).await, Err(Code::KeysUnavailable));
        assert_eq!(issuer.key_count(), 0);
        // It is back: within one pause, and with no request that asks for it, so are the keys.
        shared.serve(Serving::Key(1));
        sleep(limits::JWKS_PAUSE + limits::JWKS_TIME).await;
        assert_eq!(issuer.key_count(), 1);
        assert_eq!(revision(&issuer).await, Ok(0));
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_comes_first_waits_no_longer_than_one_reading_may_take() {
    let (issuer, shared) = issuer(Serving::Silence);
    let began = Instant::now();
    let ask = || async { (revision(&issuer).await, began.elapsed()) };
    let all = join_all((0..limits::JWKS_WAITING + 100).map(|_| ask())).await;
    // Some wait, and the others are told at once: who waits has a place that everybody else needs.
    let (waited, told): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, time)| !time.is_zero());
    assert_eq!((waited.len(), told.len()), (limits::JWKS_WAITING, 100));
    assert!(waited.iter().all(|it| *it == (Err(Code::KeysUnavailable), limits::JWKS_TIME)));
    assert!(told.iter().all(|(answer, _)| *answer == Err(Code::KeysUnavailable)));
    assert_eq!((began.elapsed(), shared.reads()), (limits::JWKS_TIME, 1));
    // The next is told at once, until it is time to try again.
    let again = Instant::now();
    assert_eq!(revision(&issuer).await, Err(Code::KeysUnavailable));
    assert_eq!((again.elapsed(), shared.reads()), (Duration::ZERO, 1));
}

/// Names of keys are free to make up, and whoever makes them up must not keep out those whose keys are known.
#[tokio::test(start_paused = true)]
async fn unknown_keys_keep_few_waiting_while_known_ones_count() {
    let (issuer, shared) = issuer(Serving::Key(1));
    assert_eq!(revision(&issuer).await, Ok(0));
    shared.serve(Serving::Silence);
    sleep(limits::JWKS_PAUSE).await;
    let unknown = || async {
        let began = Instant::now();
        let answer = issuer.keys(|_| false).await.map(|held| held.revision);
        (answer.map_err(|failure| failure.code), began.elapsed())
    };
    let known = async { assert_eq!(revision(&issuer).await, Ok(0)) };
    let (answers, ()) =
        futures_util::future::join(join_all((0..1_000).map(|_| unknown())), known).await;
    let waited = answers.iter().filter(|(_, time)| !time.is_zero());
    assert_eq!(waited.count(), limits::JWKS_WAITING);
    let at_once = answers.iter().filter(|(_, time)| time.is_zero());
    assert!(at_once.clone().all(|(answer, _)| *answer == Err(Code::KeysUnavailable)));
}

#[tokio::test(start_paused = true)]
async fn a_set_without_keys_takes_them_back() {
    let (issuer, shared) = issuer(Serving::Key(1));
    assert_eq!((revision(&issuer).await, issuer.key_count()), (Ok(0), 1));
    shared.serve(Serving::Nothing);
    sleep(limits::JWKS_REFRESH + SECOND).await;
    assert_eq!((revision(&issuer).await, issuer.key_count()), (Ok(1), 0));
    shared.serve(Serving::Key(1));
    sleep(limits::JWKS_PAUSE + SECOND).await;
    assert_eq!((revision(&issuer).await, issuer.key_count()), (Ok(2), 1));
}

/// As by a reload during an outage: nothing that is configured is about the keys.
#[tokio::test(start_paused = true)]
async fn other_settings_keep_the_keys_that_are_at_the_same_place() {
    let (issuer, shared) = issuer(Serving::Key(1));
    assert_eq!(revision(&issuer).await, Ok(0));
    shared.serve(Serving::Failure);
    let other = config::Issuer { skew: MINUTE, ..issuer.settings().clone() };
    let renewed = issuer.with(&other).unwrap();
    drop(issuer);
    assert_eq!((renewed.settings(), revision(&renewed).await), (&other, Ok(0)));
    let elsewhere = Jwks::File("other.json".into());
    assert!(renewed.with(&config::Issuer { jwks: elsewhere, ..other.clone() }).is_none());
    assert!(renewed.with(&config::Issuer { issuer: "https://other".into(), ..other }).is_none());
    // It goes on reading for as long as somebody has it.
    sleep(60 * MINUTE).await;
    assert!(shared.reads() > 10);
    drop(renewed);
    let reads = shared.reads();
    sleep(60 * MINUTE).await;
    assert_eq!(shared.reads(), reads);
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_are_looked_for_once_in_ten_seconds() {
    let (issuer, shared) = issuer(Serving::Key(1));
    assert_eq!(revision(&issuer).await, Ok(0));
    let unknown = || async { issuer.keys(|_| false).await.map(|held| held.revision).ok() };
    for _ in 0..500 {
        assert_eq!(unknown().await, Some(0));
        advance(Duration::from_millis(100)).await;
    }
    // One at the start, and at most one in each of the five times ten seconds.
    assert!((4..=6).contains(&shared.reads()), "{} readings", shared.reads());
    // A key that is there by then is found by the first who asks.
    sleep(limits::JWKS_PAUSE).await;
    shared.serve(Serving::Key(2));
    let found = join_all((0..10).map(|_| unknown())).await;
    assert_eq!(found, [Some(1); 10]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_any_more_for_an_issuer_that_is_gone() {
    let (issuer, shared) = issuer(Serving::Key(1));
    assert_eq!(revision(&issuer).await, Ok(0));
    drop(issuer);
    sleep(60 * MINUTE).await;
    assert_eq!((shared.reads(), Arc::strong_count(&shared)), (1, 1));
}
