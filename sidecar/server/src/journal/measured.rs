//! Times every request to the journal's disk, counts it, and notes whether it was answered.

use std::sync::Arc;

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
}

#[async_trait]
impl<L: Ledger> Ledger for Measured<L> {
    async fn append(&self, at: Millis, drafts: Vec<Draft>) -> Result<Vec<Option<u64>>, DbError> {
        self.dependency.watch(Request::write("journal_append"), self.inner.append(at, drafts)).await
    }

    async fn last(&self, name: &Name) -> Result<Option<Entry>, DbError> {
        self.dependency.watch(Request::read("journal_read"), self.inner.last(name)).await
    }

    async fn page(&self, after: u64, count: usize, bytes: usize) -> Result<Vec<Entry>, DbError> {
        self.dependency
            .watch(Request::read("journal_page"), self.inner.page(after, count, bytes))
            .await
    }

    async fn remove(&self, numbers: Vec<u64>) -> Result<(), DbError> {
        self.dependency.watch(Request::write("journal_remove"), self.inner.remove(numbers)).await
    }

    async fn contents(&self) -> Result<Vec<(u64, Millis, Name, usize)>, DbError> {
        self.inner.contents().await
    }

    async fn seen(&self) -> Result<Millis, DbError> {
        self.inner.seen().await
    }
}
