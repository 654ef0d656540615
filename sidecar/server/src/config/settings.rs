//! The typed settings, their defaults, and the draft that is filled in while reading.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};

use hyper::Uri;
use lunasec_core::{
    ids::Namespace,
    limits,
    policy::{Client, Namespaces, Operation},
};

/// Where the sidecar listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listen {
    /// Path of the Unix socket. A relative one is resolved by the caller.
    pub socket: PathBuf,
    /// Permission bits of the socket; never any for others.
    pub mode: u32,
    /// Group that owns the socket, instead of the process's own.
    pub group: Option<String>,
    /// The admin listener, unless it is off.
    pub admin: Option<SocketAddr>,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            socket: "/run/lunasec/lunasec.sock".into(),
            mode: 0o660,
            group: None,
            admin: Some((Ipv4Addr::LOCALHOST, 9464).into()),
        }
    }
}

/// Where records are kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Storage {
    /// In a file of this machine.
    Embedded {
        /// The file.
        path: PathBuf,
    },
    /// In memory: nothing survives a restart. For tests and benchmarks.
    Memory,
    /// In a bucket, which all sidecars share.
    S3(S3Place),
}

/// Where in S3.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct S3Place {
    /// The bucket.
    pub bucket: String,
    /// Before every object's name.
    pub prefix: String,
    /// The bucket's region.
    pub region: String,
    /// A server that speaks S3, instead of AWS.
    pub endpoint: Option<String>,
    /// Whether the bucket is part of the path, and not of the host's name.
    pub path_style: bool,
}

/// What seals the data keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Keys {
    /// A key in a file of this machine.
    Local {
        /// The file.
        path: PathBuf,
    },
    /// Keys in KMS that never leave it.
    Kms(KmsKeys),
}

/// Which keys of KMS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KmsKeys {
    /// The key that wraps: an id, an ARN, or an alias.
    pub key_id: String,
    /// The keys' region.
    pub region: String,
    /// A server that speaks KMS, instead of AWS.
    pub endpoint: Option<String>,
    /// Retired keys that may still unwrap.
    pub accept_key_ids: Vec<String>,
    /// The keys of namespaces that have their own.
    pub namespaces: BTreeMap<String, String>,
}

/// What the sidecar may keep on this machine to bridge outages and restarts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Degrade {
    /// Directory for local state. Without one, idempotency keys are remembered in memory only.
    pub state_dir: Option<PathBuf>,
    /// The key under which data keys are kept for a restart; none where they are not.
    pub standby_key_file: Option<PathBuf>,
    /// Whether what was read and written is kept for a restart.
    pub disk_cache: bool,
    /// Bytes of that.
    pub disk_cache_bytes: usize,
    /// What becomes of writes while storage does not answer.
    pub on_storage_outage: OnOutage,
    /// Bytes of what waits in the journal.
    pub journal_bytes: usize,
    /// How long it may wait there.
    pub journal_age: Duration,
}

impl Default for Degrade {
    fn default() -> Self {
        Self {
            state_dir: None,
            standby_key_file: None,
            disk_cache: false,
            disk_cache_bytes: limits::DISK_CACHE_BYTES,
            on_storage_outage: OnOutage::default(),
            journal_bytes: limits::JOURNAL_BYTES,
            journal_age: limits::JOURNAL_AGE,
        }
    }
}

/// What is remembered of storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cache {
    /// Values and metadata.
    pub values: Remember,
    /// Grants and sessions.
    pub grants: Remember,
}

/// How much is remembered of one kind, and for how long it is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remember {
    /// Bytes of memory.
    pub max: usize,
    /// Then it is read again on the side.
    pub soft: Duration,
    /// Then whoever asks waits for that, unless storage is away.
    pub revocation: Duration,
    /// Then it is gone.
    pub hard: Duration,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            values: Remember {
                max: limits::CACHED_VALUE_BYTES,
                soft: limits::CACHED_VALUE_SOFT,
                revocation: limits::CACHED_VALUE_AGE,
                hard: limits::CACHED_VALUE_HARD,
            },
            grants: Remember {
                max: limits::CACHED_GRANT_BYTES,
                soft: limits::CACHED_GRANT_SOFT,
                revocation: limits::CACHED_GRANT_AGE,
                hard: limits::CACHED_GRANT_HARD,
            },
        }
    }
}

/// The bounds of `lunasec_core::limits` that an operator may lower.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one value.
    pub value: usize,
    /// Bytes of one token's metadata.
    pub metadata: usize,
    /// Items of one batch, and entries of any list.
    pub batch_items: usize,
    /// Bytes of a batch's body, and of its answer.
    pub batch_bytes: usize,
    /// Connections on the socket.
    pub connections: usize,
    /// Requests at work at once.
    pub requests: usize,
    /// Bytes of request bodies held at once.
    pub body_bytes_in_flight: usize,
    /// From the start of a request to its answer.
    pub request_time: Duration,
    /// From a request's first byte to the end of its head.
    pub head_time: Duration,
    /// For a new connection's first byte.
    pub first_byte_time: Duration,
    /// Between two requests of one connection.
    pub idle_time: Duration,
    /// From SIGTERM to the last answer.
    pub drain_time: Duration,
    /// Requests remembered for their idempotency key.
    pub idempotency_entries: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            value: limits::VALUE_BYTES,
            metadata: limits::METADATA_BYTES,
            batch_items: limits::LIST_ITEMS,
            batch_bytes: limits::BATCH_BYTES,
            connections: limits::CONNECTIONS,
            requests: limits::REQUESTS,
            body_bytes_in_flight: limits::BODY_BYTES_IN_FLIGHT,
            request_time: limits::REQUEST_TIME,
            head_time: limits::HEAD_TIME,
            first_byte_time: limits::FIRST_BYTE_TIME,
            idle_time: limits::IDLE_TIME,
            drain_time: limits::DRAIN_TIME,
            idempotency_entries: limits::IDEMPOTENCY_ENTRIES,
        }
    }
}

/// What is logged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Log {
    /// The least important events that are logged.
    pub level: Level,
    /// How they are written.
    pub format: Format,
}

/// What is recorded of requests, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Audit {
    /// Where records go.
    pub sink: AuditSink,
    /// The file, where they go to one.
    pub path: Option<PathBuf>,
    /// Bytes of that, about; then it is put aside.
    pub rotate_bytes: usize,
    /// Bytes of what waits for the sinks.
    pub spool_bytes: usize,
    /// How surely.
    pub assurances: Assurances,
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            sink: AuditSink::default(),
            path: None,
            rotate_bytes: limits::AUDIT_FILE,
            spool_bytes: limits::AUDIT_SPOOL,
            assurances: Assurances::default(),
        }
    }
}

/// How surely what happens is recorded before it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Assurances {
    /// Of detokenize.
    pub reveal: Assurance,
    /// Of tokenize.
    pub tokenize: Assurance,
    /// Of metadata.
    pub metadata: Assurance,
    /// Of grants.
    pub grants: Assurance,
    /// Of delete and sweep.
    pub delete: Assurance,
}

impl Default for Assurances {
    fn default() -> Self {
        let best_effort = Assurance::BestEffort;
        Self {
            reveal: Assurance::Required,
            tokenize: best_effort,
            metadata: best_effort,
            grants: best_effort,
            delete: best_effort,
        }
    }
}

/// What the process confines itself to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sandbox {
    /// Whether it does.
    pub mode: Confinement,
}

/// How long records outlive their use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sweep {
    /// How long after its expiry a record is kept.
    pub expired_grace: Duration,
    /// How long a tombstone is kept.
    pub tombstone_grace: Duration,
}

impl Default for Sweep {
    fn default() -> Self {
        Self { expired_grace: limits::EXPIRED_GRACE, tombstone_grace: limits::TOMBSTONE_GRACE }
    }
}

/// How long grants last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grants {
    /// Unless they say otherwise.
    pub default: Duration,
    /// At most.
    pub maximum: Duration,
}

impl Default for Grants {
    fn default() -> Self {
        Self { default: limits::GRANT_TIME, maximum: limits::GRANT_TIME_MOST }
    }
}

/// Who makes JWTs that prove sessions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Issuer {
    /// Their `iss`.
    pub issuer: String,
    /// One of their `aud`.
    pub audience: String,
    /// Where the public keys are.
    pub jwks: Jwks,
    /// The claim that names the session.
    pub session_claim: String,
    /// How far its clock may be from ours.
    pub skew: Duration,
}

/// Where an issuer's public keys are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Jwks {
    /// In a file.
    File(PathBuf),
    /// At a URL.
    Url(Uri),
}

/// An enum whose every variant is one word of the file.
macro_rules! words {
    ($(#[$about:meta])* $vis:vis enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$about])*
        $vis enum $name { $($(#[$doc])* $variant,)+ }

        impl $name {
            /// Every word, in order.
            $vis const WORDS: &'static [&'static str] = &[$($word),+];

            /// The one that `word` names.
            $vis fn parse(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }

            /// Its word.
            $vis fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

words! {
    /// How important an event is.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub enum Level {
        /// Something failed that an operator must look at.
        Error = "error",
        /// Something failed that was coped with.
        Warn = "warn",
        /// What an operator wants to know in normal times.
        #[default]
        Info = "info",
        /// What a developer wants to know.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// What becomes of writes while storage does not answer.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub enum OnOutage {
        /// They are refused.
        #[default]
        Reject = "reject",
        /// They wait on this machine's disk.
        Journal = "journal",
    }
}

words! {
    /// Where records of requests go.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub enum AuditSink {
        /// None are made.
        #[default]
        Off = "off",
        /// To a file.
        File = "file",
        /// To standard output.
        Stdout = "stdout",
        /// To both.
        Both = "both",
    }
}

impl AuditSink {
    /// Whether records go to a file.
    pub fn to_file(self) -> bool {
        matches!(self, Self::File | Self::Both)
    }

    /// Whether they go to standard output, which is theirs alone then.
    pub fn to_stdout(self) -> bool {
        matches!(self, Self::Stdout | Self::Both)
    }
}

words! {
    /// How surely something is recorded before it is answered.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Assurance {
        /// It is on the disk, and synced.
        Durable = "durable",
        /// It outlives the process, and soon the machine's power.
        Required = "required",
        /// It is under way.
        BestEffort = "best_effort",
    }
}

words! {
    /// Whether the process confines itself.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub enum Confinement {
        /// As far as the kernel lets it.
        #[default]
        On = "on",
        /// In every way, or it does not start.
        Required = "required",
        /// It does not.
        Off = "off",
    }
}

words! {
    /// How events are written.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub enum Format {
        /// For people.
        #[default]
        Text = "text",
        /// For machines: one JSON object per line.
        Json = "json",
    }
}

words! {
    /// How the policy should decide.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Verdict {
        /// The call goes on.
        Allow = "allow",
        /// The call is refused.
        Deny = "deny",
    }
}

words! {
    /// Which JWT a call shows.
    #[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
    pub enum Jwt {
        /// None.
        #[default]
        None = "none",
        /// That of the session that it names.
        Same = "same",
        /// That of another session.
        Other = "other",
    }
}

words! {
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) enum StorageKind {
        Embedded = "embedded",
        S3 = "s3",
        Memory = "memory",
    }
}

words! {
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) enum KeysKind {
        Local = "local",
        Kms = "kms",
    }
}

/// The settings while they are read. It starts with the defaults; what has none starts as `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) listen: Listen,
    pub(super) storage_kind: Option<StorageKind>,
    pub(super) storage_path: Option<PathBuf>,
    pub(super) bucket: Option<String>,
    pub(super) prefix: Option<String>,
    pub(super) storage_region: Option<String>,
    pub(super) storage_endpoint: Option<String>,
    pub(super) path_style: bool,
    pub(super) keys_kind: Option<KeysKind>,
    pub(super) keys_path: Option<PathBuf>,
    pub(super) key_id: Option<String>,
    pub(super) keys_region: Option<String>,
    pub(super) keys_endpoint: Option<String>,
    pub(super) accept_key_ids: Vec<String>,
    pub(super) key_ids_by_namespace: BTreeMap<String, String>,
    pub(super) degrade: Degrade,
    pub(super) cache: Cache,
    pub(super) limits: Limits,
    pub(super) log: Log,
    pub(super) audit: Audit,
    pub(super) sandbox: Sandbox,
    pub(super) sweep: Sweep,
    pub(super) grants: Grants,
    /// The one of a list of clients that is read.
    pub(super) client: ClientDraft,
    /// The one of a list of issuers that is read.
    pub(super) issuer: IssuerDraft,
    /// The one of a list of cases that is read.
    pub(super) case: CaseDraft,
}

/// An issuer while it is read.
#[derive(Clone, Debug)]
pub(super) struct IssuerDraft {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) jwks: Option<String>,
    pub(super) session_claim: Option<String>,
    pub(super) skew: Duration,
}

impl Default for IssuerDraft {
    fn default() -> Self {
        Self {
            issuer: None,
            audience: None,
            jwks: None,
            session_claim: Some("sid".into()),
            skew: limits::JWT_SKEW,
        }
    }
}

/// A client while it is read.
#[derive(Clone, Debug, Default)]
pub(super) struct ClientDraft {
    pub(super) name: Option<String>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) namespaces: Vec<Namespace>,
    pub(super) operations: Vec<Operation>,
    pub(super) require_grant: bool,
    pub(super) require_purpose: bool,
    pub(super) grant_any_session: bool,
    pub(super) requests_per_second: Option<NonZeroU32>,
    pub(super) reveals_per_minute: Option<NonZeroU32>,
}

/// A case of a policy while it is read.
#[derive(Clone, Debug, Default)]
pub(super) struct CaseDraft {
    pub(super) name: Option<String>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) namespace: Option<String>,
    pub(super) operation: Option<Operation>,
    pub(super) session: bool,
    pub(super) jwt: Jwt,
    pub(super) purpose: bool,
    pub(super) expect: Option<Verdict>,
    pub(super) client: Option<String>,
}

/// The words of some operations.
pub(super) const fn words<const N: usize>(operations: [Operation; N]) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = operations[at].as_str();
        at += 1;
    }
    words
}

impl Draft {
    /// Where records are kept, if enough was said.
    pub(super) fn storage(&self) -> Option<Storage> {
        match self.storage_kind? {
            StorageKind::Embedded => Some(Storage::Embedded { path: self.storage_path.clone()? }),
            StorageKind::Memory => Some(Storage::Memory),
            StorageKind::S3 => Some(Storage::S3(S3Place {
                bucket: self.bucket.clone()?,
                prefix: self.prefix.clone().unwrap_or_default(),
                region: self.storage_region.clone()?,
                endpoint: self.storage_endpoint.clone(),
                path_style: self.path_style,
            })),
        }
    }

    /// What seals the data keys, if enough was said.
    pub(super) fn keys(&self) -> Option<Keys> {
        match self.keys_kind? {
            KeysKind::Local => Some(Keys::Local { path: self.keys_path.clone()? }),
            KeysKind::Kms => Some(Keys::Kms(KmsKeys {
                key_id: self.key_id.clone()?,
                region: self.keys_region.clone()?,
                endpoint: self.keys_endpoint.clone(),
                accept_key_ids: self.accept_key_ids.clone(),
                namespaces: self.key_ids_by_namespace.clone(),
            })),
        }
    }

    /// The name of the one of a list that was read.
    pub(super) fn name(&self) -> Option<&str> {
        self.client.name.as_deref().or(self.case.name.as_deref())
    }

    /// The issuer that was read, if enough was said.
    pub(super) fn issuer(&self) -> Option<Issuer> {
        let issuer = self.issuer.clone();
        let jwks = issuer.jwks?;
        Some(Issuer {
            issuer: issuer.issuer?,
            audience: issuer.audience?,
            jwks: match jwks.contains("://") {
                true => Jwks::Url(jwks.parse().ok()?),
                false => Jwks::File(jwks.into()),
            },
            session_claim: issuer.session_claim?,
            skew: issuer.skew,
        })
    }

    /// The client that was read, if enough was said.
    pub(super) fn client(&self) -> Option<Client> {
        let client = self.client.clone();
        let someone = client.uid.is_some() || client.gid.is_some();
        let something = !client.namespaces.is_empty() && !client.operations.is_empty();
        Some(Client {
            name: client.name.filter(|_| someone && something)?,
            uid: client.uid,
            gid: client.gid,
            namespaces: Namespaces::These(client.namespaces),
            operations: client.operations,
            require_grant: client.require_grant,
            require_purpose: client.require_purpose,
            grant_any_session: client.grant_any_session,
            requests_per_second: client.requests_per_second,
            reveals_per_minute: client.reveals_per_minute,
        })
    }
}
