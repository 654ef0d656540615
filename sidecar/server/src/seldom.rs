//! Lines of the log that requests bring about: what an outage lets each of ten thousand requests a second say would
//! fill a disk. Of one kind the first is written, and then one in a while, with how many were left out before it.

use std::{
    mem,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lunasec_core::{
    limits,
    rate::{Bucket, Rate},
};

use crate::env::Clock;

/// The lines of one kind.
pub struct Seldom {
    clock: Arc<dyn Clock>,
    rate: Rate,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bucket: Bucket,
    left_out: u64,
}

impl Seldom {
    /// As seldom as a line is that requests bring about.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::each(limits::LOG_PAUSE, clock)
    }

    /// One in this time.
    pub fn each(period: Duration, clock: Arc<dyn Clock>) -> Self {
        let rate = Rate { count: NonZeroU32::MIN, period };
        Self { clock, rate, state: Mutex::default() }
    }

    /// For a line that may be written now, how many were left out since the last one; none for one that is left
    /// out itself.
    pub fn admit(&self) -> Option<u64> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.bucket.take(self.rate, now).is_err() {
            state.left_out += 1;
            return None;
        }
        Some(mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::FakeClock;

    #[test]
    fn the_first_is_written_then_one_in_a_while_and_those_between_are_counted() {
        let clock = Arc::new(FakeClock::default());
        let lines = Seldom::new(Arc::clone(&clock) as _);
        let mut written = Vec::new();
        // A minute of 1,000 a second.
        for _ in 0..60_000 {
            written.extend(lines.admit());
            clock.pass(Duration::from_millis(1));
        }
        assert_eq!(written, [0, 9_999, 9_999, 9_999, 9_999, 9_999]);
        clock.pass(10 * limits::LOG_PAUSE);
        assert_eq!(lines.admit(), Some(9_999));
        assert_eq!(lines.admit(), None, "a quiet while saves nothing up");
        clock.pass(limits::LOG_PAUSE);
        assert_eq!(lines.admit(), Some(1));
    }
}
