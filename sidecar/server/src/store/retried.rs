//! Tries again what a shared store did not answer, and tells what became of a write whose answer was
//! lost.
//!
//! A conditional write that is sent again finds its condition broken if the first attempt took
//! effect. That is no collision: what lies there is byte for byte what was written, put id and all,
//! and nobody else ever writes those bytes.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Heads, Name, Object, Store, StoreError, Version};
use crate::attempts::Attempts;

/// See the module.
pub struct Retried<S> {
    inner: S,
    attempts: Attempts,
}

impl<S: Store> Retried<S> {
    /// Wraps a store.
    pub fn new(inner: S, attempts: Attempts) -> Self {
        Self { inner, attempts }
    }

    async fn write<F>(
        &self,
        name: &Name,
        bytes: &Bytes,
        attempt: impl Fn() -> F + Sync,
    ) -> Result<Version, StoreError>
    where
        F: Future<Output = Result<Version, StoreError>> + Send,
    {
        // Whether there was an attempt, and whether one was lost, which may have taken effect.
        let (tried, lost) = (AtomicBool::new(false), AtomicBool::new(false));
        let attempt = || async {
            let (was_tried, was_lost) =
                (tried.swap(true, Ordering::Relaxed), lost.load(Ordering::Relaxed));
            let result = match attempt().await {
                Err(StoreError::Precondition) if was_tried => self.settle(name, bytes).await,
                result => result,
            };
            match result {
                // What becomes of the others says nothing about that one.
                Err(error) if was_lost && error.changed_nothing() => {
                    Err(StoreError::Unavailable(error.to_string()))
                }
                result => {
                    lost.fetch_or(
                        result.as_ref().is_err_and(StoreError::is_away),
                        Ordering::Relaxed,
                    );
                    result
                }
            }
        };
        self.attempts.run(attempt).await
    }

    /// What lies there after a lost answer and a broken condition: ours, or another's.
    async fn settle(&self, name: &Name, bytes: &Bytes) -> Result<Version, StoreError> {
        match self.inner.get(name).await? {
            Some(object) if object.bytes == *bytes => Ok(object.version),
            _ => Err(StoreError::Precondition),
        }
    }
}

#[async_trait]
impl<S: Store> Store for Retried<S> {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.write(name, &bytes, || self.inner.put_new(name, bytes.clone())).await
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        let attempt = || self.inner.put_if(name, bytes.clone(), expected);
        self.write(name, &bytes, attempt).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        self.attempts.run(|| self.inner.get(name)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        self.attempts.run(|| self.inner.list(prefix, after, limit)).await
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        let attempt = || self.inner.heads(prefix, after, limit, length);
        self.attempts.run(attempt).await
    }

    /// A removal whose answer was lost may count as none: its object is gone all the same.
    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        self.attempts.run(|| self.inner.remove_if(name, expected)).await
    }
}

#[cfg(test)]
mod tests;
