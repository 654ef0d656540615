//! The ledger on a disk: one file of the state directory, with threads of its own.

use std::path::Path;

use async_trait::async_trait;
use lunasec_core::ids::Millis;

use super::{Draft, Entry, Ledger, table};
use crate::{
    db::{Db, DbError},
    store::Name,
};

/// See the module.
pub struct DiskLedger(Db);

impl DiskLedger {
    /// Opens or creates the file. Another process that has it open is refused here. A damaged one stays as it was
    /// found: what can be saved of it is nowhere else.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        if path.exists() {
            Db::prove(path)?;
        }
        Ok(Self::new(Db::open(path)?))
    }

    /// Keeps entries in an open database.
    pub fn new(db: Db) -> Self {
        Self(db)
    }
}

#[async_trait]
impl Ledger for DiskLedger {
    async fn append(&self, at: Millis, drafts: Vec<Draft>) -> Result<Vec<Option<u64>>, DbError> {
        self.0.write(move |transaction| table::append(transaction, at, &drafts)).await
    }

    async fn last(&self, name: &Name) -> Result<Option<Entry>, DbError> {
        let name = name.clone();
        self.0.read(move |transaction| table::last(transaction, &name)).await
    }

    async fn page(&self, after: u64, count: usize, bytes: usize) -> Result<Vec<Entry>, DbError> {
        self.0.read(move |transaction| table::page(transaction, after, count, bytes)).await
    }

    async fn remove(&self, numbers: Vec<u64>) -> Result<(), DbError> {
        self.0.write(move |transaction| table::remove(transaction, &numbers)).await
    }

    async fn contents(&self) -> Result<Vec<(u64, Millis, Name, usize)>, DbError> {
        self.0.read(table::contents).await
    }

    async fn seen(&self) -> Result<Millis, DbError> {
        self.0.read(table::seen).await
    }
}
