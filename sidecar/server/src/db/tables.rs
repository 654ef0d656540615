//! What several files have in common: tables that are not there yet, and the highest time that was seen.

use std::time::Duration;

use lunasec_core::ids::Millis;
use redb::{
    Key, ReadOnlyTable, ReadTransaction, ReadableTable, TableDefinition, TableError, Value,
    WriteTransaction,
};

use crate::env::millis;

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

/// The same, where a clock that was set back by more than `waited` is believed from now on, or one that was once wrong
/// would never be again: whether it was. Of what was written before that, nobody knows how old it is.
pub fn set_back(
    transaction: &WriteTransaction,
    counters: TableDefinition<'_, &str, u64>,
    now: Millis,
    waited: Duration,
) -> Result<bool, redb::Error> {
    let back = see(transaction, counters, now)?.saturating_sub(now) > millis(waited);
    if back {
        transaction.open_table(counters)?.insert(SEEN, now)?;
    }
    Ok(back)
}

/// The highest time that was seen; none where nothing was ever noted.
pub fn seen(
    transaction: &ReadTransaction,
    counters: TableDefinition<'_, &'static str, u64>,
) -> Result<Option<Millis>, redb::Error> {
    let Some(counters) = table(transaction, counters)? else { return Ok(None) };
    Ok(counters.get(SEEN)?.map(|seen| seen.value()))
}
