//! One public key of an issuer, and the one signature algorithm that it is for.
//!
//! RS256, ES256 and EdDSA (RFC 7518, RFC 8037). What a shared secret signs is not here at all, so that no
//! public key can be taken for one. The algorithm belongs to the key; what a JWT says of it only has to
//! agree.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;

/// How a JWT is signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// By the name that `alg` gives it.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            // The one curve of it that is here has a name of its own too (RFC 9864).
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A key as a JWK Set writes it (RFC 7517), as far as it is looked at.
#[derive(Deserialize)]
pub(super) struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// See the module.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Key {
    /// Its name in the set.
    pub(super) id: Option<String>,
    /// What it is for.
    pub(super) algorithm: Algorithm,
    public: Public,
}

#[derive(PartialEq, Eq, Debug)]
enum Public {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// A point of P-256, uncompressed.
    Point(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Bytes of a coordinate of P-256, and of an Ed25519 key.
const COORDINATE: usize = 32;
/// Bits of an RSA modulus. Another verifies nothing, and would be counted as a key.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

impl Key {
    /// The key, if it is one that signs by an algorithm of ours: a set may hold others too.
    pub(super) fn of(jwk: &Jwk) -> Option<Self> {
        let signs = jwk.usage.as_deref().is_none_or(|usage| usage == "sig");
        let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
        if !signs || !jwk.key_ops.as_ref().is_none_or(verifies) {
            return None;
        }
        let (algorithm, public) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (number(&jwk.n)?, number(&jwk.e)?);
                let fits = RSA_BITS.contains(&bits(&n)) && is_odd(&n) && is_exponent(&e);
                fits.then_some((Algorithm::Rs256, Public::Rsa { n, e }))?
            }
            ("EC", Some("P-256")) => {
                let point = [vec![4], coordinate(&jwk.x)?, coordinate(&jwk.y)?].concat();
                (Algorithm::Es256, Public::Point(point))
            }
            ("OKP", Some("Ed25519")) => (Algorithm::EdDsa, Public::Ed25519(coordinate(&jwk.x)?)),
            _ => return None,
        };
        let agrees =
            jwk.alg.as_deref().is_none_or(|name| Algorithm::named(name) == Some(algorithm));
        agrees.then(|| Self { id: jwk.kid.clone(), algorithm, public })
    }

    /// Whether the signature of `message` is by this key.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match &self.public {
            Public::Rsa { n, e } => RsaPublicKeyComponents { n, e }.verify(
                &RSA_PKCS1_2048_8192_SHA256,
                message,
                signature,
            ),
            Public::Point(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Public::Ed25519(key) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signature)
            }
        };
        verified.is_ok()
    }
}

fn bytes(text: &Option<String>) -> Option<Vec<u8>> {
    BASE64URL.decode(text.as_deref()?).ok()
}

/// A number in big-endian bytes, without the zeros that some write before it.
fn number(text: &Option<String>) -> Option<Vec<u8>> {
    let bytes = bytes(text)?;
    let first = bytes.iter().position(|byte| *byte != 0)?;
    Some(bytes[first..].to_vec())
}

/// An odd number of at least 3 and at most 33 bits.
fn is_exponent(e: &[u8]) -> bool {
    (2..=33).contains(&bits(e)) && is_odd(e)
}

/// Of a number without zeros before it.
fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| 8 * number.len() - first.leading_zeros() as usize)
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last % 2 == 1)
}

fn coordinate(text: &Option<String>) -> Option<Vec<u8>> {
    bytes(text).filter(|bytes| bytes.len() == COORDINATE)
}
