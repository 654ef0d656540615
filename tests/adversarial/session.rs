//! Holds: a session of her own, with a JWT that proves it; the victim's token; an old JWT of the victim's, out of some
//! log. Lacks: a grant, and the issuer's key.
//!
//! Tries: to reveal the victim's token in her session, also with a grant to read its metadata; to name the victim's
//! session beside her own JWT, in a header and in a body; to edit a claim; to have a JWT taken without a signature, or
//! with one that anybody can make. Stopped by: grants that are of one session and action; a name that counts for nothing
//! beside a JWT that proves another; the signature, by an algorithm that belongs to its key.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD as BASE64URL},
};
use lunasec_tests::{
    Answer,
    apart::strict,
    issuer::{JwksServer, Signer, base64url, claims, jwks, seconds},
};
use serde_json::{Value, json};

use crate::{
    attack::{End, SECRET, decide},
    storage::{Pod, cloud, pod},
};

const ISSUER: &str = "https://id.test";
const AUDIENCE: &str = "shop";

/// A shop with sessions, and the victim in it.
struct Shop {
    pod: Pod,
    signer: Signer,
    _issuer: JwksServer,
    alices: String,
}

impl Shop {
    /// Where the victim has a token, and a grant for it.
    fn open() -> Self {
        let signer = Signer::es256("key");
        let issuer = JwksServer::start(&jwks(&[&signer]));
        let url = &issuer.url;
        let sessions = format!(
            "[[sessions]]\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\njwks = \"{url}\"\n"
        );
        let pod = pod(&cloud(), &(strict() + &sessions));
        let alices = pod.tokenize(SECRET);
        let shop = Self { pod, signer, _issuer: issuer, alices };
        let body = json!({ "session": "alice", "tokens": [shop.alices], "expires_in": "1h" });
        let granted =
            shop.ask("/v1/grants/create", &[("authorization", &shop.proof("alice"))], &body);
        assert!(granted.json()["items"][0]["expires_at"].is_string(), "{}", granted.text());
        assert_eq!(
            shop.reveal(&[("authorization", &shop.proof("alice"))]),
            End::Took(SECRET.into())
        );
        shop
    }

    fn claims(session: &str) -> Value {
        claims(ISSUER, AUDIENCE, session)
    }

    fn proof(&self, session: &str) -> String {
        format!("Bearer {}", self.signer.jwt(&Self::claims(session)))
    }

    fn ask(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        self.pod.connect().post_with(path, headers, body.to_string().as_bytes())
    }

    /// The victim's token.
    fn reveal(&self, headers: &[(&str, &str)]) -> End {
        End::of(&self.ask("/v1/detokenize", headers, &json!({ "token": self.alices })))
    }
}

#[test]
fn her_own_session_with_the_victims_token() {
    let shop = Shop::open();
    // Hers is one that has grants.
    let own = shop.pod.tokenize("hers");
    let proof = shop.proof("mallory");
    let body = json!({ "session": "mallory", "tokens": [own] });
    assert_eq!(shop.ask("/v1/grants/create", &[("authorization", &proof)], &body).status, 200);
    let end = shop.reveal(&[("authorization", &proof)]);
    decide("session-in-its-tag", &end, SECRET, "grant_denied");
}

/// She was shown what is beside the value, and wants the value.
#[test]
fn a_grant_for_something_else() {
    let shop = Shop::open();
    let proof = shop.proof("mallory");
    let headers = [("authorization", proof.as_str())];
    let body = json!({ "session": "mallory", "tokens": [shop.alices], "actions": ["metadata"] });
    assert_eq!(shop.ask("/v1/grants/create", &headers, &body).status, 200);
    let metadata = shop.ask("/v1/metadata/get", &headers, &json!({ "token": shop.alices }));
    assert_eq!(metadata.status, 200, "{}", metadata.text());
    decide("action-of-a-grant", &shop.reveal(&headers), SECRET, "grant_denied");
}

#[test]
fn the_victims_session_in_a_header_beside_her_own_jwt() {
    let shop = Shop::open();
    let end =
        shop.reveal(&[("authorization", &shop.proof("mallory")), ("lunasec-session", "alice")]);
    decide("proof-before-a-name", &end, SECRET, "forbidden");
}

/// Which would let her take back whatever the victim was granted.
#[test]
fn the_victims_session_in_a_body_beside_her_own_jwt() {
    let shop = Shop::open();
    let body = json!({ "session": "alice" });
    let asked = shop.ask("/v1/grants/revoke", &[("authorization", &shop.proof("mallory"))], &body);
    let left = shop.reveal(&[("authorization", &shop.proof("alice"))]);
    let end = match left {
        End::Took(_) => End::Stopped(asked.code()),
        End::Stopped(code) => End::Took(code),
    };
    decide("proof-of-a-session-in-a-body", &end, "grant_denied", "forbidden");
}

/// A JWT with other claims, and everything else as it was.
fn edited(jwt: &str, edit: impl FnOnce(&mut Value)) -> String {
    let [header, claims, signature]: [&str; 3] =
        jwt.split('.').collect::<Vec<_>>().try_into().unwrap();
    let mut claims: Value = serde_json::from_slice(&BASE64URL.decode(claims).unwrap()).unwrap();
    edit(&mut claims);
    format!("{header}.{}.{signature}", base64url(claims.to_string()))
}

#[test]
fn an_edited_claim() {
    let shop = Shop::open();
    let own = shop.signer.jwt(&Shop::claims("mallory"));
    let forged = edited(&own, |claims| claims["sid"] = "alice".into());
    let end = shop.reveal(&[("authorization", &format!("Bearer {forged}"))]);
    decide("signature-of-a-jwt", &end, SECRET, "unauthenticated");
}

#[test]
fn the_victims_old_jwt_with_a_later_end() {
    let shop = Shop::open();
    let mut old = Shop::claims("alice");
    old["exp"] = (seconds() - 3_600).into();
    let old = shop.signer.jwt(&old);
    let refused = shop.reveal(&[("authorization", &format!("Bearer {old}"))]);
    let forged = edited(&old, |claims| claims["exp"] = (seconds() + 3_600).into());
    let end = shop.reveal(&[("authorization", &format!("Bearer {forged}"))]);
    decide("signature-of-a-jwt", &end, SECRET, "unauthenticated");
    assert_eq!(refused, End::Stopped("unauthenticated".into()));
}

mod an_algorithm_of_her_choice {
    use super::*;

    fn reveal(shop: &Shop, jwt: &str) -> End {
        shop.reveal(&[("authorization", &format!("Bearer {jwt}"))])
    }

    fn unsigned(algorithm: &str) -> String {
        let header = base64url(json!({ "alg": algorithm, "kid": "key" }).to_string());
        format!("{header}.{}.", base64url(Shop::claims("alice").to_string()))
    }

    /// However it is written that there is none.
    #[test]
    fn none() {
        let shop = Shop::open();
        let ends = ["none", "None", "nOnE", ""].map(|it| reveal(&shop, &unsigned(it)));
        decide("algorithm-none", &End::of_each(ends), SECRET, "unauthenticated");
    }

    /// The issuer's own, and nothing where the signature belongs.
    #[test]
    fn with_an_empty_signature() {
        let shop = Shop::open();
        let end = reveal(&shop, &unsigned("ES256"));
        decide("empty-signature-of-a-jwt", &end, SECRET, "unauthenticated");
    }

    /// HS256, with whatever a library may take of what the issuer publishes as the secret.
    #[test]
    fn with_a_public_key_for_a_secret() {
        let shop = Shop::open();
        let jwk = shop.signer.jwk();
        let text = |name: &str| jwk[name].as_str().unwrap().to_owned();
        let [x, y] = ["x", "y"].map(|name| BASE64URL.decode(text(name)).unwrap());
        let point = [&[4][..], &x, &y].concat();
        // What comes before a point of P-256 in a SubjectPublicKeyInfo.
        let head = BASE64URL.decode("MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE").unwrap();
        let der = [&head[..], &x, &y].concat();
        let lines = STANDARD.encode(&der);
        let (first, rest) = lines.split_at(64);
        let pem =
            format!("-----BEGIN PUBLIC KEY-----\n{first}\n{rest}\n-----END PUBLIC KEY-----\n");
        let published = [
            jwk.to_string().into_bytes(),
            jwks(&[&shop.signer]).into_bytes(),
            text("x").into_bytes(),
            pem.trim_end().as_bytes().to_vec(),
            pem.into_bytes(),
            der,
            x,
            point,
        ];
        let claims = Shop::claims("alice");
        let ends = published.map(|it| reveal(&shop, &shop.signer.confused(&it, &claims)));
        decide("algorithm-of-a-jwt", &End::of_any(ends), SECRET, "unauthenticated");
    }
}
