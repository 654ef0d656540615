//! All that is drawn at random, from one seed.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use lunasec_sidecar::env::{Entropy, NoEntropy};

/// A generator (SplitMix64): the same draws for the same seed, and unlike ones for seeds that are close.
#[derive(Clone)]
pub(crate) struct Luck(u64);

impl Luck {
    /// Of one of those who draw under a seed.
    pub(crate) fn of(seed: u64, who: u64) -> Self {
        let mut luck = Self(seed ^ who.wrapping_mul(0xA24B_AED4_963E_E407));
        luck.draw();
        Self(luck.draw())
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    pub(crate) fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap()
    }

    pub(crate) fn pick<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.place(all.len())].clone()
    }

    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// From `least` milliseconds to less than `most`.
    pub(crate) fn millis(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least))
    }
}

/// What a sidecar draws: its tokens, nonces and pauses.
pub(crate) struct Draws(Mutex<Luck>);

impl Draws {
    pub(crate) fn new(luck: Luck) -> Self {
        Self(Mutex::new(luck))
    }
}

impl Entropy for Draws {
    fn fill(&self, out: &mut [u8]) -> Result<(), NoEntropy> {
        let mut luck = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in out.chunks_mut(8) {
            piece.copy_from_slice(&luck.draw().to_be_bytes()[..piece.len()]);
        }
        Ok(())
    }
}
