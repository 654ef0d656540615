//! Entries in the state directory, so that they outlive a restart.
//!
//! Two tables take turns as the young generation; see [`super::MemoryEntries`]. `state` holds which
//! one is young, when it began and how many it has.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use lunasec_core::ids::Millis;
use redb::{
    ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction,
};

use super::{Entries, EntryName, memory::is_over};
use crate::db::{Db, DbError, table};

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;
const GENERATIONS: [Table; 2] =
    [TableDefinition::new("generation-0"), TableDefinition::new("generation-1")];
const STATE: TableDefinition<&str, u64> = TableDefinition::new("state");
const YOUNG: &str = "young";
const BEGAN: &str = "began";

/// See the module.
pub struct DiskEntries {
    db: Db,
    capacity: u64,
    count: Arc<AtomicU64>,
}

impl DiskEntries {
    /// Opens or creates the file; keeps up to `capacity` entries.
    pub async fn open(path: &Path, capacity: u64) -> Result<Self, DbError> {
        let db = Db::open(path)?;
        let count = Arc::new(AtomicU64::new(db.read(count).await?));
        Ok(Self { db, capacity, count })
    }
}

#[async_trait]
impl Entries for DiskEntries {
    async fn recall(&self, names: Vec<EntryName>) -> Result<Vec<Option<Vec<u8>>>, DbError> {
        self.db.read(move |transaction| find(transaction, &names)).await
    }

    async fn remember(
        &self,
        entries: Vec<(EntryName, Vec<u8>)>,
        now: Millis,
    ) -> Result<(), DbError> {
        let capacity = self.capacity;
        let total = self
            .db
            .write(move |transaction| {
                for (name, entry) in &entries {
                    insert(transaction, name, entry, capacity, now)?;
                }
                total(|generation| Ok(transaction.open_table(generation)?.len()?))
            })
            .await?;
        self.count.store(total, Ordering::Relaxed);
        Ok(())
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

fn find(
    transaction: &ReadTransaction,
    names: &[EntryName],
) -> Result<Vec<Option<Vec<u8>>>, redb::Error> {
    let mut found = vec![None; names.len()];
    let young = match table(transaction, STATE)? {
        Some(state) => young(&state)?,
        None => 0,
    };
    // The young one last: what it has counts.
    for generation in [1 - young, young] {
        let Some(table) = table(transaction, GENERATIONS[generation])? else { continue };
        for (found, name) in found.iter_mut().zip(names) {
            if let Some(entry) = table.get(&name[..])? {
                *found = Some(entry.value().to_vec());
            }
        }
    }
    Ok(found)
}

fn young(state: &impl ReadableTable<&'static str, u64>) -> Result<usize, redb::Error> {
    Ok(usize::from(state.get(YOUNG)?.is_some_and(|young| young.value() == 1)))
}

fn insert(
    transaction: &WriteTransaction,
    name: &EntryName,
    entry: &[u8],
    capacity: u64,
    now: Millis,
) -> Result<(), redb::Error> {
    let mut state = transaction.open_table(STATE)?;
    let mut young = young(&state)?;
    let began = state.get(BEGAN)?.map_or(0, |began| began.value());
    let length = transaction.open_table(GENERATIONS[young])?.len()?;
    if is_over(began, length, capacity, now) {
        young = 1 - young;
        transaction.delete_table(GENERATIONS[young])?;
        state.insert(YOUNG, young as u64)?;
        state.insert(BEGAN, now)?;
    }
    transaction.open_table(GENERATIONS[young])?.insert(&name[..], entry)?;
    Ok(())
}

fn count(transaction: &ReadTransaction) -> Result<u64, redb::Error> {
    total(|generation| Ok(table(transaction, generation)?.map_or(Ok(0), |table| table.len())?))
}

fn total(length: impl Fn(Table) -> Result<u64, redb::Error>) -> Result<u64, redb::Error> {
    GENERATIONS.into_iter().map(length).sum()
}
