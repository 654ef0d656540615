//! Keys that are read over TLS: only of a server that an authority of this machine vouches for.

use std::time::{Duration, SystemTime};

use lunasec_tests::{
    Sidecar,
    apart::strict,
    authority::{Authority, Identity},
    issuer::{JwksServer, Signer, jwks},
};

use super::{granted, issuer, issuers, reveal, session_of};

/// A sidecar on a machine that trusts one authority, and what says who vouches for its issuer.
fn on_a_machine_that_trusts(
    authority: &Authority,
    server: &JwksServer,
) -> (tempfile::TempDir, Sidecar) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("authorities.pem");
    authority.write(&file);
    let variables = [("SSL_CERT_FILE", file.to_str().unwrap())];
    let extra = strict() + &issuer(&server.url);
    let sidecar = Sidecar::serve_with(directory.path(), &extra, &variables);
    (directory, sidecar)
}

#[test]
fn keys_come_over_tls_from_a_server_that_is_vouched_for() {
    let signer = Signer::es256("key");
    let authority = Authority::new("a company's own");
    let server = JwksServer::start_tls(&jwks(&[&signer]), authority.identity("127.0.0.1"));
    let (_directory, sidecar) = on_a_machine_that_trusts(&authority, &server);
    let jwt = signer.jwt(&session_of("alice"));
    let token = granted(&sidecar, &jwt, "value");
    assert_eq!(reveal(&sidecar, &jwt, &token).json()["value"], "value");
    assert_eq!(issuers(&sidecar)[0]["state"], "up");
    assert_eq!(server.requests(), 1);
}

#[test]
fn keys_of_a_server_that_nobody_vouches_for_are_not_asked_for() {
    let signer = Signer::es256("key");
    let jwt = signer.jwt(&session_of("alice"));
    let (trusted, stranger) = (Authority::new("trusted"), Authority::new("stranger"));
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    let identities: [(Identity, &str); 3] = [
        (stranger.identity("127.0.0.1"), "UnknownIssuer"),
        (trusted.identity("id.test"), "not valid for name"),
        (trusted.identity_until("127.0.0.1", Some(yesterday)), "expired"),
    ];
    for (identity, reason) in identities {
        let server = JwksServer::start_tls(&jwks(&[&signer]), identity);
        let (_directory, sidecar) = on_a_machine_that_trusts(&trusted, &server);
        let refused = reveal(&sidecar, &jwt, &sidecar.tokenize("value"));
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (503, "keys_unavailable"),
            "{reason}"
        );
        assert_eq!(issuers(&sidecar)[0]["reason"], "reads fail: unreachable", "{reason}");
        assert!(sidecar.log().contains(reason), "{reason}: {}", sidecar.log());
        assert_eq!(server.requests(), 0, "{reason}");
    }
}

/// A machine without any authorities says so, instead of believing whoever answers.
#[test]
fn without_authorities_that_is_said() {
    let signer = Signer::es256("key");
    let authority = Authority::new("a company's own");
    let server = JwksServer::start_tls(&jwks(&[&signer]), authority.identity("127.0.0.1"));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("empty.pem");
    std::fs::write(&file, "").unwrap();
    let variables = [("SSL_CERT_FILE", file.to_str().unwrap()), ("SSL_CERT_DIR", "/nonexistent")];
    let extra = strict() + &issuer(&server.url);
    let sidecar = Sidecar::serve_with(directory.path(), &extra, &variables);
    let refused = reveal(&sidecar, &signer.jwt(&session_of("alice")), &sidecar.tokenize("value"));
    assert_eq!(refused.code(), "keys_unavailable");
    assert_eq!(issuers(&sidecar)[0]["reason"], "reads fail: no_authorities");
    assert_eq!(server.requests(), 0);
}
