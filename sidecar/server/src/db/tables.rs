//! What several files have in common: tables that are not there yet, and the highest time that was seen.

use lunasec_core::ids::Millis;
use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, TableError, Value,
    WriteTransaction,
};

const SEEN: &str = "seen";

/// A table that nothing was ever written to does not exist, which is no error.
pub fn table<K: Key + 'static, V: Value + 'static>(
    transaction: &ReadTransaction,
    definition: TableDefinition<'_, K, V>,
) -> Result<Option<ReadOnlyTable<K, V>>, redb::Error> {
    match transaction.open_table(definition) {
        Ok(table) => Ok(Some(table)),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Notes what time the wall clock says, in a table of counters; the highest that it said before, by which one that
/// was set back is known.
pub fn see(
    transaction: &WriteTransaction,
    counters: TableDefinition<'_, &str, u64>,
    now: Millis,
) -> Result<Millis, redb::Error> {
    let mut counters = transaction.open_table(counters)?;
    let seen = counters.get(SEEN)?.map_or(0, |seen| seen.value());
    counters.insert(SEEN, seen.max(now))?;
    Ok(seen)
}

/// The highest time that was seen; none where nothing was ever noted.
pub fn seen(
    transaction: &ReadTransaction,
    counters: TableDefinition<'_, &'static str, u64>,
) -> Result<Option<Millis>, redb::Error> {
    let Some(counters) = table(transaction, counters)? else { return Ok(None) };
    Ok(counters.get(SEEN)?.map(|seen| seen.value()))
}
