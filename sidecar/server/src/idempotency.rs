//! What a retry of the same tokenize gets: the token of the first, although tokens are random and
//! never stored in the clear.
//!
//! For each request, or item of a batch, an entry is kept under a name and a key that both derive
//! from a local secret, the caller's user and client, the namespace, the idempotency key and the item's index:
//! without the idempotency key, an entry can be neither found nor read. It is written before the
//! value is, so that a crash between the two is healed by the retry.
//!
//! | bytes | field of an entry, in the clear once opened |
//! | --- | --- |
//! | 16 | token |
//! | 16 | put id of its value |
//! | 8 | when, in milliseconds |
//! | 32 | digest of the body, keyed |

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use lunasec_core::{
    aead,
    derive::{Expander, Extractor, length_prefixed},
    ids::{Millis, Namespace, PutId},
    policy::Caller,
    secret::DataKey,
    token::Token,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{
    db::DbError,
    env::{Entropy, random},
    failure::Failure,
    files,
};

mod disk;
mod measured;
mod memory;

pub use disk::DiskEntries;
pub use measured::Measured;
pub use memory::MemoryEntries;

/// Keeps sealed entries for at least a window, and forgets the oldest when there are too many.
#[async_trait]
pub trait Entries: Send + Sync {
    /// Finds entries, in the order of their names.
    async fn recall(&self, names: Vec<EntryName>) -> Result<Vec<Option<Vec<u8>>>, DbError>;
    /// Keeps entries; answers once they are durable.
    async fn remember(
        &self,
        entries: Vec<(EntryName, Vec<u8>)>,
        now: Millis,
    ) -> Result<(), DbError>;
    /// How many are kept.
    fn count(&self) -> u64;
}

/// Under which an entry is kept.
pub type EntryName = [u8; 32];

/// An idempotency key as a caller sent it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Takes a header's value: 1 to 255 visible ASCII characters.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=lunasec_core::limits::IDEMPOTENCY_KEY_BYTES).contains(&text.len());
        (fits && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.into()))
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IdempotencyKey(…)")
    }
}

/// Names one tokenize that may be retried.
pub struct Attempt<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// Which client of the policy that is: one user's processes may be several.
    pub client: &'a str,
    /// Where.
    pub namespace: &'a Namespace,
    /// With which key.
    pub key: &'a IdempotencyKey,
    /// Which item of a batch.
    pub index: Option<u32>,
}

/// What an entry says.
pub struct Remembered {
    /// The token that the first attempt gave or meant to give.
    pub token: Token,
    /// The put of its value.
    pub put_id: PutId,
    /// When.
    pub at: Millis,
    /// Keyed digest of the body.
    pub body: [u8; 32],
}

impl Remembered {
    const LEN: usize = Token::LEN + PutId::LEN + 8 + 32;
}

/// The names and keys of one attempt.
pub struct Keys {
    /// Its entry's name.
    pub name: EntryName,
    key: Zeroizing<[u8; 32]>,
    digest: Expander,
}

/// See the module.
pub struct Idempotency {
    secret: DataKey,
    entries: Arc<dyn Entries>,
    entropy: Arc<dyn Entropy>,
}

impl Idempotency {
    /// Puts entries under a secret.
    pub fn new(secret: DataKey, entries: Arc<dyn Entries>, entropy: Arc<dyn Entropy>) -> Self {
        Self { secret, entries, entropy }
    }

    /// Derives what belongs to an attempt.
    pub fn keys(&self, attempt: &Attempt<'_>) -> Keys {
        let uid = attempt.caller.uid.to_be_bytes();
        let index = attempt.index.map(u32::to_be_bytes);
        let info = length_prefixed(&[
            &uid,
            attempt.client.as_bytes(),
            attempt.namespace.as_str().as_bytes(),
            attempt.key.0.as_bytes(),
            index.as_ref().map_or(b"single", |index| &index[..]),
        ]);
        let expander =
            Extractor::new(b"lunasec/v1/idempotency").extract(&[self.secret.expose(), &info]);
        let (mut name, mut key) = ([0; 32], Zeroizing::new([0; 32]));
        // 32 bytes are far below what HKDF can give.
        let _ = expander.expand(&[b"name"], &mut name);
        let _ = expander.expand(&[b"key"], &mut key[..]);
        Keys { name, key, digest: expander }
    }

    /// Finds what earlier attempts left. An entry that does not open is damage, not absence; one that
    /// is older than the window is absent, though it may lie there for longer: the tombstone that
    /// keeps a late retry from bringing a deleted value back may be gone by then.
    pub async fn recall(
        &self,
        keys: &[Keys],
        now: Millis,
    ) -> Result<Vec<Option<Remembered>>, Failure> {
        let names = keys.iter().map(|keys| keys.name).collect();
        let entries = self.entries.recall(names).await.map_err(unavailable)?;
        let open = |(keys, entry): (&Keys, Option<Vec<u8>>)| match entry {
            Some(entry) => open(keys, &entry)
                .map(|entry| Some(entry).filter(|entry| !memory::is_old(entry.at, now)))
                .ok_or_else(|| Failure::corrupted("an idempotency entry does not open")),
            None => Ok(None),
        };
        keys.iter().zip(entries).map(open).collect()
    }

    /// Notes which tokens an attempt is about to give.
    pub async fn remember(
        &self,
        entries: &[(&Keys, Remembered)],
        now: Millis,
    ) -> Result<(), Failure> {
        let sealed: Result<_, Failure> =
            entries.iter().map(|(keys, entry)| Ok((keys.name, self.seal(keys, entry)?))).collect();
        self.entries.remember(sealed?, now).await.map_err(unavailable)
    }

    fn seal(&self, keys: &Keys, entry: &Remembered) -> Result<Vec<u8>, Failure> {
        let mut clear = Zeroizing::new(Vec::with_capacity(Remembered::LEN));
        let at = entry.at.to_be_bytes();
        for part in [&entry.token.expose()[..], &entry.put_id.0, &at, &entry.body] {
            clear.extend_from_slice(part);
        }
        let nonce = random::<{ aead::NONCE_LEN }>(&*self.entropy)?;
        let tag =
            aead::encrypt(&keys.key, &nonce, &keys.name, &mut clear).map_err(Failure::internal)?;
        Ok([&nonce[..], &clear[..], &tag].concat())
    }

    /// How many entries are kept.
    pub fn count(&self) -> u64 {
        self.entries.count()
    }
}

impl Keys {
    /// A digest of a body that tells nothing of it without the key.
    pub fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let message = Zeroizing::new(length_prefixed(parts));
        let mut digest = [0; 32];
        let _ = self.digest.expand(&[b"digest", &message], &mut digest);
        digest
    }
}

impl Remembered {
    /// Whether the body is the one of the first attempt.
    pub fn same_body(&self, body: &[u8; 32]) -> bool {
        self.body.ct_eq(body).into()
    }
}

fn open(keys: &Keys, entry: &[u8]) -> Option<Remembered> {
    let (nonce, rest) = entry.split_first_chunk::<{ aead::NONCE_LEN }>()?;
    let (sealed, tag) = rest.split_last_chunk::<{ aead::TAG_LEN }>()?;
    let mut clear = Zeroizing::new(sealed.to_vec());
    aead::decrypt(&keys.key, nonce, &keys.name, &mut clear, tag).ok()?;
    let (token, rest) = clear.split_first_chunk::<{ Token::LEN }>()?;
    let (put_id, rest) = rest.split_first_chunk::<{ PutId::LEN }>()?;
    let (at, body) = rest.split_first_chunk::<8>()?;
    Some(Remembered {
        token: Token::from_random(*token),
        put_id: PutId(*put_id),
        at: Millis::from_be_bytes(*at),
        body: body.try_into().ok()?,
    })
}

fn unavailable(error: DbError) -> Failure {
    Failure::caused(
        lunasec_api::Code::StorageUnavailable,
        "the state directory cannot remember the idempotency key; try again later",
        error,
    )
}

/// Reads the local secret, made on first use.
pub fn local_secret(
    path: &Path,
    entries: &Path,
    entropy: &dyn Entropy,
) -> std::io::Result<DataKey> {
    use std::io::{Error, ErrorKind};
    if !path.exists() {
        // A new secret would forget every entry, and a retry would be given another token.
        if entries.exists() {
            let words = format!(
                "it is missing and {} needs it; restore it, or remove that file to forget its entries",
                entries.display()
            );
            return Err(Error::new(ErrorKind::NotFound, words));
        }
        let bytes = Zeroizing::new(random::<32>(entropy).map_err(Error::other)?);
        files::create_private(path, &bytes[..])?;
    }
    if let Some(exposed) = files::exposed(path)? {
        return Err(Error::new(ErrorKind::PermissionDenied, exposed.to_string()));
    }
    let bytes = Zeroizing::new(std::fs::read(path)?);
    DataKey::from_slice(&bytes)
        .ok_or_else(|| Error::new(ErrorKind::InvalidData, "it does not hold 32 bytes"))
}

#[cfg(test)]
mod tests;
