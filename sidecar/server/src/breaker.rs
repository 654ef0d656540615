//! Whether a dependency is worth asking. After some failures in a row it is not: whoever asks is told at once,
//! and one probe a second finds out when it is back. What it costs while it is away is so set by the probes
//! and not by the traffic.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lunasec_core::limits;

use crate::{env::Clock, within::within};

/// See the module.
pub struct Breaker {
    clock: Arc<dyn Clock>,
    /// What `state` says, for those who only look.
    open: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// In a row.
    failures: u32,
    open: bool,
    /// Whether a probe is under way.
    probing: bool,
    /// No probe before that.
    next_probe: Duration,
}

/// A probe that is under way, and says what it came to even if it does not come to its end.
struct Probing {
    breaker: Arc<Breaker>,
    answered: bool,
}

impl Drop for Probing {
    fn drop(&mut self) {
        if self.answered { self.breaker.answered() } else { self.breaker.failed() }
    }
}

/// Whether to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It may well answer.
    Ask,
    /// It would not.
    Refuse,
    /// Nor now, and it is time to find out whether it would again.
    Probe,
}

impl Breaker {
    /// Closed.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        // What has never answered is given one chance, and not some: a start waits for it once.
        let failures = limits::BREAKER_FAILURES - 1;
        let state = Mutex::new(State { failures, ..State::default() });
        Self { clock, open: AtomicBool::new(false), state }
    }

    /// Whether the dependency is known to be away.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether to ask now. Whoever is told to probe says what came of it.
    pub fn admit(&self) -> Admission {
        if !self.is_open() {
            return Admission::Ask;
        }
        let now = self.clock.monotonic();
        let mut state = self.state();
        match *state {
            State { open: false, .. } => Admission::Ask,
            State { probing: true, .. } => Admission::Refuse,
            State { next_probe, .. } if now < next_probe => Admission::Refuse,
            _ => {
                state.probing = true;
                Admission::Probe
            }
        }
    }

    /// Whether it is time to find out whether it answers again.
    pub fn wants_a_probe(&self) -> bool {
        let now = self.clock.monotonic();
        let state = self.state();
        state.open && !state.probing && now >= state.next_probe
    }

    /// It has answered, whatever it said.
    pub fn answered(&self) {
        let mut state = self.state();
        if state.open {
            tracing::info!("a dependency that was away answers again");
        }
        *state = State::default();
        self.open.store(false, Ordering::Relaxed);
    }

    /// It has not.
    pub fn failed(&self) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        state.failures += 1;
        state.probing = false;
        state.next_probe = now + limits::BREAKER_PAUSE;
        if state.failures >= limits::BREAKER_FAILURES {
            state.open = true;
            self.open.store(true, Ordering::Relaxed);
        }
    }

    /// Sends a probe, on the side; whether it was answered is what it comes to.
    pub fn probe(
        self: &Arc<Self>,
        time: Duration,
        probe: impl Future<Output = bool> + Send + 'static,
    ) {
        let breaker = Arc::clone(self);
        tokio::spawn(async move {
            let mut probing = Probing { breaker, answered: false };
            // Not for as long as a request may take: the sooner it is over, the sooner comes the next.
            probing.answered = within(time, probe).await == Some(true);
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{pending, ready},
        pin::Pin,
    };

    use super::*;
    use crate::env::FakeClock;

    fn breaker() -> (Arc<FakeClock>, Breaker) {
        let clock = Arc::new(FakeClock::default());
        let breaker = Breaker::new(Arc::clone(&clock) as _);
        breaker.answered();
        (clock, breaker)
    }

    #[test]
    fn what_has_never_answered_is_given_one_chance() {
        let breaker = Breaker::new(Arc::new(FakeClock::default()));
        assert_eq!(breaker.admit(), Admission::Ask);
        breaker.failed();
        assert!(breaker.is_open());
    }

    fn opened() -> (Arc<FakeClock>, Breaker) {
        let (clock, breaker) = breaker();
        (0..limits::BREAKER_FAILURES).for_each(|_| breaker.failed());
        (clock, breaker)
    }

    #[test]
    fn some_failures_in_a_row_open_it_and_fewer_do_not() {
        let (_, breaker) = breaker();
        for _ in 0..10 {
            (1..limits::BREAKER_FAILURES).for_each(|_| breaker.failed());
            assert_eq!((breaker.is_open(), breaker.admit()), (false, Admission::Ask));
            breaker.answered();
        }
        (0..limits::BREAKER_FAILURES).for_each(|_| breaker.failed());
        assert_eq!((breaker.is_open(), breaker.admit()), (true, Admission::Refuse));
    }

    #[test]
    fn one_probe_at_a_time_and_one_a_second() {
        let (clock, breaker) = opened();
        for _ in 0..10 {
            clock.pass(limits::BREAKER_PAUSE - Duration::from_millis(1));
            assert_eq!(breaker.admit(), Admission::Refuse);
            clock.pass(Duration::from_millis(1));
            let admitted: Vec<_> = (0..100).map(|_| breaker.admit()).collect();
            let probes = admitted.iter().filter(|admission| **admission == Admission::Probe);
            assert_eq!((probes.count(), admitted[0]), (1, Admission::Probe));
            breaker.failed();
            assert!(breaker.is_open());
        }
        clock.pass(limits::BREAKER_PAUSE);
        assert_eq!(breaker.admit(), Admission::Probe);
        breaker.answered();
        assert_eq!((breaker.is_open(), breaker.admit()), (false, Admission::Ask));
        // It takes as many failures as before.
        breaker.failed();
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_ends_whatever_becomes_of_it() {
        async fn panics() -> bool {
            panic!("as told")
        }
        let (clock, breaker) = opened();
        let breaker = Arc::new(breaker);
        let mut probes: Vec<Pin<Box<dyn Future<Output = bool> + Send>>> = vec![
            Box::pin(ready(false)),
            Box::pin(pending()),
            Box::pin(panics()),
            Box::pin(ready(true)),
        ];
        for probe in probes.drain(..) {
            clock.pass(limits::BREAKER_PAUSE);
            assert_eq!((breaker.is_open(), breaker.admit()), (true, Admission::Probe));
            breaker.probe(limits::BREAKER_PROBE_TIME, probe);
            tokio::time::sleep(2 * limits::BREAKER_PROBE_TIME).await;
        }
        assert_eq!((breaker.is_open(), breaker.admit()), (false, Admission::Ask));
    }

    /// A request that was begun before is as good a witness as a probe.
    #[test]
    fn any_answer_closes_it() {
        let (_, breaker) = opened();
        breaker.answered();
        assert_eq!(breaker.admit(), Admission::Ask);
    }
}
