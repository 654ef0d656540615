//! Whether a dependency is worth asking. After some failures in a row it is not: whoever asks is told at once,
//! and one probe a second finds out when it is back. What it costs while it is away is so set by the probes
//! and not by the traffic.

use std::{
    fmt,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use lunasec_core::limits;
use tokio::sync::Notify;

use crate::{env::Clock, within::within};

/// See the module.
pub struct Breaker {
    clock: Arc<dyn Clock>,
    /// What `state` says, for those who only look.
    open: AtomicBool,
    /// For those who wait for an answer as it opens.
    opening: Notify,
    /// For those who wait for a probe.
    probed: Notify,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Requests in a row.
    failures: u32,
    /// Requests in a row whose second attempts took long to come to nothing, while nobody was answered.
    silences: u32,
    /// When it last did.
    answered: Option<Duration>,
    open: bool,
    /// Whether those who ask wait for the probe that is under way.
    late: bool,
    /// No probe before that.
    next_probe: Duration,
    /// What was the last straw.
    why: String,
}

/// A probe that is under way, and says what it came to even if it does not come to its end.
struct Probing {
    breaker: Arc<Breaker>,
    answered: bool,
}

impl Drop for Probing {
    fn drop(&mut self) {
        match self.answered {
            true => self.breaker.answered(),
            false => self.breaker.failed("a probe was not answered"),
        }
    }
}

/// A failure of a dependency, as its breaker and its attempts read it.
pub trait Failing {
    /// Why there was no answer; none where there was one, or where nobody was asked.
    fn lost(&self) -> Option<&str>;
    /// Whether nobody was asked, for too many wait.
    fn is_shed(&self) -> bool;
    /// Whether another attempt may succeed.
    fn may_pass(&self) -> bool;
    /// Of a request that is given up for what others failed of; a write may have been done all the same.
    fn given_up(why: String) -> Self;
}

/// Whether the dependency said something. What it refuses or puts off, it has answered.
pub fn is_answer<T, E: Failing>(result: &Result<T, E>) -> bool {
    result.as_ref().err().is_none_or(|error| !error.is_shed() && error.lost().is_none())
}

/// Whether to ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Admission {
    /// It may well answer.
    Ask,
    /// It would not.
    Refuse,
    /// Nor did it when it was last asked, and it is time to find out whether it would again.
    Probe,
    /// The same, and whoever asks waits for that: nobody has asked for long.
    ProbeAndWait,
    /// Another does that, who waits.
    Wait,
}

impl Breaker {
    /// Closed.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        // What has never answered is given one chance, and not some: a start waits for it once.
        let failures = limits::BREAKER_FAILURES - 1;
        let state = Mutex::new(State { failures, ..State::default() });
        let (open, opening, probed) = (AtomicBool::new(false), Notify::new(), Notify::new());
        Self { clock, open, opening, probed, state }
    }

    /// Whether the dependency is known to be away.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether to ask now. If it is time for that, `probe` finds out, on the side, whether it answers again.
    pub async fn may_ask<P: Future<Output = bool> + Send + 'static>(
        self: &Arc<Self>,
        time: Duration,
        probe: impl FnOnce() -> P,
    ) -> bool {
        if !self.is_open() {
            return true;
        }
        let admission = self.admit();
        if matches!(admission, Admission::Probe | Admission::ProbeAndWait) {
            self.probe(time, probe());
        }
        match admission {
            Admission::Ask => true,
            Admission::Refuse | Admission::Probe => false,
            Admission::ProbeAndWait | Admission::Wait => {
                self.probed().await;
                !self.is_open()
            }
        }
    }

    fn admit(&self) -> Admission {
        let now = self.clock.monotonic();
        let mut state = self.state();
        match *state {
            State { open: false, .. } => Admission::Ask,
            State { late: true, .. } => Admission::Wait,
            State { next_probe, .. } if now < next_probe => Admission::Refuse,
            State { next_probe, .. } => {
                // It has as long as a request has; the next one does not wait for its end.
                state.next_probe = now + limits::BREAKER_PAUSE;
                // What was found out so long ago says little.
                state.late = now >= next_probe + limits::BREAKER_MEMORY;
                if state.late { Admission::ProbeAndWait } else { Admission::Probe }
            }
        }
    }

    /// Waits for the end of a probe that others wait for.
    async fn probed(&self) {
        loop {
            let mut probed = pin!(self.probed.notified());
            probed.as_mut().enable();
            if !self.state().late {
                return;
            }
            probed.await;
        }
    }

    /// Whether it is time to find out whether it answers again.
    pub fn wants_a_probe(&self) -> bool {
        let now = self.clock.monotonic();
        let state = self.state();
        state.open && now >= state.next_probe
    }

    /// It has answered, whatever it said.
    pub fn answered(&self) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        if state.open {
            tracing::info!("a dependency that was away answers again");
        }
        *state = State { answered: Some(now), ..State::default() };
        self.open.store(false, Ordering::Relaxed);
        self.probed.notify_waiters();
    }

    /// It has not, to all attempts of a request.
    pub fn failed(&self, why: impl fmt::Display) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        state.failures += 1;
        state.late = false;
        self.probed.notify_waiters();
        if !state.open {
            state.next_probe = now + limits::BREAKER_PAUSE;
        }
        self.open_after(state.failures, &mut state, why);
    }

    /// The second attempt of a request, begun at that time by the clock, was not answered. What fails at once is tried
    /// again at once, and may well succeed; but where nobody at all was answered meanwhile, who waits need not wait until
    /// each has tried thrice.
    pub fn waited_in_vain(&self, begun: Duration, why: impl fmt::Display) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        if now < begun + limits::SILENCE || state.answered.is_some_and(|at| at >= begun) {
            return;
        }
        state.silences += 1;
        if !state.open {
            state.next_probe = now + limits::BREAKER_PAUSE;
        }
        self.open_after(state.silences, &mut state, why);
    }

    fn open_after(&self, failures: u32, state: &mut State, why: impl fmt::Display) {
        if failures >= limits::BREAKER_FAILURES && !state.open {
            state.open = true;
            state.why = why.to_string();
            self.open.store(true, Ordering::Relaxed);
            self.opening.notify_waiters();
        }
    }

    /// What `request` comes to, of which the breaker learns; given up if it opens meanwhile.
    pub async fn hear<T, E: Failing>(
        &self,
        request: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let result = self.unless_it_opens(request).await.map_err(E::given_up)?;
        if is_answer(&result) {
            self.answered();
        } else if let Err(error) = &result
            && let Some(why) = error.lost()
        {
            self.failed(why);
        }
        result
    }

    /// What `request` comes to, unless the breaker opens meanwhile: then it is given up for what others failed of.
    async fn unless_it_opens<T>(&self, request: impl Future<Output = T>) -> Result<T, String> {
        let opening = self.opening.notified();
        tokio::select! {
            // What is done when it opens is done.
            biased;
            done = request => Ok(done),
            () = opening => Err(self.state().why.clone()),
        }
    }

    /// Sends a probe, on the side; whether it was answered is what it comes to.
    fn probe(self: &Arc<Self>, time: Duration, probe: impl Future<Output = bool> + Send + 'static) {
        let breaker = Arc::clone(self);
        tokio::spawn(async move {
            let mut probing = Probing { breaker, answered: false };
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

    use futures_util::FutureExt;

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
        breaker.failed("as told");
        assert!(breaker.is_open());
    }

    fn opened() -> (Arc<FakeClock>, Breaker) {
        let (clock, breaker) = breaker();
        (0..limits::BREAKER_FAILURES).for_each(|_| breaker.failed("as told"));
        (clock, breaker)
    }

    #[test]
    fn some_failures_in_a_row_open_it_and_fewer_do_not() {
        let (_, breaker) = breaker();
        for _ in 0..10 {
            (1..limits::BREAKER_FAILURES).for_each(|_| breaker.failed("as told"));
            assert_eq!((breaker.is_open(), breaker.admit()), (false, Admission::Ask));
            breaker.answered();
        }
        (0..limits::BREAKER_FAILURES).for_each(|_| breaker.failed("as told"));
        assert_eq!((breaker.is_open(), breaker.admit()), (true, Admission::Refuse));
    }

    #[test]
    fn so_do_some_that_wait_in_vain_while_nobody_is_answered() {
        let (clock, breaker) = breaker();
        let wait = |time: Duration| {
            let begun = clock.monotonic();
            clock.pass(time);
            breaker.waited_in_vain(begun, "as told");
        };
        clock.pass(limits::SILENCE);
        // Failed at once.
        (0..10).for_each(|_| wait(limits::SILENCE / 2));
        (1..limits::BREAKER_FAILURES).for_each(|_| wait(limits::SILENCE));
        breaker.answered();
        // Others were answered meanwhile.
        for _ in 0..10 {
            let begun = clock.monotonic();
            breaker.answered();
            clock.pass(limits::SILENCE);
            breaker.waited_in_vain(begun, "as told");
        }
        clock.pass(limits::SILENCE);
        (1..limits::BREAKER_FAILURES).for_each(|_| wait(limits::SILENCE));
        assert!(!breaker.is_open());
        wait(limits::SILENCE);
        // Nor is it probed at once.
        assert_eq!((breaker.is_open(), breaker.admit()), (true, Admission::Refuse));
    }

    #[tokio::test]
    async fn what_is_under_way_as_it_opens_is_given_up_and_what_is_done_is_not() {
        let (_, breaker) = breaker();
        let done = breaker.unless_it_opens(async {
            (0..limits::BREAKER_FAILURES).for_each(|_| breaker.failed("as told"));
            1
        });
        assert_eq!(done.await, Ok(1));
        breaker.answered();
        let mut waits = Box::pin(breaker.unless_it_opens(pending::<u8>()));
        assert!((&mut waits).now_or_never().is_none());
        (0..limits::BREAKER_FAILURES).for_each(|_| breaker.failed("as told"));
        assert_eq!(waits.now_or_never(), Some(Err("as told".to_owned())));
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
            breaker.failed("as told");
            assert!(breaker.is_open());
        }
        clock.pass(limits::BREAKER_PAUSE);
        assert_eq!(breaker.admit(), Admission::Probe);
        breaker.answered();
        assert_eq!((breaker.is_open(), breaker.admit()), (false, Admission::Ask));
        // It takes as many failures as before.
        breaker.failed("as told");
        assert!(!breaker.is_open());
    }

    /// Some of many who ask at once, after nobody has for long.
    async fn ask_late(answers: bool) -> Vec<bool> {
        let (clock, breaker) = opened();
        let breaker = Arc::new(breaker);
        clock.pass(limits::BREAKER_PAUSE + limits::BREAKER_MEMORY);
        let asks = (0..10).map(|_| {
            breaker.may_ask(limits::BREAKER_PROBE_TIME, || async move {
                tokio::time::sleep(limits::BREAKER_PROBE_TIME / 2).await;
                answers
            })
        });
        futures_util::future::join_all(asks).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_after_nobody_has_for_long_waits_for_the_probe() {
        assert_eq!(ask_late(true).await, [true; 10]);
        assert_eq!(ask_late(false).await, [false; 10]);
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
