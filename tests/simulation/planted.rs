//! Defects that the simulation has to find, put around the real parts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use lunasec_core::record::Header;
use lunasec_sidecar::store::{Heads, Name, Object, Store, StoreError, Version};

use crate::{scene::held, site::planted};

/// What is wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Plant {
    /// Nothing.
    None,
    /// Entries are acknowledged before they are synced.
    Unsynced,
    /// What storage does not answer is answered from memory, however old that is.
    Rearmed,
    /// While replaying, a condition that does not hold counts as success.
    Mistaken,
    /// While replaying, what is written replaces the tombstone that it meets.
    Resurrects,
}

impl Plant {
    pub(crate) fn around_storage(self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        if self == Self::Rearmed { planted(store, self) } else { store }
    }

    pub(crate) fn around_replay(self, store: Arc<dyn Store>) -> Arc<dyn Store> {
        match self {
            Self::Mistaken | Self::Resurrects => planted(store, self),
            _ => store,
        }
    }
}

/// See the module.
pub(crate) struct Planted {
    inner: Arc<dyn Store>,
    plant: Plant,
    known: Mutex<HashMap<Name, Object>>,
}

impl Planted {
    pub(crate) fn new(inner: Arc<dyn Store>, plant: Plant) -> Self {
        Self { inner, plant, known: Mutex::default() }
    }

    async fn collided(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        if self.plant == Plant::Mistaken {
            return Ok(Version::tag("mistaken"));
        }
        if self.plant == Plant::Resurrects
            && let Some(there) = self.inner.get_now(name).await?
            && Header::parse(&there.bytes).is_ok_and(|header| header.tombstone)
        {
            return self.inner.put_if(name, bytes, &there.version).await;
        }
        Err(StoreError::Precondition)
    }
}

#[async_trait]
impl Store for Planted {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        match self.inner.put_new(name, bytes.clone()).await {
            Err(StoreError::Precondition) => self.collided(name, bytes).await,
            written => written,
        }
    }

    async fn put_new_many(&self, objects: Vec<(Name, Bytes)>) -> Vec<Result<Version, StoreError>> {
        self.inner.put_new_many(objects).await
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        match self.inner.put_if(name, bytes.clone(), expected).await {
            Err(StoreError::Precondition) => self.collided(name, bytes).await,
            written => written,
        }
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        let found = self.inner.get(name).await;
        if self.plant == Plant::Rearmed {
            match &found {
                Ok(Some(object)) => _ = held(&self.known).insert(name.clone(), object.clone()),
                Err(error) if error.is_away() => {
                    if let Some(object) = held(&self.known).get(name) {
                        return Ok(Some(object.clone()));
                    }
                }
                _ => {}
            }
        }
        found
    }

    async fn get_now(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        self.inner.get_now(name).await
    }

    async fn remembered(&self, name: &Name) -> Option<Object> {
        self.inner.remembered(name).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        self.inner.list(prefix, after, limit).await
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        self.inner.heads(prefix, after, limit, length).await
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        self.inner.remove_if(name, expected).await
    }
}
