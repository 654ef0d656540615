//! Counts and times every request to the store, and notes whether it answers.

use std::{
    collections::HashSet,
    future::Future,
    hash::BuildHasher,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use foldhash::fast::RandomState;
use lunasec_core::limits;

use super::{Heads, Name, Object, Store, StoreError, Version};
use crate::telemetry::{Asked, Dependency, Request, THROTTLED, UNAVAILABLE};

/// See the module.
pub struct Measured<S> {
    inner: S,
    dependency: Arc<Dependency>,
    /// By a digest of each name, what was refused to be written there. That it is once more, as to a journal that
    /// tries again and again, says nothing new of the store, which may take everything else.
    refused: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

impl<S> Measured<S> {
    /// Wraps a store.
    pub fn new(inner: S, dependency: Arc<Dependency>) -> Self {
        Self { inner, dependency, refused: Mutex::default(), hasher: RandomState::default() }
    }

    async fn watch_write(
        &self,
        operation: &'static str,
        name: &Name,
        request: impl Future<Output = Result<Version, StoreError>>,
    ) -> Result<Version, StoreError> {
        let asked = self.dependency.begin(Request::write(operation));
        let result = request.await;
        self.note_write(asked, name, &result);
        result
    }

    fn note_write(&self, asked: Asked<'_>, name: &Name, result: &Result<Version, StoreError>) {
        match self.is_refused_again(name, result) {
            true => asked.refused_again(),
            false => note(asked, result),
        }
    }

    fn is_refused_again(&self, name: &Name, result: &Result<Version, StoreError>) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let digest = self.hasher.hash_one(name.as_str());
        match result {
            Err(StoreError::Refused(_)) => {
                if refused.len() >= limits::REFUSED_KNOWN {
                    refused.clear();
                }
                !refused.insert(digest)
            }
            Ok(_) | Err(StoreError::Precondition) => {
                refused.remove(&digest);
                false
            }
            Err(_) => false,
        }
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
        self.watch_write("put_new", name, self.inner.put_new(name, bytes)).await
    }

    async fn put_new_many(&self, objects: Vec<(Name, Bytes)>) -> Vec<Result<Version, StoreError>> {
        let begin = |_: &(Name, Bytes)| self.dependency.begin(Request::write("put_new"));
        let asked: Vec<Asked<'_>> = objects.iter().map(begin).collect();
        let names: Vec<Name> = objects.iter().map(|(name, _)| name.clone()).collect();
        let results = self.inner.put_new_many(objects).await;
        for ((asked, name), result) in asked.into_iter().zip(&names).zip(&results) {
            self.note_write(asked, name, result);
        }
        results
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.watch_write("put_if", name, self.inner.put_if(name, bytes, expected)).await
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
