//! Asks again what the keeper of keys did not answer. Nothing that it does changes anything, so it
//! can always be asked again.

use async_trait::async_trait;
use lunasec_core::secret::DataKey;

use super::{Context, KeyError, Wrapper};
use crate::attempts::{Attempted, Attempts};

/// See the module.
pub struct Retried<W> {
    inner: W,
    attempts: Attempts,
}

impl<W> Retried<W> {
    /// Wraps a keeper.
    pub fn new(inner: W, attempts: Attempts) -> Self {
        Self { inner, attempts }
    }
}

fn judge<T>(result: &Result<T, KeyError>) -> Attempted {
    match result {
        Err(KeyError::Unavailable(why)) => Attempted::Lost(why.clone()),
        Err(error) if error.may_pass() => Attempted::PutOff,
        _ => Attempted::Done,
    }
}

#[async_trait]
impl<W: Wrapper> Wrapper for Retried<W> {
    async fn make(&self, context: &Context<'_>) -> Result<(DataKey, Vec<u8>), KeyError> {
        self.attempts.run(|| self.inner.make(context), judge).await
    }

    async fn unwrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        self.attempts.run(|| self.inner.unwrap(context, wrapped), judge).await
    }

    async fn rewrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.attempts.run(|| self.inner.rewrap(context, wrapped), judge).await
    }

    fn wrapped_under(&self, wrapped: &[u8]) -> Result<String, KeyError> {
        self.inner.wrapped_under(wrapped)
    }
}
