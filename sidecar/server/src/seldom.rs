//! Lines of the log that requests bring about: what an outage lets each of ten thousand requests a second say would
//! fill a disk. Of one kind the first is written, and then one in a while, with how many were left out before it.

use std::{
    mem,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use lunasec_core::{
    limits,
    rate::{Bucket, Rate},
};

use crate::env::Clock;

const RATE: Rate = Rate { count: NonZeroU32::MIN, period: limits::LOG_PAUSE };

/// The lines of one kind.
pub struct Seldom {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bucket: Bucket,
    left_out: u64,
}

impl Seldom {
    /// None was written yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// For a line that may be written now, how many were left out since the last one; none for one that is left
    /// out itself.
    pub fn admit(&self) -> Option<u64> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.bucket.take(RATE, now).is_err() {
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
            clock.pass(std::time::Duration::from_millis(1));
        }
        assert_eq!(written, [0, 9_999, 9_999, 9_999, 9_999, 9_999]);
        clock.pass(10 * limits::LOG_PAUSE);
        assert_eq!(lines.admit(), Some(9_999));
        assert_eq!(lines.admit(), None, "a quiet while saves nothing up");
        clock.pass(limits::LOG_PAUSE);
        assert_eq!(lines.admit(), Some(1));
    }
}
