//! Decides, for one call, whether and when it is tried again.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    Error, ErrorKind,
    dice::fraction,
    limits::{CONNECTION_ATTEMPTS, SUCCESSES_FOR_A_RETRY},
};

/// What may be sent twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeatable {
    /// Another time changes nothing.
    Always,
    /// Only what certainly had no effect.
    Undone,
}

/// A bucket of retries that all calls of a client share: when most calls fail, few are tried again. Answers and broken
/// connections have one each: who was told `overloaded` a hundred times must not notice a restart.
pub(crate) struct Budget {
    /// Counted in successes: tenths of a retry are not what ten of them sum up to.
    left: AtomicU32,
    most: u32,
}

impl Budget {
    pub(crate) fn new(retries: u32) -> Self {
        let most = retries.saturating_mul(SUCCESSES_FOR_A_RETRY);
        Self { left: AtomicU32::new(most), most }
    }

    fn take(&self) -> bool {
        let take = |left: u32| left.checked_sub(SUCCESSES_FOR_A_RETRY);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn succeeded(&self) {
        // Nearly always: a write that all threads share is saved.
        if self.left.load(Ordering::Relaxed) < self.most {
            let give = |left: u32| (left < self.most).then_some(left + 1);
            let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, give);
        }
    }
}

/// Since when nobody answers at the socket, and how long calls still wait for that to change. Afterwards a call asks
/// once, which costs next to nothing on a Unix socket, and fails at once: so it is noticed when the sidecar is back.
pub(crate) struct Reachability {
    start: Duration,
    restart: Duration,
    /// Whether it was reached, and is as far as is known.
    here: AtomicBool,
    away: Mutex<Away>,
}

#[derive(Default)]
struct Away {
    since: Option<Instant>,
    ever_reached: bool,
}

impl Reachability {
    pub(crate) fn new(start: Duration, restart: Duration) -> Self {
        Self { start, restart, here: AtomicBool::new(false), away: Mutex::default() }
    }

    fn reached(&self) {
        if !self.here.load(Ordering::Acquire) {
            let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
            *away = Away { since: None, ever_reached: true };
            self.here.store(true, Ordering::Release);
        }
    }

    /// How long a call may still wait; nothing: it may not.
    fn missed(&self, now: Instant) -> Duration {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        self.here.store(false, Ordering::Release);
        let since = *away.since.get_or_insert(now);
        let patience = if away.ever_reached { self.restart } else { self.start };
        patience.saturating_sub(now.saturating_duration_since(since))
    }
}

/// What all calls of a client share.
pub(crate) struct Shared {
    pub(crate) answers: Budget,
    pub(crate) breaks: Budget,
    pub(crate) reachability: Reachability,
    pub(crate) pause: Duration,
    pub(crate) pause_most: Duration,
}

/// Whether another attempt may do better. Not where a rate is used up and nobody says until when, as of an item of a
/// batch: a call's pauses are shorter than rates are, and more attempts would only use up more.
pub(crate) fn may_help(error: &Error) -> bool {
    error.retryable() && !(error.kind() == ErrorKind::RateLimited && error.retry_after().is_none())
}

pub(crate) struct Retries<'a> {
    shared: &'a Shared,
    attempts: u32,
    repeatable: Repeatable,
    answers: u32,
    breaks: u32,
    misses: u32,
}

impl<'a> Retries<'a> {
    pub(crate) fn new(shared: &'a Shared, attempts: u32, repeatable: Repeatable) -> Self {
        Self { shared, attempts, repeatable, answers: 0, breaks: 0, misses: 0 }
    }

    pub(crate) fn succeeded(&self) {
        self.shared.reachability.reached();
        self.shared.answers.succeeded();
        self.shared.breaks.succeeded();
    }

    /// How long to wait before the next attempt; nothing if there is none, or if the time is over by then.
    pub(crate) fn pause(&mut self, error: &Error, until: Instant) -> Option<Duration> {
        let pause = match error.kind() {
            ErrorKind::SidecarUnreachable if error.sent() && error.retryable() => self.broken(),
            ErrorKind::SidecarUnreachable => self.missed(error),
            _ => self.answered(error),
        }?;
        (Instant::now().checked_add(pause)? < until).then_some(pause)
    }

    fn missed(&mut self, error: &Error) -> Option<Duration> {
        self.misses += 1;
        let left = self.shared.reachability.missed(Instant::now());
        if !error.retryable() || left.is_zero() {
            return None;
        }
        Some(left.min(self.jitter(self.misses.min(3)).max(Duration::from_millis(1))))
    }

    fn broken(&mut self) -> Option<Duration> {
        self.breaks += 1;
        let allowed = self.attempts.max(CONNECTION_ATTEMPTS);
        if self.repeatable == Repeatable::Undone
            || self.breaks >= allowed
            || !self.shared.breaks.take()
        {
            return None;
        }
        Some(self.jitter(self.breaks))
    }

    fn answered(&mut self, error: &Error) -> Option<Duration> {
        self.shared.reachability.reached();
        self.answers += 1;
        let undone = matches!(error.kind(), ErrorKind::RateLimited | ErrorKind::Overloaded);
        if !may_help(error) || (self.repeatable == Repeatable::Undone && !undone) {
            return None;
        }
        if self.answers >= self.attempts || !self.shared.answers.take() {
            return None;
        }
        Some(error.retry_after().unwrap_or_default().saturating_add(self.jitter(self.answers)))
    }

    /// Full jitter: anything from nothing to twice the last one's most.
    fn jitter(&self, attempt: u32) -> Duration {
        let doubled = self.shared.pause.saturating_mul(1 << (attempt - 1).min(16));
        doubled.min(self.shared.pause_most).mul_f64(fraction())
    }
}
