//! The bytes of a journal, in a redb database.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `entries` | number (u64) | an entry |
//! | `names` | name, number | nothing |
//! | `counters` | `numbers` | the last number: none is used twice |
//! | | `seen` | the highest time that an entry was acknowledged at |
//!
//! An entry, integers big-endian:
//!
//! | bytes | field |
//! | --- | --- |
//! | 8 | when it was acknowledged, in milliseconds since the Unix epoch |
//! | 1 | base: 0 nothing, 1 unknown, 2 a put, 3 a version |
//! | n | of a put its id (16), of a version what [`Version::write`] writes |
//! | 2 | length of the name |
//! | m | name |
//! | rest | what is written |

use bytes::Bytes;
use lunasec_core::ids::{Millis, PutId};
use redb::{ReadTransaction, ReadableTable, TableDefinition, WriteTransaction};

use super::{Base, Draft, Entry};
use crate::{
    db::{self, see, table},
    store::{Name, Version},
};

const ENTRIES: TableDefinition<u64, &[u8]> = TableDefinition::new("entries");
const NAMES: TableDefinition<(&str, u64), ()> = TableDefinition::new("names");
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const NUMBERS: &str = "numbers";

/// Adds entries; none for one whose `last` is another, or for one that is joined to such a one.
pub fn append(
    transaction: &WriteTransaction,
    at: Millis,
    drafts: &[Draft],
) -> Result<Vec<Option<u64>>, redb::Error> {
    see(transaction, COUNTERS, at)?;
    let mut entries = transaction.open_table(ENTRIES)?;
    let mut names = transaction.open_table(NAMES)?;
    let mut counters = transaction.open_table(COUNTERS)?;
    let mut number = counters.get(NUMBERS)?.map_or(0, |number| number.value());
    let mut numbers = Vec::with_capacity(drafts.len());
    for joined in drafts.chunk_by(|_, next| next.joined) {
        let mut fits = true;
        for draft in joined {
            while let Some(left) = last_number(&names, &draft.name)?.filter(|_| draft.alone) {
                names.remove((draft.name.as_str(), left))?;
                entries.remove(left)?;
            }
            fits &= last_number(&names, &draft.name)? == draft.last;
        }
        for draft in joined {
            if fits {
                number += 1;
                entries.insert(number, encode(at, draft).as_slice())?;
                names.insert((draft.name.as_str(), number), ())?;
            }
            numbers.push(fits.then_some(number));
        }
    }
    counters.insert(NUMBERS, number)?;
    Ok(numbers)
}

/// The last entry of a name.
pub fn last(transaction: &ReadTransaction, name: &Name) -> Result<Option<Entry>, redb::Error> {
    let Some(number) =
        table(transaction, NAMES)?.map(|names| last_number(&names, name)).transpose()?.flatten()
    else {
        return Ok(None);
    };
    let entry = transaction.open_table(ENTRIES)?.get(number)?;
    entry.map(|entry| decode(number, entry.value())).transpose()
}

/// Entries behind a number.
pub fn page(
    transaction: &ReadTransaction,
    after: u64,
    count: usize,
    mut bytes: usize,
) -> Result<Vec<Entry>, redb::Error> {
    let mut page = Vec::new();
    let Some(entries) = table(transaction, ENTRIES)? else { return Ok(page) };
    for row in entries.range(after + 1..)?.take(count) {
        let (number, entry) = row?;
        let size = entry.value().len();
        if size > bytes && !page.is_empty() {
            break;
        }
        bytes = bytes.saturating_sub(size);
        page.push(decode(number.value(), entry.value())?);
    }
    Ok(page)
}

/// Forgets entries.
pub fn remove(transaction: &WriteTransaction, numbers: &[u64]) -> Result<(), redb::Error> {
    let mut entries = transaction.open_table(ENTRIES)?;
    let mut names = transaction.open_table(NAMES)?;
    for number in numbers {
        let Some(entry) = entries.remove(number)? else { continue };
        let entry = decode(*number, entry.value())?;
        names.remove((entry.name.as_str(), *number))?;
    }
    Ok(())
}

/// Of each entry its number, when it was acknowledged, its name, and its size.
pub fn contents(
    transaction: &ReadTransaction,
) -> Result<Vec<(u64, Millis, Name, usize)>, redb::Error> {
    let Some(entries) = table(transaction, ENTRIES)? else { return Ok(Vec::new()) };
    let row = |row: Result<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, &[u8]>), _>| {
        let (number, entry) = row?;
        let entry = decode(number.value(), entry.value())?;
        let size = super::size(&entry.name, &entry.bytes);
        Ok((entry.number, entry.at, entry.name, size))
    };
    entries.iter()?.map(row).collect()
}

/// The highest time that an entry was acknowledged at, also of those that are gone.
pub fn seen(transaction: &ReadTransaction) -> Result<Millis, redb::Error> {
    Ok(db::seen(transaction, COUNTERS)?.unwrap_or_default())
}

fn last_number(
    names: &impl ReadableTable<(&'static str, u64), ()>,
    name: &Name,
) -> Result<Option<u64>, redb::Error> {
    let name = name.as_str();
    let last = names.range((name, 0)..=(name, u64::MAX))?.next_back().transpose()?;
    Ok(last.map(|(key, _)| key.value().1))
}

fn encode(at: Millis, draft: &Draft) -> Vec<u8> {
    let name = draft.name.as_str().as_bytes();
    let mut bytes = Vec::with_capacity(128 + name.len() + draft.bytes.len());
    bytes.extend_from_slice(&at.to_be_bytes());
    match &draft.base {
        Base::Nothing => bytes.push(0),
        Base::Unknown => bytes.push(1),
        Base::Put(id) => {
            bytes.push(2);
            bytes.extend_from_slice(&id.0);
        }
        Base::Version(version) => {
            bytes.push(3);
            version.write(&mut bytes);
        }
    }
    push(&mut bytes, name);
    bytes.extend_from_slice(&draft.bytes);
    bytes
}

/// Names and ETags are short.
fn push(bytes: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&text[..usize::from(length)]);
}

fn decode(number: u64, bytes: &[u8]) -> Result<Entry, redb::Error> {
    read(number, bytes)
        .ok_or_else(|| redb::Error::Corrupted(format!("entry {number} is no entry of a journal")))
}

fn read(number: u64, mut bytes: &[u8]) -> Option<Entry> {
    let bytes = &mut bytes;
    let at = Millis::from_be_bytes(take(bytes)?);
    let [base] = take(bytes)?;
    let base = match base {
        0 => Base::Nothing,
        1 => Base::Unknown,
        2 => Base::Put(PutId(take(bytes)?)),
        3 => {
            let (version, length) = Version::split(bytes)?;
            *bytes = &bytes[length..];
            Base::Version(version)
        }
        _ => return None,
    };
    let name = Name::from_text(text(bytes)?);
    Some(Entry { number, at, name, base, bytes: Bytes::copy_from_slice(bytes) })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn text<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let length = u16::from_be_bytes(take(bytes)?);
    let (text, rest) = bytes.split_at_checked(length.into())?;
    *bytes = rest;
    str::from_utf8(text).ok()
}
