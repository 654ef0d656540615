//! The only ambient access to time, so that tests need not wait.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Since 1970.
    fn now(&self) -> Duration;
    /// Waits.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
pub struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}

/// For measuring, which no test moves.
#[expect(
    clippy::disallowed_methods,
    reason = "how long something took is not a matter of what time it is"
)]
pub fn instant() -> Instant {
    Instant::now()
}
