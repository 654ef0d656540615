//! What an operator does to the keyring: one more key within an epoch, and all keys under another
//! wrapping key. Both go on while sidecars run.

use lunasec_core::{
    ids::{KeyId, Namespace},
    limits,
    secret::DataKey,
};
use subtle::ConstantTimeEq;

use super::{Keyring, Slot, context};
use crate::{
    keys::KeyError,
    store::{Name, Object, StoreError},
};

/// What became of a key that was to be rewrapped.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rewrapped {
    /// It was under the current wrapping key.
    Already(String),
    /// From one to the other.
    Moved(String, String),
}

impl Keyring {
    /// Makes one more key for the epoch. What is sealed from now on is sealed under it, by other
    /// sidecars once they look, see [`limits::KEY_REFRESH`]; what was sealed before stays as it is.
    pub async fn rotate(&self, namespace: &Namespace) -> Result<KeyId, KeyError> {
        let due = KeyId::at(self.clock.now(), self.settings.epoch);
        let id = match self.newest(namespace, due).await? {
            Some(newest) => KeyId {
                generation: newest.generation.checked_add(1).ok_or_else(|| {
                    KeyError::Refused(
                        "this epoch has no more generations; wait for the next".into(),
                    )
                })?,
                ..newest
            },
            None => due,
        };
        self.make(&Slot::data(namespace, id)).await?;
        Ok(id)
    }

    /// Wraps a stored key under the keeper's current key. Nothing replaces the old wrapping before it
    /// was seen to open to the same key, and what was written is read back and opened again.
    pub async fn rewrap(&self, name: &Name) -> Result<Rewrapped, KeyError> {
        let slot = Slot::of(name)
            .ok_or_else(|| KeyError::Corrupted(format!("{name:?} is no key's name")))?;
        for _ in 0..limits::WRITE_ATTEMPTS {
            let Some(old) = self.store.get(name).await? else {
                return Err(KeyError::Corrupted(format!("{name:?} has vanished")));
            };
            let context = context(&slot, name);
            let key = self.wrapper.unwrap(&context, &old.bytes).await?;
            let new = self.wrapper.rewrap(&context, &old.bytes).await?;
            let (from, to) =
                (self.wrapper.wrapped_under(&old.bytes)?, self.wrapper.wrapped_under(&new)?);
            if from == to {
                return Ok(Rewrapped::Already(to));
            }
            self.assert_opens(&slot, name, &new, &key).await?;
            match self.store.put_if(name, new.into(), &old.version).await {
                Ok(_) => {}
                // Another operator was faster; see what is there now.
                Err(StoreError::Precondition) => continue,
                Err(error) => return Err(error.into()),
            }
            self.read_back(&slot, name, &key, old).await?;
            return Ok(Rewrapped::Moved(from, to));
        }
        Err(KeyError::Unavailable("it changes all the time; try again later".into()))
    }

    async fn assert_opens(
        &self,
        slot: &Slot,
        name: &Name,
        wrapped: &[u8],
        key: &DataKey,
    ) -> Result<(), KeyError> {
        let opened = self.wrapper.unwrap(&context(slot, name), wrapped).await?;
        if bool::from(opened.expose().ct_eq(key.expose())) {
            return Ok(());
        }
        Err(KeyError::Corrupted("rewrapped, it opens to another key".into()))
    }

    /// The last proof; where it fails the old wrapping is put back.
    async fn read_back(
        &self,
        slot: &Slot,
        name: &Name,
        key: &DataKey,
        old: Object,
    ) -> Result<(), KeyError> {
        let Some(stored) = self.store.get(name).await? else {
            return Err(KeyError::Corrupted(format!("{name:?} has vanished")));
        };
        let proven = self.assert_opens(slot, name, &stored.bytes, key).await;
        if matches!(proven, Err(KeyError::Corrupted(_))) {
            self.store.put_if(name, old.bytes, &stored.version).await?;
        }
        proven
    }
}
