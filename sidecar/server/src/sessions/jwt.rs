//! One JWT (RFC 7519) in its compact form (RFC 7515), without I/O: taken apart, then proven by a set of
//! keys, then held against what is expected of it. As strict as RFC 8725 asks.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use lunasec_core::{
    ids::{Millis, Session},
    limits,
};
use serde::Deserialize;
use serde_json::Value;

use super::{key::Algorithm, keys::KeySet, object::Object};
use crate::config;

/// A JWT of which nothing is believed yet.
pub struct Jwt<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: BTreeMap<String, Value>,
}

/// Why a JWT proves nothing. None says more of it than its kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// It is something else.
    #[error("it is not a JWT in compact form: three parts in base64url with dots between them")]
    Syntax,
    /// It is too long.
    #[error("it has more than {} bytes", limits::JWT_BYTES)]
    TooLong,
    /// It is signed otherwise, or not at all.
    #[error("it is not signed with RS256, ES256 or EdDSA")]
    Algorithm,
    /// It asks for what is not known here.
    #[error("its header asks for an extension (`crit`), and none is known here")]
    Critical,
    /// It is for something else.
    #[error("it is no access or identity token")]
    Kind,
    /// Nobody here trusts who made it.
    #[error("its issuer (`iss`) is none of the configured ones")]
    Issuer,
    /// It was made for somebody else.
    #[error("its audience (`aud`) is another")]
    Audience,
    /// Its key is not among those of its issuer.
    #[error("its issuer has no such key (`kid`, `alg`)")]
    Key,
    /// It was not made by its issuer, or was changed since.
    #[error("its signature is not by its issuer's key")]
    Signature,
    /// It says no time, or none that is one.
    #[error("it says no time (`exp`) at which it expires, or another time is none")]
    Time,
    /// It is over.
    #[error("it has expired (`exp`)")]
    Expired,
    /// It has not begun.
    #[error("it is not valid yet (`nbf`, `iat`)")]
    Future,
    /// It names no session.
    #[error(
        "it has no session: the claim that names it is absent, or no text of 1 to 1,024 bytes without control characters and with no space at either end"
    )]
    Session,
}

/// What a proven JWT says, for as long as it counts.
#[derive(Clone, Debug)]
pub struct Claims {
    /// Whose it is.
    pub session: Session,
    /// Not before then.
    pub from: Millis,
    /// Not at that time any more.
    pub until: Millis,
}

impl Claims {
    /// Whether they count now.
    pub fn check(&self, now: Millis) -> Result<(), Refused> {
        match now {
            now if now >= self.until => Err(Refused::Expired),
            now if now < self.from => Err(Refused::Future),
            _ => Ok(()),
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
}

impl<'a> Jwt<'a> {
    /// Takes it apart.
    pub fn parse(text: &'a str) -> Result<Self, Refused> {
        if text.len() > limits::JWT_BYTES {
            return Err(Refused::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Refused::Syntax)?;
        // A header in base64url has no dot, so what has more than three parts ends here.
        let (header, claims) = signed.split_once('.').ok_or(Refused::Syntax)?;
        let header = part(header)?;
        if header.0.contains_key("crit") {
            return Err(Refused::Critical);
        }
        let header: Header = header.into().ok_or(Refused::Syntax)?;
        let algorithm = Algorithm::named(&header.alg).ok_or(Refused::Algorithm)?;
        if !header.typ.as_deref().is_none_or(is_token) {
            return Err(Refused::Kind);
        }
        let Object(claims) = part(claims)?;
        // What tells of an event, such as a session's end, has the same issuer, audience and claims
        // (RFC 8417), and is no proof of that session.
        if claims.contains_key("events") {
            return Err(Refused::Kind);
        }
        let signature = BASE64URL.decode(signature).map_err(|_| Refused::Syntax)?;
        Ok(Self { signed, signature, algorithm, key_id: header.kid, claims })
    }

    /// Whether it says that this issuer made it, for its audience.
    pub fn is_from(&self, issuer: &config::Issuer) -> Result<(), Refused> {
        if self.claims.get("iss").and_then(Value::as_str) != Some(&issuer.issuer) {
            return Err(Refused::Issuer);
        }
        if self.is_for(&issuer.audience) { Ok(()) } else { Err(Refused::Audience) }
    }

    fn is_for(&self, audience: &str) -> bool {
        match self.claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(all)) => all.iter().any(|one| one.as_str() == Some(audience)),
            _ => false,
        }
    }

    /// Whether that set has a key that may have signed it.
    pub fn has_key_in(&self, keys: &KeySet) -> bool {
        keys.matching(self.key_id.as_deref(), self.algorithm).next().is_some()
    }

    /// What it says, if it is signed by one of the issuer's keys and is as it should be. Whoever made it is
    /// settled before anything else of it counts.
    pub fn prove(&self, keys: &KeySet, issuer: &config::Issuer) -> Result<Claims, Refused> {
        let mut keys = keys.matching(self.key_id.as_deref(), self.algorithm).peekable();
        if keys.peek().is_none() {
            return Err(Refused::Key);
        }
        if !keys.any(|key| key.signed(self.signed.as_bytes(), &self.signature)) {
            return Err(Refused::Signature);
        }
        self.is_from(issuer)?;
        let skew = u64::try_from(issuer.skew.as_millis()).unwrap_or_default();
        let expires = self.time("exp")?.ok_or(Refused::Time)?;
        let begins = self.time("nbf")?.max(self.time("iat")?).unwrap_or_default();
        let session = self.claims.get(&issuer.session_claim).and_then(Value::as_str);
        Ok(Claims {
            session: session.and_then(|text| Session::parse(text).ok()).ok_or(Refused::Session)?,
            from: begins.saturating_sub(skew),
            until: expires.saturating_add(skew),
        })
    }

    /// A NumericDate: seconds since the epoch, with a fraction or without.
    fn time(&self, claim: &str) -> Result<Option<Millis>, Refused> {
        let Some(value) = self.claims.get(claim) else { return Ok(None) };
        if let Some(seconds) = value.as_u64() {
            return Ok(Some(seconds.saturating_mul(1_000)));
        }
        let seconds = value.as_f64().filter(|seconds| *seconds >= 0.0).ok_or(Refused::Time)?;
        let time = Duration::try_from_secs_f64(seconds).map_err(|_| Refused::Time)?;
        u64::try_from(time.as_millis()).map(Some).map_err(|_| Refused::Time)
    }
}

fn is_token(typ: &str) -> bool {
    let short = typ.strip_prefix("application/").unwrap_or(typ);
    ["JWT", "at+jwt"].iter().any(|known| short.eq_ignore_ascii_case(known))
}

fn part(text: &str) -> Result<Object, Refused> {
    let bytes = BASE64URL.decode(text).map_err(|_| Refused::Syntax)?;
    serde_json::from_slice(&bytes).map_err(|_| Refused::Syntax)
}
