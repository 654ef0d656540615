//! The gRPC contract: package `lunasec.v1`, generated from `proto/lunasec/v1/tokenizer.proto`.

use std::fmt;

use crate::{Code, DependencyState, Durability as Safe, Encoding as Written};

include!(concat!(env!("OUT_DIR"), "/lunasec.v1.rs"));

/// The service's full name.
pub const SERVICE: &str = "lunasec.v1.Tokenizer";
/// The domain of every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "lunasec";
/// The key of an ErrorInfo's metadata that says whether the same request may succeed later.
pub const RETRYABLE: &str = "retryable";
/// A `google.protobuf.FileDescriptorSet`, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

impl ItemError {
    /// An item's failure.
    pub fn new(code: Code, detail: &str, retryable: bool) -> Self {
        Self { code: code.as_str().into(), detail: detail.into(), retryable }
    }
}

impl From<Written> for Encoding {
    fn from(encoding: Written) -> Self {
        match encoding {
            Written::Utf8 => Self::Utf8,
            Written::Base64 => Self::Base64,
        }
    }
}

impl From<Safe> for Durability {
    fn from(durability: Safe) -> Self {
        match durability {
            Safe::Stored => Self::Stored,
            Safe::Journaled => Self::Journaled,
        }
    }
}

impl From<DependencyState> for dependency::State {
    fn from(state: DependencyState) -> Self {
        match state {
            DependencyState::Up => Self::Up,
            DependencyState::Degraded => Self::Degraded,
            DependencyState::Down => Self::Down,
        }
    }
}

impl From<crate::Dependency> for Dependency {
    fn from(dependency: crate::Dependency) -> Self {
        let state = dependency::State::from(dependency.state).into();
        Self { state, since: dependency.since, reason: dependency.reason }
    }
}

impl From<crate::Process> for Process {
    fn from(process: crate::Process) -> Self {
        let crate::Process { core_dumps_off, untraceable, memory_locked, reason } = process;
        Self { core_dumps_off, untraceable, memory_locked, reason }
    }
}

impl From<crate::Sandbox> for Sandbox {
    fn from(sandbox: crate::Sandbox) -> Self {
        let crate::Sandbox {
            mode,
            landlock_abi,
            seccomp,
            no_new_privileges,
            capabilities_dropped,
            capabilities_left,
            reasons,
        } = sandbox;
        Self {
            mode,
            landlock_abi,
            seccomp,
            no_new_privileges,
            capabilities_dropped,
            capabilities_left,
            reasons,
        }
    }
}

impl From<crate::Status> for GetStatusResponse {
    fn from(status: crate::Status) -> Self {
        let crate::Dependencies { storage, keys, state, audit } = status.dependencies;
        let crate::Caches { data_keys, idempotency_keys, values, grants, disk } = status.caches;
        let crate::Journal { pending, oldest_seconds, stale, refused } = status.journal;
        let refused = refused.into_iter().map(Into::into).collect();
        Self {
            version: status.version,
            uptime_seconds: status.uptime_seconds,
            storage: Some(storage.into()),
            keys: Some(keys.into()),
            caches: Some(Caches {
                data_keys,
                idempotency_keys,
                values: Some(values.into()),
                grants: Some(grants.into()),
                disk: disk.unwrap_or_default(),
            }),
            journal: Some(Journal { pending, oldest_seconds, refused, stale }),
            state: state.map(Into::into),
            audit: audit.map(Into::into),
            process: Some(status.process.into()),
            issuers: status.issuers.into_iter().map(Into::into).collect(),
            sandbox: Some(status.sandbox.into()),
        }
    }
}

impl From<crate::RefusedWrite> for RefusedWrite {
    fn from(it: crate::RefusedWrite) -> Self {
        let crate::RefusedWrite { number, kind, code } = it;
        Self { number, kind, code }
    }
}

impl From<crate::Cache> for Cache {
    fn from(it: crate::Cache) -> Self {
        Self { entries: it.entries, bytes: it.bytes }
    }
}

impl From<crate::Issuer> for Issuer {
    fn from(it: crate::Issuer) -> Self {
        let crate::Issuer { issuer, audience, keys, health } = it;
        Self { issuer, audience, keys, health: Some(health.into()) }
    }
}

macro_rules! redacted {
    ($($name:ty),+ $(,)?) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    )+};
}

// Most of these hold tokens or values, so all print nothing.
redacted!(
    ItemError,
    TokenizeRequest,
    TokenizeResponse,
    BatchTokenizeRequest,
    BatchTokenizeResponse,
    TokenizeItem,
    tokenize_item::Outcome,
    DetokenizeRequest,
    DetokenizeResponse,
    BatchDetokenizeRequest,
    BatchDetokenizeResponse,
    DetokenizeItem,
    detokenize_item::Outcome,
    GetMetadataRequest,
    GetMetadataResponse,
    SetMetadataRequest,
    SetMetadataResponse,
    DeleteRequest,
    DeleteResponse,
    DeleteItem,
    Staleness,
    delete_item::Outcome,
    Deleted,
    GetStatusRequest,
    GetStatusResponse,
    Dependency,
    Caches,
    Cache,
    Issuer,
    Journal,
    Process,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_prints_what_it_holds() {
        let request = TokenizeRequest { value: "4111".into(), ..Default::default() };
        let batch = BatchTokenizeRequest { items: vec![request] };
        assert_eq!(format!("{batch:?}"), "BatchTokenizeRequest(…)");
    }
}
