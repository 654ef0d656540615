//! Times every request to the state directory, counts it, and notes whether it was answered in time.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use lunasec_core::ids::Millis;

use super::{Entries, EntryName};
use crate::{
    db::DbError,
    telemetry::{Dependency, Request},
    within::within,
};

/// See the module.
pub struct Measured<E> {
    inner: E,
    dependency: Arc<Dependency>,
    time: Duration,
}

impl<E> Measured<E> {
    /// Gives every request of `inner` that much time.
    pub fn new(inner: E, dependency: Arc<Dependency>, time: Duration) -> Self {
        Self { inner, dependency, time }
    }

    async fn watch<T>(
        &self,
        asked: Request,
        request: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        let late = || DbError::Io("the state directory".into(), "it did not answer in time".into());
        let in_time = async { within(self.time, request).await.unwrap_or_else(|| Err(late())) };
        self.dependency.watch(asked, in_time).await
    }
}

#[async_trait]
impl<E: Entries> Entries for Measured<E> {
    async fn recall(&self, names: Vec<EntryName>) -> Result<Vec<Option<Vec<u8>>>, DbError> {
        self.watch(Request::read("recall"), self.inner.recall(names)).await
    }

    async fn remember(
        &self,
        entries: Vec<(EntryName, Vec<u8>)>,
        now: Millis,
    ) -> Result<(), DbError> {
        self.watch(Request::write("remember"), self.inner.remember(entries, now)).await
    }

    fn count(&self) -> u64 {
        self.inner.count()
    }
}
