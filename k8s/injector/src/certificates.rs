//! Authority and serving certificate: what is held, what is due, and what is served. No I/O; time is passed in.
//!
//! A new authority is first distributed, then, after a while, signs: at each moment every API server trusts the
//! authority of every certificate in use. The old one stays in the bundle until it expires.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use serde::{Deserialize, Serialize};

mod check;
mod issue;

pub use issue::CannotIssue;

/// How long certificates are good, and how long a new authority waits.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Of serving certificates.
    pub serving: Duration,
    /// Of authorities.
    pub authority: Duration,
    /// Between the distribution of an authority and its first signature.
    pub settle: Duration,
}

/// An authority. Times are seconds since 1970.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Its certificate, as PEM.
    pub certificate: String,
    key: String,
    made: u64,
    expires: u64,
    /// Since when all API servers are told of it; absent while they are not.
    distributed: Option<u64>,
}

/// A serving certificate.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    certificate: String,
    key: String,
    made: u64,
    expires: u64,
    names: Vec<String>,
    /// When its authority was made, by which it is known.
    authority: u64,
}

/// All that the Secret holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// From the oldest to the newest.
    authorities: Vec<Authority>,
    serving: Serving,
}

/// Keys are not for logs.
impl fmt::Debug for Held {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authorities: Vec<_> =
            self.authorities.iter().map(|it| (it.made, it.expires, it.distributed)).collect();
        let Serving { made, expires, authority, .. } = &self.serving;
        out.debug_struct("Held")
            .field("authorities", &authorities)
            .field("serving", &(made, expires, authority))
            .finish_non_exhaustive()
    }
}

impl Held {
    /// What must be held from now on, if it is something else than what is.
    pub fn due(
        held: Option<&Self>,
        now: u64,
        lifetimes: &Lifetimes,
        names: &[String],
    ) -> Result<Option<Self>, CannotIssue> {
        let Some(held) = held.filter(|it| it.can_sign(now)) else {
            // Nobody trusts anything yet, or any more: there is nothing to wait for.
            let authority = Authority { distributed: Some(0), ..issue::authority(now, lifetimes)? };
            let serving = issue::serving(&authority, now, lifetimes, names)?;
            return Ok(Some(Self { authorities: vec![authority], serving }));
        };
        let mut next = held.clone();
        next.authorities.retain(|it| it.expires > now);
        if next.authorities.last().is_none_or(|it| nears_its_end(it.made, it.expires, now)) {
            next.authorities.push(issue::authority(now, lifetimes)?);
        }
        if let Some(signer) = next.signer(now, lifetimes)
            && (next.serving.authority != signer.made
                || next.serving.names != names
                || nears_its_end(next.serving.made, next.serving.expires, now))
        {
            next.serving = issue::serving(signer, now, lifetimes, names)?;
        }
        Ok((next != *held).then_some(next))
    }

    /// The newest authority that API servers have had time to learn of; after an outage that the older ones did not
    /// outlive, the one that they have learned of at all.
    fn signer(&self, now: u64, lifetimes: &Lifetimes) -> Option<&Authority> {
        let settle = lifetimes.settle.as_secs();
        let settled = |it: &&Authority| it.distributed.is_some_and(|since| since + settle <= now);
        let newest = || self.authorities.iter().rev();
        newest().find(settled).or_else(|| newest().find(|it| it.distributed.is_some()))
    }

    fn can_sign(&self, now: u64) -> bool {
        self.authorities.iter().any(|it| it.expires > now && it.distributed.is_some())
    }

    /// The same, when all authorities have been distributed; nothing if that was known.
    pub fn distributed(&self, now: u64) -> Option<Self> {
        let mut next = self.clone();
        for authority in &mut next.authorities {
            authority.distributed.get_or_insert(now);
        }
        (next != *self).then_some(next)
    }

    /// What API servers must trust.
    pub fn bundle(&self) -> String {
        self.authorities.iter().map(|it| it.certificate.as_str()).collect()
    }

    /// The chain that is served, as PEM.
    pub fn chain(&self) -> &str {
        &self.serving.certificate
    }

    /// When the serving certificate and its authority end.
    pub fn ends(&self) -> (u64, u64) {
        let authority = self.authorities.iter().find(|it| it.made == self.serving.authority);
        (self.serving.expires, authority.map_or(0, |it| it.expires))
    }

    /// When to look again, in seconds from now.
    pub fn look_again(&self, now: u64, lifetimes: &Lifetimes) -> u64 {
        let settle = lifetimes.settle.as_secs();
        let settling = self.authorities.iter().filter_map(|it| Some(it.distributed? + settle));
        let authority = self.authorities.last().map(|it| third(it.made, it.expires));
        let dues =
            settling.chain(authority).chain([third(self.serving.made, self.serving.expires)]);
        dues.filter(|it| *it > now).min().map_or(60, |it| it - now)
    }

    /// What TLS serves.
    pub fn certified(&self) -> Result<CertifiedKey, Unusable> {
        let chain = CertificateDer::pem_slice_iter(self.serving.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Unusable(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(self.serving.key.as_bytes())
            .map_err(|error| Unusable(error.to_string()))?;
        let key = any_supported_type(&key).map_err(|error| Unusable(error.to_string()))?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| Unusable(error.to_string()))?;
        Ok(certified)
    }
}

/// A Secret that somebody else wrote to.
#[derive(Debug, thiserror::Error)]
#[error("the certificate cannot be used: {0}")]
pub struct Unusable(String);

fn nears_its_end(made: u64, expires: u64, now: u64) -> bool {
    now >= third(made, expires)
}

/// When a third of a life is left.
fn third(made: u64, expires: u64) -> u64 {
    expires - expires.saturating_sub(made) / 3
}

/// The certificate for the next handshake; connections that are there keep theirs.
#[derive(Default, Debug)]
pub struct Served(ArcSwapOption<CertifiedKey>);

impl Served {
    /// From now on this one.
    pub fn swap(&self, certified: CertifiedKey) {
        self.0.store(Some(Arc::new(certified)));
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

#[cfg(test)]
mod tests;
