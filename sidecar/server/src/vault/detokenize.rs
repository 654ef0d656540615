//! Detokenize: the record of a token, opened.

use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use lunasec_api::Encoding;
use lunasec_core::{grant::Action, limits, policy::Operation, token::Token};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use super::{Age, Call, Form, Vault, grants::Standing};
use crate::failure::Failure;

/// How many values of batches may be open at once, over all requests: without a bound, forty batches
/// of large values hold a gigabyte on their way into their answers. Turns are given in order, so the
/// values of one batch get theirs from its beginning, and no two batches wait for each other.
pub struct Turns(Arc<Semaphore>);

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(limits::BATCH_VALUES)))
    }
}

impl Turns {
    /// Waits for a turn, which lasts until it is dropped.
    pub(super) async fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// A value in the clear, wiped when dropped.
pub struct Revealed {
    sealed: Zeroizing<Vec<u8>>,
    /// Held until the value is in its answer.
    _turn: Option<OwnedSemaphorePermit>,
    /// How to write it in JSON.
    pub encoding: Encoding,
    /// Of the oldest of value, grant and session.
    pub age: Age,
}

impl Revealed {
    /// The value, for the answer only.
    pub fn expose(&self) -> &[u8] {
        // The first byte is the form; see `new`.
        &self.sealed[1..]
    }

    fn new(sealed: Zeroizing<Vec<u8>>, age: Age) -> Result<Self, Failure> {
        let Some(Form::Value(encoding)) = Form::of(&sealed) else {
            return Err(Failure::corrupted("the value has no encoding"));
        };
        Ok(Self { sealed, _turn: None, encoding, age })
    }
}

impl AsRef<[u8]> for Revealed {
    fn as_ref(&self) -> &[u8] {
        self.expose()
    }
}

impl Vault {
    /// Reveals one value.
    pub async fn detokenize(&self, call: &Call, token: &Token) -> Result<Revealed, Failure> {
        call.asks_for(token);
        self.authorize(call, Operation::Detokenize)?;
        let revealed = self.reveal(call, &self.standing(call).await, token).await;
        call.note(Some(token), &revealed, |revealed| revealed.age);
        revealed
    }

    /// Reveals many, in order, a few at a time; each item succeeds or fails by itself.
    pub async fn detokenize_batch<'a>(
        &'a self,
        call: &'a Call,
        tokens: &'a [Result<Token, Failure>],
    ) -> Result<impl Stream<Item = Result<Revealed, Failure>> + Unpin + 'a, Failure> {
        call.asks_for_all(tokens);
        self.authorize(call, Operation::Detokenize)?;
        let standing = Arc::new(self.standing(call).await);
        let items = tokens.iter().map(move |token| {
            let standing = Arc::clone(&standing);
            async move {
                let token = token.as_ref().map_err(Clone::clone)?;
                let _turn = self.turns.take().await;
                let revealed = self.reveal(call, &standing, token).await;
                revealed.map(|value| Revealed { _turn, ..value })
            }
        });
        let revealed = stream::iter(items).buffered(limits::BATCH_CONCURRENCY);
        // In the order of the answer, and before it is in there.
        Ok(revealed.zip(stream::iter(tokens)).map(|(revealed, token)| {
            call.note(token.as_ref().ok(), &revealed, |revealed| revealed.age);
            revealed
        }))
    }

    async fn reveal(
        &self,
        call: &Call,
        standing: &Standing,
        token: &Token,
    ) -> Result<Revealed, Failure> {
        call.guest.may_reveal(self.clock.monotonic())?;
        let age = self.require_grant(call, standing, token, Action::Detokenize).await?;
        let found = self.read_value(call, token).await?;
        // Counted once there is something to reveal, and not for what is not there.
        call.guest.reveal(self.clock.monotonic())?;
        Revealed::new(found.opened.plaintext, age.older(found.age))
    }
}
