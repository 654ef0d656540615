//! Random choices that can be made again: a failure prints the seed.

use lunasec_sidecar::env::random;

/// An xorshift generator.
pub struct Dice(u64);

impl Dice {
    /// A new seed, printed for whoever must reproduce what follows.
    pub fn new() -> Self {
        let seed = u64::from_be_bytes(random(&crate::sidecar::entropy()).unwrap()) | 1;
        println!("seed {seed}");
        Self::seeded(seed)
    }

    /// The same choices for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap() % bound
    }
}

impl Default for Dice {
    fn default() -> Self {
        Self::new()
    }
}
