//! Another attempt after a failure that may pass: a few, with a pause between them whose length is
//! drawn at random, so that many sidecars do not come back together; and within a budget, so that what is
//! asked too much is not asked three times as much for it.

use std::{sync::Arc, time::Duration};

use lunasec_core::limits;

use crate::{
    breaker::{Breaker, Failing},
    budget::Budget,
    env::{Clock, Entropy, random},
};

/// How often, and how far apart.
pub struct Attempts {
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
    /// Learns of each that waited in vain.
    breaker: Arc<Breaker>,
    budget: Budget,
    most: u32,
    pause: Duration,
}

impl Attempts {
    /// As the limits say, for the dependency of which `breaker` says whether it is away.
    pub fn new(entropy: Arc<dyn Entropy>, clock: Arc<dyn Clock>, breaker: Arc<Breaker>) -> Self {
        let budget = Budget::new(Arc::clone(&clock), limits::RETRIES);
        let (most, pause) = (limits::ATTEMPTS, limits::ATTEMPT_PAUSE);
        Self { entropy, clock, breaker, budget, most, pause }
    }

    /// Runs `attempt` until it succeeds, fails as each other would, or for the last time.
    pub async fn run<T, E: Failing, F: Future<Output = Result<T, E>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, E> {
        self.budget.earn();
        let (mut longest, mut left) = (self.pause, self.most);
        loop {
            let begun = self.clock.monotonic();
            let result = attempt().await;
            let Err(error) = &result else { return result };
            if let Some(why) = error.lost()
                && left + 1 == self.most
            {
                // The first may have been sent on a connection that a network had forgotten.
                self.breaker.waited_in_vain(begun, why);
            }
            left -= 1;
            if left == 0 || !error.may_pass() || !self.budget.spend() {
                return result;
            }
            tokio::time::sleep(draw(&*self.entropy, longest)).await;
            longest *= 2;
        }
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

    /// What an attempt of these tests fails with.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Failed {
        PutOff,
        Lost,
    }

    impl Failing for Failed {
        fn lost(&self) -> Option<&str> {
            (*self == Self::Lost).then_some("as told")
        }

        fn is_shed(&self) -> bool {
            false
        }

        fn may_pass(&self) -> bool {
            true
        }

        fn given_up(_: String) -> Self {
            Self::Lost
        }
    }

    fn attempts() -> (Arc<FakeClock>, Attempts) {
        let clock = Arc::new(FakeClock::default());
        let breaker = Breaker::new(Arc::clone(&clock) as _);
        let entropy = Arc::new(SystemEntropy::default());
        (Arc::clone(&clock), Attempts::new(entropy, clock, Arc::new(breaker)))
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_counted_and_end_with_success() {
        let (_, attempts) = attempts();
        for succeeds_at in 1..=limits::ATTEMPTS + 1 {
            let made = Cell::new(0);
            let attempt = || async {
                made.set(made.get() + 1);
                if made.get() == succeeds_at { Ok(()) } else { Err(Failed::PutOff) }
            };
            let succeeded = attempts.run(attempt).await;
            assert_eq!(succeeded.is_ok(), succeeds_at <= limits::ATTEMPTS);
            assert_eq!(made.get(), succeeds_at.min(limits::ATTEMPTS));
        }
    }

    /// What so many requests of attempts that are lost, each of which takes that long, tell the breaker.
    async fn opens(requests: u32, failed: Failed, time: Duration) -> bool {
        let (clock, attempts) = attempts();
        for _ in 0..requests {
            let attempt = async || {
                clock.pass(time);
                Err::<(), _>(failed)
            };
            attempts.run(attempt).await.unwrap_err();
        }
        attempts.breaker.is_open()
    }

    #[tokio::test(start_paused = true)]
    async fn the_breaker_learns_of_attempts_that_wait_in_vain() {
        let (lost, requests) = (Failed::Lost, limits::BREAKER_FAILURES);
        assert!(opens(requests, lost, limits::SILENCE).await);
        assert!(!opens(requests - 1, lost, limits::SILENCE).await, "one for each request");
        assert!(!opens(requests, lost, limits::SILENCE / 2).await);
        assert!(!opens(requests, Failed::PutOff, limits::SILENCE).await);
    }

    /// A thousand requests, none of which is answered.
    async fn storm(attempts: &Attempts) -> u64 {
        let made = Cell::new(0);
        for _ in 0..1_000 {
            let attempt = || async {
                made.set(made.get() + 1);
                Err::<(), _>(Failed::PutOff)
            };
            attempts.run(attempt).await.unwrap_err();
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
