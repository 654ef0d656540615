//! How many requests may be sent beyond those that somebody asked for: a share of these, and a few a second so
//! that a sidecar with little to do may try again too.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lunasec_core::limits::Extra;

use crate::env::Clock;

/// See the module.
pub struct Budget {
    clock: Arc<dyn Clock>,
    extra: Extra,
    state: Mutex<State>,
}

struct State {
    /// In hundred thousandths of a request, so that a percent of one and what a millisecond gives are whole.
    left: u64,
    filled: Duration,
}

const ONE: u64 = 100_000;

impl Budget {
    /// Full.
    pub fn new(clock: Arc<dyn Clock>, extra: Extra) -> Self {
        let state = State { left: extra.at_once * ONE, filled: clock.monotonic() };
        Self { clock, extra, state: Mutex::new(state) }
    }

    /// Somebody asks for a request.
    pub fn earn(&self) {
        let mut state = self.state();
        state.left = self.bounded(state.left + self.extra.percent * ONE / 100);
    }

    /// Whether there may be one more request; it counts.
    pub fn spend(&self) -> bool {
        let now = self.clock.monotonic();
        let mut state = self.state();
        let passed = now.saturating_sub(state.filled).as_millis();
        let passed = u64::try_from(passed).unwrap_or(u64::MAX);
        state.filled += Duration::from_millis(passed);
        let earned = passed.saturating_mul(self.extra.each_second * ONE / 1_000);
        state.left = self.bounded(state.left.saturating_add(earned));
        let left = state.left.checked_sub(ONE);
        state.left = left.unwrap_or(state.left);
        left.is_some()
    }

    fn bounded(&self, left: u64) -> u64 {
        left.min(self.extra.at_once * ONE)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::FakeClock;

    fn spent(budget: &Budget) -> usize {
        (0..1_000).take_while(|_| budget.spend()).count()
    }

    #[test]
    fn it_is_a_share_of_what_is_asked_for_and_a_few_a_second_and_never_more_than_at_once() {
        let clock = Arc::new(FakeClock::default());
        let extra = Extra { percent: 20, each_second: 2, at_once: 10 };
        let budget = Budget::new(Arc::clone(&clock) as _, extra);
        assert_eq!(spent(&budget), 10);
        (0..24).for_each(|_| budget.earn());
        assert_eq!(spent(&budget), 4);
        // What is left of the last one counts for the next.
        budget.earn();
        assert_eq!(spent(&budget), 1);
        for _ in 0..1_000 {
            clock.pass(Duration::from_millis(1));
            budget.spend();
        }
        clock.pass(Duration::from_millis(500));
        assert_eq!(spent(&budget), 1);
        clock.pass(Duration::from_secs(3_600));
        (0..1_000).for_each(|_| budget.earn());
        assert_eq!(spent(&budget), 10);
    }
}
