//! How often something may happen: a bucket that is full at first and fills evenly (the generic cell
//! rate algorithm, ITU-T I.371). Its whole state is one moment.

use std::{num::NonZeroU32, time::Duration};

/// A rate, and how much of it may come at once: as much as one `period` brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rate {
    /// How many in a period.
    pub count: NonZeroU32,
    /// The period.
    pub period: Duration,
}

/// One bucket.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// When it will be full again.
    full_at: Duration,
}

impl Bucket {
    /// The same without taking it.
    pub fn has(mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        self.take(rate, now)
    }

    /// Takes one at `now`, or tells how long until there is one.
    pub fn take(&mut self, rate: Rate, now: Duration) -> Result<(), Duration> {
        let each = rate.period / rate.count.get();
        let full_at = self.full_at.max(now) + each;
        match full_at.checked_sub(now + rate.period) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = full_at;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(count: u32, period: Duration) -> Rate {
        Rate { count: NonZeroU32::new(count).unwrap(), period }
    }

    #[test]
    fn a_full_bucket_gives_one_period_at_once_and_then_fills_evenly() {
        let rate = rate(600, Duration::from_secs(60));
        let mut bucket = Bucket::default();
        let start = Duration::from_secs(1_000);
        for _ in 0..600 {
            assert_eq!(bucket.take(rate, start), Ok(()));
        }
        assert_eq!(bucket.take(rate, start), Err(Duration::from_millis(100)));
        assert_eq!(
            bucket.take(rate, start + Duration::from_millis(99)),
            Err(Duration::from_millis(1))
        );
        assert_eq!(bucket.take(rate, start + Duration::from_millis(100)), Ok(()));
        assert!(bucket.take(rate, start + Duration::from_millis(100)).is_err());
        // After a pause it is full, and no fuller.
        let later = start + Duration::from_secs(3_600);
        assert_eq!((0..1_000).filter(|_| bucket.take(rate, later).is_ok()).count(), 600);
    }

    proptest! {
        #[test]
        fn no_window_gives_more_than_its_share_and_one_period(
            count in 1u32..50,
            steps in proptest::collection::vec(0u64..2_000, 1..300),
        ) {
            let rate = rate(count, Duration::from_secs(10));
            let (mut bucket, mut now, mut taken) = (Bucket::default(), Duration::ZERO, Vec::new());
            for step in steps {
                now += Duration::from_millis(step);
                if bucket.take(rate, now).is_ok() {
                    taken.push(now);
                }
            }
            for (at, from) in taken.iter().enumerate() {
                let window = now - *from;
                let share = window.as_secs_f64() / 10.0 * f64::from(count) + f64::from(count);
                prop_assert!((taken.len() - at) as f64 <= share + 1e-6);
            }
        }

        #[test]
        fn the_time_it_names_is_enough(count in 1u32..50) {
            let rate = rate(count, Duration::from_secs(10));
            let mut bucket = Bucket::default();
            let mut now = Duration::ZERO;
            for _ in 0..count * 3 {
                if let Err(wait) = bucket.take(rate, now) {
                    now += wait;
                    prop_assert_eq!(bucket.take(rate, now), Ok(()));
                }
            }
        }
    }
}
