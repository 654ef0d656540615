//! Log lines that anybody can cause: one in a while, with how many there were.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::clock::instant;

/// Between two lines.
const EVERY: Duration = Duration::from_secs(10);

/// Whether the next line is due.
#[derive(Default)]
pub struct Quiet(Mutex<State>);

#[derive(Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl Quiet {
    /// How many were left out before this one, if it is to be written.
    pub fn due(&self) -> Option<u64> {
        self.due_at(instant())
    }

    fn due_at(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < EVERY) {
            state.left_out += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_a_while_says_how_many_there_were() {
        let (quiet, start) = (Quiet::default(), instant());
        assert_eq!(quiet.due_at(start), Some(0));
        assert_eq!(quiet.due_at(start + EVERY / 2), None);
        assert_eq!(quiet.due_at(start + EVERY / 2), None);
        assert_eq!(quiet.due_at(start + EVERY), Some(2));
        assert_eq!(quiet.due_at(start + EVERY * 2), Some(0));
    }
}
