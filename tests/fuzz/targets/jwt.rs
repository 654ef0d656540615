//! No text but the JWT that was signed proves anything, and no set of keys makes the reader stumble.
#![no_main]

use std::{
    path::PathBuf,
    sync::LazyLock,
    time::Duration,
};

use libfuzzer_sys::fuzz_target;
use lunasec_sidecar::{
    config::{Issuer, Jwks},
    sessions::{Jwt, KeySet, Refused, bearer},
};
use ring::signature::{Ed25519KeyPair, KeyPair};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};

/// A JWT that is proven, so that the fuzzer begins next to one.
struct Signed {
    text: String,
    keys: KeySet,
    issuer: Issuer,
}

static SIGNED: LazyLock<Signed> = LazyLock::new(|| {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let part = |text: &str| BASE64URL.encode(text);
    let header = part(r#"{"alg":"EdDSA","typ":"JWT","kid":"key"}"#);
    let claims = part(
        r#"{"iss":"https://id.test","aud":["shop"],"sid":"alice","exp":1763946000,"nbf":1763942400}"#,
    );
    let signed = format!("{header}.{claims}");
    let signature = BASE64URL.encode(pair.sign(signed.as_bytes()));
    let x = BASE64URL.encode(pair.public_key());
    let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"key","x":"{x}"}}]}}"#);
    Signed {
        text: format!("{signed}.{signature}"),
        keys: KeySet::parse(set.as_bytes()).unwrap(),
        issuer: Issuer {
            issuer: "https://id.test".into(),
            audience: "shop".into(),
            jwks: Jwks::File(PathBuf::new()),
            session_claim: "sid".into(),
            skew: Duration::ZERO,
        },
    }
});

fuzz_target!(|bytes: &[u8]| {
    let _ = KeySet::parse(bytes);
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Some(jwt) = bearer(text) {
        assert!(text.ends_with(jwt));
    }
    // As it is, in the parts of the JWT that is proven, and as changes to that.
    prove(text);
    let [header, claims, signature]: [&str; 3] =
        SIGNED.text.split('.').collect::<Vec<_>>().try_into().unwrap();
    prove(&format!("{}.{claims}.{signature}", BASE64URL.encode(text)));
    prove(&format!("{header}.{}.{signature}", BASE64URL.encode(text)));
    prove(&format!("{header}.{claims}.{text}"));
    let changed: Vec<u8> = SIGNED
        .text
        .bytes()
        .enumerate()
        .map(|(at, byte)| byte ^ bytes.get(at).copied().unwrap_or_default() & 0x7f)
        .chain(bytes.iter().skip(SIGNED.text.len()).copied())
        .collect();
    if let Ok(changed) = str::from_utf8(&changed) {
        prove(changed);
    }
});

fn prove(text: &str) {
    let Signed { text: signed, keys, issuer } = &*SIGNED;
    let jwt = match Jwt::parse(text) {
        Ok(jwt) => jwt,
        Err(_) => {
            assert_ne!(text, signed);
            return;
        }
    };
    let found = jwt.prove(keys, issuer);
    assert_eq!(found.is_ok(), text == signed, "{:?}", found.err());
    if let Ok(claims) = found {
        assert_eq!(claims.session.expose(), "alice");
        assert_eq!(claims.check(1_763_942_399_999), Err(Refused::Future));
        assert_eq!(claims.check(1_763_942_400_000), Ok(()));
        assert_eq!(claims.check(1_763_945_999_999), Ok(()));
        assert_eq!(claims.check(1_763_946_000_000), Err(Refused::Expired));
    }
}
