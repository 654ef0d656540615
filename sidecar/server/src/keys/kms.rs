//! Keys wrapped by AWS KMS, under keys that never leave it.
//!
//! | offset | bytes | field of a wrapped key |
//! | --- | --- | --- |
//! | 0 | 1 | version, 2 |
//! | 1 | 2 | length of the name, big-endian |
//! | 3 | n | name: the ARN of the KMS key, as KMS gave it |
//! | 3 + n | m | what KMS gave: 1 to 6,144 bytes |
//!
//! The name decides nothing by itself: it only picks from the configured keys, for KMS is always told
//! which key to use, and that one comes from the configuration. So whoever can write the bucket cannot
//! make a sidecar use a key of their own. An alias names whichever key it points to now; when it is
//! pointed to another one, what is under the old key needs that key in `accept_key_ids`, and until it
//! stands there the log says so. A multi-Region key and its replicas are one key: in another region, the configured one
//! opens what was wrapped there under its namesake.
//!
//! Data keys are wiped where this code holds them. The SDK's copies are not in its hands: the answer's
//! JSON and what the TLS and HTTP layers read it into are freed, not wiped.

use std::{collections::BTreeMap, slice};

use async_trait::async_trait;
use aws_sdk_kms::{Client, primitives::Blob, types::DataKeySpec};
use lunasec_core::{ids::Namespace, limits, secret::DataKey};
use zeroize::Zeroize;

use super::{Context, KeyError, Wrapper};
use crate::{
    aws::{Aws, Kind, Trouble, attempt_in_turn},
    config::KmsKeys,
    gate::Gate,
};

const VERSION: u8 = 2;
/// KMS gives no more.
const WRAPPED_BYTES: usize = 6_144;

/// See the module.
pub struct Kms {
    client: Client,
    key_id: String,
    accept_key_ids: Vec<String>,
    namespaces: BTreeMap<String, String>,
    /// Sidecars with a thousand namespaces need a thousand keys at once, at worst.
    gate: Gate,
}

/// A wrapped key, taken apart.
struct Wrapped<'a> {
    arn: &'a str,
    blob: &'a [u8],
}

impl Kms {
    /// Sends nothing yet.
    pub fn new(aws: &Aws, keys: &KmsKeys) -> Self {
        Self {
            client: aws.kms(keys),
            key_id: keys.key_id.clone(),
            accept_key_ids: keys.accept_key_ids.clone(),
            namespaces: keys.namespaces.clone(),
            gate: Gate::new(limits::KEYS_REQUESTS, limits::KEYS_WAITING),
        }
    }

    async fn ask<T>(
        &self,
        action: &str,
        request: impl Future<Output = Result<T, Trouble>>,
    ) -> Result<T, Trouble> {
        attempt_in_turn(&self.gate, action, limits::KEYS_ATTEMPT_TIME, request).await
    }

    /// The key that wraps for a namespace.
    fn current(&self, namespace: &Namespace) -> &String {
        self.namespaces.get(namespace.as_str()).unwrap_or(&self.key_id)
    }

    /// The configured keys that may have wrapped under `arn`: the one that is named like it, else
    /// whichever does not show which key it is, the current one first.
    fn candidates(&self, namespace: &Namespace, arn: &str) -> Vec<&str> {
        let configured =
            slice::from_ref(self.current(namespace)).iter().chain(&self.accept_key_ids);
        let configured: Vec<&str> = configured.map(String::as_str).collect();
        match configured.iter().find(|id| names(id, arn)) {
            Some(id) => vec![id],
            None => configured.into_iter().filter(|id| is_alias(id)).collect(),
        }
    }

    /// Asks with each candidate in turn, until one is the right key.
    async fn with_candidates<T, F>(
        &self,
        context: &Context<'_>,
        arn: &str,
        ask: impl Fn(String) -> F,
    ) -> Result<T, KeyError>
    where
        F: Future<Output = Result<T, Trouble>>,
    {
        let mut refusal = None;
        for id in self.candidates(context.namespace, arn) {
            let id = id.to_owned();
            match ask(id).await {
                Ok(answer) => return Ok(answer),
                // Another key's, or none that may be used: the next may be the one.
                Err(trouble) if trouble.kind == Kind::Refused => {
                    refusal.get_or_insert(trouble.cause);
                }
                Err(trouble) => return Err(trouble.into()),
            }
        }
        let hint = "if that is a retired key of yours, add it to keys.accept_key_ids";
        Err(KeyError::Refused(match refusal {
            Some(cause) => format!("it is wrapped under {arn}: {cause}; {hint}"),
            None => {
                format!(
                    "it is wrapped under {arn}, which is not configured for this namespace; {hint}"
                )
            }
        }))
    }
}

#[async_trait]
impl Wrapper for Kms {
    async fn make(&self, context: &Context<'_>) -> Result<(DataKey, Vec<u8>), KeyError> {
        const ACTION: &str = "making a data key in KMS";
        let id = self.current(context.namespace);
        let mut request = self.client.generate_data_key().key_id(id).key_spec(DataKeySpec::Aes256);
        for (name, value) in pairs(context) {
            request = request.encryption_context(name, value);
        }
        let answer = self.ask(ACTION, async {
            request.send().await.map_err(|error| Trouble::of(ACTION, &error))
        });
        let answer = answer.await.map_err(|trouble| KeyError::from(trouble).about(id))?;
        let key = taken(ACTION, answer.plaintext)?;
        let wrapped = joined(ACTION, answer.key_id.as_deref(), answer.ciphertext_blob)?;
        Ok((key, wrapped))
    }

    async fn unwrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        const ACTION: &str = "unwrapping a data key in KMS";
        let Wrapped { arn, blob } = Wrapped::parse(wrapped)?;
        let answer = self.with_candidates(context, arn, |id| {
            let mut request = self.client.decrypt().key_id(id).ciphertext_blob(Blob::new(blob));
            for (name, value) in pairs(context) {
                request = request.encryption_context(name, value);
            }
            self.ask(ACTION, async move {
                request.send().await.map_err(|error| Trouble::of(ACTION, &error))
            })
        });
        taken(ACTION, answer.await?.plaintext)
    }

    async fn rewrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<Vec<u8>, KeyError> {
        const ACTION: &str = "rewrapping a data key in KMS";
        let Wrapped { arn, blob } = Wrapped::parse(wrapped)?;
        let answer = self.with_candidates(context, arn, |id| {
            let mut request = self
                .client
                .re_encrypt()
                .source_key_id(id)
                .destination_key_id(self.current(context.namespace))
                .ciphertext_blob(Blob::new(blob));
            for (name, value) in pairs(context) {
                request = request
                    .source_encryption_context(name, value)
                    .destination_encryption_context(name, value);
            }
            self.ask(ACTION, async move {
                request.send().await.map_err(|error| Trouble::of(ACTION, &error))
            })
        });
        let answer = answer.await?;
        joined(ACTION, answer.key_id.as_deref(), answer.ciphertext_blob)
    }

    fn wrapped_under(&self, wrapped: &[u8]) -> Result<String, KeyError> {
        Ok(Wrapped::parse(wrapped)?.arn.to_owned())
    }
}

impl<'a> Wrapped<'a> {
    fn parse(wrapped: &'a [u8]) -> Result<Self, KeyError> {
        let damaged = || KeyError::Corrupted("not a key wrapped by KMS".into());
        let (version, rest) = wrapped.split_first().ok_or_else(damaged)?;
        if *version != VERSION {
            return Err(KeyError::Refused(
                "it is not wrapped by KMS; this store was sealed with keys.kind = \"local\"".into(),
            ));
        }
        let (length, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
        let (arn, blob) =
            rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or_else(damaged)?;
        let arn = std::str::from_utf8(arn).map_err(|_| damaged())?;
        let plain = |c: char| c.is_ascii_graphic();
        if !arn.chars().all(plain) || !(1..=WRAPPED_BYTES).contains(&blob.len()) {
            return Err(damaged());
        }
        Ok(Self { arn, blob })
    }
}

/// The encryption context: what KMS binds to a wrapped key, and shows in its log.
fn pairs<'a>(context: &'a Context<'_>) -> [(&'static str, &'a str); 3] {
    [
        ("lunasec:namespace", context.namespace.as_str()),
        ("lunasec:key", context.key),
        ("lunasec:purpose", context.purpose.as_str()),
    ]
}

/// Whether a configured id is this key's ARN, or the last part of it, or its replica's in another region.
fn names(id: &str, arn: &str) -> bool {
    let is_replica = || replicated(id).is_some_and(|key| replicated(arn) == Some(key));
    id == arn || arn.rsplit_once(":key/").is_some_and(|(_, last)| id == last) || is_replica()
}

/// What replicas of a multi-Region key have in common in their ARNs: partition, account and key.
/// Source: "Multi-Region keys in AWS KMS" of AWS's developer guide.
fn replicated(arn: &str) -> Option<(&str, &str, &str)> {
    let mut parts = arn.split(':');
    let (scheme, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
    let (_region, account, key) = (parts.next()?, parts.next()?, parts.next()?);
    let is_one = (scheme, service) == ("arn", "kms") && key.starts_with("key/mrk-");
    (is_one && parts.next().is_none()).then_some((partition, account, key))
}

/// An alias, or the ARN of one, does not show which key it is.
fn is_alias(id: &str) -> bool {
    id.starts_with("alias/") || id.contains(":alias/")
}

fn joined(action: &str, arn: Option<&str>, blob: Option<Blob>) -> Result<Vec<u8>, KeyError> {
    let (Some(arn), Some(blob)) = (arn, blob) else { return Err(incomplete(action)) };
    let length = u16::try_from(arn.len()).map_err(|_| incomplete(action))?;
    let mut wrapped = vec![VERSION];
    wrapped.extend_from_slice(&length.to_be_bytes());
    wrapped.extend_from_slice(arn.as_bytes());
    wrapped.extend_from_slice(blob.as_ref());
    Ok(wrapped)
}

/// Takes a data key out of an answer, and wipes the answer's copy where nobody shares it.
fn taken(action: &str, plaintext: Option<Blob>) -> Result<DataKey, KeyError> {
    let bytes = plaintext.ok_or_else(|| incomplete(action))?.into_bytes();
    let key = DataKey::from_slice(&bytes);
    if let Ok(mut bytes) = bytes.try_into_mut() {
        bytes.zeroize();
    }
    key.ok_or_else(|| KeyError::Corrupted(format!("{action}: what KMS gave is no data key")))
}

fn incomplete(action: &str) -> KeyError {
    KeyError::Unavailable(format!("{action}: the answer is incomplete"))
}

impl From<Trouble> for KeyError {
    fn from(trouble: Trouble) -> Self {
        match trouble.kind {
            Kind::Unavailable => Self::Unavailable(trouble.cause),
            Kind::Throttled | Kind::Again => Self::Throttled(trouble.cause),
            Kind::Crowded => Self::Overloaded,
            Kind::Damaged => Self::Corrupted(trouble.cause),
            Kind::Absent | Kind::Precondition | Kind::Unsupported | Kind::Refused => {
                Self::Refused(trouble.cause)
            }
        }
    }
}

impl KeyError {
    /// Names the key that a refusal is about.
    fn about(self, id: &str) -> Self {
        match self {
            Self::Refused(cause) => Self::Refused(format!("with {id}: {cause}")),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests;
