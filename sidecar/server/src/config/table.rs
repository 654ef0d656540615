//! The one table of sections and fields.

use std::time::Duration;

use lunasec_core::limits;

use super::{
    fields::{Field, Kind, Need, Section, Times},
    forms::Form,
    kinds::SHORTEST,
    settings::{
        Assurance, AuditSink, Confinement, Draft, Format, KeysKind, Level, OnOutage, StorageKind,
    },
};

/// What a kind of file consists of.
pub(super) struct Table {
    /// Its sections, in the order of the documentation.
    pub(super) sections: &'static [Section],
    /// Their fields, in the order of the documentation.
    pub(super) fields: &'static [Field],
    /// Fields that mean nothing without another one of their section.
    pub(super) beside: &'static [(&'static str, &'static str, &'static str)],
    /// Fields of which a section needs one or the other, or both.
    pub(super) either: &'static [(&'static str, &'static str, &'static str)],
}

/// The configuration.
pub(super) static CONFIG: Table = Table {
    sections: SECTIONS,
    fields: FIELDS,
    beside: &[
        ("storage", "path_style", "endpoint"),
        ("degrade", "standby_key_file", "state_dir"),
        ("degrade", "disk_cache", "state_dir"),
        ("degrade", "disk_cache_bytes", "disk_cache"),
    ],
    either: &[("clients", "uid", "gid")],
};

const VALUES: &str = "cache.values";
const GRANTS: &str = "cache.grants";
const VALUES_MOST: Duration = limits::CACHED_VALUE_HARD_MOST;
const GRANTS_MOST: Duration = limits::CACHED_GRANT_HARD_MOST;
const SOFT: &str =
    "After it, what is remembered is read again on the side, and its answer says its age.";
const REVOCATION: &str = "How long what others deleted, took back or changed may go unseen, while storage answers. Where it is not written, it is no less than `soft`.";
const HARD: &str = "After it, what is remembered is gone, also while storage is away.";

/// Every section, in the order of the documentation.
const SECTIONS: &[Section] = &[
    section("listen", "Where the sidecar listens."),
    section("storage", "Where records are kept."),
    section("keys", "What seals the data keys."),
    section("degrade", "What may be kept on this machine to bridge outages and restarts."),
    section("cache", "What is remembered of storage in memory, sealed as it lies there."),
    section(VALUES, "Values and their metadata."),
    section(GRANTS, "Grants and sessions."),
    section("limits", "The product's bounds. They can be lowered, not raised."),
    section("log", "What is logged, to standard error."),
    section(
        "audit",
        "The record of every operation and item. It waits for its sink in `degrade.state_dir`.",
    ),
    section("sandbox", "What the process confines itself to before it serves."),
    section("grants", "How long what a session was granted lasts."),
    section("sweep", "How long records outlive their use."),
    Section {
        name: "clients",
        times: Times::Any,
        about: "Who may do what. The first that fits the caller decides. With none, only the sidecar's own user may call.",
    },
    Section {
        name: "sessions",
        times: Times::Any,
        about: "Who makes the JWTs that prove sessions. With none, `lunasec-session` is the caller's word.",
    },
];

/// Every field, in the order of the documentation.
const FIELDS: &[Field] = &[
    field(
        "listen",
        "socket",
        Need::Default,
        Kind::Socket(|d| &mut d.listen.socket),
        "Path of the Unix socket that applications speak to.",
    ),
    field(
        "listen",
        "mode",
        Need::Default,
        Kind::Mode(|d| &mut d.listen.mode),
        "Permission bits of the socket, in octal. Others than its owner and group are never let in.",
    ),
    field(
        "listen",
        "group",
        Need::Optional("lunasec"),
        Kind::Group(|d| &mut d.listen.group),
        "Group that owns the socket. Without it, the group of the process.",
    ),
    field(
        "listen",
        "admin",
        Need::Default,
        Kind::Address(|d| &mut d.listen.admin),
        "Address and port for health and metrics, or \"off\". No value can be reached there.",
    ),
    field(
        "storage",
        "kind",
        Need::Always("embedded"),
        Kind::Word {
            words: StorageKind::WORDS,
            put: |d, word| StorageKind::parse(word).map(|kind| d.storage_kind = Some(kind)),
            get: |d| d.storage_kind.map(StorageKind::as_str),
        },
        "\"embedded\": a file of this machine. \"s3\": a bucket that all sidecars share. \"memory\": nothing survives a restart; for tests.",
    ),
    field(
        "storage",
        "path",
        Need::With("embedded", "/var/lib/lunasec/store.redb"),
        Kind::Path(|d| &mut d.storage_path),
        "The file that holds the records.",
    ),
    field(
        "storage",
        "bucket",
        Need::With("s3", "lunasec"),
        Kind::Name(Form::Bucket, |d| &mut d.bucket),
        "The bucket that holds the records and the wrapped keys.",
    ),
    field(
        "storage",
        "prefix",
        Need::May("s3", "tokens/"),
        Kind::Name(Form::Prefix, |d| &mut d.prefix),
        "What every object's name in the bucket begins with. Empty, or ends with a slash.",
    ),
    field(
        "storage",
        "region",
        Need::With("s3", "eu-central-1"),
        Kind::Name(Form::Region, |d| &mut d.storage_region),
        "The bucket's region.",
    ),
    field(
        "storage",
        "endpoint",
        Need::May("s3", "http://127.0.0.1:4566"),
        Kind::Name(Form::Endpoint, |d| &mut d.storage_endpoint),
        "A server that speaks S3, instead of AWS. Without TLS only at a loopback address.",
    ),
    field(
        "storage",
        "path_style",
        Need::May("s3", "true"),
        Kind::Switch(|d| &mut d.path_style),
        "Whether requests name the bucket in the path instead of the host. Goes with `endpoint`.",
    ),
    field(
        "keys",
        "kind",
        Need::Always("local"),
        Kind::Word {
            words: KeysKind::WORDS,
            put: |d, word| KeysKind::parse(word).map(|kind| d.keys_kind = Some(kind)),
            get: |d| d.keys_kind.map(KeysKind::as_str),
        },
        "\"local\": a key in a file of this machine. \"kms\": a key of AWS KMS, which never leaves it.",
    ),
    field(
        "keys",
        "path",
        Need::With("local", "/etc/lunasec/local.key"),
        Kind::Path(|d| &mut d.keys_path),
        "The file that holds the key.",
    ),
    field(
        "keys",
        "key_id",
        Need::With("kms", "alias/lunasec"),
        Kind::Name(Form::KeyId, |d| &mut d.key_id),
        "The KMS key that wraps the data keys: an alias, an id, or the ARN of either.",
    ),
    field(
        "keys",
        "region",
        Need::With("kms", "eu-central-1"),
        Kind::Name(Form::Region, |d| &mut d.keys_region),
        "The region of the KMS keys.",
    ),
    field(
        "keys",
        "endpoint",
        Need::May("kms", "http://127.0.0.1:4566"),
        Kind::Name(Form::Endpoint, |d| &mut d.keys_endpoint),
        "A server that speaks KMS, instead of AWS. Without TLS only at a loopback address.",
    ),
    field(
        "keys",
        "accept_key_ids",
        Need::May("kms", "arn:aws:kms:eu-central-1:111122223333:key/0123-retired"),
        Kind::KeyIds(|d| &mut d.accept_key_ids),
        "Retired KMS keys that may still unwrap, for every namespace.",
    ),
    field(
        "keys",
        "namespaces",
        Need::May("kms", "shop=alias/lunasec-shop"),
        Kind::KeyIdsByNamespace(|d| &mut d.key_ids_by_namespace),
        "A KMS key of its own for each of these namespaces, in place of `key_id`.",
    ),
    field(
        "degrade",
        "state_dir",
        Need::Optional("/var/lib/lunasec"),
        Kind::Path(|d| &mut d.degrade.state_dir),
        "Directory for local state. Without it, idempotency keys do not survive a restart.",
    ),
    field(
        "degrade",
        "standby_key_file",
        Need::Optional("/etc/lunasec/standby.key"),
        Kind::Path(|d| &mut d.degrade.standby_key_file),
        "File of a key, like that of `keys.path`. With it data keys outlive a restart in `state_dir`, so that work goes on with KMS or storage away. What it weakens: whoever has both that directory and this key has the data keys, without KMS and without its log.",
    ),
    field(
        "degrade",
        "disk_cache",
        Need::Default,
        Kind::Switch(|d| &mut d.degrade.disk_cache),
        "Whether what was read and written is kept in `state_dir`, sealed, so that it opens after a restart with storage away. What it weakens: a delete or revoke made elsewhere meanwhile goes unseen until storage is back, or for `hard` of `[cache]`.",
    ),
    field(
        "degrade",
        "disk_cache_bytes",
        Need::Default,
        Kind::Size {
            least: 1,
            most: limits::DISK_CACHE_BYTES_MOST,
            at: |d| &mut d.degrade.disk_cache_bytes,
        },
        "Bytes of that. The oldest goes first.",
    ),
    field(
        "degrade",
        "on_storage_outage",
        Need::Default,
        Kind::Word {
            words: OnOutage::WORDS,
            put: |d, word| OnOutage::parse(word).map(|on| d.degrade.on_storage_outage = on),
            get: |d| Some(d.degrade.on_storage_outage.as_str()),
        },
        "Writes while storage is away: \"reject\" refuses them, \"journal\" keeps them in `state_dir` until it is back. What is journaled and not yet replayed is lost with that directory.",
    ),
    field(
        "degrade",
        "journal_bytes",
        Need::Default,
        Kind::Size {
            least: 1,
            most: limits::JOURNAL_BYTES_MOST,
            at: |d| &mut d.degrade.journal_bytes,
        },
        "Bytes that may wait in the journal. More writes are answered `journal_full`.",
    ),
    field(
        "degrade",
        "journal_age",
        Need::Default,
        Kind::Time {
            least: SHORTEST,
            most: limits::JOURNAL_AGE_MOST,
            at: |d| &mut d.degrade.journal_age,
        },
        "For how long a write may wait in the journal. What is older is replayed only by `lunasec serve --replay-stale-journal`. At least a day less than `sweep.tombstone_grace`.",
    ),
    memory(VALUES, |d| &mut d.cache.values.max),
    clock(VALUES, "soft", VALUES_MOST, |d| &mut d.cache.values.soft, SOFT),
    clock(VALUES, "revocation", VALUES_MOST, |d| &mut d.cache.values.revocation, REVOCATION),
    clock(VALUES, "hard", VALUES_MOST, |d| &mut d.cache.values.hard, HARD),
    memory(GRANTS, |d| &mut d.cache.grants.max),
    clock(GRANTS, "soft", GRANTS_MOST, |d| &mut d.cache.grants.soft, SOFT),
    clock(GRANTS, "revocation", GRANTS_MOST, |d| &mut d.cache.grants.revocation, REVOCATION),
    clock(GRANTS, "hard", GRANTS_MOST, |d| &mut d.cache.grants.hard, HARD),
    size("value", limits::VALUE_BYTES, |d| &mut d.limits.value, "Bytes of one value."),
    size(
        "metadata",
        limits::METADATA_BYTES,
        |d| &mut d.limits.metadata,
        "Bytes of one token's metadata, as JSON text.",
    ),
    count(
        "batch_items",
        limits::LIST_ITEMS,
        |d| &mut d.limits.batch_items,
        "Items of a batch, and entries of any list in a request.",
    ),
    size(
        "batch_bytes",
        limits::BATCH_BYTES,
        |d| &mut d.limits.batch_bytes,
        "Bytes of a batch's body, and of its answer.",
    ),
    count(
        "connections",
        limits::CONNECTIONS,
        |d| &mut d.limits.connections,
        "Connections on the socket. More are answered `overloaded` and closed.",
    ),
    count(
        "requests",
        limits::REQUESTS,
        |d| &mut d.limits.requests,
        "Requests at work at once. More are answered `overloaded`.",
    ),
    size(
        "body_bytes_in_flight",
        limits::BODY_BYTES_IN_FLIGHT,
        |d| &mut d.limits.body_bytes_in_flight,
        "Bytes of request bodies held at once.",
    ),
    time(
        "request_time",
        limits::REQUEST_TIME,
        |d| &mut d.limits.request_time,
        "From the start of a request to its answer.",
    ),
    time(
        "head_time",
        limits::HEAD_TIME,
        |d| &mut d.limits.head_time,
        "From a request's first byte to the end of its head.",
    ),
    time(
        "first_byte_time",
        limits::FIRST_BYTE_TIME,
        |d| &mut d.limits.first_byte_time,
        "How long a new connection may stay silent.",
    ),
    time(
        "idle_time",
        limits::IDLE_TIME,
        |d| &mut d.limits.idle_time,
        "How long a connection may stay silent between two requests.",
    ),
    time(
        "drain_time",
        limits::DRAIN_TIME,
        |d| &mut d.limits.drain_time,
        "From SIGTERM to the last answer.",
    ),
    field(
        "limits",
        "idempotency_entries",
        Need::Default,
        Kind::Entries {
            most: limits::IDEMPOTENCY_ENTRIES,
            at: |d| &mut d.limits.idempotency_entries,
        },
        "Requests remembered for their idempotency key.",
    ),
    field(
        "log",
        "level",
        Need::Default,
        Kind::Word {
            words: Level::WORDS,
            put: |d, word| Level::parse(word).map(|level| d.log.level = level),
            get: |d| Some(d.log.level.as_str()),
        },
        "The least important events that are logged.",
    ),
    field(
        "log",
        "format",
        Need::Default,
        Kind::Word {
            words: Format::WORDS,
            put: |d, word| Format::parse(word).map(|format| d.log.format = format),
            get: |d| Some(d.log.format.as_str()),
        },
        "\"text\" for people, \"json\" for machines.",
    ),
    field(
        "audit",
        "sink",
        Need::Default,
        Kind::Word {
            words: AuditSink::WORDS,
            put: |d, word| AuditSink::parse(word).map(|sink| d.audit.sink = sink),
            get: |d| Some(d.audit.sink.as_str()),
        },
        "Where records go: \"file\", \"stdout\", \"both\", or \"off\" for none.",
    ),
    field(
        "audit",
        "path",
        Need::Optional("/var/log/lunasec/audit.jsonl"),
        Kind::Path(|d| &mut d.audit.path),
        "The file that records are appended to.",
    ),
    field(
        "audit",
        "rotate_bytes",
        Need::Default,
        Kind::Size { least: 1, most: limits::AUDIT_FILE_MOST, at: |d| &mut d.audit.rotate_bytes },
        "Bytes of that file, about. Then it is put aside, with the time behind its name, and begun anew. It may as well be moved away by others.",
    ),
    field(
        "audit",
        "spool_bytes",
        Need::Default,
        Kind::Size {
            least: limits::AUDIT_SPOOL_LEAST,
            most: limits::AUDIT_SPOOL_MOST,
            at: |d| &mut d.audit.spool_bytes,
        },
        "Bytes that may wait in `degrade.state_dir` for a sink that takes nothing. Then what is not `best_effort` is refused.",
    ),
    assurance(
        "reveal",
        |d, word| Assurance::parse(word).map(|it| d.audit.assurances.reveal = it),
        |d| Some(d.audit.assurances.reveal.as_str()),
        "How surely a reveal is recorded before it is answered. \"durable\": synced. \"required\": in the spool, where it outlives the process, and synced within 100 ms. \"best_effort\": under way. What cannot be recorded as it must is refused.",
    ),
    assurance(
        "tokenize",
        |d, word| Assurance::parse(word).map(|it| d.audit.assurances.tokenize = it),
        |d| Some(d.audit.assurances.tokenize.as_str()),
        "The same of tokenize.",
    ),
    assurance(
        "metadata",
        |d, word| Assurance::parse(word).map(|it| d.audit.assurances.metadata = it),
        |d| Some(d.audit.assurances.metadata.as_str()),
        "The same of metadata.",
    ),
    assurance(
        "grants",
        |d, word| Assurance::parse(word).map(|it| d.audit.assurances.grants = it),
        |d| Some(d.audit.assurances.grants.as_str()),
        "The same of grants.",
    ),
    assurance(
        "delete",
        |d, word| Assurance::parse(word).map(|it| d.audit.assurances.delete = it),
        |d| Some(d.audit.assurances.delete.as_str()),
        "The same of delete and sweep.",
    ),
    field(
        "sandbox",
        "mode",
        Need::Default,
        Kind::Word {
            words: Confinement::WORDS,
            put: |d, word| Confinement::parse(word).map(|mode| d.sandbox.mode = mode),
            get: |d| Some(d.sandbox.mode.as_str()),
        },
        "\"on\": as far as the kernel lets it, and the status says how far that is. \"required\": in every way, or it does not start. \"off\": not at all.",
    ),
    field(
        "grants",
        "default",
        Need::Default,
        Kind::Time { least: SHORTEST, most: limits::EXPIRES_IN, at: |d| &mut d.grants.default },
        "How long a grant lasts that does not say for how long.",
    ),
    field(
        "grants",
        "maximum",
        Need::Default,
        Kind::Time { least: SHORTEST, most: limits::EXPIRES_IN, at: |d| &mut d.grants.maximum },
        "How long a grant may last at most; whoever asks for more is refused.",
    ),
    field(
        "sweep",
        "expired_grace",
        Need::Default,
        Kind::Time {
            least: Duration::ZERO,
            most: limits::EXPIRES_IN,
            at: |d| &mut d.sweep.expired_grace,
        },
        "How long after its expiry a record is kept.",
    ),
    field(
        "sweep",
        "tombstone_grace",
        Need::Default,
        Kind::Time {
            least: limits::TOMBSTONE_GRACE_LEAST,
            most: limits::EXPIRES_IN,
            at: |d| &mut d.sweep.tombstone_grace,
        },
        "How long it is remembered that a token was deleted, so that a late retry cannot undo it.",
    ),
    field(
        "clients",
        "name",
        Need::Always("shop"),
        Kind::Name(Form::Client, |d| &mut d.client.name),
        "For people, metrics and the audit trail; no two have the same.",
    ),
    field(
        "clients",
        "uid",
        Need::Optional("10001"),
        Kind::Id(|d| &mut d.client.uid),
        "The user that it runs as. Without it any, as long as the group fits.",
    ),
    field(
        "clients",
        "gid",
        Need::Optional("10001"),
        Kind::Id(|d| &mut d.client.gid),
        "The group that it runs as. Without it any, as long as the user fits.",
    ),
    field(
        "clients",
        "namespaces",
        Need::Always("default"),
        Kind::Namespaces(|d| &mut d.client.namespaces),
        "Where it may work. The first is its own, for calls that name none.",
    ),
    field(
        "clients",
        "operations",
        Need::Always("tokenize,detokenize,metadata,grants,delete"),
        Kind::Operations(|d| &mut d.client.operations),
        "What it may do there: some of tokenize, detokenize, metadata, grants and delete.",
    ),
    switch(
        "require_grant",
        |d| &mut d.client.require_grant,
        "Whether detokenize, metadata and delete need a grant of the user's session.",
    ),
    switch(
        "require_purpose",
        |d| &mut d.client.require_purpose,
        "Whether detokenize needs a purpose.",
    ),
    switch(
        "grant_any_session",
        |d| &mut d.client.grant_any_session,
        "Whether it may grant to other sessions than that of the JWT it shows.",
    ),
    field(
        "clients",
        "requests_per_second",
        Need::Optional("5000"),
        Kind::Rate(|d| &mut d.client.requests_per_second),
        "Requests it may make, as many at once as in a second. Without it, no bound.",
    ),
    field(
        "clients",
        "reveals_per_minute",
        Need::Optional("600"),
        Kind::Rate(|d| &mut d.client.reveals_per_minute),
        "Values it may reveal, as many at once as in a minute. Without it, no bound.",
    ),
    field(
        "sessions",
        "issuer",
        Need::Always("https://id.example.com"),
        Kind::Name(Form::Claimed, |d| &mut d.issuer.issuer),
        "Who makes the JWTs: their `iss`, to the letter.",
    ),
    field(
        "sessions",
        "audience",
        Need::Always("shop"),
        Kind::Name(Form::Claimed, |d| &mut d.issuer.audience),
        "Whom they are made for: their `aud`, or one of it.",
    ),
    field(
        "sessions",
        "jwks",
        Need::Always("https://id.example.com/jwks.json"),
        Kind::Name(Form::Jwks, |d| &mut d.issuer.jwks),
        "The issuer's public keys, a JWK Set: a URL, without TLS only at a loopback address, or a file.",
    ),
    field(
        "sessions",
        "session_claim",
        Need::Default,
        Kind::Name(Form::Claimed, |d| &mut d.issuer.session_claim),
        "The claim that names the session.",
    ),
    field(
        "sessions",
        "skew",
        Need::Default,
        Kind::Time {
            least: Duration::ZERO,
            most: limits::JWT_SKEW_MOST,
            at: |d| &mut d.issuer.skew,
        },
        "How far the issuer's clock may be from this machine's.",
    ),
];

impl Table {
    /// The section of that name.
    pub(super) fn section_named(&self, name: &str) -> Option<&'static Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The field of that name.
    pub(super) fn field_named(&self, section: &str, name: &str) -> Option<&'static Field> {
        self.fields_of(section).find(|field| field.name == name)
    }

    /// The fields of a section.
    pub(super) fn fields_of(&self, section: &str) -> impl Iterator<Item = &'static Field> {
        self.fields.iter().filter(move |field| field.section == section)
    }

    /// The fields that a variable can override: of a list, it could not say which.
    pub(super) fn fields_with_variables(&self) -> impl Iterator<Item = &'static Field> {
        let listed = |field: &&Field| {
            self.section_named(field.section).is_some_and(|section| section.is_list())
        };
        self.fields.iter().filter(move |field| !listed(field))
    }

    /// The section inside a section.
    pub(super) fn section_inside(&self, section: &str, name: &str) -> Option<&'static Section> {
        self.sections_inside(section).find(|(inside, _)| *inside == name).map(|(_, inside)| inside)
    }

    /// The sections inside a section, and their names there.
    pub(super) fn sections_inside(
        &self,
        section: &str,
    ) -> impl Iterator<Item = (&'static str, &'static Section)> {
        let inside = move |name: &'static str| name.strip_prefix(section)?.strip_prefix('.');
        self.sections.iter().filter_map(move |found| Some((inside(found.name)?, found)))
    }
}

const fn section(name: &'static str, about: &'static str) -> Section {
    Section { name, times: Times::Once, about }
}

pub(super) const fn field(
    section: &'static str,
    name: &'static str,
    need: Need,
    kind: Kind,
    about: &'static str,
) -> Field {
    Field { section, name, need, kind, about }
}

const fn memory(section: &'static str, at: fn(&mut Draft) -> &mut usize) -> Field {
    let kind = Kind::Size { least: 1, most: limits::CACHE_BYTES_MOST, at };
    field(
        section,
        "max",
        Need::Default,
        kind,
        "Bytes of memory for them, all that they take included.",
    )
}

const fn clock(
    section: &'static str,
    name: &'static str,
    most: Duration,
    at: fn(&mut Draft) -> &mut Duration,
    about: &'static str,
) -> Field {
    field(section, name, Need::Default, Kind::Time { least: SHORTEST, most, at }, about)
}

const fn assurance(
    name: &'static str,
    put: fn(&mut Draft, &str) -> Option<()>,
    get: fn(&Draft) -> Option<&'static str>,
    about: &'static str,
) -> Field {
    field("audit", name, Need::Default, Kind::Word { words: Assurance::WORDS, put, get }, about)
}

const fn switch(name: &'static str, at: fn(&mut Draft) -> &mut bool, about: &'static str) -> Field {
    field("clients", name, Need::Default, Kind::Switch(at), about)
}

const fn size(
    name: &'static str,
    most: usize,
    at: fn(&mut Draft) -> &mut usize,
    about: &'static str,
) -> Field {
    field("limits", name, Need::Default, Kind::Size { least: 1, most, at }, about)
}

const fn count(
    name: &'static str,
    most: usize,
    at: fn(&mut Draft) -> &mut usize,
    about: &'static str,
) -> Field {
    field("limits", name, Need::Default, Kind::Count { most, at }, about)
}

const fn time(
    name: &'static str,
    most: Duration,
    at: fn(&mut Draft) -> &mut Duration,
    about: &'static str,
) -> Field {
    field("limits", name, Need::Default, Kind::Time { least: SHORTEST, most, at }, about)
}
