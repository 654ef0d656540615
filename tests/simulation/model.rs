//! What was asked of the sidecars and what they acknowledged, and what they may answer by that.
//!
//! It knows of an acknowledged write where it is safe, and of any other only that it may have happened, also some
//! time later. What it concludes is never more than that: of two that overlap, either may be the later one.

use std::{collections::HashMap, time::Duration};

use lunasec_api::Durability;
use lunasec_core::{limits, token::Token};

use crate::scene::At;

mod grants;
mod metadata;
mod values;

/// What clients do. Tokens and sessions are named by their places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    /// How many, as a batch unless it is none; under which key.
    Tokenize {
        batch: Option<usize>,
        key: Option<u64>,
        metadata: bool,
        expires: Option<Duration>,
    },
    Reveal(usize),
    Describe(usize),
    Set(usize),
    Delete(usize),
    Grant(usize, usize, Duration),
    Verify(usize, usize),
    Revoke(usize, usize),
    RevokeAll(usize),
}

/// What is known of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    /// It got no answer, or one that it came to nothing, or none yet.
    Unknown,
    Stored,
    /// In the journal of its sidecar.
    Journaled,
}

impl From<Durability> for Fate {
    fn from(durability: Durability) -> Self {
        if durability == Durability::Stored { Self::Stored } else { Self::Journaled }
    }
}

/// Something that was asked.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) verb: Verb,
    pub(crate) site: usize,
    /// When the process that was asked began.
    pub(crate) born: At,
    pub(crate) start: At,
    /// When it was answered, or given up; the end of time until then.
    pub(crate) end: At,
    pub(crate) fate: Fate,
    /// What it writes as metadata.
    pub(crate) text: String,
}

impl Op {
    pub(crate) fn acknowledged(&self) -> bool {
        self.fate != Fate::Unknown
    }

    /// After that it has no effect any more that it did not have.
    fn settled(&self) -> At {
        match self.fate {
            Fate::Unknown => self.end.saturating_add(LATE),
            _ => self.end,
        }
    }
}

/// A token that somebody was given.
pub(crate) struct Given {
    pub(crate) token: Token,
    pub(crate) value: String,
    /// The metadata it was made with.
    pub(crate) metadata: Option<String>,
    /// The first that was acknowledged.
    pub(crate) made: Op,
    /// For how long it is there.
    pub(crate) expires: Option<Duration>,
}

impl Given {
    /// Whether it may have expired by then.
    fn may_be_over(&self, at: At) -> bool {
        self.expires.is_some_and(|time| at + DOUBT >= self.made.start + time)
    }

    /// Whether it surely has.
    fn is_over(&self, at: At) -> bool {
        self.expires.is_some_and(|time| at > self.made.end + time + DOUBT)
    }
}

/// What a check knows of the sidecar that answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) site: usize,
    pub(crate) start: At,
    pub(crate) now: At,
    /// Since when nothing went wrong between it and storage, and it could know that.
    pub(crate) up: At,
    /// When storage last answered it.
    pub(crate) answered: At,
    /// When its process began.
    pub(crate) born: At,
    /// Whether it has a disk cache, and so may know what a process before it has heard.
    pub(crate) keeps: bool,
}

/// A write that got no answer takes effect by then, if ever: on its way for so long.
const LATE: Duration = Duration::from_secs(60);
/// For probing storage, once somebody asks.
const PROBED: Duration = Duration::from_secs(3);
/// How far clocks may be apart here, and what else makes an order doubtful.
const DOUBT: Duration = Duration::from_secs(10);
/// By how much a grant has to be later than a revoke to count surely, where the two knew nothing of each other.
const CLEAR: Duration = Duration::from_secs(limits::CLOCK_SKEW.as_secs() + 2 * DOUBT.as_secs());

/// See the module.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) ops: Vec<Op>,
    pub(crate) tokens: Vec<Given>,
    /// By sidecar and idempotency key, and the place in the batch.
    keyed: HashMap<(usize, u64, usize), usize>,
    /// When nothing waited in the journal of each.
    drained: HashMap<usize, Vec<At>>,
    /// What must not be.
    pub(crate) violations: Vec<String>,
}

impl Model {
    pub(crate) fn begin(
        &mut self,
        verb: Verb,
        (site, born): (usize, At),
        text: String,
        start: At,
    ) -> usize {
        self.ops.push(Op { verb, site, born, start, end: At::MAX, fate: Fate::Unknown, text });
        self.ops.len() - 1
    }

    /// It was answered, or will never be.
    pub(crate) fn end(&mut self, op: usize, now: At, fate: Fate) {
        let op = &mut self.ops[op];
        (op.end, op.fate) = (now, fate);
    }

    pub(crate) fn drained(&mut self, site: usize, at: At) {
        self.drained.entry(site).or_default().push(at);
    }

    /// When an acknowledged write was known to be in the bucket.
    fn stored_at(&self, op: &Op) -> Option<At> {
        match op.fate {
            Fate::Unknown => None,
            Fate::Stored => Some(op.end),
            Fate::Journaled => {
                let drained = self.drained.get(&op.site)?;
                drained.get(drained.partition_point(|at| *at < op.end)).copied()
            }
        }
    }

    /// When a sidecar must have found out that storage is back: soon after it is first asked for something.
    pub(crate) fn up(&self, site: usize, trouble: At) -> At {
        let asked = self.ops.iter().filter(|op| op.site == site && op.start >= trouble);
        asked.map(|op| op.start + PROBED).min().unwrap_or(At::MAX)
    }

    /// Whether a sidecar must have heard of a write by now.
    fn is_known(&self, op: &Op, asked: &Asked, age: Duration, hard: Duration) -> bool {
        if !op.acknowledged() {
            return false;
        }
        let here = op.site == asked.site && op.end <= asked.start;
        let heard = self.stored_at(op).is_some_and(|at| {
            asked.start >= at.max(asked.up).saturating_add(age) || asked.start >= at + hard
        });
        here || heard
    }

    /// Whether an answer was told from what was here longer than anything may be, and not in the journal.
    fn is_too_old(&self, asked: &Asked, hard: Duration, touches: impl Fn(&Verb) -> bool) -> bool {
        let waits = |op: &Op| {
            let own = op.site == asked.site && op.verb.writes() && touches(&op.verb);
            own && self.stored_at(op).is_none_or(|at| at >= asked.answered)
        };
        asked.start >= asked.answered + hard && !self.ops.iter().any(waits)
    }

    fn writes(&self, touches: impl Fn(&Verb) -> bool) -> impl Iterator<Item = &Op> {
        self.ops.iter().filter(move |op| touches(&op.verb))
    }

    pub(crate) fn violated(&mut self, asked: &Asked, what: impl Into<String>) {
        let (what, at) = (what.into(), asked.now.as_secs_f64());
        self.violations.push(format!("at {at:.3}, sidecar {}: {what}", asked.site));
    }
}
