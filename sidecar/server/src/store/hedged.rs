//! Sends a read once more that takes longer than nineteen of twenty did lately: whichever answer comes first is it.
//! Of a store of many machines, one that is slow just now is so no reason to wait.
//!
//! That costs requests, so there is a budget; and none is sent where it would make things worse: while the store is
//! away, or while the requests under way are many.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::{Either, select};
use lunasec_core::limits;

use super::{Heads, Name, Object, Store, StoreError, Version};
use crate::{breaker::Breaker, budget::Budget, env::Clock, gate::Gate, within::within};

/// See the module.
pub struct Hedged<S> {
    inner: S,
    clock: Arc<dyn Clock>,
    breaker: Arc<Breaker>,
    gate: Arc<Gate>,
    budget: Budget,
    times: Mutex<Times>,
}

/// How long the last reads took, and which time most of them kept to.
#[derive(Default)]
struct Times {
    last: Vec<Duration>,
    noted: usize,
    most: Option<Duration>,
}

impl Times {
    fn note(&mut self, time: Duration) {
        let at = self.noted % limits::HEDGE_SAMPLES;
        self.noted = self.noted.wrapping_add(1);
        match self.last.get_mut(at) {
            Some(oldest) => *oldest = time,
            None => self.last.push(time),
        }
        if self.last.len() == limits::HEDGE_SAMPLES
            && self.noted.is_multiple_of(limits::HEDGE_RENEWAL)
        {
            let mut sorted = self.last.clone();
            sorted.sort_unstable();
            let most = sorted[limits::HEDGE_SAMPLES * 95 / 100];
            self.most = Some(most.max(limits::HEDGE_LEAST));
        }
    }
}

impl<S: Store> Hedged<S> {
    /// Of a store behind `gate`, of which `breaker` says whether it is away.
    pub fn new(inner: S, clock: Arc<dyn Clock>, breaker: Arc<Breaker>, gate: Arc<Gate>) -> Self {
        let budget = Budget::new(Arc::clone(&clock), limits::HEDGES);
        Self { inner, clock, breaker, gate, budget, times: Mutex::default() }
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn may_ask_again(&self) -> bool {
        !self.breaker.is_open() && !self.gate.is_crowded() && self.budget.spend()
    }

    async fn read(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        let mut first = pin!(self.inner.get(name));
        let patience = self.times().most;
        let Some(patience) = patience else { return first.await };
        if let Some(found) = within(patience, first.as_mut()).await {
            return found;
        }
        if !self.may_ask_again() {
            return first.await;
        }
        // What one of them fails at, the other may not.
        match select(first, pin!(self.inner.get(name))).await {
            Either::Left((Err(error), second)) if error.may_pass() => second.await,
            Either::Right((Err(_), first)) => first.await,
            Either::Left((found, _)) | Either::Right((found, _)) => found,
        }
    }
}

#[async_trait]
impl<S: Store> Store for Hedged<S> {
    async fn put_new(&self, name: &Name, bytes: Bytes) -> Result<Version, StoreError> {
        self.inner.put_new(name, bytes).await
    }

    async fn put_if(
        &self,
        name: &Name,
        bytes: Bytes,
        expected: &Version,
    ) -> Result<Version, StoreError> {
        self.inner.put_if(name, bytes, expected).await
    }

    async fn get(&self, name: &Name) -> Result<Option<Object>, StoreError> {
        self.budget.earn();
        let asked = self.clock.monotonic();
        let found = self.read(name).await;
        if found.is_ok() {
            let took = self.clock.monotonic().saturating_sub(asked);
            self.times().note(took);
        }
        found
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
    ) -> Result<Vec<Name>, StoreError> {
        self.inner.list(prefix, after, limit).await
    }

    async fn heads(
        &self,
        prefix: &str,
        after: Option<&Name>,
        limit: usize,
        length: usize,
    ) -> Result<Heads, StoreError> {
        self.inner.heads(prefix, after, limit, length).await
    }

    async fn remove_if(&self, name: &Name, expected: &Version) -> Result<bool, StoreError> {
        self.inner.remove_if(name, expected).await
    }
}

#[cfg(test)]
mod tests;
