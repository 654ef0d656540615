//! The store of a laptop or a single machine: one redb file.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `heads` | name | version (u64), then the object, or its first [`INLINE`] bytes |
//! | `bodies` | name | the rest, for larger objects |
//! | `counters` | `writes` | number of the last write: versions are never used twice |
//!
//! The split lets a sweep read a million headers without touching a single large value.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::{Heads, Name, Object, Store, StoreError, Version};
use crate::db::{Db, DbError, table};

const HEADS: TableDefinition<&str, &[u8]> = TableDefinition::new("heads");
const BODIES: TableDefinition<&str, &[u8]> = TableDefinition::new("bodies");
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const WRITES: &str = "writes";

/// Bytes of an object that lie beside its name; the rest lies in `bodies`.
const INLINE: usize = 1_024;
const VERSION_LEN: usize = 8;

/// See the module.
pub struct EmbeddedStore(Db);

impl EmbeddedStore {
    /// Opens or creates the file.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        Ok(Self(Db::open(path)?))
    }
}

impl From<DbError> for StoreError {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Damaged(..) => Self::Corrupted(error.to_string()),
            DbError::InUse(_) | DbError::Io(..) | DbError::Full(..) => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.put(name, bytes, None).await
    }

    async fn put_new_many(&self, objects: Vec<(Name, Bytes)>) -> Vec<Result<Version, StoreError>> {
        let count = objects.len();
        let work = move |transaction: &WriteTransaction| {
            let mut tables = Tables::open(transaction)?;
            objects.iter().map(|(name, bytes)| tables.put(name, bytes, None)).collect()
        };
        match self.0.write(work).await {
            Ok(results) => results,
            Err(error) => vec![Err(error.into()); count],
        }
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.put(name, bytes, Some(expected.clone())).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        let name = name.clone();
        Ok(self.0.read(move |transaction| read(transaction, &name)).await?)
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        let page = self.heads(prefix, after, limit, 0).await?;
        Ok(page.objects.into_iter().map(|(name, _)| name).collect())
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        let objects = self
            .0
            .read(move |transaction| page(transaction, &prefix, after.as_ref(), limit, length))
            .await?;
        let next = Heads::full(&objects, limit);
        Ok(Heads { objects, next, requests: 1 })
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        let (name, expected) = (name.clone(), expected.clone());
        Ok(self.0.write(move |transaction| remove(transaction, &name, &expected)).await?)
    }
}

impl EmbeddedStore {
    async fn put(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: Option<Version>,
    ) -> Result<Version, StoreError> {
        let name = name.clone();
        self.0
            .write(move |transaction| {
                Tables::open(transaction)?.put(&name, &bytes, expected.as_ref())
            })
            .await?
    }
}

/// The tables of one write.
struct Tables<'a> {
    heads: Table<'a, &'static str, &'static [u8]>,
    bodies: Table<'a, &'static str, &'static [u8]>,
    counters: Table<'a, &'static str, u64>,
}

impl<'a> Tables<'a> {
    fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            heads: transaction.open_table(HEADS)?,
            bodies: transaction.open_table(BODIES)?,
            counters: transaction.open_table(COUNTERS)?,
        })
    }

    fn put(
        &mut self,
        name: &Name,
        bytes: &Bytes,
        expected: Option<&Version>,
    ) -> Result<Result<Version, StoreError>, redb::Error> {
        let found = self.heads.get(name.as_str())?.map(|head| version(head.value()));
        if found.as_ref() != expected {
            return Ok(Err(StoreError::Precondition));
        }
        let next = self.counters.get(WRITES)?.map_or(0, |last| last.value()) + 1;
        self.counters.insert(WRITES, next)?;
        let (head, body) = bytes.split_at(bytes.len().min(INLINE));
        let mut row = Vec::with_capacity(VERSION_LEN + head.len());
        row.extend_from_slice(&next.to_be_bytes());
        row.extend_from_slice(head);
        self.heads.insert(name.as_str(), row.as_slice())?;
        if !body.is_empty() {
            self.bodies.insert(name.as_str(), body)?;
        } else if expected.is_some() {
            self.bodies.remove(name.as_str())?;
        }
        Ok(Ok(Version::number(next)))
    }
}

fn remove(
    transaction: &WriteTransaction,
    name: &Name,
    expected: &Version,
) -> Result<bool, redb::Error> {
    let mut heads = transaction.open_table(HEADS)?;
    let found = heads.get(name.as_str())?.map(|head| version(head.value()));
    if found.as_ref() != Some(expected) {
        return Ok(false);
    }
    heads.remove(name.as_str())?;
    transaction.open_table(BODIES)?.remove(name.as_str())?;
    Ok(true)
}

fn read(transaction: &ReadTransaction, name: &Name) -> Result<Option<Object>, redb::Error> {
    let Some(heads) = table(transaction, HEADS)? else { return Ok(None) };
    let Some(head) = heads.get(name.as_str())? else { return Ok(None) };
    let (version, mut bytes) = (version(head.value()), inline(head.value()).to_vec());
    if bytes.len() == INLINE
        && let Some(bodies) = table(transaction, BODIES)?
        && let Some(body) = bodies.get(name.as_str())?
    {
        bytes.extend_from_slice(body.value());
    }
    Ok(Some(Object::new(bytes.into(), version)))
}

fn page(
    transaction: &ReadTransaction,
    prefix: &str,
    after: Option<&Name>,
    limit: usize,
    length: usize,
) -> Result<Vec<(Name, Object)>, redb::Error> {
    let Some(heads) = table(transaction, HEADS)? else { return Ok(Vec::new()) };
    let from = after.map_or(prefix, |after| after.as_str().max(prefix));
    let mut objects = Vec::new();
    for row in heads.range(from..)? {
        let (name, head) = row?;
        if !name.value().starts_with(prefix) || objects.len() == limit {
            break;
        }
        if after.is_some_and(|after| after.as_str() == name.value()) {
            continue;
        }
        let (version, bytes) = (version(head.value()), inline(head.value()));
        let bytes = Bytes::copy_from_slice(&bytes[..length.min(bytes.len())]);
        objects.push((Name::from_text(name.value()), Object::new(bytes, version)));
    }
    Ok(objects)
}

fn version(row: &[u8]) -> Version {
    let mut number = [0; VERSION_LEN];
    let length = row.len().min(VERSION_LEN);
    number[..length].copy_from_slice(&row[..length]);
    Version::number(u64::from_be_bytes(number))
}

fn inline(row: &[u8]) -> &[u8] {
    row.get(VERSION_LEN..).unwrap_or_default()
}
