//! The only ambient access: the clock and the operating system's generator.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use lunasec_core::ids::Millis;
use zeroize::Zeroize;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Wall-clock time.
    fn now(&self) -> Millis;
    /// Time since some fixed moment; never goes back.
    fn monotonic(&self) -> Duration;
}

/// A wall clock that is never set back: while the one of the machine is behind what it once said, it goes on from that.
pub struct Forward {
    clock: Arc<dyn Clock>,
    /// The highest time, and when that was.
    seen: Mutex<(Millis, Duration)>,
}

impl Forward {
    /// From `seen` on, at least.
    pub fn from(seen: Millis, clock: Arc<dyn Clock>) -> Self {
        let seen = Mutex::new((seen, clock.monotonic()));
        Self { clock, seen }
    }

    /// What time it is.
    pub fn now(&self) -> Millis {
        let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (highest, then) = *seen;
        let goes_on = highest + millis(monotonic.saturating_sub(then));
        if now > goes_on {
            *seen = (now, monotonic);
        }
        now.max(goes_on)
    }
}

/// Draws randomness.
pub trait Entropy: Send + Sync {
    /// Fills `out`, or fails as the operating system's generator does: not at all on a running system.
    fn fill(&self, out: &mut [u8]) -> Result<(), NoEntropy>;
}

/// The operating system gave no randomness.
#[derive(Debug, thiserror::Error, Clone, Copy)]
#[error("the operating system's random generator failed")]
pub struct NoEntropy;

/// Draws an array.
pub fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], NoEntropy> {
    let mut out = [0; N];
    entropy.fill(&mut out)?;
    Ok(out)
}

/// A duration as clocks count.
pub fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The machine's clock.
pub struct SystemClock {
    start: Instant,
}

/// A clock for tests, which moves only when told to.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct FakeClock(std::sync::Mutex<(Millis, Duration)>);

#[cfg(test)]
impl FakeClock {
    /// The wall clock says this.
    pub(crate) fn at(now: Millis) -> Self {
        Self(std::sync::Mutex::new((now, Duration::ZERO)))
    }

    /// Sets the wall clock, also back.
    pub(crate) fn set(&self, now: Millis) {
        self.0.lock().unwrap().0 = now;
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        let mut clocks = self.0.lock().unwrap();
        clocks.0 += u64::try_from(time.as_millis()).unwrap();
        clocks.1 += time;
    }
}

#[cfg(test)]
impl Clock for FakeClock {
    fn now(&self) -> Millis {
        self.0.lock().unwrap().0
    }

    fn monotonic(&self) -> Duration {
        self.0.lock().unwrap().1
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
mod system {
    use super::*;

    impl Default for SystemClock {
        fn default() -> Self {
            Self { start: Instant::now() }
        }
    }

    impl Clock for SystemClock {
        fn now(&self) -> Millis {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        }

        fn monotonic(&self) -> Duration {
            self.start.elapsed()
        }
    }

    impl Entropy for SystemEntropy {
        fn fill(&self, out: &mut [u8]) -> Result<(), NoEntropy> {
            if out.len() > POOL {
                return getrandom::fill(out).map_err(|_| NoEntropy);
            }
            let mut pool = self.0.lock().map_err(|_| NoEntropy)?;
            if pool.bytes.len() - pool.used < out.len() {
                getrandom::fill(&mut pool.bytes).map_err(|_| NoEntropy)?;
                pool.used = 0;
            }
            let from = pool.used;
            pool.used += out.len();
            let used = pool.used;
            let drawn = &mut pool.bytes[from..used];
            out.copy_from_slice(drawn);
            // What was handed out is a token or a key: it must not be found here later.
            drawn.zeroize();
            Ok(())
        }
    }
}

const POOL: usize = 4096;

/// The operating system's generator through a pool: one system call per 4 KiB.
pub struct SystemEntropy(Mutex<Pool>);

struct Pool {
    bytes: [u8; POOL],
    used: usize,
}

impl Default for SystemEntropy {
    fn default() -> Self {
        Self(Mutex::new(Pool { bytes: [0; POOL], used: POOL }))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_goes_on_from_what_it_once_said() {
        let clock = Arc::new(FakeClock::at(1_000));
        let forward = Forward::from(0, Arc::clone(&clock) as _);
        assert_eq!(forward.now(), 1_000);
        clock.set(100);
        // However often it is asked, nothing is lost of what passes meanwhile.
        for _ in 0..4_000 {
            clock.pass(Duration::from_micros(500));
            forward.now();
        }
        assert_eq!(forward.now(), 3_000);
        clock.set(5_000);
        assert_eq!(forward.now(), 5_000);
        assert_eq!(Forward::from(9_000, clock).now(), 9_000);
    }

    #[test]
    fn the_pool_never_gives_the_same_bytes_twice_and_keeps_none() {
        let entropy = SystemEntropy::default();
        let mut seen = HashSet::new();
        for _ in 0..2_000 {
            assert!(seen.insert(random::<16>(&entropy).unwrap()));
        }
        let pool = entropy.0.lock().unwrap();
        assert!(pool.bytes[..pool.used].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn requests_larger_than_the_pool_are_filled_too() {
        let mut large = vec![0; 3 * POOL];
        SystemEntropy::default().fill(&mut large).unwrap();
        assert!(large.chunks(POOL).all(|chunk| chunk.iter().any(|&byte| byte != 0)));
    }
}
