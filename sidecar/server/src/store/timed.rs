//! A store that hangs is a store that is away: every request has a time, shorter than that of the
//! request that waits for it, so that the answer names what is down.

use std::{future::Future, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Heads, Name, Object, Store, StoreError, Version};
use crate::within::within;

/// See the module.
pub struct Timed<S> {
    inner: S,
    time: Duration,
}

impl<S> Timed<S> {
    /// Gives every request of `inner` that much time.
    pub fn new(inner: S, time: Duration) -> Self {
        Self { inner, time }
    }

    fn late(&self) -> StoreError {
        StoreError::Unavailable(format!("it did not answer within {} s", self.time.as_secs_f32()))
    }

    async fn bound<T>(
        &self,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        within(self.time, request).await.unwrap_or_else(|| Err(self.late()))
    }
}

#[async_trait]
impl<S: Store> Store for Timed<S> {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.bound(self.inner.put_new(name, bytes)).await
    }

    async fn put_new_many(&self, objects: Vec<(Name, Bytes)>) -> Vec<Result<Version, StoreError>> {
        let count = objects.len();
        let done = within(self.time, self.inner.put_new_many(objects)).await;
        done.unwrap_or_else(|| vec![Err(self.late()); count])
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.bound(self.inner.put_if(name, bytes, expected)).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        self.bound(self.inner.get(name)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        self.bound(self.inner.list(prefix, after, limit)).await
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        self.bound(self.inner.heads(prefix, after, limit, length)).await
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        self.bound(self.inner.remove_if(name, expected)).await
    }
}
