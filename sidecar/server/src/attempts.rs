//! Another attempt after a failure that may pass: a few, with a pause between them whose length is
//! drawn at random, so that many sidecars do not come back together.

use std::{sync::Arc, time::Duration};

use lunasec_core::limits;

use crate::env::{Entropy, random};

/// How often, and how far apart.
pub struct Attempts {
    entropy: Arc<dyn Entropy>,
    most: u32,
    pause: Duration,
}

impl Attempts {
    /// As the limits say.
    pub fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self { entropy, most: limits::ATTEMPTS, pause: limits::ATTEMPT_PAUSE }
    }

    /// Runs `attempt` until it gives what is `done`, or for the last time.
    pub async fn run<T, F: Future<Output = T>>(
        &self,
        attempt: impl Fn() -> F,
        done: impl Fn(&T) -> bool,
    ) -> T {
        let mut longest = self.pause;
        for _ in 1..self.most {
            let result = attempt().await;
            if done(&result) {
                return result;
            }
            tokio::time::sleep(self.draw(longest)).await;
            longest *= 2;
        }
        attempt().await
    }

    /// Up to `longest`.
    fn draw(&self, longest: Duration) -> Duration {
        // Without randomness, the whole of it.
        let share = random::<2>(&*self.entropy).map_or(u16::MAX, u16::from_be_bytes);
        longest * u32::from(share) / u32::from(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::env::SystemEntropy;

    #[tokio::test(start_paused = true)]
    async fn attempts_are_counted_and_end_with_success() {
        let attempts = Attempts::new(Arc::new(SystemEntropy::default()));
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

    #[test]
    fn a_pause_is_never_longer_than_it_may_be() {
        let attempts = Attempts::new(Arc::new(SystemEntropy::default()));
        for _ in 0..1_000 {
            assert!(attempts.draw(limits::ATTEMPT_PAUSE) <= limits::ATTEMPT_PAUSE);
        }
    }
}
