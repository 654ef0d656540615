//! Sends requests, again where that helps. All views of a client share one engine.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{Method, header::HeaderValue};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout_at};

use crate::{
    Error,
    batcher::Batchers,
    context::{Context, header_value},
    dice,
    limits::LONGEST,
    places::Places,
    retry::{Repeatable, Retries, Shared},
    transport::{Transport, Wanted},
    wire::{self, Said},
};

/// What says to which trace a call belongs.
pub(crate) type Tracer = Arc<dyn Fn() -> Option<String> + Send + Sync>;

pub(crate) struct Engine {
    pub(crate) transport: Transport,
    pub(crate) retry: Shared,
    pub(crate) places: Arc<Places>,
    pub(crate) batchers: Batchers,
    pub(crate) tracer: Option<Tracer>,
}

/// What bounds one call.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) deadline: Duration,
    pub(crate) attempts: u32,
}

impl Limits {
    pub(crate) fn until(self) -> Instant {
        Instant::now() + self.deadline.min(LONGEST)
    }
}

/// One request, before its headers.
pub(crate) struct Route {
    pub(crate) method: Method,
    pub(crate) uri: &'static str,
    pub(crate) body: Bytes,
    pub(crate) repeatable: Repeatable,
    /// The idempotency key of all of its attempts.
    pub(crate) key: Option<HeaderValue>,
}

impl Route {
    pub(crate) fn post(uri: &'static str, body: impl Into<Bytes>) -> Self {
        let repeatable = Repeatable::Always;
        Self { method: Method::POST, uri, body: body.into(), repeatable, key: None }
    }

    pub(crate) fn get(uri: &'static str) -> Self {
        Self { method: Method::GET, ..Self::post(uri, Bytes::new()) }
    }
}

/// A key for one call, where the application named none.
pub(crate) fn key_or_new(key: Option<HeaderValue>) -> Option<HeaderValue> {
    // Hexadecimal digits are a header's value.
    key.or_else(|| header_value("idempotency key", &dice::key()).ok())
}

impl Engine {
    /// One attempt.
    pub(crate) async fn attempt<B: DeserializeOwned>(
        &self,
        wanted: Wanted,
    ) -> Result<Said<B>, Error> {
        wire::read(&self.transport.exchange(wanted).await?)
    }

    /// The trace of who calls, in this moment.
    pub(crate) fn trace(&self, said: Option<&HeaderValue>) -> Option<HeaderValue> {
        let current = || {
            let text = self.tracer.as_ref()?()?;
            traceparent(&text)
        };
        said.cloned().or_else(current)
    }

    /// A request of one caller, tried again as far as its limits go.
    pub(crate) async fn send<B: DeserializeOwned>(
        &self,
        route: Route,
        context: &Context,
        trace: Option<&HeaderValue>,
        limits: Limits,
    ) -> Result<Said<B>, Error> {
        let _place = self.places.take(context.session.as_ref())?;
        let until = limits.until();
        let trace = self.trace(trace);
        let has_body = route.method == Method::POST;
        let headers = context.headers(has_body, route.key.as_ref(), trace.as_ref());
        let wanted = Wanted { method: route.method, uri: route.uri, headers, body: route.body };
        let mut retries = Retries::new(&self.retry, limits.attempts, route.repeatable);
        // A better answer than that the time is over.
        let mut trouble = None;
        let all = async {
            loop {
                let error = match self.attempt(wanted.clone()).await {
                    Ok(said) => break Ok((retries.succeeded(), said).1),
                    Err(error) => error,
                };
                let Some(pause) = retries.pause(&error, until) else { break Err(error) };
                trouble = Some(error);
                sleep(pause).await;
            }
        };
        match timeout_at(until, all).await {
            Ok(outcome) => outcome,
            Err(_) => Err(trouble.unwrap_or_else(|| Error::late(limits.deadline))),
        }
    }
}

/// As W3C Trace Context bounds it; anything else is left out.
pub(crate) fn traceparent(text: &str) -> Option<HeaderValue> {
    let fits = (1..=512).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { HeaderValue::from_str(text).ok() } else { None }
}
