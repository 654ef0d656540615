//! Keys wrapped under a local key: AES-256-GCM, the context as associated data.
//!
//! The key file has one line for each key, `lunasec-local-key-v1:` and 64 hexadecimal digits. The
//! first wraps; all unwrap, so that a retired key stays below the new one. Only its owner may be
//! able to read it, or whoever it is mounted for, as a Kubernetes Secret is.
//!
//! | offset | bytes | field of a wrapped key |
//! | --- | --- | --- |
//! | 0 | 1 | version, 1 |
//! | 1 | 8 | fingerprint of the wrapping key |
//! | 9 | 12 | nonce, random |
//! | 21 | 32 | ciphertext |
//! | 53 | 16 | tag |

use std::{fs, io, path::Path, sync::Arc};

use async_trait::async_trait;
use lunasec_core::{
    aead,
    derive::{Extractor, length_prefixed},
    secret::DataKey,
};
use zeroize::{Zeroize, Zeroizing};

use super::{Context, KeyError, Wrapper};
use crate::{
    env::{Entropy, random},
    files::{self, Exposed},
};

const LINE: &str = "lunasec-local-key-v1:";
const VERSION: u8 = 1;
/// The version of what [`super::Kms`] wraps.
const BY_KMS: u8 = 2;
const FINGERPRINT: std::ops::Range<usize> = 1..9;
const NONCE: std::ops::Range<usize> = 9..21;
const CIPHERTEXT: std::ops::Range<usize> = 21..53;
const TAG: std::ops::Range<usize> = 53..69;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It is not there, or cannot be read or made.
    #[error("the key file {0} cannot be used: {1}")]
    Io(String, io::Error),
    /// Others could read it.
    #[error("the key file {0} is not private: {1} {0}")]
    Exposed(String, Exposed),
    /// It is not a key file.
    #[error("the key file {0} is damaged in line {1}; restore it from a backup")]
    Damaged(String, usize),
    /// The operating system gave no randomness.
    #[error(transparent)]
    Entropy(#[from] crate::env::NoEntropy),
}

struct LocalKey {
    fingerprint: [u8; 8],
    key: DataKey,
}

impl LocalKey {
    fn new(key: DataKey) -> Self {
        let mut fingerprint = [0; 8];
        // Eight bytes are far below what HKDF can give.
        let _ = Extractor::new(b"lunasec/v1/local")
            .extract(&[key.expose()])
            .expand(&[b"fingerprint"], &mut fingerprint);
        Self { fingerprint, key }
    }
}

/// See the module.
pub struct LocalKeys {
    keys: Vec<LocalKey>,
    entropy: Arc<dyn Entropy>,
}

impl LocalKeys {
    /// Makes a key file; fails when there is one.
    pub fn create(path: &Path, entropy: &dyn Entropy) -> Result<(), KeyFileError> {
        let mut key = random::<{ DataKey::LEN }>(entropy)?;
        let mut text = Zeroizing::new(String::with_capacity(LINE.len() + 2 * key.len() + 1));
        text.push_str(LINE);
        for byte in key {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(nibble.into(), 16).unwrap_or_default());
            }
        }
        text.push('\n');
        key.zeroize();
        files::create_private(path, text.as_bytes())
            .map_err(|error| KeyFileError::Io(path.display().to_string(), error))
    }

    /// Reads a key file.
    pub fn open(path: &Path, entropy: Arc<dyn Entropy>) -> Result<Self, KeyFileError> {
        let name = || path.display().to_string();
        let exposed =
            files::exposed_secret(path).map_err(|error| KeyFileError::Io(name(), error))?;
        if let Some(exposed) = exposed {
            return Err(KeyFileError::Exposed(name(), exposed));
        }
        let text = Zeroizing::new(
            fs::read_to_string(path).map_err(|error| KeyFileError::Io(name(), error))?,
        );
        let mut keys = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let key = parse(line).ok_or_else(|| KeyFileError::Damaged(name(), at + 1))?;
            keys.push(LocalKey::new(key));
        }
        if keys.is_empty() {
            return Err(KeyFileError::Damaged(name(), 1));
        }
        Ok(Self { keys, entropy })
    }

    pub(super) fn wrap(&self, context: &Context<'_>, key: &DataKey) -> Result<Vec<u8>, KeyError> {
        let current = self
            .keys
            .first()
            .ok_or_else(|| KeyError::Unavailable("the key file holds no key".into()))?;
        let unavailable = |error: crate::env::NoEntropy| KeyError::Unavailable(error.to_string());
        let nonce = random::<{ aead::NONCE_LEN }>(&*self.entropy).map_err(unavailable)?;
        let mut sealed = Zeroizing::new(*key.expose());
        let tag = aead::encrypt(
            current.key.expose(),
            &nonce,
            &associated(context, &current.fingerprint),
            &mut sealed[..],
        )
        .map_err(|error| KeyError::Corrupted(error.to_string()))?;
        let mut wrapped = Vec::with_capacity(TAG.end);
        wrapped.push(VERSION);
        for part in [&current.fingerprint[..], &nonce, &sealed[..], &tag] {
            wrapped.extend_from_slice(part);
        }
        Ok(wrapped)
    }
}

#[async_trait]
impl Wrapper for LocalKeys {
    async fn make(&self, context: &Context<'_>) -> Result<(DataKey, Vec<u8>), KeyError> {
        let mut bytes = random::<{ DataKey::LEN }>(&*self.entropy)
            .map_err(|error| KeyError::Unavailable(error.to_string()))?;
        let key = DataKey::take(&mut bytes);
        let wrapped = self.wrap(context, &key)?;
        Ok((key, wrapped))
    }

    async fn unwrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        let damaged = |why: &str| KeyError::Corrupted(why.to_owned());
        check_shape(wrapped)?;
        let with =
            self.keys.iter().find(|key| key.fingerprint == wrapped[FINGERPRINT]).ok_or_else(
                || {
                    KeyError::Refused(
                        "it was wrapped under a key that the key file does not hold".into(),
                    )
                },
            )?;
        let (mut nonce, mut key, mut tag) = ([0; 12], [0; DataKey::LEN], [0; 16]);
        nonce.copy_from_slice(&wrapped[NONCE]);
        key.copy_from_slice(&wrapped[CIPHERTEXT]);
        tag.copy_from_slice(&wrapped[TAG]);
        let associated = associated(context, &with.fingerprint);
        aead::decrypt(with.key.expose(), &nonce, &associated, &mut key, &tag)
            .map_err(|error| damaged(&error.to_string()))?;
        Ok(DataKey::take(&mut key))
    }

    async fn rewrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<Vec<u8>, KeyError> {
        let key = self.unwrap(context, wrapped).await?;
        self.wrap(context, &key)
    }

    fn wrapped_under(&self, wrapped: &[u8]) -> Result<String, KeyError> {
        check_shape(wrapped)?;
        let digits = wrapped[FINGERPRINT].iter().map(|byte| format!("{byte:02x}"));
        Ok(format!("the local key {}", digits.collect::<String>()))
    }
}

fn check_shape(wrapped: &[u8]) -> Result<(), KeyError> {
    match wrapped.first() {
        Some(&VERSION) if wrapped.len() == TAG.end => Ok(()),
        Some(&BY_KMS) => Err(KeyError::Refused(
            "it is wrapped by KMS; this store was sealed with keys.kind = \"kms\"".into(),
        )),
        _ => Err(KeyError::Corrupted("not a key wrapped under a local key".into())),
    }
}

/// Every field with its length, so that no two contexts share their bytes.
fn associated(context: &Context<'_>, fingerprint: &[u8; 8]) -> Vec<u8> {
    length_prefixed(&[
        b"lunasec/v1/wrap",
        context.namespace.as_str().as_bytes(),
        context.key.as_bytes(),
        context.purpose.as_str().as_bytes(),
        fingerprint,
    ])
}

fn parse(line: &str) -> Option<DataKey> {
    let digits = line.strip_prefix(LINE)?.as_bytes();
    let mut key = Zeroizing::new([0u8; DataKey::LEN]);
    if digits.len() != 2 * key.len() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        for &digit in pair {
            let value = char::from(digit).to_digit(16)?;
            *byte = (*byte << 4) | u8::try_from(value).ok()?;
        }
    }
    DataKey::from_slice(&key[..])
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use lunasec_core::ids::Namespace;

    use super::{super::Purpose, *};
    use crate::env::SystemEntropy;

    fn keys(path: &Path) -> LocalKeys {
        LocalKeys::create(path, &SystemEntropy::default()).unwrap();
        LocalKeys::open(path, Arc::new(SystemEntropy::default())).unwrap()
    }

    #[tokio::test]
    async fn a_wrapped_key_opens_only_in_its_context_and_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let keys = keys(&directory.path().join("local.key"));
        let (shop, other) = (Namespace::default(), Namespace::parse("other").unwrap());
        let context = Context { namespace: &shop, key: "1-0", purpose: Purpose::Data };
        let (key, wrapped) = keys.make(&context).await.unwrap();
        assert_eq!(keys.unwrap(&context, &wrapped).await.unwrap().expose(), key.expose());
        for wrong in [
            Context { namespace: &other, ..context.clone() },
            Context { key: "1-1", ..context.clone() },
            Context { purpose: Purpose::Index, ..context.clone() },
        ] {
            assert!(matches!(keys.unwrap(&wrong, &wrapped).await, Err(KeyError::Corrupted(_))));
        }
        for bit in 0..wrapped.len() * 8 {
            let mut flipped = wrapped.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(keys.unwrap(&context, &flipped).await.is_err(), "bit {bit}");
        }
        for length in 0..wrapped.len() {
            assert!(keys.unwrap(&context, &wrapped[..length]).await.is_err());
        }
    }

    #[tokio::test]
    async fn a_retired_key_still_unwraps_and_rewrap_moves_to_the_current_one() {
        let directory = tempfile::tempdir().unwrap();
        let (old, new) = (directory.path().join("old"), directory.path().join("new"));
        let namespace = Namespace::default();
        let context = Context { namespace: &namespace, key: "1-0", purpose: Purpose::Data };
        let (key, wrapped) = keys(&old).make(&context).await.unwrap();
        let alone = keys(&new);
        assert!(matches!(alone.unwrap(&context, &wrapped).await, Err(KeyError::Refused(_))));
        let lines = fs::read_to_string(&new).unwrap() + &fs::read_to_string(&old).unwrap();
        fs::write(&new, lines).unwrap();
        let both = LocalKeys::open(&new, Arc::new(SystemEntropy::default())).unwrap();
        let rewrapped = both.rewrap(&context, &wrapped).await.unwrap();
        assert_eq!(alone.unwrap(&context, &rewrapped).await.unwrap().expose(), key.expose());
    }

    #[test]
    fn a_key_file_is_private_never_overwritten_and_read_strictly() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("local.key");
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy::default());
        keys(&path);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(LocalKeys::create(&path, &*entropy).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        for damaged in ["", "\n", &text[1..], &text[..text.len() - 2], &format!("{text}x")] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(
                LocalKeys::open(&path, Arc::clone(&entropy)),
                Err(KeyFileError::Damaged(..))
            ));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = LocalKeys::open(&path, entropy).err().unwrap();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
}
