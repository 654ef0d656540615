//! Times every request to the journal's disk, counts it, and notes whether it was answered.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use lunasec_core::ids::Millis;

use super::{Draft, Entry, Ledger};
use crate::{
    db::DbError,
    store::Name,
    telemetry::{Dependency, Request},
};

/// See the module.
pub struct Measured<L> {
    inner: L,
    dependency: Arc<Dependency>,
}

impl<L> Measured<L> {
    /// Wraps a ledger.
    pub fn new(inner: L, dependency: Arc<Dependency>) -> Self {
        Self { inner, dependency }
    }

    async fn watch<T>(
        &self,
        asked: Request,
        request: impl Future<Output = Result<T, DbError>>,
    ) -> Result<T, DbError> {
        let started = self.dependency.start();
        let result = request.await;
        match &result {
            Ok(_) => self.dependency.answered(asked, "ok", started),
            Err(error) => {
                self.dependency.failed(asked, "unavailable", &error.to_string(), started);
            }
        }
        result
    }
}

#[async_trait]
impl<L: Ledger> Ledger for Measured<L> {
    async fn append(&self, at: Millis, drafts: Vec<Draft>) -> Result<Vec<Option<u64>>, DbError> {
        self.watch(Request::write("journal_append"), self.inner.append(at, drafts)).await
    }

    async fn last(&self, name: &Name) -> Result<Option<Entry>, DbError> {
        self.watch(Request::read("journal_read"), self.inner.last(name)).await
    }

    async fn page(&self, after: u64, count: usize, bytes: usize) -> Result<Vec<Entry>, DbError> {
        self.watch(Request::read("journal_page"), self.inner.page(after, count, bytes)).await
    }

    async fn remove(&self, numbers: Vec<u64>) -> Result<(), DbError> {
        self.watch(Request::write("journal_remove"), self.inner.remove(numbers)).await
    }

    async fn contents(&self) -> Result<Vec<(u64, Millis, Name, usize)>, DbError> {
        self.inner.contents().await
    }
}
