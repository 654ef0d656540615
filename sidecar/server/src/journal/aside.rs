//! What an operator takes out of a journal, because storage refuses it for ever: it goes into a journal of its own
//! beside that one, sealed as it was, so that nothing is thrown away.

use std::collections::BTreeSet;

use super::{Draft, Entry, Ledger};
use crate::db::DbError;

/// Why entries stay where they are.
#[derive(Debug, thiserror::Error)]
pub enum NotSetAside {
    /// There is no such entry.
    #[error(
        "there is no entry {0}: it was replayed or set aside already; `lunasec journal list` has those that wait"
    )]
    Missing(u64),
    /// Later ones were made from it.
    #[error(
        "entry {0} is followed by one of the same object, {1}, which was made from it; set both aside, or neither"
    )]
    Followed(u64, u64),
    /// The disk.
    #[error("{0}")]
    Db(#[from] DbError),
}

/// Entries by their numbers, if they may be set aside together.
pub async fn choose(
    ledger: &dyn Ledger,
    numbers: &BTreeSet<u64>,
) -> Result<Vec<Entry>, NotSetAside> {
    let contents = ledger.contents().await?;
    let mut chosen = Vec::new();
    for number in numbers {
        let missing = || NotSetAside::Missing(*number);
        let (.., name, _) = contents.iter().find(|(it, ..)| it == number).ok_or_else(missing)?;
        let left = contents.iter().find(|(later, _, other, _)| {
            later > number && other == name && !numbers.contains(later)
        });
        if let Some((later, ..)) = left {
            return Err(NotSetAside::Followed(*number, *later));
        }
        let entry = ledger.page(number - 1, 1, 1).await?.pop();
        chosen.push(entry.filter(|entry| entry.number == *number).ok_or_else(missing)?);
    }
    Ok(chosen)
}

/// Moves entries. A crash in between leaves one in both, which is no harm: what is replayed twice has the effect of
/// once.
pub async fn set_aside(
    from: &dyn Ledger,
    to: &dyn Ledger,
    entries: Vec<Entry>,
) -> Result<(), DbError> {
    for Entry { number, at, name, base, bytes } in entries {
        let last = to.last(&name).await?.map(|entry| entry.number);
        to.append(at, vec![Draft { name, base, bytes, last, alone: false, joined: false }]).await?;
        from.remove(vec![number]).await?;
    }
    Ok(())
}
