//! The connections to AWS, which are kept to be used again. Where a network has forgotten those that there are, as after a
//! balancer's or a gateway's failover, and takes new ones, whatever is sent on them is lost, one by one. So once a request
//! has waited in vain while nobody at the same place was answered, all of them are left, and the next is sent on a new one.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use aws_sdk_s3::config::{
    ConfigBag, RuntimeComponents, RuntimeComponentsBuilder, SharedHttpClient, http::HttpRequest,
};
use aws_sdk_s3::error::BoxError;
use aws_smithy_runtime_api::client::{
    connector_metadata::ConnectorMetadata,
    http::{
        HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    },
};
use lunasec_core::limits;
use tokio::time::Instant;

/// See the module. Clones share them.
#[derive(Clone)]
pub(super) struct Connections {
    made: fn() -> SharedHttpClient,
    pool: Arc<ArcSwap<Pool>>,
}

/// Those that were made since others were left.
struct Pool {
    client: SharedHttpClient,
    /// When each place, by host and port, has last answered on one of them.
    answered: Mutex<HashMap<String, Instant>>,
}

impl Pool {
    fn new(client: SharedHttpClient) -> Self {
        Self { client, answered: Mutex::default() }
    }

    fn answered(&self, place: &str) {
        let mut answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        match answered.get_mut(place) {
            Some(at) => *at = Instant::now(),
            None => {
                answered.insert(place.to_owned(), Instant::now());
            }
        }
    }

    /// Whether it has ever answered, and not since then: what never did has no connections to leave.
    fn is_silent(&self, place: &str, since: Instant) -> bool {
        let answered = self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.get(place).is_some_and(|at| *at < since)
    }
}

impl Connections {
    /// Of clients that are made so.
    pub(super) fn new(made: fn() -> SharedHttpClient) -> Self {
        Self { made, pool: Arc::new(ArcSwap::from_pointee(Pool::new(made()))) }
    }

    /// Leaves those of a pool, unless that was done.
    fn leave(&self, pool: &Arc<Pool>) {
        if Arc::ptr_eq(&self.pool.load(), pool) {
            let new = Arc::new(Pool::new((self.made)()));
            self.pool.compare_and_swap(pool, new);
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}

impl HttpClient for Connections {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        let pool = self.pool.load_full();
        let inner = pool.client.http_connector(settings, components);
        SharedHttpConnector::new(Watched { inner, pool, connections: self.clone() })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.pool.load().client.validate_base_client_config(components, config)
    }

    fn validate_final_config(
        &self,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        self.pool.load().client.validate_final_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.pool.load().client.connector_metadata()
    }
}

/// Sends one request, and learns whether it was answered.
struct Watched {
    inner: SharedHttpConnector,
    pool: Arc<Pool>,
    connections: Connections,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched")
    }
}

impl HttpConnector for Watched {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let waits = Waits {
            connections: self.connections.clone(),
            pool: Arc::clone(&self.pool),
            place: place(request.uri()),
            begun: Instant::now(),
        };
        let answer = self.inner.call(request);
        HttpConnectorFuture::new(async move {
            let answer = answer.await;
            if answer.is_ok() {
                waits.pool.answered(&waits.place);
            }
            answer
        })
    }
}

/// Host and port of an address.
fn place(uri: &str) -> String {
    let behind = uri.split_once("://").map_or(uri, |(_, behind)| behind);
    behind.split(['/', '?']).next().unwrap_or_default().to_owned()
}

/// A request that is under way, until it is answered or nobody waits for it any more.
struct Waits {
    connections: Connections,
    pool: Arc<Pool>,
    place: String,
    begun: Instant,
}

impl Drop for Waits {
    fn drop(&mut self) {
        let long = self.begun.elapsed() >= limits::SILENCE;
        if long && self.pool.is_silent(&self.place, self.begun) {
            self.connections.leave(&self.pool);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_host_and_port() {
        for (uri, expected) in [
            (
                "https://bucket.s3.eu-west-1.amazonaws.com/r/default?x-id=GetObject",
                "bucket.s3.eu-west-1.amazonaws.com",
            ),
            ("http://127.0.0.1:4566/bucket/key", "127.0.0.1:4566"),
            ("http://localhost?list-type=2", "localhost"),
            ("/path", ""),
        ] {
            assert_eq!(place(uri), expected, "{uri}");
        }
    }
}
