//! A keeper of keys that is away is not asked by every request: behind a breaker, each is told at once.
//!
//! A probe asks for the same as the request that found out that it is time for one, and its answer is thrown away:
//! nothing that a keeper is asked changes anything, and no permission is needed that is not there anyway.

use std::{future::Future, sync::Arc};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use lunasec_core::{ids::Namespace, limits, secret::DataKey};

use super::{Context, KeyError, Purpose, Wrapper};
use crate::breaker::{Breaker, is_answer};

/// See the module.
pub struct Guarded<W> {
    inner: Arc<W>,
    breaker: Arc<Breaker>,
}

/// What is asked of the keeper.
enum Asked<'a> {
    Make,
    Unwrap(&'a [u8]),
    Rewrap(&'a [u8]),
}

impl<W: Wrapper + 'static> Guarded<W> {
    /// Asks `inner` while the breaker is closed.
    pub fn new(inner: W, breaker: Arc<Breaker>) -> Self {
        Self { inner: Arc::new(inner), breaker }
    }

    async fn ask<T>(
        &self,
        context: &Context<'_>,
        asked: Asked<'_>,
        request: impl Future<Output = Result<T, KeyError>>,
    ) -> Result<T, KeyError> {
        let probe = || self.probe(context, &asked);
        if !self.breaker.may_ask(limits::BREAKER_PROBE_TIME, probe).await {
            let why = "the keeper has not answered, and is being probed";
            return Err(KeyError::Unavailable(why.into()));
        }
        self.breaker.hear(request).await
    }

    fn probe(&self, context: &Context<'_>, asked: &Asked<'_>) -> BoxFuture<'static, bool> {
        let keeper = Arc::clone(&self.inner);
        let (namespace, key, purpose) =
            (context.namespace.clone(), context.key.to_owned(), context.purpose);
        match *asked {
            Asked::Make => {
                Box::pin(
                    async move { is_answer(&keeper.make(&owned(&namespace, &key, purpose)).await) },
                )
            }
            Asked::Unwrap(wrapped) => {
                let wrapped = wrapped.to_vec();
                Box::pin(async move {
                    is_answer(&keeper.unwrap(&owned(&namespace, &key, purpose), &wrapped).await)
                })
            }
            Asked::Rewrap(wrapped) => {
                let wrapped = wrapped.to_vec();
                Box::pin(async move {
                    is_answer(&keeper.rewrap(&owned(&namespace, &key, purpose), &wrapped).await)
                })
            }
        }
    }
}

fn owned<'a>(namespace: &'a Namespace, key: &'a str, purpose: Purpose) -> Context<'a> {
    Context { namespace, key, purpose }
}

#[async_trait]
impl<W: Wrapper + 'static> Wrapper for Guarded<W> {
    async fn make(&self, context: &Context<'_>) -> Result<(DataKey, Vec<u8>), KeyError> {
        self.ask(context, Asked::Make, self.inner.make(context)).await
    }

    async fn unwrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<DataKey, KeyError> {
        self.ask(context, Asked::Unwrap(wrapped), self.inner.unwrap(context, wrapped)).await
    }

    async fn rewrap(&self, context: &Context<'_>, wrapped: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.ask(context, Asked::Rewrap(wrapped), self.inner.rewrap(context, wrapped)).await
    }

    fn wrapped_under(&self, wrapped: &[u8]) -> Result<String, KeyError> {
        self.inner.wrapped_under(wrapped)
    }
}
