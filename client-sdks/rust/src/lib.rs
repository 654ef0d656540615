//! A client for the LunaSec sidecar over its Unix socket.
//!
//! ```no_run
//! # async fn example() -> Result<(), lunasec_client::Error> {
//! let lunasec = lunasec_client::Client::from_env();
//! let token = lunasec.tokenize(b"4111 1111 1111 1111").await?;
//! let value = lunasec.detokenize(&token).await?;
//! # Ok(()) }
//! ```

mod context;
mod error;
mod transport;
mod value;

use std::{borrow::Cow, path::PathBuf};

use context::Context;
pub use error::{ApiError, Error};
pub use lunasec_api as api;
use serde::{Serialize, de::DeserializeOwned};
use transport::Transport;
pub use value::Value;

/// A handle to one sidecar: one connection, kept alive and made anew when it breaks.
pub struct Client {
    transport: Transport,
    context: Context,
}

/// What each item of a batch became.
pub type Items<T> = Vec<Result<T, ApiError>>;

impl Client {
    /// Talks to the sidecar at `socket`. Connects on first use.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { transport: Transport::new(socket.into()), context: Context::default() }
    }

    /// Talks to the sidecar at `LUNASEC_SOCKET`, or at its default path.
    pub fn from_env() -> Self {
        let socket = std::env::var_os(api::SOCKET_VARIABLE);
        Self::new(socket.unwrap_or_else(|| api::DEFAULT_SOCKET.into()))
    }

    /// Works in a namespace other than the caller's default.
    #[must_use]
    pub fn in_namespace(mut self, namespace: impl Into<String>) -> Self {
        self.context.namespace = Some(namespace.into());
        self
    }

    /// Speaks for an end user's session, which the policy may ask for. Where the sidecar has issuers,
    /// it counts only beside a JWT that proves it.
    #[must_use]
    pub fn for_session(mut self, session: impl Into<String>) -> Self {
        self.context.session = Some(session.into());
        self
    }

    /// Speaks for the session that this JWT proves.
    #[must_use]
    pub fn with_bearer(mut self, jwt: impl Into<String>) -> Self {
        self.context.jwt = Some(jwt.into());
        self
    }

    /// Says what values are revealed for, which the policy may ask for.
    #[must_use]
    pub fn for_purpose(mut self, purpose: impl Into<String>) -> Self {
        self.context.purpose = Some(purpose.into());
        self
    }

    /// Refuses what no header can hold before there is a call; each call refuses it too.
    pub fn checked(self) -> Result<Self, Error> {
        self.context.headers(None)?;
        Ok(self)
    }

    /// Tokenizes one value.
    pub async fn tokenize(&self, value: &[u8]) -> Result<String, Error> {
        let (value, encoding) = value::to_wire(value);
        let request = api::TokenizeRequest { value, encoding, metadata: None, expires_in: None };
        let given: api::Tokenized<'static> = self.post("/v1/tokenize", &request, None).await?;
        Ok(given.token.into_owned())
    }

    /// Tokenizes many; the same idempotency key with the same values gives the same tokens.
    pub async fn tokenize_batch<V: AsRef<[u8]>>(
        &self,
        values: &[V],
        idempotency_key: Option<&str>,
    ) -> Result<Items<String>, Error> {
        let items = values.iter().map(|value| {
            let (value, encoding) = value::to_wire(value.as_ref());
            api::TokenizeRequest { value, encoding, metadata: None, expires_in: None }
        });
        let request = api::TokenizeBatch { items: items.collect() };
        let given: api::Items<'static, api::Tokenized<'static>> =
            self.post("/v1/tokenize:batch", &request, idempotency_key).await?;
        split(given, |given| Ok(given.token.into_owned()))
    }

    /// Reveals one value.
    pub async fn detokenize(&self, token: &str) -> Result<Value, Error> {
        let request = api::TokenRequest { token: token.into() };
        let revealed: api::Detokenized<'static> =
            self.post("/v1/detokenize", &request, None).await?;
        Value::from_wire(&revealed)
    }

    /// Reveals many.
    pub async fn detokenize_batch<T: AsRef<str>>(
        &self,
        tokens: &[T],
    ) -> Result<Items<Value>, Error> {
        let tokens = tokens.iter().map(|token| Cow::Borrowed(token.as_ref())).collect();
        let request = api::TokensRequest { tokens };
        let revealed: api::Items<'static, api::Detokenized<'static>> =
            self.post("/v1/detokenize:batch", &request, None).await?;
        split(revealed, |revealed| Value::from_wire(&revealed))
    }

    /// Deletes tokens.
    pub async fn delete<T: AsRef<str>>(&self, tokens: &[T]) -> Result<Items<()>, Error> {
        let tokens = tokens.iter().map(|token| Cow::Borrowed(token.as_ref())).collect();
        let request = api::TokensRequest { tokens };
        let deleted: api::Items<'static, api::Deleted<'static>> =
            self.post("/v1/delete", &request, None).await?;
        split(deleted, |_| Ok(()))
    }

    /// Mints a token whose use raises an alarm. Only the sidecar's own user may.
    pub async fn create_canary(&self, request: &api::CanaryRequest) -> Result<String, Error> {
        let given: api::Tokenized<'static> =
            self.post("/v1/canaries/create", request, None).await?;
        Ok(given.token.into_owned())
    }

    /// One step of a sweep.
    pub async fn sweep(&self, request: &api::SweepRequest) -> Result<api::SweepPage, Error> {
        self.post("/v1/sweep", request, None).await
    }

    /// What the sidecar says of itself.
    pub async fn status(&self) -> Result<api::Status, Error> {
        self.transport.get("/v1/status").await
    }

    async fn post<B: Serialize, A: DeserializeOwned>(
        &self,
        route: &'static str,
        body: &B,
        idempotency_key: Option<&str>,
    ) -> Result<A, Error> {
        self.transport.post(route, self.context.headers(idempotency_key)?, body).await
    }
}

fn split<A, T>(
    items: api::Items<'static, A>,
    read: impl Fn(A) -> Result<T, Error>,
) -> Result<Items<T>, Error> {
    items
        .items
        .into_iter()
        .map(|item| match item {
            api::Item::Done(done) => read(done).map(Ok),
            api::Item::Failed { error, .. } => Ok(Err(ApiError::from_item(error))),
        })
        .collect()
}
