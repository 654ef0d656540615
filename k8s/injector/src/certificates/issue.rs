//! Makes authorities and certificates. An authority's certificate is never read again: what it says follows from when
//! it was made.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

use super::{Authority, Lifetimes, Serving};

/// Clocks of API servers may be behind.
const EARLIER: u64 = 3600;

/// A key or a name that no certificate can be made of.
#[derive(Debug, thiserror::Error)]
#[error("a certificate cannot be made: {0}")]
pub struct CannotIssue(#[from] rcgen::Error);

pub(super) fn authority(now: u64, lifetimes: &Lifetimes) -> Result<Authority, CannotIssue> {
    let expires = now + lifetimes.authority.as_secs();
    let key = KeyPair::generate()?;
    let certificate = authority_params(now, expires)?.self_signed(&key)?;
    Ok(Authority {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        made: now,
        expires,
        distributed: None,
    })
}

pub(super) fn serving(
    authority: &Authority,
    now: u64,
    lifetimes: &Lifetimes,
    names: &[String],
) -> Result<Serving, CannotIssue> {
    let issuer_key = KeyPair::from_pem(&authority.key)?;
    let issuer = Issuer::new(authority_params(authority.made, authority.expires)?, issuer_key);
    // API servers would not take one that outlives what signed it.
    let expires = authority.expires.min(now + lifetimes.serving.as_secs());
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names.to_vec())?;
    valid(&mut params, now, expires);
    params.distinguished_name = called("lunasec-injector");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer)?;
    Ok(Serving {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        made: now,
        expires,
        names: names.to_vec(),
        authority: authority.made,
    })
}

fn authority_params(made: u64, expires: u64) -> Result<CertificateParams, CannotIssue> {
    let mut params = CertificateParams::new(Vec::new())?;
    valid(&mut params, made, expires);
    // Each has a name of its own, so that a verifier with two of them takes the right one.
    params.distinguished_name = called(&format!("lunasec-injector authority {made}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn valid(params: &mut CertificateParams, from: u64, until: u64) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(from.saturating_sub(EARLIER));
    params.not_after = epoch + Duration::from_secs(until);
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}
