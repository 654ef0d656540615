//! The keys of an issuer: a JWK Set (RFC 7517).

use lunasec_core::limits;
use serde_json::value::RawValue;

use super::{
    key::{Algorithm, Key},
    object::Object,
};

/// See the module.
#[derive(PartialEq, Eq, Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Others that the set holds.
    left_out: usize,
}

/// Why a text is no set of keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidKeySet {
    /// It is something else.
    #[error("it is not a JWK Set (RFC 7517): a JSON object with a list `keys`")]
    Syntax,
    /// There are too many.
    #[error("it holds more than {} keys", limits::JWKS_KEYS)]
    TooMany,
}

impl KeySet {
    /// Reads a set. Keys that are not of use here are left out, as the RFC asks; there may be no others.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidKeySet> {
        let syntax = |_| InvalidKeySet::Syntax;
        let Object(set): Object<&RawValue> = serde_json::from_slice(text).map_err(syntax)?;
        let all = set.get("keys").ok_or(InvalidKeySet::Syntax)?;
        let all: Vec<&RawValue> = serde_json::from_str(all.get()).map_err(syntax)?;
        if all.len() > limits::JWKS_KEYS {
            return Err(InvalidKeySet::TooMany);
        }
        let objects = all.iter().filter_map(|jwk| serde_json::from_str::<Object>(jwk.get()).ok());
        let keys: Vec<Key> = objects.filter_map(|jwk| Key::of(&jwk.into()?)).collect();
        Ok(Self { left_out: all.len() - keys.len(), keys })
    }

    /// Whether there is no key at all, by which an issuer takes all of them back.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.left_out == 0
    }

    /// How many are of use.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// How many there are, and of how many nothing can be made.
    pub fn words(&self) -> String {
        let (count, left_out) = (self.count(), self.left_out);
        let mut words = match count {
            0 => "no key for RS256 (2,048 to 8,192 bits), ES256 or EdDSA".to_owned(),
            _ => format!("{count} of use"),
        };
        if left_out > 0 {
            words.push_str(&format!("; {left_out} of another kind, use or size are left out"));
        }
        words
    }

    /// The keys that may have signed: those of that name or, without a name, the only one that is for the
    /// algorithm.
    pub(super) fn matching<'a>(
        &'a self,
        id: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a Key> {
        let fit = move |key: &&Key| key.algorithm == algorithm;
        let only = self.keys.iter().filter(fit).count() == 1;
        self.keys.iter().filter(fit).filter(move |key| match id {
            Some(id) => key.id.as_deref() == Some(id),
            None => only,
        })
    }
}
