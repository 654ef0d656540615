//! Entries in memory, for a sidecar without a state directory.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use lunasec_core::{ids::Millis, limits};

use super::{Entries, EntryName};
use crate::db::DbError;

/// Two generations: when the young one is full, or as old as the window, it becomes the old one and
/// what was old is forgotten. So an entry is kept for one to two windows at constant cost.
pub struct MemoryEntries {
    capacity: u64,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<EntryName, Vec<u8>>,
    old: HashMap<EntryName, Vec<u8>>,
    began: Millis,
}

impl MemoryEntries {
    /// Keeps up to `capacity` entries.
    pub fn new(capacity: u64) -> Self {
        Self { capacity, generations: Mutex::default() }
    }
}

/// Whether a generation that began then, and holds that many, is over.
pub(super) fn is_over(began: Millis, count: u64, capacity: u64, now: Millis) -> bool {
    is_old(began, now) || count >= capacity.div_ceil(2)
}

/// Whether the window has passed since.
pub(super) fn is_old(at: Millis, now: Millis) -> bool {
    Duration::from_millis(now.saturating_sub(at)) >= limits::IDEMPOTENCY_WINDOW
}

#[async_trait]
impl Entries for MemoryEntries {
    async fn recall(&self, names: Vec<EntryName>) -> Result<Vec<Option<Vec<u8>>>, DbError> {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, old, .. } = &*generations;
        Ok(names.iter().map(|name| young.get(name).or_else(|| old.get(name)).cloned()).collect())
    }

    async fn remember(
        &self,
        entries: Vec<(EntryName, Vec<u8>)>,
        now: Millis,
    ) -> Result<(), DbError> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, entry) in entries {
            let count = generations.young.len() as u64;
            if is_over(generations.began, count, self.capacity, now) {
                generations.old = std::mem::take(&mut generations.young);
                generations.began = now;
            }
            generations.young.insert(name, entry);
        }
        Ok(())
    }

    fn count(&self) -> u64 {
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        (generations.young.len() + generations.old.len()) as u64
    }
}
