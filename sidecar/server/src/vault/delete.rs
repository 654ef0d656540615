//! Delete: a tombstone in place of the value, and of its metadata, also where nothing is yet. So a
//! write that is still under way cannot bring back what was deleted.

use std::collections::HashMap;

use futures_util::future::join_all;
use lunasec_api::{Code, Durability};
use lunasec_core::{
    envelope::Stamp, grant::Action, limits, policy::Operation, record::Kind, token::Token,
};

use super::{Basis, Call, Vault, grants::Standing};
use crate::{failure::Failure, store::StoreError};

impl Vault {
    /// Deletes tokens; each succeeds or fails by itself.
    pub async fn delete(
        &self,
        call: &Call,
        tokens: &[Result<Token, Failure>],
    ) -> Result<Vec<Result<Durability, Failure>>, Failure> {
        self.authorize(call, Operation::Delete)?;
        // A token that stands there twice is deleted once: it would only race with itself.
        let mut first = HashMap::new();
        let places: Vec<usize> = (0..tokens.len())
            .map(|at| match &tokens[at] {
                Ok(token) => {
                    *first.entry(Self::subject(call, token, Kind::Value).locator()).or_insert(at)
                }
                Err(_) => at,
            })
            .collect();
        let standing = &self.standing(call).await;
        let items = tokens.iter().enumerate().map(async |(at, token)| match token {
            Ok(token) if places[at] == at => Some(self.delete_one(call, standing, token).await),
            Ok(_) => None,
            Err(failure) => Some(Err(failure.clone())),
        });
        let done = join_all(items).await;
        let result = |at: &usize| done[*at].clone();
        Ok(places.iter().filter_map(result).collect())
    }

    async fn delete_one(
        &self,
        call: &Call,
        standing: &Standing,
        token: &Token,
    ) -> Result<Durability, Failure> {
        {
            // What is not granted is opened, to see whether it is there.
            let _turn = self.turns.take().await;
            self.require_grant(call, standing, token, Action::Delete).await?;
        }
        // The value first: from then on the token is gone, whatever becomes of the rest.
        let value = self.bury(call, token, Kind::Value).await?;
        Ok(value.max(self.bury(call, token, Kind::Metadata).await?))
    }

    async fn bury(&self, call: &Call, token: &Token, kind: Kind) -> Result<Durability, Failure> {
        let subject = Self::subject(call, token, kind);
        for _ in 0..limits::WRITE_ATTEMPTS {
            // The value is gone again before anything is waited for.
            let turn = self.turns.take().await;
            let expected = match self.basis(&subject).await {
                Ok(Basis::Known(Some(found))) if found.header().tombstone => {
                    return Ok(found.version.durability());
                }
                Ok(Basis::Known(found)) => Some(found.map(|found| found.version)),
                Ok(Basis::Unknown) => None,
                // What does not open can still be deleted.
                Err(failure) if failure.code == Code::Corrupted => {
                    Some(self.version(&subject).await?)
                }
                Err(failure) => return Err(failure),
            };
            drop(turn);
            let stamp = Stamp { tombstone: true, created_at: self.clock.now(), expires_at: None };
            let record = self.seal(&subject, stamp, self.put_id()?, &[]).await?;
            let written = match expected {
                Some(version) => self.write(&subject, record, version.as_ref()).await,
                None => self.write_over(&subject, record).await,
            };
            match written {
                Ok(durability) => return Ok(durability),
                Err(StoreError::Precondition) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::new(
            Code::Overloaded,
            "too many writers change this token at once; try again later",
        ))
    }
}
