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
    let all = join_all((0..100).map(|_| revision(&issuer))).await;
    assert_eq!(all, [Err(Code::KeysUnavailable); 100]);
    assert_eq!((began.elapsed(), shared.reads()), (limits::JWKS_TIME, 1));
    // The next is told at once, until it is time to try again.
    let again = Instant::now();
    assert_eq!(revision(&issuer).await, Err(Code::KeysUnavailable));
    assert_eq!((again.elapsed(), shared.reads()), (Duration::ZERO, 1));
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
