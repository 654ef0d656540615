//! Asks again what the keeper of keys did not answer. Nothing that it does changes anything, so it
//! can always be asked again.

use async_trait::async_trait;
use lunasec_core::secret::DataKey;

use super::{Context, KeyError, Wrapper};
use crate::attempts::Attempts;

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

#[async_trait]
impl<W: Wrapper> Wrapper for Retried<W> {
    async fn make(&self, context: &Context<'_>) -> Result<(DataKey, Vec<u8>), KeyError> {
        self.attempts.run(|| self.inner.make(context)).await
    }

    async fn unwrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        self.attempts.run(|| self.inner.unwrap(context, wrapped)).await
    }

    async fn rewrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.attempts.run(|| self.inner.rewrap(context, wrapped)).await
    }

    fn wrapped_under(&self, wrapped: &[u8]) -> Result<String, KeyError> {
        self.inner.wrapped_under(wrapped)
    }
}
