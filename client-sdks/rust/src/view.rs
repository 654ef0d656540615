//! What clients and sessions have in common: how a call is made, whoever it is for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hyper::header::HeaderValue;
use serde::de::DeserializeOwned;
use tokio::time::timeout_at;

use crate::{
    Error,
    batcher::{Batcher, Gathered, dropped, may_go_along},
    context::{Context, header_value},
    engine::{Engine, Limits, Route, key_or_new},
    flight::{Common, Entry, Flight},
    limits::{ATTEMPTS, DEADLINE, DISPLAY_DEADLINE},
    operation::{Operation, Outcome, Unit},
    wire::{Item, Said},
};

/// How a call goes out.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// As a request of its own.
    Apart,
    /// Together with others of the same time.
    Gathered(Duration),
}

/// What a view of a client has of its own. Never printed: it knows the session and the JWT.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) engine: Arc<Engine>,
    pub(crate) context: Arc<Context>,
    pub(crate) trace: Option<HeaderValue>,
    pub(crate) deadline: Option<Duration>,
    pub(crate) attempts: Option<u32>,
    pub(crate) way: Way,
    /// Set where nobody could answer a call, for whoever asks.
    pub(crate) in_vain: Option<Arc<AtomicBool>>,
}

impl View {
    fn noted<T>(&self, outcome: Outcome<T>) -> Outcome<T> {
        if let (Some(in_vain), Err(error)) = (&self.in_vain, &outcome) {
            in_vain.fetch_or(error.is_unavailable(), Ordering::Relaxed);
        }
        outcome
    }

    fn all_noted<T>(&self, outcomes: Outcome<Vec<Outcome<T>>>) -> Outcome<Vec<Outcome<T>>> {
        Ok(self.noted(outcomes)?.into_iter().map(|outcome| self.noted(outcome)).collect())
    }

    pub(crate) fn limits(&self, stands_in: bool) -> Limits {
        let (deadline, attempts) =
            if stands_in { (DISPLAY_DEADLINE, 1) } else { (DEADLINE, ATTEMPTS) };
        Limits {
            deadline: self.deadline.unwrap_or(deadline),
            attempts: self.attempts.unwrap_or(attempts),
        }
    }

    /// The same, with something said otherwise.
    pub(crate) fn saying(&self, change: impl FnOnce(&mut Context)) -> Result<Self, Error> {
        let mut context = Context::clone(&self.context);
        change(&mut context);
        Ok(Self { context: Arc::new(context.checked()?), ..self.clone() })
    }

    /// A request that is no list.
    pub(crate) async fn request<B: DeserializeOwned>(
        &self,
        route: Route,
    ) -> Result<Said<B>, Error> {
        let limits = self.limits(false);
        self.noted(self.engine.send(route, &self.context, self.trace.as_ref(), limits).await)
    }

    /// One item.
    pub(crate) async fn one<T: Gathered + Clone + Send + 'static>(
        &self,
        operation: Operation<T>,
        unit: Unit,
        key: Option<&str>,
        limits: Limits,
    ) -> Result<T, Error> {
        let key = key.map(|key| header_value("idempotency key", key)).transpose()?;
        if let (Way::Gathered(window), None) = (self.way, &key) {
            let outcomes = self.gathered(operation, vec![unit], limits, window).await?;
            return outcomes.into_iter().next().unwrap_or_else(|| Err(dropped()));
        }
        self.noted(self.alone(&operation, &unit, key, limits).await)
    }

    /// The shortest way: nobody shares it.
    async fn alone<T>(
        &self,
        operation: &Operation<T>,
        unit: &Unit,
        key: Option<HeaderValue>,
        limits: Limits,
    ) -> Result<T, Error> {
        let (uri, body) = operation.alone(unit).unwrap_or((operation.batch_uri, Bytes::new()));
        let key = if operation.keyed { key_or_new(key) } else { key };
        let route = Route { key, ..Route::post(uri, body) };
        let said: Said<Item> =
            self.engine.send(route, &self.context, self.trace.as_ref(), limits).await?;
        operation.read_alone(said, unit)
    }

    /// A list that may go together with others.
    pub(crate) async fn list<T: Gathered + Clone + Send + 'static>(
        &self,
        operation: Operation<T>,
        units: Vec<Unit>,
        limits: Limits,
    ) -> Result<Vec<Outcome<T>>, Error> {
        match self.way {
            Way::Gathered(window) if may_go_along(units.len()) => {
                self.gathered(operation, units, limits, window).await
            }
            _ => self.batch(operation, units, None, limits).await,
        }
    }

    /// A list that is always one request of its own.
    pub(crate) async fn batch<T: Clone + Send + 'static>(
        &self,
        operation: Operation<T>,
        units: Vec<Unit>,
        key: Option<&str>,
        limits: Limits,
    ) -> Result<Vec<Outcome<T>>, Error> {
        let _place = self.engine.places.take(self.context.session.as_ref())?;
        let common = Common {
            key: key.map(|key| header_value("idempotency key", key)).transpose()?,
            trace: self.engine.trace(self.trace.as_ref()),
            as_batch: true,
            ..Common::new(operation, Arc::clone(&self.context), limits.attempts)
        };
        let until = limits.until();
        let (entry, mut waiter) = Entry::new(units, until);
        let flight = Flight::new(Arc::clone(&self.engine), common, vec![entry]);
        self.all_noted(match timeout_at(until, flight.run()).await {
            Ok(()) => waiter.reply.try_recv().unwrap_or_else(|_| Err(dropped())),
            Err(_) => Err(waiter.trouble().unwrap_or_else(|| Error::late(limits.deadline))),
        })
    }

    async fn gathered<T: Gathered + Clone + Send + 'static>(
        &self,
        operation: Operation<T>,
        units: Vec<Unit>,
        limits: Limits,
        window: Duration,
    ) -> Result<Vec<Outcome<T>>, Error> {
        let _place = self.engine.places.take(self.context.session.as_ref())?;
        let common = Common {
            trace: self.engine.trace(self.trace.as_ref()),
            ..Common::new(operation, Arc::clone(&self.context), limits.attempts)
        };
        let until = limits.until();
        let (entry, mut waiter) = Entry::new(units, until);
        Batcher::submit(&self.engine, common, entry, window);
        self.all_noted(match timeout_at(until, &mut waiter.reply).await {
            Ok(reply) => reply.unwrap_or_else(|_| Err(dropped())),
            Err(_) => Err(waiter.trouble().unwrap_or_else(|| Error::late(limits.deadline))),
        })
    }
}
