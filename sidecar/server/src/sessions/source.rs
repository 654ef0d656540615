//! Where an issuer's keys are read: a URL or a file.

use std::{error::Error as _, path::PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::{Request, StatusCode, Uri, header, http::uri::Scheme};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client, connect::Connect},
    rt::TokioExecutor,
};
use lunasec_core::limits;
use rustls::crypto::ring;
use tokio::{io::AsyncReadExt, time::timeout};

use super::keys::KeySet;
use crate::config::Jwks;

/// Why keys could not be read: in a word that is safe to show, and at length for the log.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Trouble {
    /// For metrics and status.
    pub result: &'static str,
    /// For the log.
    pub cause: String,
}

impl Trouble {
    /// What went wrong, and how.
    pub fn new(result: &'static str, cause: impl std::fmt::Display) -> Self {
        Self { result, cause: cause.to_string() }
    }
}

/// Gives a JWK Set's text.
#[async_trait]
pub trait Source: Send + Sync {
    /// Reads it anew.
    async fn read(&self) -> Result<Bytes, Trouble>;

    /// The keys in it, read in time.
    async fn keys(&self) -> Result<KeySet, Trouble> {
        let Ok(text) = timeout(limits::JWKS_TIME, self.read()).await else {
            return Err(Trouble::new("timeout", "it took too long"));
        };
        KeySet::parse(&text?).map_err(|error| Trouble::new("invalid", error))
    }
}

/// Where that is.
pub fn source(jwks: &Jwks) -> Box<dyn Source> {
    match jwks {
        Jwks::File(path) => Box::new(File(path.clone())),
        Jwks::Url(url) => Box::new(Url(url.clone())),
    }
}

struct File(PathBuf);

#[async_trait]
impl Source for File {
    async fn read(&self) -> Result<Bytes, Trouble> {
        let failed = |error| Trouble::new("unreadable", format!("{}: {error}", self.0.display()));
        let file = tokio::fs::File::open(&self.0).await.map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(limits::JWKS_BYTES as u64 + 1).read_to_end(&mut bytes).await.map_err(failed)?;
        if bytes.len() > limits::JWKS_BYTES {
            return Err(too_large());
        }
        Ok(bytes.into())
    }
}

struct Url(Uri);

/// For each reading, which is seldom, the machine's certificate authorities are read anew and nothing is
/// kept until the next: an idle connection or a hundred certificates would cost every pod their memory.
#[async_trait]
impl Source for Url {
    async fn read(&self) -> Result<Bytes, Trouble> {
        let client = Client::builder(TokioExecutor::new());
        if self.0.scheme() == Some(&Scheme::HTTP) {
            return fetch(&client.build_http(), &self.0).await;
        }
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(ring::default_provider())
            .map_err(|error| Trouble::new("no_authorities", error))?
            .https_only()
            .enable_http1()
            .build();
        fetch(&client.build(connector), &self.0).await
    }
}

async fn fetch<C>(client: &Client<C, Empty<Bytes>>, url: &Uri) -> Result<Bytes, Trouble>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let request = Request::get(url)
        .header(header::ACCEPT, "application/jwk-set+json, application/json")
        .body(Empty::new())
        .map_err(|error| Trouble::new("unreachable", error))?;
    // Followed nowhere else: who says what an issuer's keys are is in the configuration.
    let answer = client.request(request).await.map_err(|error| {
        let cause = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        Trouble::new("unreachable", cause)
    })?;
    if answer.status() != StatusCode::OK {
        return Err(Trouble::new("refused", format!("it answered {}", answer.status())));
    }
    let body = Limited::new(answer.into_body(), limits::JWKS_BYTES).collect().await;
    Ok(body.map_err(|error| read_failed(&*error))?.to_bytes())
}

fn read_failed(error: &(dyn std::error::Error + 'static)) -> Trouble {
    if error.is::<LengthLimitError>() { too_large() } else { Trouble::new("unreachable", error) }
}

fn too_large() -> Trouble {
    Trouble::new("too_large", format!("it has more than {} bytes", limits::JWKS_BYTES))
}
