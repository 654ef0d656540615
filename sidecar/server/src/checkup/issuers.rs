//! The issuers of JWTs: whether their keys can be read, and are of use.

use futures_util::future::join_all;

use super::Finding;
use crate::{
    config::{Issuer, Jwks},
    sessions,
};

const ABOUT: &str = "issuer's keys";

/// Reads the keys of each once, as a sidecar does.
pub async fn check_issuers(issuers: &[Issuer]) -> Vec<Finding> {
    join_all(issuers.iter().map(check)).await
}

async fn check(settings: &Issuer) -> Finding {
    let (issuer, place) = (&settings.issuer, place(&settings.jwks));
    match sessions::source(&settings.jwks).keys().await {
        Ok(keys) if keys.count() > 0 => {
            Finding::well(ABOUT, format!("{issuer}: {place}: {}", keys.words()))
        }
        Ok(keys) => Finding::wrong(ABOUT, format!("{issuer}: {place}: {}; {ADVICE}", keys.words())),
        Err(trouble) => Finding::wrong(ABOUT, format!("{issuer}: {place}: {trouble}; {ADVICE}")),
    }
}

const ADVICE: &str = "correct sessions.jwks, or what is there: a JWK Set with public keys, over TLS from a \
                      server that an authority of this machine vouches for (SSL_CERT_FILE adds one)";

fn place(jwks: &Jwks) -> String {
    match jwks {
        Jwks::File(path) => path.display().to_string(),
        Jwks::Url(url) => url.to_string(),
    }
}
