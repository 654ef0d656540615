//! Counts and times every call to the keeper of keys, and notes whether it answers.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use lunasec_core::secret::DataKey;

use super::{Context, KeyError, Wrapper};
use crate::telemetry::{Dependency, Request, THROTTLED, UNAVAILABLE};

/// See the module.
pub struct Measured<W> {
    inner: W,
    dependency: Arc<Dependency>,
}

impl<W> Measured<W> {
    /// Wraps a keeper.
    pub fn new(inner: W, dependency: Arc<Dependency>) -> Self {
        Self { inner, dependency }
    }

    async fn watch<T>(
        &self,
        asked: Request,
        call: impl Future<Output = Result<T, KeyError>>,
    ) -> Result<T, KeyError> {
        let started = self.dependency.start();
        let result = call.await;
        match &result {
            Ok(_) => self.dependency.answered(asked, "ok", started),
            // A damaged blob is the store's fault: the keeper answered.
            Err(KeyError::Corrupted(_) | KeyError::Store(_)) => {
                self.dependency.answered(asked, "corrupted", started);
            }
            // Nobody was asked.
            Err(KeyError::Overloaded) => self.dependency.shed(asked),
            Err(KeyError::Throttled(cause)) => {
                self.dependency.failed(asked, THROTTLED, cause, started);
            }
            Err(KeyError::Refused(cause)) => {
                self.dependency.failed(asked, "refused", cause, started);
            }
            Err(KeyError::Unavailable(cause)) => {
                self.dependency.failed(asked, UNAVAILABLE, cause, started);
            }
        }
        result
    }
}

#[async_trait]
impl<W: Wrapper> Wrapper for Measured<W> {
    async fn make(&self, context: &Context<'_>) -> Result<(DataKey, Vec<u8>), KeyError> {
        self.watch(Request::write("make"), self.inner.make(context)).await
    }

    async fn unwrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        self.watch(Request::read("unwrap"), self.inner.unwrap(context, wrapped)).await
    }

    async fn rewrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.watch(Request::write("rewrap"), self.inner.rewrap(context, wrapped)).await
    }

    fn wrapped_under(&self, wrapped: &[u8]) -> Result<String, KeyError> {
        self.inner.wrapped_under(wrapped)
    }
}
