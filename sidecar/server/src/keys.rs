//! Data keys: who wraps them, and the keyring that shares them through the store.

use async_trait::async_trait;
use lunasec_core::{ids::Namespace, secret::DataKey};

use crate::{breaker::Failing, store::StoreError};

mod guarded;
mod keyring;
mod kms;
mod local;
mod measured;
mod retried;
mod standby;

pub use guarded::Guarded;
pub use keyring::{Key, Keyring, Opening, Rewrapped, Settings};
pub use kms::Kms;
pub use local::{KeyFileError, LocalKeys};
pub use measured::Measured;
pub use retried::Retried;
pub use standby::Standby;

/// Wraps data keys under a key that never leaves its keeper. KMS is one keeper, a local file another.
#[async_trait]
pub trait Wrapper: Send + Sync {
    /// Makes a data key and wraps it.
    async fn make(&self, context: &Context<'_>) -> Result<(DataKey, Vec<u8>), KeyError>;

    /// Unwraps what `make` or `rewrap` gave, for the same context only.
    async fn unwrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<DataKey, KeyError>;

    /// Wraps the same data key under the keeper's current key.
    async fn rewrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<Vec<u8>, KeyError>;

    /// The key that a wrapped one says it is under, as a person knows it.
    fn wrapped_under(&self, wrapped: &[u8]) -> Result<String, KeyError>;
}

/// What a data key is for; bound to it by the keeper.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// `lunasec:namespace`.
    pub namespace: &'a Namespace,
    /// `lunasec:key`: a key id, or `index`.
    pub key: &'a str,
    /// `lunasec:purpose`.
    pub purpose: Purpose,
}

/// What a data key does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Seals records.
    Data,
    /// Names sessions.
    Index,
}

impl Purpose {
    /// As it stands in the context.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Index => "index",
        }
    }
}

/// Why a key cannot be had.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// The keeper does not answer.
    #[error("keys are unavailable: {0}")]
    Unavailable(String),
    /// The keeper answers, and will not: another key, disabled, not permitted.
    #[error("the key was refused: {0}")]
    Refused(String),
    /// The keeper answers, and not now: it is asked too much.
    #[error("keys are throttled: {0}")]
    Throttled(String),
    /// The keeper was not asked: too many requests wait for it already.
    #[error("too many requests for keys wait")]
    Overloaded,
    /// What was wrapped is damaged.
    #[error("the wrapped key is damaged: {0}")]
    Corrupted(String),
    /// The store that shares them failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What follows from a failure, wherever it is decided; `docs/failures.md` has it as a table.
impl KeyError {
    /// Whether it says that the keeper is away, which opens the breaker.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether it is no answer of the keeper, or of the store that shares the keys: then what was kept serves.
    pub fn is_no_answer(&self) -> bool {
        match self {
            Self::Store(error) => error.may_pass(),
            error => error.may_pass(),
        }
    }

    /// Whether another attempt may succeed.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Throttled(_))
    }
}

impl Failing for KeyError {
    fn lost(&self) -> Option<&str> {
        match self {
            Self::Unavailable(why) => Some(why),
            _ => None,
        }
    }

    fn is_shed(&self) -> bool {
        *self == Self::Overloaded
    }

    fn may_pass(&self) -> bool {
        Self::may_pass(self)
    }

    fn given_up(why: String) -> Self {
        Self::Unavailable(why)
    }
}
