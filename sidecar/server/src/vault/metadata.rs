//! Metadata: a JSON object beside a value, replaced whole, with a version that counts its writes.
//!
//! It lies in a record of its own, whose plaintext is the version (u64) and the object's text. The
//! value's record decides whether the token is alive.

use lunasec_api::{Code, Durability};
use lunasec_core::{
    grant::Action, ids::Millis, limits, policy::Operation, record::Kind, token::Token,
};

use super::{Age, Basis, Call, Found, Vault, journaled};
use crate::{failure::Failure, store::StoreError};

/// The version that metadata given with the value has.
pub(super) const FIRST_VERSION: u64 = 1;
const EMPTY: &str = "{}";

/// What metadata/get tells.
pub struct Described {
    /// A JSON object's text, as it was given.
    pub metadata: String,
    /// 0 until some was set.
    pub version: u64,
    /// When the value was tokenized.
    pub created_at: Millis,
    /// When it expires.
    pub expires_at: Option<Millis>,
    /// Of the oldest of metadata, value, grant and session.
    pub age: Age,
}

/// What metadata/set gives.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Where it is safe.
    pub durability: Durability,
    /// The new version.
    pub version: u64,
}

impl Vault {
    /// Reads a token's metadata.
    pub async fn metadata_get(&self, call: &Call, token: &Token) -> Result<Described, Failure> {
        call.asks_for(token);
        let described = self.describe(call, token).await;
        call.note(Some(token), &described, |described| described.age);
        described
    }

    async fn describe(&self, call: &Call, token: &Token) -> Result<Described, Failure> {
        self.authorize(call, Operation::Metadata)?;
        let standing = self.standing(call).await;
        let age = self.require_grant(call, &standing, token, Action::Metadata).await?;
        let value = self.read_value(call, token).await?;
        let (created_at, expires_at) = (value.header().created_at, value.header().expires_at);
        let found = self.read(&Self::subject(call, token, Kind::Metadata)).await?;
        let (version, metadata) = parse(found.as_ref())?;
        let age = age.older(value.age).older(found.map_or(Age::default(), |found| found.age));
        Ok(Described { metadata, version, created_at, expires_at, age })
    }

    /// Replaces a token's metadata; with `if_version`, only that version of it.
    pub async fn metadata_set(
        &self,
        call: &Call,
        token: &Token,
        text: &str,
        if_version: Option<u64>,
    ) -> Result<Written, Failure> {
        call.asks_for(token);
        let written = self.replace(call, token, text, if_version).await;
        call.note(Some(token), &written, |written| journaled(written.durability));
        written
    }

    async fn replace(
        &self,
        call: &Call,
        token: &Token,
        text: &str,
        if_version: Option<u64>,
    ) -> Result<Written, Failure> {
        self.authorize(call, Operation::Metadata)?;
        let standing = self.standing(call).await;
        self.require_grant(call, &standing, token, Action::Update).await?;
        let subject = Self::subject(call, token, Kind::Metadata);
        for _ in 0..limits::WRITE_ATTEMPTS {
            // Read anew each time: what was written meanwhile may have been a delete.
            let value = self.read_value(call, token).await?;
            // What decides a write is not what is remembered.
            let found = match self.basis(&subject).await? {
                // What is journaled is compared with nothing that others have set meanwhile.
                Basis::Known(_) if if_version.is_some() && self.store.is_away() => {
                    return Err(unknown_version());
                }
                Basis::Known(found) => Some(found),
                Basis::Unknown if if_version.is_some() => return Err(unknown_version()),
                Basis::Unknown => None,
            };
            let version = match &found {
                Some(found) => parse(found.as_ref())?.0 + 1,
                // Beyond any that was counted: whoever saw the last one sees that this is another.
                None => self.clock.now(),
            };
            if if_version.is_some_and(|expected| expected + 1 != version) {
                return Err(Failure::new(
                    Code::Conflict,
                    "the metadata has another version; get it again and decide anew",
                ));
            }
            let stamp = self.stamp(self.clock.now(), value.header().expires_at);
            let plaintext: [&[u8]; 2] = [&version.to_be_bytes(), text.as_bytes()];
            let record = self.seal(&subject, stamp, self.put_id()?, &plaintext).await?;
            let written = match &found {
                Some(found) => {
                    let expected = found.as_ref().map(|found| &found.version);
                    self.write(&subject, record, expected).await
                }
                None => self.write_over(&subject, record).await,
            };
            match written {
                Ok(durability) => return Ok(Written { durability, version }),
                Err(StoreError::Precondition) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::new(
            Code::Overloaded,
            "too many writers change this metadata at once; try again later",
        ))
    }
}

fn unknown_version() -> Failure {
    Failure::new(
        Code::StorageUnavailable,
        "storage does not answer, so that nobody knows which version the metadata has; try again later, or set it whatever it has",
    )
}

fn parse(found: Option<&Found>) -> Result<(u64, String), Failure> {
    let Some(found) = found else { return Ok((0, EMPTY.into())) };
    if found.header().tombstone {
        return Err(Failure::not_found());
    }
    let (version, text) = found
        .opened
        .plaintext
        .split_first_chunk()
        .ok_or_else(|| Failure::corrupted("the metadata has no version"))?;
    let text = String::from_utf8(text.to_vec()).map_err(|_| Failure::corrupted("not text"))?;
    Ok((u64::from_be_bytes(*version), text))
}
