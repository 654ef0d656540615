//! An issuer of JWTs with keys made for the test: it signs, also what it never should, and serves its
//! keys over HTTP.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use ring::{
    hmac,
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    },
};
use rsa::{Generate, PrivateKey, pkcs1::EncodeRsaPrivateKey, traits::PublicKeyParts};
use serde_json::{Value, json};

use crate::authority::Identity;

/// A key that signs.
pub struct Signer {
    /// Its name in the set.
    pub kid: String,
    secret: Secret,
}

enum Secret {
    Rsa(Box<RsaKeyPair>, Value),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// One for all tests of a process, since making one takes long.
fn rsa_key() -> &'static PrivateKey {
    static KEY: OnceLock<PrivateKey> = OnceLock::new();
    KEY.get_or_init(PrivateKey::generate)
}

/// Bytes as JOSE writes them.
pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    BASE64URL.encode(bytes)
}

impl Signer {
    /// Signs with RS256.
    pub fn rs256(kid: &str) -> Self {
        let key = rsa_key();
        let der = key.to_pkcs1_der().unwrap();
        let pair = RsaKeyPair::from_der(der.as_bytes()).unwrap();
        let public = json!({
            "kty": "RSA",
            "n": base64url(key.n_bytes()),
            "e": base64url(key.e_bytes()),
        });
        Self { kid: kid.into(), secret: Secret::Rsa(Box::new(pair), public) }
    }

    /// Signs with ES256.
    pub fn es256(kid: &str) -> Self {
        let (kind, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(kind, document.as_ref(), &random).unwrap();
        Self { kid: kid.into(), secret: Secret::P256(pair) }
    }

    /// Signs with EdDSA.
    pub fn eddsa(kid: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
        Self { kid: kid.into(), secret: Secret::Ed25519(pair) }
    }

    /// One of each kind.
    pub fn each() -> [Self; 3] {
        [Self::rs256("rsa"), Self::es256("p256"), Self::eddsa("ed25519")]
    }

    /// What `alg` says of it.
    pub fn alg(&self) -> &'static str {
        match &self.secret {
            Secret::Rsa(..) => "RS256",
            Secret::P256(_) => "ES256",
            Secret::Ed25519(_) => "EdDSA",
        }
    }

    /// Its public half.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.secret {
            Secret::Rsa(_, public) => public.clone(),
            Secret::P256(pair) => {
                let point = pair.public_key().as_ref();
                let (x, y) = (base64url(&point[1..33]), base64url(&point[33..]));
                json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y })
            }
            Secret::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": base64url(pair.public_key()) })
            }
        };
        jwk["kid"] = self.kid.clone().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The header of an ordinary JWT.
    pub fn header(&self) -> Value {
        json!({ "alg": self.alg(), "typ": "JWT", "kid": self.kid })
    }

    /// Signs bytes.
    pub fn sign_bytes(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.secret {
            Secret::Rsa(pair, _) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Secret::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Secret::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// Signs a header and claims, whatever they say.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(claims));
        let signature = self.sign_bytes(signed.as_bytes());
        format!("{signed}.{}", base64url(signature))
    }

    /// The same.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// An ordinary JWT.
    pub fn jwt(&self, claims: &Value) -> String {
        self.sign(&self.header(), claims)
    }

    /// A JWT that is signed with HS256, and with what everybody knows of this key as the secret.
    pub fn confused(&self, secret: &[u8], claims: &Value) -> String {
        let header = json!({ "alg": "HS256", "kid": self.kid });
        let signed = format!("{}.{}", base64url(header.to_string()), base64url(claims.to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        format!("{signed}.{}", base64url(tag))
    }
}

/// The JWK Set of some keys.
pub fn jwks(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
}

/// Seconds since the epoch.
pub fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims that are as they should be, of an issuer and an audience, for a session.
pub fn claims(issuer: &str, audience: &str, session: &str) -> Value {
    let now = seconds();
    json!({ "iss": issuer, "aud": audience, "sid": session, "sub": "user", "iat": now, "exp": now + 600 })
}

/// What the server of the keys does.
#[derive(Clone)]
pub enum Serving {
    /// It answers with this.
    Text(String),
    /// It refuses.
    Status(u16, Vec<(&'static str, String)>),
    /// It takes the request and says nothing.
    Silence,
}

/// Serves keys at a loopback address until it is dropped.
pub struct JwksServer {
    /// Where.
    pub url: String,
    serving: Arc<Mutex<Serving>>,
    requests: Arc<AtomicUsize>,
}

impl JwksServer {
    /// Begins to serve.
    pub fn start(text: &str) -> Self {
        Self::listen("http", text, |stream| stream)
    }

    /// The same over TLS.
    pub fn start_tls(text: &str, identity: Identity) -> Self {
        Self::listen("https", text, move |stream| identity.accept(stream))
    }

    fn listen<S: Read + Write>(
        scheme: &str,
        text: &str,
        accept: impl Fn(TcpStream) -> S + Clone + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}/jwks.json", listener.local_addr().unwrap());
        let serving = Arc::new(Mutex::new(Serving::Text(text.into())));
        let requests = Arc::new(AtomicUsize::new(0));
        let (what, count) = (Arc::clone(&serving), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (what, count) = (Arc::clone(&what), Arc::clone(&count));
                let accept = accept.clone();
                thread::spawn(move || answer(accept(stream.unwrap()), &what, &count));
            }
        });
        Self { url, serving, requests }
    }

    /// Does something else from now on.
    pub fn serve(&self, serving: Serving) {
        *self.serving.lock().unwrap() = serving;
    }

    /// How often it was asked, for another thread.
    pub fn counter(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.requests)
    }

    /// How often it was asked.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: impl Read + Write, serving: &Mutex<Serving>, count: &AtomicUsize) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.push(byte[0]);
    }
    if !head.ends_with(b"\r\n\r\n") {
        return;
    }
    count.fetch_add(1, Ordering::SeqCst);
    let serving = serving.lock().unwrap().clone();
    let answer = match serving {
        Serving::Silence => {
            // Until the client gives up.
            let _ = stream.read(&mut byte);
            return;
        }
        Serving::Text(text) => {
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())
        }
        Serving::Status(status, headers) => {
            let headers: String =
                headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            format!("HTTP/1.1 {status} Refused\r\n{headers}content-length: 0\r\n\r\n")
        }
    };
    let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
}
