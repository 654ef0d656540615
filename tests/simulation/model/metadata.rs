//! Metadata: of what was acknowledged, the last counts, by the clock of whoever set it where the two knew nothing
//! of each other.

use lunasec_core::limits;

use super::{Asked, DOUBT, Model, Op, Verb};
use crate::site::VALUE_HARD;

/// As it is before anything was set.
const EMPTY: &str = "{}";

impl Model {
    fn sets(&self, token: usize) -> impl Iterator<Item = &Op> {
        self.writes(move |verb| *verb == Verb::Set(token))
    }

    /// Whether a text is one that this token may have had, and has not surely been replaced since by a write for
    /// which `counts`.
    fn may_be(&self, token: usize, text: &str, counts: impl Fn(&Op) -> bool) -> bool {
        let given = &self.tokens[token];
        let first = given.metadata.as_deref().unwrap_or(EMPTY);
        let settled = match self.sets(token).find(|set| set.text == text) {
            Some(set) => set.settled(),
            None if text == first => given.made.end,
            None => return false,
        };
        let later = |set: &&Op| set.text != text && set.start > settled.saturating_add(DOUBT);
        !self.sets(token).filter(later).any(counts)
    }

    pub(crate) fn described(&mut self, asked: &Asked, token: usize, text: &str) {
        let age = limits::CACHED_VALUE_AGE;
        // It waits here once more, and loses as it is replayed.
        let first = self.tokens[token].metadata.as_deref();
        if first == Some(text) && self.is_retried(token, asked, self.tokens[token].made.end) {
            return;
        }
        if !self.may_be(token, text, |set| self.is_known(set, asked, age, VALUE_HARD)) {
            self.violated(asked, format!("token {token} has old or strange metadata {text}"));
        }
    }

    /// All is well again.
    pub(crate) fn healed_metadata(&mut self, asked: &Asked, token: usize, text: &str) {
        if !self.may_be(token, text, Op::acknowledged) {
            self.violated(asked, format!("after healing, token {token} has metadata {text}"));
        }
    }
}
