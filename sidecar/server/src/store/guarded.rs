//! A store that is away is not asked by every request: behind a breaker, each is told at once.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use lunasec_core::limits;

use super::{Heads, Name, Object, Store, StoreError, Version};
use crate::breaker::{Breaker, is_answer};

/// What a probe asks for. Nothing lies there.
const PROBE: &str = "probe";

/// See the module.
pub struct Guarded<S> {
    inner: Arc<S>,
    breaker: Arc<Breaker>,
}

impl<S: Store + 'static> Guarded<S> {
    /// Asks `inner` while the breaker is closed.
    pub fn new(inner: S, breaker: Arc<Breaker>) -> Self {
        Self { inner: Arc::new(inner), breaker }
    }

    async fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let probe = || {
            let store = Arc::clone(&self.inner);
            async move { is_answer(&store.get(&Name::from_text(PROBE)).await) }
        };
        if !self.breaker.may_ask(limits::BREAKER_PROBE_TIME, probe).await {
            return Err(StoreError::Away);
        }
        self.breaker.hear(request).await
    }
}

#[async_trait]
impl<S: Store + 'static> Store for Guarded<S> {
    fn is_away(&self) -> bool {
        self.breaker.is_open()
    }

    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.ask(self.inner.put_new(name, bytes)).await
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.ask(self.inner.put_if(name, bytes, expected)).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        self.ask(self.inner.get(name)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        self.ask(self.inner.list(prefix, after, limit)).await
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        self.ask(self.inner.heads(prefix, after, limit, length)).await
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        self.ask(self.inner.remove_if(name, expected)).await
    }
}
