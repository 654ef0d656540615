//! What [`super::Cached`] remembers, in as few bytes as there is reason for, and no more than it may. Values with
//! their metadata, and grants with sessions, lie apart: no flood of the one pushes out the other.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, Bytes};
use lunasec_core::{
    limits,
    record::{Header, Kind},
};
use quick_cache::{Weighter, sync::Cache};

use super::{Name, Object, Version, name::Key};
use crate::telemetry::CacheSeries;

/// What kind of thing is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Remembering {
    Value,
    Grant,
    Nothing,
}

/// What a name held, and when the store was asked.
#[derive(Clone)]
pub(super) struct Remembered {
    held: Held,
    /// Milliseconds, and in the two lowest bits what it is.
    asked: u64,
}

/// A small one is copied out, so that it takes no counts and no second piece of memory; a large one is shared.
#[derive(Clone)]
enum Held {
    /// The version, and the bytes behind it.
    Small(Box<[u8]>),
    Large(Arc<(Bytes, Version)>),
}

impl Remembered {
    /// `asked` is when the store was: what came of it may be as old as that.
    pub(super) fn new(object: Option<Object>, what: Remembering, asked: Duration) -> Self {
        let held = match object {
            None => Held::Small(Box::default()),
            Some(Object { bytes, version, .. }) if bytes.len() <= SMALL_BYTES => {
                let mut piece = Vec::with_capacity(VERSION_BYTES + bytes.len());
                version.write(&mut piece);
                piece.extend_from_slice(&bytes);
                Held::Small(piece.into())
            }
            // Copied: what comes from a network is a piece of a large buffer, which it would keep.
            Some(Object { bytes, version, .. }) => {
                Held::Large(Arc::new((Bytes::copy_from_slice(&bytes), version)))
            }
        };
        // Rounded down: older is safer. In two bits less than 64, milliseconds last long enough.
        let asked = u64::try_from(asked.as_millis()).unwrap_or(u64::MAX) << 2 | what as u64;
        Self { held, asked }
    }

    pub(super) fn what(&self) -> Remembering {
        match self.asked & 3 {
            0 => Remembering::Value,
            1 => Remembering::Grant,
            _ => Remembering::Nothing,
        }
    }

    pub(super) fn asked(&self) -> Duration {
        Duration::from_millis(self.asked >> 2)
    }

    /// As an answer; with its age, where that is more than an answer of the store would have.
    pub(super) fn give(self, age: Option<Duration>) -> Option<Object> {
        if self.what() == Remembering::Nothing {
            return None;
        }
        let (bytes, version) = match self.held {
            Held::Small(piece) => {
                let mut bytes = Bytes::from(piece);
                let (version, length) = Version::split(&bytes)?;
                bytes.advance(length);
                (bytes, version)
            }
            Held::Large(object) => (*object).clone(),
        };
        Some(Object { bytes, version, age })
    }

    /// Of the heap, with what the allocator adds to each piece.
    fn heap_bytes(&self) -> usize {
        let piece = |bytes: usize| (bytes + 8).next_multiple_of(16).max(32);
        match &self.held {
            Held::Small(bytes) if bytes.is_empty() => 0,
            Held::Small(bytes) => piece(bytes.len()),
            // Its counts, those of its bytes, and a version.
            Held::Large(object) => piece(object.0.len()) + 3 * 48,
        }
    }
}

/// What an object is; none for what is not remembered.
pub(super) fn kind(name: &Name, object: Option<&Object>) -> Option<Remembering> {
    name.short()?;
    match object {
        None => Some(Remembering::Nothing),
        Some(_) if name.is_session() => Some(Remembering::Grant),
        Some(object) => match Header::parse(&object.bytes).ok()?.kind {
            Kind::Value | Kind::Metadata => Some(Remembering::Value),
            Kind::Grant => Some(Remembering::Grant),
            Kind::Audit => None,
        },
    }
}

/// Objects up to this many bytes are copied out of the memory: that costs no more than to count who has them.
const SMALL_BYTES: usize = 1024;
/// Bytes of most versions.
const VERSION_BYTES: usize = 17;
/// Of an entry in the tables: itself, what links it to others, and its share of free places, and of those that
/// were pushed out.
const ENTRY_BYTES: usize = 76;

/// By the bytes that an entry takes in all; `lunasec-bench cache` measures them.
#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Remembered> for ByBytes {
    fn weight(&self, _: &Key, remembered: &Remembered) -> u64 {
        (ENTRY_BYTES + remembered.heap_bytes()) as u64
    }
}

/// One of the two.
struct Table {
    entries: Cache<Key, Remembered, ByBytes>,
    series: CacheSeries,
}

impl Table {
    fn new(bytes: usize, series: CacheSeries) -> Self {
        // Fewer than there will be: half as many of those that were pushed out are kept in mind, to tell what comes
        // back from what does not, and that takes memory, too.
        let entries = bytes / 1024;
        Self { entries: Cache::with_weighter(entries, bytes as u64, ByBytes), series }
    }

    fn used(&self) -> Used {
        Used { entries: self.entries.len() as u64, bytes: self.entries.weight() }
    }
}

/// How full a cache is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Used {
    /// Names of which something is remembered.
    pub entries: u64,
    /// The memory for them.
    pub bytes: u64,
}

/// See the module.
pub struct Caches {
    values: Table,
    grants: Table,
    /// Of a disk cache, whether it is off.
    disk_off: OnceLock<Arc<AtomicBool>>,
}

impl Default for Caches {
    fn default() -> Self {
        let (values, grants) = (CacheSeries::default(), CacheSeries::default());
        let bytes = (limits::CACHED_VALUE_BYTES, limits::CACHED_GRANT_BYTES);
        Self::new(bytes.0, values, bytes.1, grants)
    }
}

impl Caches {
    /// Nothing yet, and never more than so many bytes of values and of grants.
    pub fn new(
        value_bytes: usize,
        values: CacheSeries,
        grant_bytes: usize,
        grants: CacheSeries,
    ) -> Self {
        let (values, grants) = (Table::new(value_bytes, values), Table::new(grant_bytes, grants));
        Self { values, grants, disk_off: OnceLock::new() }
    }

    /// There is a disk cache behind them.
    pub fn note_disk(&self, off: Arc<AtomicBool>) {
        // It is opened once.
        let _ = self.disk_off.set(off);
    }

    /// Whether that keeps anything, if there is one.
    pub fn is_on_disk(&self) -> Option<bool> {
        self.disk_off.get().map(|off| !off.load(Ordering::Relaxed))
    }

    /// Of values and metadata.
    pub fn values(&self) -> Used {
        self.values.used()
    }

    /// Of grants and sessions.
    pub fn grants(&self) -> Used {
        self.grants.used()
    }

    /// Where to count those who ask for a name.
    pub(super) fn series(&self, name: &Name) -> &CacheSeries {
        &self.table(name).series
    }

    pub(super) fn get(&self, name: &Name) -> Option<Remembered> {
        let key = name.short()?;
        match self.table(name).entries.get(&key) {
            // Nobody says of what kind it is.
            None if name.kind().is_none() && !name.is_session() => self.grants.entries.get(&key),
            found => found,
        }
    }

    /// In the place of what was there; with none, nothing is.
    pub(super) fn put(&self, name: &Name, remembered: Option<Remembered>) {
        let Some(key) = name.short() else { return };
        let mut table = None;
        if let Some(remembered) = remembered {
            let into = match remembered.what() {
                Remembering::Value => &self.values,
                Remembering::Grant => &self.grants,
                Remembering::Nothing => self.table(name),
            };
            into.entries.insert(key, remembered);
            table = Some(into);
        }
        for other in [&self.values, &self.grants] {
            if table.is_none_or(|table| !std::ptr::eq(table, other)) {
                other.entries.remove(&key);
            }
        }
    }

    fn table(&self, name: &Name) -> &Table {
        let is_grant = name.is_session() || name.kind() == Some(Kind::Grant);
        if is_grant { &self.grants } else { &self.values }
    }
}

#[cfg(test)]
mod tests {
    use lunasec_core::{
        derive::SessionTag,
        ids::{Locator, Namespace},
    };

    use super::*;

    // What the figure for the memory of a million entries rests on.
    const _: () = assert!(size_of::<Remembered>() == 24 && size_of::<Key>() == 21);

    fn record(at: u64) -> Name {
        let mut locator = [7; 32];
        locator[..8].copy_from_slice(&at.to_be_bytes());
        Name::record(&Namespace::default(), &Locator(locator))
    }

    fn remembered(bytes: &[u8], what: Remembering) -> Option<Remembered> {
        let object = Object::new(Bytes::copy_from_slice(bytes), Version::tag("\"x\""));
        Some(Remembered::new(Some(object), what, Duration::from_millis(1)))
    }

    #[test]
    fn what_is_remembered_is_given_as_it_was() {
        for length in [0, 1, SMALL_BYTES, SMALL_BYTES + 1, 1 << 20] {
            let (bytes, asked) = (Bytes::from(vec![7; length]), Duration::from_millis(123_456_789));
            let object = Object::new(bytes.clone(), Version::number(3));
            for what in [Remembering::Value, Remembering::Grant] {
                let remembered = Remembered::new(Some(object.clone()), what, asked);
                assert_eq!((remembered.what(), remembered.asked()), (what, asked));
                let given = remembered.give(Some(asked)).unwrap();
                assert_eq!((given.bytes, given.version), (bytes.clone(), Version::number(3)));
                assert_eq!(given.age, Some(asked));
            }
        }
        let nothing = Remembered::new(None, Remembering::Nothing, Duration::ZERO);
        assert!(nothing.give(None).is_none());
    }

    #[test]
    fn no_flood_of_values_pushes_out_grants_and_both_stay_within_their_bytes() {
        let (values, grants) = (1 << 20, 1 << 18);
        let caches = Caches::new(values, CacheSeries::default(), grants, CacheSeries::default());
        let session = Name::session(&Namespace::default(), &SessionTag([7; 32]));
        let grant = record(0).of(Kind::Grant);
        for name in [&session, &grant] {
            caches.put(name, remembered(&[1; 57], Remembering::Grant));
        }
        for at in 1..20_000 {
            caches.put(&record(at).of(Kind::Value), remembered(&[2; 134], Remembering::Value));
            let nothing = Remembered::new(None, Remembering::Nothing, Duration::ZERO);
            caches.put(&record(at + (1 << 32)).of(Kind::Value), Some(nothing));
        }
        assert!(caches.values().bytes <= values as u64 && caches.values().entries > 1_000);
        for name in [&session, &grant] {
            assert!(caches.get(name).is_some(), "{name:?}");
        }
        for at in 1..20_000 {
            caches.put(&record(at).of(Kind::Grant), remembered(&[2; 134], Remembering::Grant));
        }
        assert!(caches.grants().bytes <= grants as u64 && caches.grants().entries > 500);
    }

    /// A name whose kind nobody says is found in either, and never in both.
    #[test]
    fn a_name_lies_in_one_table() {
        let caches = Caches::default();
        let (plain, grant) = (record(1), record(1).of(Kind::Grant));
        let nothing = || Some(Remembered::new(None, Remembering::Nothing, Duration::ZERO));
        let what = |name: &Name| caches.get(name).map(|found| found.what());
        caches.put(&plain, nothing());
        assert_eq!(what(&plain), Some(Remembering::Nothing));
        caches.put(&plain, remembered(b"grant", Remembering::Grant));
        assert_eq!(
            (what(&plain), what(&grant)),
            (Some(Remembering::Grant), Some(Remembering::Grant))
        );
        assert_eq!(caches.values().entries, 0);
        caches.put(&plain, None);
        assert_eq!((what(&plain), what(&grant)), (None, None));
        caches.put(&grant, nothing());
        assert_eq!((what(&plain), caches.grants().entries), (Some(Remembering::Nothing), 1));
    }
}
