//! Another attempt after a failure that may pass: a few, with a pause between them whose length is
//! drawn at random, so that many sidecars do not come back together; and within a budget, so that what is
//! asked too much is not asked three times as much for it.

use std::{sync::Arc, time::Duration};

use lunasec_core::limits;

use crate::{
    budget::Budget,
    env::{Clock, Entropy, random},
};

/// How often, and how far apart.
pub struct Attempts {
    entropy: Arc<dyn Entropy>,
    budget: Budget,
    most: u32,
    pause: Duration,
}

impl Attempts {
    /// As the limits say, for one dependency.
    pub fn new(entropy: Arc<dyn Entropy>, clock: Arc<dyn Clock>) -> Self {
        let budget = Budget::new(clock, limits::RETRIES);
        Self { entropy, budget, most: limits::ATTEMPTS, pause: limits::ATTEMPT_PAUSE }
    }

    /// Runs `attempt` until it gives what is `done`, or for the last time.
    pub async fn run<T, F: Future<Output = T>>(
        &self,
        attempt: impl Fn() -> F,
        done: impl Fn(&T) -> bool,
    ) -> T {
        self.budget.earn();
        let mut longest = self.pause;
        for _ in 1..self.most {
            let result = attempt().await;
            if done(&result) || !self.budget.spend() {
                return result;
            }
            tokio::time::sleep(draw(&*self.entropy, longest)).await;
            longest *= 2;
        }
        attempt().await
    }
}

/// A pause up to `longest`, so that many sidecars do not come back together.
pub fn draw(entropy: &dyn Entropy, longest: Duration) -> Duration {
    // Without randomness, the whole of it.
    let share = random::<2>(entropy).map_or(u16::MAX, u16::from_be_bytes);
    longest * u32::from(share) / u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::env::{FakeClock, SystemEntropy};

    fn attempts() -> (Arc<FakeClock>, Attempts) {
        let clock = Arc::new(FakeClock::default());
        (Arc::clone(&clock), Attempts::new(Arc::new(SystemEntropy::default()), clock))
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_counted_and_end_with_success() {
        let (_, attempts) = attempts();
        for succeeds_at in 1..=limits::ATTEMPTS + 1 {
            let made = Cell::new(0);
            let attempt = || async {
                made.set(made.get() + 1);
                made.get() == succeeds_at
            };
            let succeeded = attempts.run(attempt, |done| *done).await;
            assert_eq!(succeeded, succeeds_at <= limits::ATTEMPTS);
            assert_eq!(made.get(), succeeds_at.min(limits::ATTEMPTS));
        }
    }

    /// A thousand requests, none of which is answered.
    async fn storm(attempts: &Attempts) -> u64 {
        let made = Cell::new(0);
        for _ in 0..1_000 {
            let attempt = || async { made.set(made.get() + 1) };
            attempts.run(attempt, |()| false).await;
        }
        made.get() - 1_000
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_is_not_multiplied() {
        let (clock, attempts) = attempts();
        let limits::Extra { percent, each_second, at_once } = limits::RETRIES;
        // It begins full, so that the first request adds nothing.
        assert_eq!(storm(&attempts).await, at_once + 10 * percent - 1);
        // And not at all by requests of before.
        assert_eq!(storm(&attempts).await, 10 * percent);
        clock.pass(Duration::from_secs(5));
        assert_eq!(storm(&attempts).await, 10 * percent + 5 * each_second);
    }

    #[test]
    fn a_pause_is_never_longer_than_it_may_be() {
        let entropy = SystemEntropy::default();
        for _ in 0..1_000 {
            assert!(draw(&entropy, limits::ATTEMPT_PAUSE) <= limits::ATTEMPT_PAUSE);
        }
    }
}
