//! Data keys over a restart: the state directory holds them, wrapped under a key that the operator mounts.
//!
//! Whoever has both the directory and that key has the data keys, without KMS and without its log: that is the
//! price, and why there is no standby key unless the operator gives one. It serves only while storage or the
//! keeper give no answer; a keeper that refuses makes it forget the key, and so does time: what would not serve any
//! more is removed when the file is opened and when something is written to it. Where the wall clock was set back, that
//! is all that was kept before; of up to a minute, while the sidecar runs, it is waited for the clock instead.
//!
//! | table | key | value |
//! | --- | --- | --- |
//! | `keys` | name of the wrapped key in storage | when the keeper last gave it (u64), then the key, wrapped as in [`super::local`]; the time is part of its context |
//! | `clock` | `seen` | the highest time of the wall clock that was seen |

use std::{path::Path, sync::Arc, time::Duration};

use lunasec_core::{
    ids::{KeyId, Millis, Namespace},
    limits,
    secret::DataKey,
};
use redb::{ReadTransaction, TableDefinition, WriteTransaction};

use super::{Context, KeyFileError, LocalKeys, Purpose, Wrapper};
use crate::{
    db::{Db, seen, set_back, table},
    env::{Clock, Entropy, millis},
    seldom::Seldom,
    store::Name,
};

const KEYS: TableDefinition<&str, &[u8]> = TableDefinition::new("keys");
const CLOCK: TableDefinition<&str, u64> = TableDefinition::new("clock");
const TIME_LEN: usize = 8;

/// See the module.
pub struct Standby {
    db: Db,
    wrapper: LocalKeys,
    clock: Arc<dyn Clock>,
    /// What is logged of keys that cannot be used.
    unusable: Seldom,
}

/// A key that was kept, and when the keeper last gave it.
pub(super) struct Kept {
    pub(super) key: DataKey,
    pub(super) at: Millis,
}

impl Standby {
    /// Keeps keys in a database that is only a copy.
    pub async fn open(
        db: Db,
        key: &Path,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, KeyFileError> {
        let wrapper = LocalKeys::open(key, entropy)?;
        let now = clock.now();
        let tidied = db.write(move |transaction| tidy(transaction, now, Duration::ZERO)).await;
        match tidied {
            Ok(true) => tell_forgotten(),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "data keys that serve no more are still kept for a restart");
            }
        }
        let unusable = Seldom::new(Arc::clone(&clock));
        Ok(Self { db, wrapper, clock, unusable })
    }

    /// Keeps a key that the keeper has just given. On the side: what cannot be kept is missed later, and not now.
    pub(super) fn keep(self: &Arc<Self>, name: Name, purpose: Purpose, key: Arc<DataKey>) {
        let standby = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = standby.write(&name, purpose, &key).await {
                tracing::warn!(?name, error, "a data key could not be kept for a restart");
            }
        });
    }

    pub(super) async fn write(
        &self,
        name: &Name,
        purpose: Purpose,
        key: &DataKey,
    ) -> Result<(), String> {
        let (at, namespace) = (self.clock.now(), name.namespace());
        let namespace = namespace.ok_or("it is no key's name")?;
        let wrapped = self.wrapper.wrap(&context(&namespace, &told(name, at), purpose), key);
        let wrapped = wrapped.map_err(|error| error.to_string())?;
        let row = [&at.to_be_bytes()[..], &wrapped].concat();
        let (name, clock) = (name.clone(), Arc::clone(&self.clock));
        let write = move |transaction: &WriteTransaction| {
            let now = clock.now();
            let back = tidy(transaction, now, limits::CLOCK_STEP)?;
            if at <= now {
                transaction.open_table(KEYS)?.insert(name.as_str(), row.as_slice())?;
            }
            Ok(back)
        };
        if self.db.write(write).await.map_err(|error| error.to_string())? {
            tell_forgotten();
        }
        Ok(())
    }

    /// Forgets a key that the keeper refuses.
    pub(super) fn forget(self: &Arc<Self>, name: Name) {
        let standby = Arc::clone(self);
        tokio::spawn(async move {
            let written = standby.db.write(move |transaction| {
                transaction.open_table(KEYS)?.remove(name.as_str())?;
                Ok(())
            });
            if let Err(error) = written.await {
                tracing::error!(%error, "a data key that is refused is still kept for a restart");
            }
        });
    }

    /// A key; none where none was kept, or the clock was set back since, so that nobody knows how old it is.
    pub(super) async fn find(&self, name: &Name, purpose: Purpose) -> Option<Kept> {
        let (wanted, now) = (name.clone(), self.clock.now());
        let read = move |transaction: &ReadTransaction| read(transaction, &wanted, now);
        let row = self.db.read(read).await.inspect_err(|error| self.tell(error)).ok()??;
        let (at, wrapped) = row.split_first_chunk::<TIME_LEN>()?;
        let at = Millis::from_be_bytes(*at);
        let namespace = name.namespace()?;
        let told = told(name, at);
        let context = context(&namespace, &told, purpose);
        let key = self.wrapper.unwrap(&context, wrapped).await;
        key.inspect_err(|error| self.tell(error)).ok().map(|key| Kept { key, at })
    }

    /// The newest key of a namespace that seals.
    pub(super) async fn newest(&self, namespace: &Namespace) -> Option<KeyId> {
        let prefix = format!("{}{}/", Name::KEYS, namespace.as_str());
        let names = self.db.read(move |transaction| names(transaction, &prefix)).await;
        let names = names.inspect_err(|error| self.tell(error)).ok()?;
        names.iter().filter_map(|name| KeyId::parse(name.rsplit('/').next()?).ok()).max()
    }

    fn tell(&self, error: &impl std::fmt::Display) {
        if let Some(left_out) = self.unusable.admit() {
            tracing::warn!(%error, left_out, "a data key that was kept for a restart cannot be used");
        }
    }
}

/// What is bound to a key beside its namespace and purpose: nobody makes it younger.
fn told(name: &Name, at: Millis) -> String {
    format!("standby/{}/{at}", name.last_part())
}

fn context<'a>(namespace: &'a Namespace, key: &'a str, purpose: Purpose) -> Context<'a> {
    Context { namespace, key, purpose }
}

fn tell_forgotten() {
    tracing::warn!(
        "the wall clock was set back since data keys were kept for a restart, so that nobody knows how old they are: they were removed, and are kept again as the keeper gives them"
    );
}

/// Forgets keys that were given so long ago that they serve no more, and all of them where the clock was set back by
/// more than `waited`: whether it was.
fn tidy(
    transaction: &WriteTransaction,
    now: Millis,
    waited: Duration,
) -> Result<bool, redb::Error> {
    let back = set_back(transaction, CLOCK, now, waited)?;
    if back {
        transaction.delete_table(KEYS)?;
        return Ok(true);
    }
    let serves = |row: &[u8]| {
        let at = row.first_chunk::<TIME_LEN>().map_or(0, |at| Millis::from_be_bytes(*at));
        now.saturating_sub(at) < millis(limits::KEY_EXTENSION)
    };
    transaction.open_table(KEYS)?.retain(|_, row| serves(row))?;
    Ok(false)
}

fn read(
    transaction: &ReadTransaction,
    name: &Name,
    now: Millis,
) -> Result<Option<Vec<u8>>, redb::Error> {
    let Some(keys) = table(transaction, KEYS)? else { return Ok(None) };
    if seen(transaction, CLOCK)?.is_none_or(|seen| seen > now) {
        return Ok(None);
    }
    Ok(keys.get(name.as_str())?.map(|row| row.value().to_vec()))
}

fn names(transaction: &ReadTransaction, prefix: &str) -> Result<Vec<String>, redb::Error> {
    let Some(keys) = table(transaction, KEYS)? else { return Ok(Vec::new()) };
    let mut names = Vec::new();
    for row in keys.range(prefix..)? {
        let name = row?.0.value().to_owned();
        if !name.starts_with(prefix) {
            break;
        }
        names.push(name);
    }
    Ok(names)
}
