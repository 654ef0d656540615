//! What a sidecar stands on: a store and a keeper of keys, as often as sidecars share them.

use std::sync::Arc;

use lunasec_sidecar::{
    env::{Entropy, SystemEntropy},
    keys::{LocalKeys, Wrapper},
    store::{EmbeddedStore, MemoryStore, Store},
};
use tempfile::TempDir;

/// Makes a store for one more sidecar.
pub type Stores = Box<dyn Fn() -> Arc<dyn Store> + Send + Sync>;
/// Makes a keeper of keys for one more sidecar.
pub type Wrappers = Box<dyn Fn() -> Arc<dyn Wrapper> + Send + Sync>;

/// See the module.
pub struct Backend {
    /// A new client each time, of one and the same store.
    pub store: Stores,
    /// The same of the keys.
    pub wrapper: Wrappers,
    directory: TempDir,
}

impl Backend {
    /// In memory.
    pub fn memory() -> Self {
        let store = Arc::new(MemoryStore::default());
        Self::with_local_key(|_| Box::new(move || store.clone()))
    }

    /// In one file, which one process has: its clients are the same one.
    pub fn embedded() -> Self {
        Self::with_local_key(|directory| {
            let path = directory.path().join("store.redb");
            let store = Arc::new(EmbeddedStore::open(&path).unwrap());
            Box::new(move || store.clone())
        })
    }

    fn with_local_key(store: impl FnOnce(&TempDir) -> Stores) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        let path = directory.path().join("local.key");
        LocalKeys::create(&path, &*entropy).unwrap();
        let keys = Arc::new(LocalKeys::open(&path, entropy).unwrap());
        Self { store: store(&directory), wrapper: Box::new(move || keys.clone()), directory }
    }

    /// Of whatever else.
    pub fn new(store: Stores, wrapper: Wrappers) -> Self {
        Self { store, wrapper, directory: tempfile::tempdir().unwrap() }
    }

    /// Where its files are, if it has any.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }
}
