use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, Unexpected, Visitor},
};
use serde_json::value::RawValue;

pub use crate::list::LIST_LENGTH;
use crate::list::bounded;

/// How a value is written in JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// As text.
    #[default]
    Utf8,
    /// Bytes, in the standard alphabet of RFC 4648 with padding.
    Base64,
}

/// From a string only: what serde derives takes `{"utf8": null}` too.
impl<'de> Deserialize<'de> for Encoding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;

        impl Visitor<'_> for Name {
            type Value = Encoding;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`utf8` or `base64`")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Encoding, E> {
                match name {
                    "utf8" => Ok(Encoding::Utf8),
                    "base64" => Ok(Encoding::Base64),
                    other => Err(E::invalid_value(Unexpected::Str(other), &self)),
                }
            }
        }

        deserializer.deserialize_str(Name)
    }
}

/// Where an acknowledged write is safe. The greater of two is the less safe.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In central storage.
    Stored,
    /// On this pod's volume, until it is replayed.
    Journaled,
}

/// `POST /v1/tokenize`, and one item of `POST /v1/tokenize:batch`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizeRequest<'a> {
    /// The value, written as `encoding` says.
    #[serde(borrow)]
    pub value: Cow<'a, str>,
    /// utf8 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// A JSON object, kept as it is spelled.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<&'a RawValue>,
    /// For how long, such as `720h`; for ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Cow<'a, str>>,
}

/// `POST /v1/tokenize:batch`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizeBatch<'a> {
    /// 1 to 1,000 of them.
    #[serde(borrow, deserialize_with = "bounded")]
    pub items: Vec<TokenizeRequest<'a>>,
}

/// The answer to a tokenize.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct Tokenized<'a> {
    /// What to keep instead of the value.
    pub token: Cow<'a, str>,
    /// Where the value is safe.
    pub durability: Durability,
}

/// A request about one token: detokenize, metadata/get.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest<'a> {
    /// The token.
    #[serde(borrow)]
    pub token: Cow<'a, str>,
}

/// A request about a list of tokens: detokenize:batch, delete.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokensRequest<'a> {
    /// 1 to 1,000 of them.
    #[serde(borrow, deserialize_with = "bounded")]
    pub tokens: Vec<Cow<'a, str>>,
}

/// The answer to a detokenize; in a batch, with the token it belongs to.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct Detokenized<'a> {
    /// Only in a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Cow<'a, str>>,
    /// The value, written as `encoding` says.
    pub value: Cow<'a, str>,
    /// As it was tokenized.
    pub encoding: Encoding,
    /// Only in a batch, where alone it would be in `lunasec-degraded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Cow<'a, str>>,
    /// Only in a batch, where alone it would be in `age`: seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
}

/// The answer to a metadata/get.
#[derive(Serialize, Deserialize)]
pub struct Metadata<'a> {
    /// `{}` until some is set.
    #[serde(borrow)]
    pub metadata: &'a RawValue,
    /// 0 until some is set, then one more with every set.
    pub version: u64,
    /// When the value was tokenized, RFC 3339.
    pub created_at: Cow<'a, str>,
    /// When it expires, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Cow<'a, str>>,
}

/// `POST /v1/metadata/set`: replaces the whole.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetadataSet<'a> {
    /// The token.
    #[serde(borrow)]
    pub token: Cow<'a, str>,
    /// A JSON object.
    #[serde(borrow)]
    pub metadata: &'a RawValue,
    /// Only if this is still the version; `conflict` otherwise.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub if_version: Option<u64>,
}

/// A field that may be left out, but not be null: a caller that means a version must not be taken for
/// one that means any.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    u64::deserialize(deserializer).map(Some)
}

/// The answer to a metadata/set.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct MetadataWritten {
    /// Where it is safe.
    pub durability: Durability,
    /// What metadata/get will now say.
    pub version: u64,
}

/// `POST /v1/grants/create`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantsCreate<'a> {
    /// The end user's session.
    #[serde(borrow)]
    pub session: Cow<'a, str>,
    /// 1 to 1,000 of them.
    #[serde(borrow, deserialize_with = "bounded")]
    pub tokens: Vec<Cow<'a, str>>,
    /// For how long, such as `15m`, which is also the default.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Cow<'a, str>>,
    /// What is allowed: `detokenize` and `metadata` when absent; `update` and `delete` too.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub actions: Option<Vec<Cow<'a, str>>>,
}

/// `POST /v1/grants/verify`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantsVerify<'a> {
    /// The end user's session.
    #[serde(borrow)]
    pub session: Cow<'a, str>,
    /// 1 to 1,000 of them.
    #[serde(borrow, deserialize_with = "bounded")]
    pub tokens: Vec<Cow<'a, str>>,
    /// What for; `detokenize` when absent.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Cow<'a, str>>,
}

/// `POST /v1/grants/revoke`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantsRevoke<'a> {
    /// The end user's session.
    #[serde(borrow)]
    pub session: Cow<'a, str>,
    /// 1 to 1,000 of them; everything that the session was granted when absent.
    #[serde(borrow, default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<Cow<'a, str>>>,
}

/// A list that may be left out, but not be null: a caller that means some must not be taken for one that
/// means all.
fn some<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Cow<'de, str>>>, D::Error> {
    bounded(deserializer).map(Some)
}

/// One item of the answer to a grants/create.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct Granted<'a> {
    /// The token.
    pub token: Cow<'a, str>,
    /// When the grant ends, RFC 3339; later than asked for if an earlier grant lasts longer.
    pub expires_at: Cow<'a, str>,
    /// Where it is safe.
    pub durability: Durability,
}

/// One item of the answer to a grants/verify.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct Verified<'a> {
    /// The token.
    pub token: Cow<'a, str>,
    /// Whether the session may.
    pub valid: bool,
    /// Until when, RFC 3339, if it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Cow<'a, str>>,
    /// Why not: `denied` or `expired`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'a, str>>,
    /// Which dependency is away or slow, where the answer is older than it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub degraded: Option<Cow<'a, str>>,
    /// How old it is then, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
}

/// The answer to a grants/revoke.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Revoked {
    /// Tokens that the session could do something with and now cannot; absent for a whole session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<usize>,
    /// Where that is safe.
    pub durability: Durability,
}

/// One item of the answer to a delete.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
pub struct Deleted<'a> {
    /// The token.
    pub token: Cow<'a, str>,
    /// Always true: the token has no value now, whether it had one or not.
    pub deleted: bool,
    /// Where that is safe.
    pub durability: Durability,
}

/// Why one item of a batch failed.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct ItemError<'a> {
    /// For programs; see [`crate::Code`].
    pub code: Cow<'a, str>,
    /// For people.
    pub detail: Cow<'a, str>,
    /// Whether the same item may succeed later.
    pub retryable: bool,
}

/// One item of a batch's answer, in the order of the request.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq)]
#[serde(untagged)]
pub enum Item<'a, T> {
    /// It failed.
    Failed {
        /// The token it is about, where the request named one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Cow<'a, str>>,
        /// Why.
        error: ItemError<'a>,
    },
    /// It worked.
    Done(T),
}

/// A batch's answer.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Items<'a, T> {
    /// In the order of the request.
    pub items: Vec<Item<'a, T>>,
}

/// `POST /v1/canaries/create`: a token that nobody is given, so that whoever uses it has stolen it.
#[derive(Serialize, Deserialize, Default, Clone)]
#[serde(deny_unknown_fields)]
pub struct CanaryRequest {
    /// What the alarm says of it, such as where it is put; sealed, as a value is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When a sweep removes it, such as `720h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<String>,
}

/// `POST /v1/sweep`: one step through the records; repeat with `next` until it is absent.
#[derive(Serialize, Deserialize, Default, Clone)]
#[serde(deny_unknown_fields)]
pub struct SweepRequest {
    /// `next` of the step before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How long to keep a record after its expiry, such as `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_grace: Option<String>,
    /// How long to keep a tombstone, such as `30d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tombstone_grace: Option<String>,
    /// Count, and remove nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// What one step of a sweep did.
#[derive(Serialize, Deserialize, Default, Clone, Debug, PartialEq, Eq)]
pub struct SweepPage {
    /// Record headers read.
    pub examined: u64,
    /// Expired records removed.
    pub expired: u64,
    /// Old tombstones removed.
    pub tombstones: u64,
    /// Headers that this version cannot read; left alone.
    pub unreadable: u64,
    /// Storage requests made.
    pub requests: u64,
    /// Where to go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `GET /v1/status`.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Status {
    /// Of the sidecar.
    pub version: String,
    /// Since it started.
    pub uptime_seconds: u64,
    /// What it needs from elsewhere.
    pub dependencies: Dependencies,
    /// Who makes the JWTs that prove sessions, where sessions are configured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<Issuer>,
    /// What it holds in memory.
    pub caches: Caches,
    /// What waits for storage.
    pub journal: Journal,
    /// How the process is protected.
    #[serde(default)]
    pub process: Process,
    /// What the process cannot do.
    #[serde(default)]
    pub sandbox: Sandbox,
}

/// What the process has confined itself to.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Sandbox {
    /// What was asked for: `on`, `required` or `off`.
    pub mode: String,
    /// Files can be opened in some directories only, by this version of Landlock's interface; 0 where they are not
    /// kept from it.
    pub landlock_abi: u32,
    /// System calls are filtered.
    pub seccomp: bool,
    /// No program could give it rights that it does not have.
    pub no_new_privileges: bool,
    /// It has given up what it does not need of root's rights.
    pub capabilities_dropped: bool,
    /// Those of them that it needs.
    pub capabilities_left: Vec<String>,
    /// What is not in force, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// What the kernel granted the process.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Process {
    /// It never leaves a core dump.
    pub core_dumps_off: bool,
    /// Other processes of its user cannot read its memory.
    pub untraceable: bool,
    /// Its memory is never swapped out.
    pub memory_locked: bool,
    /// Why memory is not locked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What the sidecar depends on.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Dependencies {
    /// Where records lie.
    pub storage: Dependency,
    /// What wraps data keys.
    pub keys: Dependency,
    /// The state directory, where there is one: idempotency keys lie in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Dependency>,
    /// The audit trail, where there is one: while it is down, what must be recorded is refused; while it is degraded, a sink takes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Dependency>,
}

/// One dependency.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Dependency {
    /// As last seen.
    pub state: DependencyState,
    /// Since when, RFC 3339.
    pub since: String,
    /// Why it is not up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One issuer of JWTs.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Issuer {
    /// Their `iss`.
    pub issuer: String,
    /// One of their `aud`.
    pub audience: String,
    /// How many of its public keys count now.
    pub keys: u64,
    /// Whether they can be read. Degraded: those that were read before still count.
    #[serde(flatten)]
    pub health: Dependency,
}

/// Whether a dependency answers.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum DependencyState {
    /// It does.
    Up,
    /// It does not, and what it gave before still serves.
    Degraded,
    /// It does not.
    Down,
}

/// What is held in memory.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Caches {
    /// Unwrapped data keys.
    pub data_keys: u64,
    /// Idempotency keys remembered.
    pub idempotency_keys: u64,
    /// Values and metadata, sealed.
    #[serde(default)]
    pub values: Cache,
    /// Grants and sessions.
    #[serde(default)]
    pub grants: Cache,
    /// Whether the disk cache is `on`, or `off` until the next start, as the disk did not do what it must; absent where
    /// none is configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
}

/// How full a cache is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default)]
pub struct Cache {
    /// What it remembers, also that there is nothing.
    pub entries: u64,
    /// The memory for that.
    pub bytes: u64,
}

/// Writes that wait for storage.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Journal {
    /// How many.
    pub pending: u64,
    /// How long the oldest has waited.
    pub oldest_seconds: u64,
    /// Whether that is longer than `degrade.journal_age`: then it takes nothing, and is not replayed without an
    /// operator's word.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// The first of those that wait for a reason of their own, and not because storage is away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<RefusedWrite>,
}

/// A journaled write that waits for a reason of its own.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RefusedWrite {
    /// Its number in the journal.
    pub number: u64,
    /// What it holds: `value`, `metadata`, `grant`, a `tombstone` of one of these, or `session`.
    pub kind: String,
    /// Why, as an answer would say it.
    pub code: String,
}

/// The body of every error: RFC 9457.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Problem<'a> {
    /// `about:blank`-like URI that names the code.
    #[serde(rename = "type")]
    pub kind: Cow<'a, str>,
    /// The status in words.
    pub title: Cow<'a, str>,
    /// The HTTP status.
    pub status: u16,
    /// What happened and what to do; never a token, a value or an inner cause.
    pub detail: Cow<'a, str>,
    /// For programs; see [`crate::Code`].
    pub code: Cow<'a, str>,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// When to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

macro_rules! redacted {
    ($($name:ident),+) => {$(
        impl fmt::Debug for $name<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )+};
}

// These hold tokens or values, so they print nothing.
redacted!(
    TokenizeRequest,
    TokenizeBatch,
    Tokenized,
    TokenRequest,
    TokensRequest,
    Detokenized,
    Metadata,
    MetadataSet,
    GrantsCreate,
    GrantsVerify,
    GrantsRevoke,
    Granted,
    Verified,
    Deleted
);
