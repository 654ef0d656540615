//! Counts and times every request to the store, and notes whether it answers.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Heads, Name, Object, Store, StoreError, Version};
use crate::telemetry::{Dependency, Request, THROTTLED, UNAVAILABLE};

/// See the module.
pub struct Measured<S> {
    inner: S,
    dependency: Arc<Dependency>,
}

impl<S> Measured<S> {
    /// Wraps a store.
    pub fn new(inner: S, dependency: Arc<Dependency>) -> Self {
        Self { inner, dependency }
    }

    async fn watch<T>(
        &self,
        asked: Request,
        request: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let started = self.dependency.start();
        let result = request.await;
        self.note(asked, started, &result);
        result
    }

    fn note<T>(&self, asked: Request, started: Duration, result: &Result<T, StoreError>) {
        match result {
            Ok(_) => self.dependency.answered(asked, "ok", started),
            // The store did its work; that another was faster is no fault of it.
            Err(StoreError::Precondition) => {
                self.dependency.answered(asked, "precondition", started);
            }
            // Nobody was asked.
            Err(StoreError::Away) => {}
            Err(StoreError::Overloaded) => self.dependency.shed(asked),
            Err(StoreError::Throttled(cause)) => {
                self.dependency.failed(asked, THROTTLED, cause, started);
            }
            Err(StoreError::Again(cause)) => {
                self.dependency.failed(asked, "again", cause, started);
            }
            Err(StoreError::Unavailable(cause) | StoreError::Unknown(cause)) => {
                self.dependency.failed(asked, UNAVAILABLE, cause, started);
            }
            Err(StoreError::Refused(cause) | StoreError::Full(cause)) => {
                self.dependency.failed(asked, "refused", cause, started);
            }
            Err(StoreError::Corrupted(cause)) => {
                self.dependency.failed(asked, "corrupted", cause, started);
            }
        }
    }
}

#[async_trait]
impl<S: Store> Store for Measured<S> {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.watch(Request::write("put_new"), self.inner.put_new(name, bytes)).await
    }

    async fn put_new_many(&self, objects: Vec<(Name, Bytes)>) -> Vec<Result<Version, StoreError>> {
        let started = self.dependency.start();
        let results = self.inner.put_new_many(objects).await;
        for result in &results {
            self.note(Request::write("put_new"), started, result);
        }
        results
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.watch(Request::write("put_if"), self.inner.put_if(name, bytes, expected)).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        self.watch(Request::read("get"), self.inner.get(name)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        self.watch(Request::read("list"), self.inner.list(prefix, after, limit)).await
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        let asked = Request::read("heads");
        let heads = self.watch(asked, self.inner.heads(prefix, after, limit, length)).await?;
        self.dependency.counted(asked, heads.requests.saturating_sub(1));
        Ok(heads)
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        self.watch(Request::write("remove_if"), self.inner.remove_if(name, expected)).await
    }
}
