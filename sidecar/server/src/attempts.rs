//! Another attempt after a failure that may pass: a few, with a pause between them whose length is
//! drawn at random, so that many sidecars do not come back together; and within a budget, so that what is
//! asked too much is not asked three times as much for it.

use std::{sync::Arc, time::Duration};

use lunasec_core::limits;

use crate::{
    breaker::Breaker,
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

    /// Runs `attempt` until what it gives is judged to be done, or for the last time.
    pub async fn run<T, F: Future<Output = T>>(
        &self,
        attempt: impl Fn() -> F,
        judge: impl Fn(&T) -> Attempted,
    ) -> T {
        self.budget.earn();
        let (mut longest, mut left) = (self.pause, self.most);
        loop {
            let begun = self.clock.monotonic();
            let result = attempt().await;
            let attempted = judge(&result);
            if let Attempted::Lost(why) = &attempted
                && left + 1 == self.most
            {
                // The first may have been sent on a connection that a network had forgotten.
                self.breaker.waited_in_vain(begun, why);
            }
            left -= 1;
            if left == 0 || attempted == Attempted::Done || !self.budget.spend() {
                return result;
            }
            tokio::time::sleep(draw(&*self.entropy, longest)).await;
            longest *= 2;
        }
    }
}

/// What an attempt came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Attempted {
    /// It succeeded, or failed as each other would.
    Done,
    /// It was answered, and another may succeed.
    PutOff,
    /// It was not answered, for this reason.
    Lost(String),
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
                if made.get() == succeeds_at { Attempted::Done } else { Attempted::PutOff }
            };
            let succeeded = attempts.run(attempt, Attempted::clone).await;
            assert_eq!(succeeded == Attempted::Done, succeeds_at <= limits::ATTEMPTS);
            assert_eq!(made.get(), succeeds_at.min(limits::ATTEMPTS));
        }
    }

    /// What so many requests of attempts that are lost, each of which takes that long, tell the breaker.
    async fn opens(requests: u32, attempted: Attempted, time: Duration) -> bool {
        let (clock, attempts) = attempts();
        for _ in 0..requests {
            let attempt = async || clock.pass(time);
            attempts.run(attempt, |()| attempted.clone()).await;
        }
        attempts.breaker.is_open()
    }

    #[tokio::test(start_paused = true)]
    async fn the_breaker_learns_of_attempts_that_wait_in_vain() {
        let (lost, requests) = (Attempted::Lost("as told".into()), limits::BREAKER_FAILURES);
        assert!(opens(requests, lost.clone(), limits::SILENCE).await);
        assert!(!opens(requests - 1, lost.clone(), limits::SILENCE).await, "one for each request");
        assert!(!opens(requests, lost, limits::SILENCE / 2).await);
        assert!(!opens(requests, Attempted::PutOff, limits::SILENCE).await);
    }

    /// A thousand requests, none of which is answered.
    async fn storm(attempts: &Attempts) -> u64 {
        let made = Cell::new(0);
        for _ in 0..1_000 {
            let attempt = || async { made.set(made.get() + 1) };
            attempts.run(attempt, |()| Attempted::PutOff).await;
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
