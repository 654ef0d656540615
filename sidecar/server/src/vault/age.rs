//! How old an answer is, and why that is worth a word.

use std::time::Duration;

use crate::telemetry::Reason;

/// How long ago storage last said what an answer is made from, and the keeper of keys what it was opened with:
/// each where that is longer than it should be, or that dependency is away. A healthy answer has neither.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Age {
    /// Of the oldest object.
    pub storage: Option<Duration>,
    /// Of the oldest key.
    pub keys: Option<Duration>,
}

impl Age {
    /// Of an answer that is made from both: the older of each, and none is the youngest.
    pub fn older(self, other: Self) -> Self {
        Self { storage: self.storage.max(other.storage), keys: self.keys.max(other.keys) }
    }

    /// Of an answer of many items.
    pub fn oldest(ages: impl IntoIterator<Item = Self>) -> Self {
        ages.into_iter().fold(Self::default(), Self::older)
    }

    /// What is away, or slow.
    pub fn reason(self) -> Option<Reason> {
        match (self.storage, self.keys) {
            (None, None) => None,
            (Some(_), None) => Some(Reason::Storage),
            (None, Some(_)) => Some(Reason::Keys),
            (Some(_), Some(_)) => Some(Reason::StorageAndKeys),
        }
    }

    /// The older of the two; none for a healthy answer.
    pub fn time(self) -> Option<Duration> {
        self.storage.max(self.keys)
    }
}
