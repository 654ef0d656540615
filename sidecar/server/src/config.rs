//! Configuration: one TOML file and the environment's overrides, parsed into typed settings, or
//! into every mistake at once, each with its place and what to write instead.
//!
//! ```toml
#![doc = include_str!("config/example.toml")]
//! ```
//!
//! One table, [`table`], names every field; reading, overrides, the schema, the reference and the
//! guesses at misspelt names all derive from it. The road of a file: [`repair`] takes out what is
//! not TOML, [`reader`] walks the rest and hands each value to its [`kinds`], [`complete`] and
//! [`items`] look for what is absent, without effect or at odds, and what is whole and without a
//! mistake becomes a [`Config`]. Nothing here reads the environment or a file.

mod cases;
mod complete;
mod fields;
mod forms;
mod items;
mod kinds;
mod lines;
mod mistake;
mod names;
mod reader;
mod repair;
mod rules;
mod schema;
mod settings;
mod table;
#[cfg(test)]
mod tests;

pub use cases::Case;
pub use mistake::{Mistake, Place};
pub use schema::{reference, schema};
pub use settings::{
    Assurance, Assurances, Audit, AuditSink, Cache, Confinement, Degrade, Format, Grants, Issuer,
    Jwks, Jwt, Keys, KmsKeys, Level, Limits, Listen, Log, OnOutage, Remember, S3Place, Sandbox,
    Storage, Sweep, Verdict,
};

use std::mem;

use lunasec_core::policy::Client;
use reader::Reader;
use table::{CONFIG, Table};

/// The settings of a sidecar, complete and valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// Where the sidecar listens.
    pub listen: Listen,
    /// Where records are kept.
    pub storage: Storage,
    /// What seals the data keys.
    pub keys: Keys,
    /// What may be kept on this machine to bridge outages and restarts.
    pub degrade: Degrade,
    /// What is remembered of storage.
    pub cache: Cache,
    /// Bounds, lowered or as they are.
    pub limits: Limits,
    /// What is logged.
    pub log: Log,
    /// What is recorded of requests.
    pub audit: Audit,
    /// What the process confines itself to.
    pub sandbox: Sandbox,
    /// How long records outlive their use.
    pub sweep: Sweep,
    /// How long grants last.
    pub grants: Grants,
    /// Who may do what; none for the sidecar's own user alone.
    pub clients: Vec<Client>,
    /// Who makes the JWTs that prove sessions; none for sessions that are the caller's word.
    pub sessions: Vec<Issuer>,
}

impl Config {
    /// Reads a file's text and the environment, whose `LUNASEC_SECTION__FIELD` variables win over
    /// the file; others in `env` are ignored. The mistakes come in the order of their places.
    pub fn parse(text: &str, env: &[(String, String)]) -> Result<Self, Vec<Mistake>> {
        let (Reader { draft, items, .. }, mistakes) = read(&CONFIG, text, env);
        match (draft.storage(), draft.keys()) {
            (Some(storage), Some(keys)) if mistakes.is_empty() => Ok(Self {
                listen: draft.listen,
                storage,
                keys,
                degrade: draft.degrade,
                cache: draft.cache,
                limits: draft.limits,
                log: draft.log,
                audit: draft.audit,
                sandbox: draft.sandbox,
                sweep: draft.sweep,
                grants: draft.grants,
                clients: items.iter().filter_map(|item| item.draft.client()).collect(),
                sessions: items.iter().filter_map(|item| item.draft.issuer()).collect(),
            }),
            _ => Err(mistakes),
        }
    }

    /// Whether anything is asked of AWS.
    pub fn uses_aws(&self) -> bool {
        matches!(self.storage, Storage::S3(_)) || matches!(self.keys, Keys::Kms(_))
    }

    /// What differs from `running` and cannot be changed under it: what files and sockets are open,
    /// and what was measured out at the start.
    pub fn needs_a_restart_after(&self, running: &Self) -> Vec<&'static str> {
        let (new, old) = (&self.limits, &running.limits);
        let changes = [
            ("listen", self.listen != running.listen),
            ("storage", self.storage != running.storage),
            ("keys", self.keys != running.keys),
            ("degrade", self.degrade != running.degrade),
            ("cache", self.cache != running.cache),
            ("limits.connections", new.connections != old.connections),
            ("limits.idempotency_entries", new.idempotency_entries != old.idempotency_entries),
            ("audit.sink", self.audit.sink != running.audit.sink),
            ("audit.path", self.audit.path != running.audit.path),
            ("audit.rotate_bytes", self.audit.rotate_bytes != running.audit.rotate_bytes),
            ("audit.spool_bytes", self.audit.spool_bytes != running.audit.spool_bytes),
            ("log.format", self.log.format != running.log.format),
            ("sandbox", self.sandbox != running.sandbox),
        ];
        changes.into_iter().filter_map(|(name, changed)| changed.then_some(name)).collect()
    }
}

/// Reads what a table describes; the mistakes come in the order of their places.
fn read(table: &'static Table, text: &str, env: &[(String, String)]) -> (Reader, Vec<Mistake>) {
    let mut reader = Reader::new(table);
    reader.file(text);
    reader.environment(env);
    reader.complete();
    let mut mistakes = mem::take(&mut reader.mistakes);
    mistakes.sort_by(|one, other| one.place.cmp(&other.place));
    (reader, mistakes)
}
