//! Delete: a tombstone in place of the value, and of its metadata, also where nothing is yet. So a
//! write that is still under way cannot bring back what was deleted.

use std::collections::HashMap;

use futures_util::future::join_all;
use lunasec_api::{Code, Durability};
use lunasec_core::{
    envelope::Stamp, grant::Action, limits, policy::Operation, record::Kind, token::Token,
};

use super::{Basis, Call, Vault, grants::Standing, journaled, name_of};
use crate::{
    failure::Failure,
    store::{Over, StoreError, Write},
};

impl Vault {
    /// Deletes tokens; each succeeds or fails by itself.
    pub async fn delete(
        &self,
        call: &Call,
        tokens: &[Result<Token, Failure>],
    ) -> Result<Vec<Result<Durability, Failure>>, Failure> {
        call.asks_for_all(tokens);
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
        let results: Vec<_> = places.iter().filter_map(|at| done[*at].clone()).collect();
        for (token, done) in tokens.iter().zip(&results) {
            call.note(token.as_ref().ok(), done, |durability| journaled(*durability));
        }
        Ok(results)
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
        self.bury(call, token).await
    }

    async fn bury(&self, call: &Call, token: &Token) -> Result<Durability, Failure> {
        // The value first: from then on the token is gone, whatever becomes of the rest.
        let kinds = [Kind::Value, Kind::Metadata];
        for _ in 0..limits::WRITE_ATTEMPTS {
            let (mut safe, mut writes, mut unread) = (Durability::Stored, Vec::new(), None);
            for kind in kinds {
                match self.grave(call, token, kind).await {
                    Ok(Grave::Filled(durability)) => safe = safe.max(durability),
                    Ok(Grave::Open(write)) => writes.push(write),
                    Err(failure) => {
                        unread = Some(failure);
                        break;
                    }
                }
            }
            let count = writes.len();
            let written = self.store.put_together(writes).await;
            for written in &written {
                match written {
                    Ok(version) => safe = safe.max(version.durability()),
                    Err(StoreError::Precondition) => {}
                    Err(error) => return Err(error.clone().into()),
                }
            }
            if let Some(failure) = unread {
                return Err(failure);
            }
            if written.iter().filter(|written| written.is_ok()).count() == count {
                return Ok(safe);
            }
        }
        Err(Failure::new(
            Code::Overloaded,
            "too many writers change this token at once; try again later",
        ))
    }

    async fn grave(&self, call: &Call, token: &Token, kind: Kind) -> Result<Grave, Failure> {
        let subject = &Self::subject(call, token, kind);
        // What lies there is gone again before anything is waited for.
        let turn = self.turns.take().await;
        let over = match self.basis(subject).await {
            Ok(Basis::Known(Some(found))) if found.header().tombstone => {
                return Ok(Grave::Filled(found.version.durability()));
            }
            Ok(Basis::Known(Some(found))) => {
                if kind == Kind::Value {
                    self.touched(call, token, &found.opened);
                }
                Over::Version(found.version)
            }
            Ok(Basis::Known(None)) => Over::Nothing,
            Ok(Basis::Unknown) => Over::Unknown,
            // What does not open can still be deleted.
            Err(failure) if failure.code == Code::Corrupted => {
                self.version(subject).await?.map_or(Over::Nothing, Over::Version)
            }
            Err(failure) => return Err(failure),
        };
        drop(turn);
        let stamp = Stamp { tombstone: true, created_at: self.clock.now(), expires_at: None };
        let bytes = self.seal(subject, stamp, self.put_id()?, &[]).await?;
        Ok(Grave::Open(Write { name: name_of(subject), bytes, over }))
    }
}

/// Where a tombstone belongs.
enum Grave {
    /// One is there.
    Filled(Durability),
    /// It is to be written.
    Open(Write),
}
