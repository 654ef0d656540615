//! How many may be at something at once, and how many may wait for that: one more is told so at once, before
//! a queue grows that nobody in it lives to see the end of.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// See the module.
pub struct Gate {
    permits: Semaphore,
    most: usize,
    waiting: AtomicUsize,
    most_waiting: usize,
    answers: AtomicU64,
}

/// One that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    /// Lets in `most`, and lets `most_waiting` more wait.
    pub fn new(most: usize, most_waiting: usize) -> Self {
        let (permits, waiting) = (Semaphore::new(most), AtomicUsize::new(0));
        Self { permits, most, waiting, most_waiting, answers: AtomicU64::new(0) }
    }

    /// Waits for a turn, which lasts until what is given is dropped; none where too many wait.
    pub async fn enter(&self) -> Option<SemaphorePermit<'_>> {
        if let Ok(permit) = self.permits.try_acquire() {
            return Some(permit);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= self.most_waiting {
            return None;
        }
        // Never closed.
        self.permits.acquire().await.ok()
    }

    /// One of those inside has what it came for.
    pub fn answered(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// How many had.
    pub fn answers(&self) -> u64 {
        self.answers.load(Ordering::Relaxed)
    }

    /// Whether fewer than half of the places are free.
    pub fn is_crowded(&self) -> bool {
        self.permits.available_permits() * 2 < self.most
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn some_are_let_in_some_wait_and_one_more_is_told_so() {
        let gate = Gate::new(2, 3);
        let first = gate.enter().await;
        assert!(!gate.is_crowded());
        let mut inside = vec![first, gate.enter().await];
        assert!(inside.iter().all(Option::is_some) && gate.is_crowded());
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(gate.enter())).collect();
        assert!(waiting.iter_mut().all(|waits| waits.now_or_never().is_none()));
        assert!(gate.enter().await.is_none());
        // Whoever gives up makes room for another to wait.
        drop(waiting.pop());
        let mut another = Box::pin(gate.enter());
        assert!((&mut another).now_or_never().is_none());
        assert!(gate.enter().await.is_none());
        inside.pop();
        assert!(waiting.remove(0).await.is_some());
    }
}
