//! One at a time for each key: the first does the work, the others wait and find it done.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

/// Locks by key; a key that nobody holds or waits for takes no memory.
pub struct KeyedLocks<K: Eq + Hash + Clone>(Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>);

impl<K: Eq + Hash + Clone> Default for KeyedLocks<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Eq + Hash + Clone> KeyedLocks<K> {
    /// Waits for its turn.
    pub async fn lock(&self, key: K) -> KeyedGuard<'_, K> {
        let lock = Arc::clone(self.locks().entry(key.clone()).or_default());
        // Made before waiting: if the wait is cancelled, its drop still cleans up.
        let mut guard = KeyedGuard { locks: self, key, held: None, lock: Some(Arc::clone(&lock)) };
        guard.held = Some(lock.lock_owned().await);
        guard
    }

    fn locks(&self) -> MutexGuard<'_, HashMap<K, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held until dropped.
pub struct KeyedGuard<'a, K: Eq + Hash + Clone> {
    locks: &'a KeyedLocks<K>,
    key: K,
    held: Option<OwnedMutexGuard<()>>,
    lock: Option<Arc<tokio::sync::Mutex<()>>>,
}

impl<K: Eq + Hash + Clone> Drop for KeyedGuard<'_, K> {
    fn drop(&mut self) {
        self.held = None;
        self.lock = None;
        let mut locks = self.locks.locks();
        // Clones are only made under the map's lock, so a count of one means that nobody waits.
        if locks.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_for_each_key_and_nothing_is_left() {
        let locks = KeyedLocks::default();
        let inside = AtomicUsize::new(0);
        let visit = |key: u8| {
            let (locks, inside) = (&locks, &inside);
            async move {
                let _guard = locks.lock(key).await;
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
            }
        };
        futures_util::future::join_all((0..50).map(|_| visit(1))).await;
        assert!(locks.locks().is_empty());
        let _one = locks.lock(1).await;
        let _two = locks.lock(2).await;
        assert_eq!(locks.locks().len(), 2);
    }

    #[tokio::test]
    async fn a_cancelled_wait_cleans_up() {
        let locks = KeyedLocks::default();
        let first = locks.lock("k").await;
        let mut waiting = Box::pin(locks.lock("k"));
        assert!((&mut waiting).now_or_never().is_none());
        drop(waiting);
        drop(first);
        assert!(locks.locks().is_empty());
    }
}
