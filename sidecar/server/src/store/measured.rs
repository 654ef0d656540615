//! Counts and times every request to the store, and notes whether it answers.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Heads, Name, Object, Store, StoreError, Version};
use crate::telemetry::{Asked, Dependency, Request, THROTTLED, UNAVAILABLE};

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
        let asked = self.dependency.begin(asked);
        let result = request.await;
        note(asked, &result);
        result
    }
}

fn note<T>(asked: Asked<'_>, result: &Result<T, StoreError>) {
    match result {
        Ok(_) => asked.answered("ok"),
        // The store did its work; that another was faster is no fault of it.
        Err(StoreError::Precondition) => asked.answered("precondition"),
        Err(StoreError::Away) => asked.spared(),
        Err(StoreError::Overloaded) => asked.shed(),
        Err(StoreError::Throttled(cause)) => asked.failed(THROTTLED, cause),
        Err(StoreError::Again(cause)) => asked.failed("again", cause),
        Err(StoreError::Unavailable(cause) | StoreError::Unknown(cause)) => {
            asked.failed(UNAVAILABLE, cause);
        }
        Err(StoreError::Refused(cause) | StoreError::Full(cause)) => asked.failed("refused", cause),
        Err(StoreError::Corrupted(cause)) => asked.failed("corrupted", cause),
    }
}

#[async_trait]
impl<S: Store> Store for Measured<S> {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.watch(Request::write("put_new"), self.inner.put_new(name, bytes)).await
    }

    async fn put_new_many(&self, objects: Vec<(Name, Bytes)>) -> Vec<Result<Version, StoreError>> {
        let begin = |_: &(Name, Bytes)| self.dependency.begin(Request::write("put_new"));
        let asked: Vec<Asked<'_>> = objects.iter().map(begin).collect();
        let results = self.inner.put_new_many(objects).await;
        asked.into_iter().zip(&results).for_each(|(asked, result)| note(asked, result));
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
