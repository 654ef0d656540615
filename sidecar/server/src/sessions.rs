//! Whose session a request speaks for, where issuers are configured: that of the JWT it shows.
//!
//! The way of a JWT: [`Sessions::prove`] finds the [`issuer`] that it says it is from, which has the
//! [`keys`] that were read from its [`source`]; [`jwt`] takes it apart and proves it by one [`key`]. What was
//! proven is remembered under the digest of its text for as long as its issuer has the same keys, since
//! a browser shows the same JWT with every request.

use std::sync::Arc;

use lunasec_api::Code;
use lunasec_core::{ids::Session, limits};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};

use crate::{config, env::Clock, failure::Failure, telemetry::Telemetry};

mod issuer;
mod jwt;
mod key;
mod keys;
mod object;
mod source;

pub use issuer::Issuer;
pub use jwt::{Claims, Jwt, Refused};
pub use keys::{InvalidKeySet, KeySet};
pub use source::{Source, Trouble, source};

/// See the module.
pub struct Sessions {
    issuers: Vec<Arc<Issuer>>,
    proven: Cache<[u8; 32], Proven>,
    telemetry: Arc<Telemetry>,
    clock: Arc<dyn Clock>,
}

/// What a JWT said, and by which keys that was proven.
#[derive(Clone)]
struct Proven {
    issuer: usize,
    revision: u64,
    claims: Claims,
}

impl Sessions {
    /// Begins to read the issuers' keys.
    pub fn new(
        issuers: &[config::Issuer],
        telemetry: Arc<Telemetry>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self::start(issuers, &[], telemetry, clock)
    }

    /// The same with other issuers. Those whose keys are where they were keep them, and have them read
    /// again.
    pub fn renewed(&self, issuers: &[config::Issuer]) -> Self {
        let (telemetry, clock) = (Arc::clone(&self.telemetry), Arc::clone(&self.clock));
        Self::start(issuers, &self.issuers, telemetry, clock)
    }

    fn start(
        wanted: &[config::Issuer],
        before: &[Arc<Issuer>],
        telemetry: Arc<Telemetry>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let mut issuers: Vec<Arc<Issuer>> = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            if let Some(same) = before.iter().chain(&issuers).find_map(|it| it.with(wanted)) {
                same.refresh();
                issuers.push(Arc::new(same));
                continue;
            }
            let mut known = before.iter().chain(&issuers);
            let dependency = match known.find(|it| it.settings().issuer == wanted.issuer) {
                Some(same_name) => Arc::clone(same_name.dependency()),
                None => telemetry.dependency(format!("jwks {}", wanted.issuer)),
            };
            let source = source(&wanted.jwks);
            issuers.push(Arc::new(Issuer::new(wanted.clone(), source, dependency)));
        }
        Self::of(issuers, telemetry, clock)
    }

    /// Proves by these issuers.
    pub fn of(issuers: Vec<Arc<Issuer>>, telemetry: Arc<Telemetry>, clock: Arc<dyn Clock>) -> Self {
        let room = if issuers.is_empty() { 0 } else { limits::JWTS_PROVEN };
        Self { issuers, proven: Cache::new(room), telemetry, clock }
    }

    /// Whether a session counts only with its JWT.
    pub fn are_proven(&self) -> bool {
        !self.issuers.is_empty()
    }

    /// Who is trusted to make JWTs.
    pub fn issuers(&self) -> &[Arc<Issuer>] {
        &self.issuers
    }

    /// Whose session the JWT proves.
    pub async fn prove(&self, text: &str) -> Result<Session, Failure> {
        let digest: [u8; 32] = Sha256::digest(text).into();
        let claims = match self.remembered(&digest) {
            Some(claims) => claims,
            None => self.prove_anew(text, digest).await?,
        };
        claims.check(self.clock.now()).map_err(refused)?;
        Ok(claims.session)
    }

    fn remembered(&self, digest: &[u8; 32]) -> Option<Claims> {
        let proven = self.proven.get(digest)?;
        let held = self.issuers.get(proven.issuer)?.held()?;
        (held.revision == proven.revision).then_some(proven.claims)
    }

    async fn prove_anew(&self, text: &str, digest: [u8; 32]) -> Result<Claims, Failure> {
        let jwt = Jwt::parse(text).map_err(refused)?;
        let (issuer, made_it) = self.made_by(&jwt).map_err(refused)?;
        let held = made_it.keys(|keys| jwt.has_key_in(keys)).await?;
        let claims = jwt.prove(&held.keys, made_it.settings()).map_err(refused)?;
        // What has expired would only push out what has not.
        if claims.check(self.clock.now()) != Err(Refused::Expired) {
            let proven = Proven { issuer, revision: held.revision, claims: claims.clone() };
            self.proven.insert(digest, proven);
        }
        Ok(claims)
    }

    /// The issuer that it says it is from, for one of its audiences.
    fn made_by(&self, jwt: &Jwt<'_>) -> Result<(usize, &Arc<Issuer>), Refused> {
        let mut refused = Refused::Issuer;
        for (at, issuer) in self.issuers.iter().enumerate() {
            match jwt.is_from(issuer.settings()) {
                Ok(()) => return Ok((at, issuer)),
                Err(Refused::Audience) => refused = Refused::Audience,
                Err(_) => {}
            }
        }
        Err(refused)
    }
}

fn refused(why: Refused) -> Failure {
    Failure::new(Code::Unauthenticated, format!("the JWT proves no session: {why}"))
}

/// The JWT of an `authorization` header (RFC 6750).
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, jwt) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| jwt.trim_start_matches(' '))
}
