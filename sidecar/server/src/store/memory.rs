//! A store in memory: a real one, that forgets when the process ends. For benchmarks and tests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use foldhash::fast::RandomState;
use indexmap::{IndexMap, map::Entry};

use super::{Heads, Name, Object, Store, StoreError, Version};

/// See the module.
#[derive(Default)]
pub struct MemoryStore(Mutex<Contents>);

#[derive(Default)]
struct Contents {
    /// It keeps the hashes, so that to grow it reads no name again.
    objects: IndexMap<Name, Object, RandomState>,
    writes: u64,
}

impl Contents {
    fn put(&mut self, name: &Name, bytes: Bytes) -> Version {
        self.writes += 1;
        let version = Version::number(self.writes);
        self.objects.insert(name.clone(), Object::new(bytes, version.clone()));
        version
    }

    fn put_new(&mut self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        let Entry::Vacant(vacant) = self.objects.entry(name.clone()) else {
            return Err(StoreError::Precondition);
        };
        self.writes += 1;
        let version = Version::number(self.writes);
        vacant.insert(Object::new(bytes, version.clone()));
        Ok(version)
    }

    /// Names in order. They are sorted anew for each page: writes and reads are many here, pages few.
    fn page(&self, prefix: &str, after: Option<&Name>, limit: usize) -> Vec<(&Name, &Object)> {
        let behind = |name: &Name| after.is_none_or(|after| name > after);
        let mut page: Vec<_> = self
            .objects
            .iter()
            .filter(|(name, _)| name.as_str().starts_with(prefix) && behind(name))
            .collect();
        page.sort_unstable_by_key(|(name, _)| *name);
        page.truncate(limit);
        page
    }
}

impl MemoryStore {
    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Every change is one insert or remove: a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.contents().put_new(name, bytes)
    }

    async fn put_new_many(&self, objects: Vec<(Name, Bytes)>) -> Vec<Result<Version, StoreError>> {
        let mut contents = self.contents();
        objects.into_iter().map(|(name, bytes)| contents.put_new(&name, bytes)).collect()
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        let mut contents = self.contents();
        match contents.objects.get(name) {
            Some(object) if object.version == *expected => Ok(contents.put(name, bytes)),
            _ => Err(StoreError::Precondition),
        }
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        Ok(self.contents().objects.get(name).cloned())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        let contents = self.contents();
        let page = contents.page(prefix, after, limit);
        Ok(page.into_iter().map(|(name, _)| name.clone()).collect())
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        let contents = self.contents();
        let head = |object: &Object| {
            let bytes = object.bytes.slice(..length.min(object.bytes.len()));
            Object::new(bytes, object.version.clone())
        };
        let objects: Vec<_> = contents
            .page(prefix, after, limit)
            .into_iter()
            .map(|(name, object)| (name.clone(), head(object)))
            .collect();
        let next = Heads::full(&objects, limit);
        Ok(Heads { objects, next, requests: 1 })
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        let mut contents = self.contents();
        let there = contents.objects.get(name).is_some_and(|object| object.version == *expected);
        if there {
            contents.objects.swap_remove(name);
        }
        Ok(there)
    }
}
