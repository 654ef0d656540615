//! How far this machine's clock is from storage's, by the `Date` of the answers that come anyway: expiry, signatures
//! and what a journal decides go by it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::BoxError,
    primitives::{DateTime, DateTimeFormat},
};
use lunasec_core::limits;
use prometheus_client::metrics::gauge::Gauge;

use crate::{env::Clock, seldom::Seldom};

/// When an answer says that it was made, in seconds.
pub fn answered_at(context: &BeforeDeserializationInterceptorContextRef<'_>) -> Option<i64> {
    let date = context.response().headers().get("date")?;
    DateTime::from_str(date, DateTimeFormat::HttpDate).ok().map(|time| time.secs())
}

/// By how many seconds this machine's clock is ahead of that.
pub fn ahead_of(server: i64, clock: &dyn Clock) -> i64 {
    i64::try_from(clock.now() / 1_000).unwrap_or(i64::MAX).saturating_sub(server)
}

/// Whether that is to be reported.
pub fn is_apart(seconds: i64) -> bool {
    seconds.unsigned_abs() > limits::CLOCK_SKEW.as_secs()
}

/// See the module.
#[derive(Clone)]
pub struct ClockSkew(Arc<Watched>);

struct Watched {
    clock: Arc<dyn Clock>,
    gauge: Gauge,
    /// Whether the log has it that the clocks are apart.
    told: AtomicBool,
    lines: Seldom,
}

impl ClockSkew {
    /// Shows it by this gauge, and logs each change.
    pub fn new(clock: Arc<dyn Clock>, gauge: Gauge) -> Self {
        let (told, lines) = (AtomicBool::new(false), Seldom::new(Arc::clone(&clock)));
        Self(Arc::new(Watched { clock, gauge, told, lines }))
    }

    /// Takes the time of an answer; whether the log was told of a change.
    fn note(&self, server: i64) -> bool {
        let Watched { clock, gauge, told, lines } = &*self.0;
        let seconds = ahead_of(server, &**clock);
        gauge.set(seconds);
        let apart = is_apart(seconds);
        // Clocks that are about as far apart as they may be must not fill the log.
        if told.load(Ordering::Relaxed) == apart || lines.admit().is_none() {
            return false;
        }
        told.store(apart, Ordering::Relaxed);
        if apart {
            tracing::warn!(
                seconds,
                "this machine's clock is ahead of storage's by so much, or behind it; set it, best by NTP: expiry and signatures go by it"
            );
        } else {
            tracing::info!(seconds, "this machine's clock and storage's agree again");
        }
        true
    }
}

impl fmt::Debug for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClockSkew")
    }
}

impl Intercept for ClockSkew {
    fn name(&self) -> &'static str {
        "ClockSkew"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(server) = answered_at(context) {
            self.note(server);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::FakeClock;

    #[test]
    fn clocks_that_are_apart_are_logged_once_for_each_change_and_shown_all_the_time() {
        let (clock, gauge) = (Arc::new(FakeClock::at(1_000_000)), Gauge::default());
        let skew = ClockSkew::new(Arc::clone(&clock) as _, gauge.clone());
        assert!(!skew.note(1_000) && !skew.note(940) && !skew.note(1_060));
        assert_eq!(gauge.get(), -60);
        assert!(skew.note(939) && !skew.note(900));
        assert_eq!(gauge.get(), 100);
        assert!(!skew.note(1_000), "not so soon");
        clock.pass(limits::LOG_PAUSE);
        assert!(skew.note(1_000) && !skew.note(1_000));
        clock.pass(limits::LOG_PAUSE);
        assert!(skew.note(2_000));
    }
}
