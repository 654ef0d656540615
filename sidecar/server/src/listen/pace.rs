//! Where in its life a connection is, noted by its bytes and by its service, for a clock to judge.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::stream::Watch;

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum Phase {
    /// No byte has come yet.
    New,
    /// A request's head has begun.
    Head,
    /// A request is at work.
    Serving,
    /// Between requests, or its client is slow to read.
    Idle,
}

/// A connection's phase, and how many requests it has had answered.
#[derive(Default)]
pub(super) struct Pace {
    phase: AtomicU8,
    answered: AtomicU64,
}

/// One look at a pace.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) phase: Phase,
    pub(super) answered: u64,
}

impl Pace {
    pub(super) fn enter(&self, phase: Phase) {
        if phase == Phase::Idle {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> Moment {
        let phase = match self.phase.load(Ordering::Relaxed) {
            0 => Phase::New,
            1 => Phase::Head,
            2 => Phase::Serving,
            _ => Phase::Idle,
        };
        Moment { phase, answered: self.answered.load(Ordering::Relaxed) }
    }
}

impl Watch for Pace {
    fn bytes_came(&self, bytes: &[u8]) {
        if !bytes.is_empty() && matches!(self.now().phase, Phase::New | Phase::Idle) {
            self.enter(Phase::Head);
        }
    }
}
