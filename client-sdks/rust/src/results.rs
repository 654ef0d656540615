//! What calls come to. Everything here prints redacted.

use std::{
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use serde_json::{Map, Value as Json};

use crate::{Error, Plaintext, Token};

/// Where an acknowledged write is safe. What is journaled is effective here at once, and may be `not_found` at other
/// sidecars until storage is back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Durability {
    /// In central storage.
    Stored,
    /// On this sidecar's volume, until storage is back.
    Journaled,
}

impl Durability {
    /// As the contract writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Journaled => "journaled",
        }
    }
}

/// On an answer only where it is older than it should be, or was made while a dependency is away.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Staleness {
    /// Which dependency is away or slow: `storage`, `keys` or `storage,keys`.
    pub degraded: String,
    /// How old the answer is.
    pub age: Option<Duration>,
}

/// What a tokenize gave.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Tokenized {
    /// What to keep instead of the value: store `token.expose()`.
    pub token: Token,
    /// Where the value is safe.
    pub durability: Durability,
}

/// A value, revealed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Value {
    /// The token that it belongs to.
    pub token: Token,
    /// The value; [`Plaintext::reveal`] gives its text.
    pub plaintext: Plaintext,
    /// Whether it is older than it should be.
    pub staleness: Option<Staleness>,
}

impl Value {
    /// The text; see [`Plaintext::reveal`].
    pub fn reveal(&self) -> Result<&str, Error> {
        self.plaintext.reveal()
    }

    /// The bytes; see [`Plaintext::reveal_bytes`].
    pub fn reveal_bytes(&self) -> &[u8] {
        self.plaintext.reveal_bytes()
    }
}

/// Nobody could answer: what a mask shows instead of a value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Masked {
    /// The token whose value is not shown.
    pub token: Token,
    /// What to show.
    pub text: String,
    /// Why; its code is the reason.
    pub error: Error,
}

/// What a read comes to under a [mask](crate::Client::masking).
#[derive(Clone, Debug)]
pub enum Shown {
    /// The value.
    Value(Value),
    /// Nobody could answer.
    Masked(Masked),
}

impl Shown {
    /// The text to show: the value's, or the mask. An error where the value was tokenized as bytes.
    pub fn text(&self) -> Result<&str, Error> {
        match self {
            Self::Value(value) => value.reveal(),
            Self::Masked(masked) => Ok(&masked.text),
        }
    }
}

/// What a read comes to under a [fallback](crate::Client::or_else).
#[derive(Clone)]
pub enum ValueOr<F> {
    /// The value.
    Value(Value),
    /// Nobody could answer.
    Fallback(Fallback<F>),
}

/// Nobody could answer: what a fallback gave instead of a value.
#[derive(Clone)]
#[non_exhaustive]
pub struct Fallback<F> {
    /// The token whose value was asked for.
    pub token: Token,
    /// What the function gave.
    pub value: F,
    /// Why it was asked; its code is the reason.
    pub error: Error,
}

/// What the application gave may be the value from elsewhere: it is not printed.
impl<F> fmt::Debug for Fallback<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<F> fmt::Debug for ValueOr<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => value.fmt(f),
            Self::Fallback(fallback) => fallback.fmt(f),
        }
    }
}

/// A JSON object.
pub type JsonObject = Map<String, Json>;

/// A token's metadata.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Metadata {
    /// A JSON object; empty until some is set.
    pub metadata: JsonObject,
    /// 0 until some is set, then one more with every set.
    pub version: u64,
    /// When the value was tokenized.
    pub created_at: SystemTime,
    /// When it expires, if it does.
    pub expires_at: Option<SystemTime>,
    /// Whether it is older than it should be.
    pub staleness: Option<Staleness>,
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata")
            .field("members", &self.metadata.len())
            .field("version", &self.version)
            .field("staleness", &self.staleness)
            .finish_non_exhaustive()
    }
}

/// Metadata was set.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct MetadataWritten {
    /// What a read will now say.
    pub version: u64,
    /// Where it is safe.
    pub durability: Durability,
}

/// A session may now do something with a token.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Granted {
    /// The token.
    pub token: Token,
    /// Later than asked for where an earlier grant lasts longer.
    pub expires_at: SystemTime,
    /// Where it is safe.
    pub durability: Durability,
}

/// Whether a session may do something with a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may.
    Valid {
        /// The token.
        token: Token,
        /// Until when.
        expires_at: SystemTime,
        /// Whether that is older than it should be.
        staleness: Option<Staleness>,
    },
    /// It may not.
    Invalid {
        /// The token.
        token: Token,
        /// `denied` or `expired`.
        reason: String,
        /// Whether that is older than it should be.
        staleness: Option<Staleness>,
    },
}

impl Verdict {
    /// Whether the session may.
    pub fn is_valid(&self) -> bool {
        matches!(self, Self::Valid { .. })
    }
}

/// Grants were taken back.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Revoked {
    /// Of how many tokens; none for a whole session. May be too low where the client had to ask twice.
    pub revoked: Option<u64>,
    /// Where it is safe.
    pub durability: Durability,
}

/// A token has no value any more, whether it had one or not.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Deleted {
    /// The token.
    pub token: Token,
    /// Where that is safe.
    pub durability: Durability,
}

/// What the sidecar says of itself.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Status {
    /// Of the sidecar.
    pub version: String,
    /// `storage`, `keys`, and whatever else this version of the sidecar needs.
    pub dependencies: BTreeMap<String, Dependency>,
    /// All of it, as the contract has it.
    pub all: JsonObject,
}

/// One dependency of the sidecar.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Dependency {
    /// `up`, `degraded` or `down`.
    pub state: String,
    /// Since when, RFC 3339.
    pub since: Option<String>,
    /// Why, where it is not up.
    pub reason: Option<String>,
}
