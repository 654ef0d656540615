//! Sessions that only a JWT proves, through the release binary.

use std::{fs, path::Path, sync::atomic::Ordering, thread};

use lunasec_tests::{
    Answer, Grpc, Raw, Sidecar,
    apart::strict,
    grpc::framed,
    issuer::{JwksServer, Serving, Signer, base64url, claims, jwks, seconds},
    raw::{head, request},
    sidecar::{eventually, lunasec},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tonic::Code;

mod tls;

const ISSUER: &str = "https://id.test";
const AUDIENCE: &str = "shop";

pub(crate) fn issuer(jwks: &str) -> String {
    format!("[[sessions]]\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\njwks = \"{jwks}\"\n")
}

/// A sidecar that believes these keys.
pub(crate) fn sidecar(signers: &[&Signer]) -> (Sidecar, JwksServer) {
    let server = JwksServer::start(&jwks(signers));
    (Sidecar::serve(&(strict() + &issuer(&server.url))), server)
}

pub(crate) fn session_of(session: &str) -> Value {
    claims(ISSUER, AUDIENCE, session)
}

fn post(sidecar: &Sidecar, path: &str, jwt: &str, body: &Value) -> Answer {
    let authorization = format!("Bearer {jwt}");
    let headers = [("authorization", authorization.as_str())];
    sidecar.connect().post_with(path, &headers, body.to_string().as_bytes())
}

pub(crate) fn reveal(sidecar: &Sidecar, jwt: &str, token: &str) -> Answer {
    post(sidecar, "/v1/detokenize", jwt, &json!({ "token": token }))
}

/// A token that alice may reveal, as her JWT proves.
fn granted(sidecar: &Sidecar, jwt: &str, value: &str) -> String {
    let token = sidecar.tokenize(value);
    let body = json!({ "session": "alice", "tokens": [token], "actions": ["detokenize", "metadata", "update", "delete"] });
    let answer = post(sidecar, "/v1/grants/create", jwt, &body);
    assert!(answer.json()["items"][0]["expires_at"].is_string(), "{}", answer.text());
    token
}

#[test]
fn a_jwt_of_each_algorithm_proves_its_own_session_and_no_other() {
    let signers = Signer::each();
    let (sidecar, _server) = sidecar(&signers.iter().collect::<Vec<_>>());
    for signer in &signers {
        let (alice, bob) = (signer.jwt(&session_of("alice")), signer.jwt(&session_of("bob")));
        let token = granted(&sidecar, &alice, "value");
        for _ in 0..2 {
            assert_eq!(reveal(&sidecar, &alice, &token).json()["value"], "value");
        }
        let metadata = json!({ "token": token, "metadata": {} });
        for (path, body) in [
            ("/v1/detokenize", json!({ "token": token })),
            ("/v1/metadata/get", json!({ "token": token })),
            ("/v1/metadata/set", metadata),
        ] {
            let refused = post(&sidecar, path, &bob, &body);
            assert_eq!((refused.status, refused.code().as_str()), (403, "grant_denied"), "{path}");
        }
        let tokens = json!({ "tokens": [token] });
        for path in ["/v1/detokenize:batch", "/v1/delete"] {
            let answer = post(&sidecar, path, &bob, &tokens).json();
            assert_eq!(answer["items"][0]["error"]["code"], "grant_denied", "{path}");
        }
        assert_eq!(
            post(&sidecar, "/v1/delete", &alice, &tokens).json()["items"][0]["deleted"],
            true
        );
    }
}

/// Claims with one of them changed, or left out.
fn with(name: &str, value: Value) -> Value {
    let mut claims = session_of("alice");
    match value {
        Value::Null => _ = claims.as_object_mut().unwrap().remove(name),
        value => claims[name] = value,
    }
    claims
}

/// Headers that no other reader may read otherwise.
fn headers(signer: &Signer) -> Vec<(&'static str, String)> {
    let (plain, good) = (signer.header().to_string(), session_of("alice").to_string());
    let with = |more: &str| signer.sign_text(&plain.replacen('{', more, 1), &good);
    let list = json!([signer.alg(), signer.kid, null, null]).to_string();
    vec![
        ("crit", with("{\"crit\":[\"exp\"],")),
        ("crit that is null", with("{\"crit\":null,")),
        ("a header in which a name stands twice", with("{\"alg\":\"none\",")),
        ("a header that is a list", signer.sign_text(&list, &good)),
    ]
}

/// What no sidecar may believe, beside a key that it does believe.
fn forgeries(signer: &Signer, stranger: &Signer) -> Vec<(&'static str, String)> {
    let good = session_of("alice");
    let jwt = signer.jwt(&good);
    let [header, body, signature]: [&str; 3] =
        jwt.split('.').collect::<Vec<_>>().try_into().unwrap();
    let alg = |alg: &str| base64url(json!({ "alg": alg, "kid": signer.kid }).to_string());
    let other = base64url(session_of("bob").to_string());
    let with_header = |name: &str, value: Value| {
        let mut header = signer.header();
        header[name] = value;
        signer.sign(&header, &good)
    };
    let jwk = signer.jwk();
    let (public, parameter) = (jwk.to_string(), jwk.get("x").unwrap_or(&jwk["n"]));
    let twice = good.to_string().replacen('{', "{\"sid\":\"bob\",", 1);
    let now = seconds();
    let text = |value: &str| json!(value);
    vec![
        ("nothing", String::new()),
        ("not a JWT", "alice".into()),
        ("two parts", format!("{header}.{body}")),
        ("two signatures", format!("{jwt}.{signature}")),
        (
            "two signatures as JSON",
            base64url(json!({ "payload": body, "signatures": [] }).to_string()),
        ),
        ("alg none", format!("{}.{body}.", alg("none"))),
        ("alg None, signed", format!("{}.{body}.{signature}", alg("None"))),
        ("no signature", format!("{header}.{body}.")),
        ("HS256 with the public key", signer.confused(public.as_bytes(), &good)),
        (
            "HS256 with its parameter",
            signer.confused(parameter.as_str().unwrap().as_bytes(), &good),
        ),
        ("RS512", with_header("alg", text("RS512"))),
        ("ES384", with_header("alg", text("ES384"))),
        ("no alg", with_header("alg", Value::Null)),
        ("another key's signature", stranger.sign(&signer.header(), &good)),
        ("a key of its own", {
            let mut header = signer.header();
            header["jwk"] = stranger.jwk();
            stranger.sign(&header, &good)
        }),
        ("an unknown kid", with_header("kid", text("unknown"))),
        ("an encrypted JWT", with_header("typ", text("JWE"))),
        ("a logout token by its type", with_header("typ", text("logout+jwt"))),
        ("a logout token by its events", signer.jwt(&with("events", json!({})))),
        ("other claims", format!("{header}.{other}.{signature}")),
        ("a changed signature", {
            let mut bytes = signer.sign_bytes(format!("{header}.{body}").as_bytes());
            bytes[10] ^= 1;
            format!("{header}.{body}.{}", base64url(bytes))
        }),
        ("a padded signature", format!("{jwt}=")),
        ("another issuer", signer.jwt(&with("iss", text("https://other.test")))),
        ("an issuer with a slash", signer.jwt(&with("iss", text("https://id.test/")))),
        ("issuers", signer.jwt(&with("iss", json!([ISSUER])))),
        ("no issuer", signer.jwt(&with("iss", Value::Null))),
        ("another audience", signer.jwt(&with("aud", text("bank")))),
        ("other audiences", signer.jwt(&with("aud", json!(["bank", "shop2"])))),
        ("no audience", signer.jwt(&with("aud", Value::Null))),
        ("expired", signer.jwt(&with("exp", json!(now - 61)))),
        ("no expiry", signer.jwt(&with("exp", Value::Null))),
        ("expiry as text", signer.jwt(&with("exp", text("9999999999")))),
        ("not yet", signer.jwt(&with("nbf", json!(now + 120)))),
        ("from the future", signer.jwt(&with("iat", json!(now + 120)))),
        ("a beginning that is none", signer.jwt(&with("nbf", json!(-1)))),
        ("no session", signer.jwt(&with("sid", Value::Null))),
        ("an empty session", signer.jwt(&with("sid", text("")))),
        ("a long session", signer.jwt(&with("sid", text(&"s".repeat(1_025))))),
        ("a number as session", signer.jwt(&with("sid", json!(7)))),
        ("two sessions", signer.sign_text(&signer.header().to_string(), &twice)),
        ("claims that are a list", signer.sign_text(&signer.header().to_string(), "[]")),
    ]
}

#[test]
fn no_forgery_proves_anything() {
    let (signers, strangers) = (Signer::each(), [Signer::es256("p256"), Signer::eddsa("ed25519")]);
    let (sidecar, _server) = sidecar(&signers.iter().collect::<Vec<_>>());
    for signer in &signers {
        let jwt = signer.jwt(&session_of("alice"));
        let token = granted(&sidecar, &jwt, "value");
        for stranger in &strangers {
            for (what, forgery) in forgeries(signer, stranger).into_iter().chain(headers(signer)) {
                let refused = reveal(&sidecar, &forgery, &token);
                let is = (refused.status, refused.code());
                assert_eq!(is, (401, "unauthenticated".into()), "{}: {what}", signer.alg());
                assert_eq!(refused.headers["www-authenticate"], "Bearer", "{what}");
                let shown = forgery.len() > 8 && refused.text().contains(&forgery);
                assert!(!shown, "{what} is shown: {}", refused.text());
            }
        }
        assert_eq!(reveal(&sidecar, &jwt, &token).status, 200);
    }
    // Each of these is just good enough.
    let (signer, now) = (&signers[2], seconds());
    for (name, value) in [
        ("exp", json!(now - 30)),
        ("exp", json!(f64::from(u32::try_from(now).unwrap()) + 0.5)),
        ("nbf", json!(now + 30)),
        ("aud", json!(["bank", AUDIENCE])),
    ] {
        let token = granted(&sidecar, &signer.jwt(&session_of("alice")), "value");
        let jwt = signer.jwt(&with(name, value.clone()));
        assert_eq!(reveal(&sidecar, &jwt, &token).status, 200, "{name} {value}");
    }
}

#[test]
fn a_huge_jwt_is_refused_and_nobody_else_notices() {
    let signer = Signer::eddsa("key");
    let (sidecar, _server) = sidecar(&[&signer]);
    let jwt = signer.jwt(&session_of("alice"));
    let token = granted(&sidecar, &jwt, "value");
    let huge = |bytes: usize| signer.jwt(&with("more", "x".repeat(bytes).into()));
    // 12 KiB of base64url are 9 KiB of a JWT's parts.
    assert_eq!(reveal(&sidecar, &huge(8_500), &token).json()["value"], "value");
    let refused = reveal(&sidecar, &huge(9_500), &token);
    assert_eq!((refused.status, refused.code().as_str()), (401, "unauthenticated"));
    assert!(refused.text().contains("more than 12288 bytes"), "{}", refused.text());
    // What is larger than a head may be is not read to its end.
    for bytes in [13 * 1024, 1 << 20] {
        let authorization = format!("Bearer {}", huge(bytes));
        let headers = [("host", "l"), ("authorization", &authorization), ("content-length", "2")];
        let mut raw = sidecar.connect();
        raw.send_what_goes(head("POST", "/v1/detokenize", &headers));
        assert_eq!(raw.answer().unwrap().status, 431, "{bytes}");
        assert_eq!(reveal(&sidecar, &jwt, &token).json()["value"], "value");
    }
}

#[test]
fn only_the_proven_session_can_be_named() {
    let signer = Signer::es256("key");
    let (sidecar, server) = sidecar(&[&signer]);
    let jwt = signer.jwt(&session_of("alice"));
    let token = granted(&sidecar, &jwt, "value");
    let authorization = format!("Bearer {jwt}");
    let ask = |headers: &[(&str, &str)], path: &str, body: &Value| {
        let answer = sidecar.connect().post_with(path, headers, body.to_string().as_bytes());
        (answer.status, if answer.status == 200 { "ok".into() } else { answer.code() })
    };
    let ok = (200, "ok".to_owned());
    let forbidden = (403, "forbidden".to_owned());
    let unauthenticated = (401, "unauthenticated".to_owned());
    let (proof, named) = (("authorization", authorization.as_str()), "lunasec-session");
    let one = json!({ "token": token });
    let detokenize = "/v1/detokenize";
    assert_eq!(ask(&[proof, (named, "alice")], detokenize, &one), ok);
    assert_eq!(ask(&[proof, (named, "bob")], detokenize, &one), forbidden);
    assert_eq!(ask(&[(named, "alice")], detokenize, &one), unauthenticated);
    assert_eq!(ask(&[], detokenize, &one), unauthenticated);
    let lower = authorization.replace("Bearer", "bearer");
    assert_eq!(ask(&[("authorization", &lower)], detokenize, &one), ok);
    for header in [jwt.clone(), format!("Basic {jwt}"), format!("Bearer{jwt}"), "Bearer".into()] {
        assert_eq!(ask(&[("authorization", &header)], detokenize, &one), unauthenticated);
    }
    let twice = ask(&[proof, proof], detokenize, &one);
    assert_eq!(twice, (400, "invalid_request".into()));
    for path in ["/v1/grants/create", "/v1/grants/verify", "/v1/grants/revoke"] {
        let of = |session: &str| json!({ "session": session, "tokens": [token] });
        assert_eq!(ask(&[proof], path, &of("bob")), forbidden, "{path}");
        assert_eq!(ask(&[], path, &of("alice")), unauthenticated, "{path}");
        assert_eq!(ask(&[proof], path, &of("alice")), ok, "{path}");
    }
    let all = |session: &str| json!({ "session": session });
    assert_eq!(ask(&[proof], "/v1/grants/revoke", &all("bob")), forbidden);
    assert_eq!(ask(&[proof], "/v1/grants/revoke", &all("alice")), ok);
    // Whoever may grant to any session needs no proof for that, but still speaks only as a proven one.
    let trusted = strict() + "grant_any_session = true\n" + &issuer(&server.url);
    let sidecar = Sidecar::serve(&trusted);
    let token = sidecar.tokenize("value");
    let body = json!({ "session": "alice", "tokens": [token] });
    assert_eq!(sidecar.post("/v1/grants/create", &body).status, 200);
    assert_eq!(reveal(&sidecar, &jwt, &token).json()["value"], "value");
    let bob = signer.jwt(&session_of("bob"));
    assert_eq!(reveal(&sidecar, &bob, &token).code(), "grant_denied");
    // What it names beside a proof does not take the proof's place.
    let bearer = format!("Bearer {bob}");
    let headers = [("authorization", bearer.as_str()), (named, "alice")];
    let body = json!({ "token": token }).to_string();
    let both = sidecar.connect().post_with(detokenize, &headers, body.as_bytes());
    assert_eq!(both.code(), "grant_denied");
    let headers = [(named, "alice")];
    let alone = sidecar.connect().post_with(detokenize, &headers, body.as_bytes());
    assert_eq!(alone.code(), "unauthenticated");
}

#[test]
fn each_issuer_answers_for_itself_alone() {
    let (ours, theirs) = (Signer::es256("key"), Signer::es256("key"));
    let (one, other) = (JwksServer::start(&jwks(&[&ours])), JwksServer::start(&jwks(&[&theirs])));
    let second = format!(
        "[[sessions]]\nissuer = \"https://two.test\"\naudience = \"bank\"\njwks = \"{}\"\nsession_claim = \"https://two.test/session\"\nskew = \"0s\"\n",
        other.url
    );
    let sidecar = Sidecar::serve(&(strict() + &issuer(&one.url) + &second));
    let jwt = ours.jwt(&session_of("alice"));
    let token = granted(&sidecar, &jwt, "value");
    let mut claims = claims("https://two.test", "bank", "bob");
    claims["https://two.test/session"] = "alice".into();
    assert_eq!(reveal(&sidecar, &theirs.jwt(&claims), &token).json()["value"], "value");
    assert_eq!(reveal(&sidecar, &ours.jwt(&claims), &token).code(), "unauthenticated");
    assert_eq!(
        reveal(&sidecar, &theirs.jwt(&session_of("alice")), &token).code(),
        "unauthenticated"
    );
    claims["exp"] = (seconds() - 1).into();
    assert_eq!(reveal(&sidecar, &theirs.jwt(&claims), &token).code(), "unauthenticated");
    claims["exp"] = (seconds() + 60).into();
    claims["aud"] = AUDIENCE.into();
    assert_eq!(reveal(&sidecar, &theirs.jwt(&claims), &token).code(), "unauthenticated");
}

#[test]
fn new_keys_are_found_and_old_ones_go_though_unknown_names_are_free() {
    let (old, new) = (Signer::eddsa("old"), Signer::eddsa("new"));
    let (sidecar, server) = sidecar(&[&old]);
    let jwt = old.jwt(&session_of("alice"));
    let token = granted(&sidecar, &jwt, "value");
    let read = server.requests();
    for at in 0..200 {
        let stranger = Signer::eddsa(&format!("key {at}"));
        let refused = reveal(&sidecar, &stranger.jwt(&session_of("alice")), &token);
        assert_eq!(refused.code(), "unauthenticated");
    }
    assert!(server.requests() <= read + 2, "{} readings", server.requests() - read);
    server.serve(Serving::Text(jwks(&[&new])));
    let rotated = new.jwt(&session_of("alice"));
    eventually("the new key counts", || reveal(&sidecar, &rotated, &token).status == 200);
    // It was proven before; what proved it is gone.
    assert_eq!(reveal(&sidecar, &jwt, &token).code(), "unauthenticated");
}

fn issuers(sidecar: &Sidecar) -> Value {
    let mut connection = sidecar.connect();
    connection.send(head("GET", "/v1/status", &[("host", "localhost")])).unwrap();
    connection.answer().unwrap().json()["issuers"].clone()
}

#[test]
fn without_keys_there_is_no_verdict_and_with_old_ones_there_is() {
    let signer = Signer::eddsa("key");
    let jwt = signer.jwt(&session_of("alice"));
    let server = JwksServer::start("");
    for (serving, reason) in [
        (Serving::Text(String::new()), "invalid"),
        (Serving::Text(format!("[{}]", jwks(&[&signer]))), "invalid"),
        (Serving::Text(r#"{"keys":{}}"#.into()), "invalid"),
        (Serving::Text(format!("{}{}", jwks(&[&signer]), " ".repeat(256 * 1024))), "too_large"),
        (Serving::Status(500, vec![]), "refused"),
        (Serving::Status(302, vec![("location", server.url.clone())]), "refused"),
        (Serving::Silence, "timeout"),
    ] {
        server.serve(serving);
        let sidecar = Sidecar::serve(&(strict() + &issuer(&server.url)));
        let before = server.requests();
        let refused = reveal(&sidecar, &jwt, &sidecar.tokenize("value"));
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (503, "keys_unavailable"),
            "{reason}"
        );
        assert_eq!(refused.json()["retryable"], true);
        assert!(server.requests() <= before + 1);
        let found = issuers(&sidecar);
        assert_eq!(found[0]["state"], "down", "{found}");
        assert_eq!(found[0]["reason"], format!("reads fail: {reason}"));
        let series = format!("lunasec_dependency_up{{dependency=\"jwks {ISSUER}\"}}");
        assert!(sidecar.metrics().contains(&format!("{series} 0")), "{series}");
    }
    server.serve(Serving::Text(jwks(&[&signer])));
    let sidecar = Sidecar::serve(&(strict() + &issuer(&server.url)));
    let token = granted(&sidecar, &jwt, "value");
    assert_eq!(issuers(&sidecar)[0]["state"], "up");
    assert_eq!(issuers(&sidecar)[0]["keys"], 1);
    server.serve(Serving::Status(503, vec![]));
    // An unknown key has them read.
    let stranger = Signer::eddsa("unknown").jwt(&session_of("alice"));
    eventually("the outage is seen", || {
        assert_eq!(reveal(&sidecar, &stranger, &token).code(), "unauthenticated");
        issuers(&sidecar)[0]["state"] == "degraded"
    });
    assert_eq!(reveal(&sidecar, &jwt, &token).json()["value"], "value");
    let status = lunasec().args(["status", "--socket"]).arg(sidecar.socket()).output().unwrap();
    let text = String::from_utf8(status.stdout).unwrap();
    assert!(text.contains("jwks     degraded"), "{text}");
    assert!(text.contains("1 keys of https://id.test for shop"), "{text}");
}

/// Sets that are as they should be, and hold no key that proves anything.
#[test]
fn a_set_without_keys_of_use_proves_nothing_and_says_so() {
    let signer = Signer::eddsa("key");
    let jwt = signer.jwt(&session_of("alice"));
    let (n, e) = (base64url([0xff; 128]), base64url([1, 0, 1]));
    let small = json!({ "kty": "RSA", "n": n, "e": e, "kid": "key" });
    let one =
        json!({ "kty": "RSA", "n": base64url([0xff; 256]), "e": base64url([1]), "kid": "key" });
    let even = json!({ "kty": "RSA", "n": base64url([0xfe; 256]), "e": e, "kid": "key" });
    let mut other_use = signer.jwk();
    other_use["use"] = "enc".into();
    let mut other_alg = signer.jwk();
    other_alg["alg"] = "RS256".into();
    let x = signer.jwk()["x"].clone();
    let array = json!(["OKP", "key", null, null, null, "Ed25519", null, null, x, null]);
    let secret = json!({ "kty": "oct", "k": base64url("secret"), "kid": "key" });
    for key in [Value::Null, small, one, even, other_use, other_alg, array, secret] {
        let keys = if key.is_null() { json!([]) } else { json!([key]) };
        let server = JwksServer::start(&json!({ "keys": keys }).to_string());
        let sidecar = Sidecar::serve(&(strict() + &issuer(&server.url)));
        let refused = reveal(&sidecar, &jwt, &sidecar.tokenize("value"));
        // Empty is a word of the issuer's; what is there and of no use is a mistake of somebody's.
        let expected = match keys.as_array().unwrap().is_empty() {
            true => (401, "unauthenticated"),
            false => (503, "keys_unavailable"),
        };
        assert_eq!((refused.status, refused.code().as_str()), expected, "{keys}");
        let found = issuers(&sidecar);
        assert_eq!(found[0]["reason"], "reads fail: no_key", "{keys}: {found}");
        assert_eq!(found[0]["keys"], 0);
    }
}

/// The name that RFC 9864 gives the one curve.
#[test]
fn eddsa_has_a_second_name() {
    let signer = Signer::eddsa("key");
    let (sidecar, _server) = sidecar(&[&signer]);
    let header = json!({ "alg": "Ed25519", "kid": "key" });
    let jwt = signer.sign(&header, &session_of("alice"));
    let token = granted(&sidecar, &jwt, "value");
    assert_eq!(reveal(&sidecar, &jwt, &token).json()["value"], "value");
}

/// A session is the same one in a header, in a body and in a claim, or it is none.
#[test]
fn a_session_has_one_spelling() {
    let signer = Signer::eddsa("key");
    let proving = sidecar(&[&signer]);
    let sidecar = Sidecar::serve(&strict());
    let token = sidecar.tokenize("value");
    let create = |session: &str| {
        let body = json!({ "session": session, "tokens": [token] });
        sidecar.post("/v1/grants/create", &body)
    };
    let body = json!({ "token": token }).to_string();
    let reveal_as = |session: &str| {
        let headers = [("lunasec-session", session)];
        sidecar.connect().post_with("/v1/detokenize", &headers, body.as_bytes())
    };
    for session in ["alice ", " alice", "al\nice", "al\0ice", "\u{7f}", "alice\u{a0}", ""] {
        assert_eq!(create(session).code(), "invalid_request", "{session:?}");
        let jwt = signer.jwt(&session_of(session));
        let refused = reveal(&proving.0, &jwt, &token);
        assert_eq!(refused.code(), "unauthenticated", "{session:?}");
        assert!(refused.text().contains("no session"), "{}", refused.text());
    }
    for session in ["alice", "al ice", "al\u{ed}ce", "\u{1f916}"] {
        assert_eq!(reveal_as(session).code(), "grant_denied", "{session:?}");
        assert_eq!(create(session).status, 200, "{session:?}");
        assert_eq!(reveal_as(session).json()["value"], "value", "{session:?}");
    }
    // HTTP takes the spaces off, and then it is alice's.
    assert_eq!(reveal_as(" alice ").json()["value"], "value");
}

/// An end user who makes up names of keys must not keep out those whose keys are known.
#[test]
fn unknown_keys_do_not_fill_the_sidecar_while_an_issuer_hangs() {
    let signer = Signer::eddsa("key");
    let server = JwksServer::start(&jwks(&[&signer]));
    let limits = "[limits]\nrequests = 160\n";
    let sidecar = Sidecar::serve(&(strict() + &issuer(&server.url) + limits));
    let jwt = signer.jwt(&session_of("alice"));
    let token = granted(&sidecar, &jwt, "value");
    server.serve(Serving::Silence);
    let stranger = Signer::eddsa("unknown").jwt(&session_of("alice"));
    let authorization = format!("Bearer {stranger}");
    let headers = [("authorization", authorization.as_str())];
    let body = json!({ "token": token }).to_string();
    let unknown = request("/v1/detokenize", &headers, body.as_bytes());
    let (before, socket) = (server.requests(), sidecar.socket().to_owned());
    let (under_way, asks) = (server.counter(), unknown.clone());
    let asking = thread::spawn(move || {
        let mut raw = Raw::connect(&socket);
        while under_way.load(Ordering::SeqCst) == before {
            raw.send(&asks).unwrap();
            raw.answer().unwrap();
        }
    });
    eventually("the keys are read again", || server.requests() > before);
    let mut waiting: Vec<_> = (0..160).map(|_| sidecar.connect()).collect();
    for raw in &mut waiting {
        raw.send(&unknown).unwrap();
    }
    for _ in 0..20 {
        assert_eq!(reveal(&sidecar, &jwt, &token).json()["value"], "value");
    }
    asking.join().unwrap();
}

#[test]
fn keys_in_a_file_and_another_issuer_after_a_reload() {
    let (signer, next) = (Signer::rs256("key"), Signer::es256("next"));
    let directory = tempfile::tempdir().unwrap();
    let (one, two) = (directory.path().join("one.json"), directory.path().join("two.json"));
    fs::write(&one, jwks(&[&signer])).unwrap();
    fs::write(&two, jwks(&[&next])).unwrap();
    let of = |file: &Path| strict() + &issuer(&file.display().to_string());
    let mut sidecar = Sidecar::serve_in(directory.path(), &of(&one));
    let (old, new) = (signer.jwt(&session_of("alice")), next.jwt(&session_of("alice")));
    let token = granted(&sidecar, &old, "value");
    assert_eq!(reveal(&sidecar, &new, &token).code(), "unauthenticated");
    Sidecar::configure(directory.path(), &of(&two));
    sidecar.signal(Signal::HUP);
    sidecar.wait_for_line(|line| line.contains("read again and is in force")).unwrap();
    assert_eq!(reveal(&sidecar, &new, &token).json()["value"], "value");
    assert_eq!(reveal(&sidecar, &old, &token).code(), "unauthenticated");
    // Without issuers a name is enough again, and a JWT is refused instead of being overlooked.
    Sidecar::configure(directory.path(), &strict());
    sidecar.signal(Signal::HUP);
    sidecar.wait_for_line(|line| line.contains("read again and is in force")).unwrap();
    let refused = reveal(&sidecar, &new, &token);
    assert_eq!(refused.code(), "unauthenticated");
    assert!(refused.text().contains("[[sessions]]"), "{}", refused.text());
    let headers = [("lunasec-session", "alice")];
    let body = json!({ "token": token }).to_string();
    let named = sidecar.connect().post_with("/v1/detokenize", &headers, body.as_bytes());
    assert_eq!(named.json()["value"], "value");
    assert!(!sidecar.metrics().contains("dependency=\"jwks https://id.test\"} 1"));
}

#[test]
fn a_jwt_is_in_no_log() {
    let signer = Signer::eddsa("key");
    let server = JwksServer::start(&jwks(&[&signer]));
    let more = strict() + &issuer(&server.url) + "[log]\nlevel = \"trace\"\n";
    let mut sidecar = Sidecar::serve(&more);
    let jwt = signer.jwt(&session_of("alice-s-session"));
    let forged = Signer::eddsa("key").jwt(&session_of("alice-s-session"));
    let token = sidecar.tokenize("value");
    assert_eq!(reveal(&sidecar, &jwt, &token).code(), "grant_denied");
    assert_eq!(reveal(&sidecar, &forged, &token).code(), "unauthenticated");
    for _ in 0..2 {
        let refused = sidecar.wait_for_line(|line| line.contains("request refused"));
        assert!(refused.is_some(), "nothing is logged at that level");
    }
    let log = sidecar.log();
    for secret in [&jwt, &forged, "alice-s-session"] {
        assert!(!log.contains(secret) && !log.contains(&secret[..secret.len() / 2]), "{secret}");
    }
}

#[tokio::test]
async fn over_grpc_too() {
    let signer = Signer::es256("key");
    let (sidecar, _server) = sidecar(&[&signer]);
    let (alice, bob) = (signer.jwt(&session_of("alice")), signer.jwt(&session_of("bob")));
    let token = granted(&sidecar, &alice, "value");
    let forged = Signer::es256("key").jwt(&session_of("alice"));
    let mut grpc = Grpc::connect(sidecar.socket()).await;
    for (jwt, session, code, reason) in [
        (&alice, None, Code::Ok, None::<&str>),
        (&bob, None, Code::PermissionDenied, Some("grant_denied")),
        (&forged, None, Code::Unauthenticated, Some("unauthenticated")),
        (&alice, Some("bob"), Code::PermissionDenied, Some("forbidden")),
    ] {
        let authorization = format!("Bearer {jwt}");
        let mut head = Grpc::head("Detokenize").header("authorization", authorization);
        if let Some(session) = session {
            head = head.header("lunasec-session", session);
        }
        let request = lunasec_api::grpc::DetokenizeRequest { token: token.clone() };
        let answer = grpc.send(head, framed(&request)).await;
        match reason {
            Some(reason) => assert_eq!(answer.failure(), (code, reason.into(), false)),
            None => {
                let revealed: lunasec_api::grpc::DetokenizeResponse = answer.message();
                assert_eq!(&revealed.value[..], b"value");
            }
        }
    }
}

#[test]
fn check_connect_says_how_the_keys_of_each_issuer_are() {
    let signer = Signer::es256("key");
    let (good, bad) = (JwksServer::start(&jwks(&[&signer])), JwksServer::start("{}"));
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.json");
    let check = |urls: &[&str]| {
        let issuers = urls
            .iter()
            .enumerate()
            .map(|(at, url)| issuer(url).replace(ISSUER, &format!("{ISSUER}/{at}")));
        Sidecar::configure(directory.path(), &(strict() + &issuers.collect::<String>()));
        let config = directory.path().join("lunasec.toml");
        let output =
            lunasec().args(["check", "--connect", "--config"]).arg(config).output().unwrap();
        let words = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.code(), words)
    };
    let (code, words) = check(&[&good.url]);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains(&format!("{ISSUER}/0: {}: 1 of use", good.url)), "{words}");
    let (code, words) = check(&[&good.url, &bad.url, missing.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{words}");
    let lines: Vec<_> = words.lines().filter(|line| line.starts_with("WRONG")).collect();
    assert_eq!(lines.len(), 2, "{words}");
    assert!(
        lines[0].contains("it is not a JWK Set") && lines[0].contains("sessions.jwks"),
        "{words}"
    );
    assert!(lines[1].contains("No such file"), "{words}");
}
