//! The keys of an issuer: a JWK Set (RFC 7517).

use lunasec_core::limits;
use serde::Deserialize;

use super::key::{Algorithm, Jwk, Key};

/// See the module.
#[derive(PartialEq, Eq, Debug)]
pub struct KeySet(Vec<Key>);

/// Why a text is no set of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidKeySet {
    /// It is something else.
    #[error("it is not a JWK Set (RFC 7517): a JSON object with a list `keys`")]
    Syntax,
    /// There are too many.
    #[error("it holds more than {} keys", limits::JWKS_KEYS)]
    TooMany,
    /// None is of use.
    #[error("it holds no public key for RS256, ES256 or EdDSA")]
    NoneFits,
}

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a serde_json::value::RawValue>,
}

impl KeySet {
    /// Reads a set. Keys that are not of use here are left out, as the RFC asks.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidKeySet> {
        let set: Set<'_> = serde_json::from_slice(text).map_err(|_| InvalidKeySet::Syntax)?;
        if set.keys.len() > limits::JWKS_KEYS {
            return Err(InvalidKeySet::TooMany);
        }
        let jwks = set.keys.iter().filter_map(|key| serde_json::from_str::<Jwk>(key.get()).ok());
        let keys: Vec<Key> = jwks.filter_map(|jwk| Key::of(&jwk)).collect();
        if keys.is_empty() { Err(InvalidKeySet::NoneFits) } else { Ok(Self(keys)) }
    }

    /// How many are of use.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The keys that may have signed: those of that name or, without a name, the only one that is for the
    /// algorithm.
    pub(super) fn matching<'a>(
        &'a self,
        id: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a Key> {
        let fit = move |key: &&Key| key.algorithm == algorithm;
        let only = self.0.iter().filter(fit).count() == 1;
        self.0.iter().filter(fit).filter(move |key| match id {
            Some(id) => key.id.as_deref() == Some(id),
            None => only,
        })
    }
}
