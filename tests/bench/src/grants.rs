//! What a warm grant adds to a detokenize, and how a warm verify compares with it.
//!
//! Two sidecars: one whose policy asks for grants, and one whose does not. Every answer of both
//! comes from memory.

use lunasec_tests::{
    Sidecar,
    apart::{grant, strict},
    aws::{Cloud, Engine, wait},
    raw,
};
use serde_json::json;

use crate::{
    load::Wait,
    median, process,
    rates::{LOAD_CORE, SERVER_CORE, Taken, take},
    row,
};

const CONNECTIONS: usize = 16;
const SESSION: &str = "3f2b8a5c-user-session";

pub(crate) fn measure(rounds: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let open = strict().replace("require_grant = true", "require_grant = false");
    let (free, strict_one) = (Sidecar::serve(&open), Sidecar::serve(&strict()));
    rows.extend(compare("embedded store", &free, &strict_one, rounds));
    drop((free, strict_one));
    let cloud = wait(Cloud::new(Engine::LocalStack));
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (free, strict_one) =
        (cloud.sidecar(one.path(), &open), cloud.sidecar(other.path(), &strict()));
    rows.extend(compare("S3 and KMS", &free, &strict_one, rounds));
    rows
}

fn compare(store: &str, free: &Sidecar, strict: &Sidecar, rounds: usize) -> [String; 2] {
    for sidecar in [free, strict] {
        process::pin(Some(sidecar.pid()), SERVER_CORE);
    }
    process::pin(None, LOAD_CORE);
    let [without, with] = [free, strict].map(Asked::new);
    let (mut added, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let floor = ask(free, &without.detokenize);
        let granted = ask(strict, &with.detokenize);
        let verified = ask(strict, &with.verify);
        added.push(granted.cpu_per_request - floor.cpu_per_request);
        ratios.push(verified.rate / floor.rate);
    }
    process::pin_anywhere();
    let added = format!("{:.2} µs", median(added));
    let ratio = format!("{:.2}", median(ratios));
    let figure = format!("server CPU added to a detokenize by a warm grant, {store}");
    let rate = format!("warm verify ÷ cached detokenize, {store}");
    [row(&figure, &added, "", "≤ 1 µs"), row(&rate, &ratio, "≥ 0.9", "")]
}

/// What a sidecar is asked, about a token of its own.
struct Asked {
    detokenize: Vec<u8>,
    verify: Vec<u8>,
}

impl Asked {
    fn new(sidecar: &Sidecar) -> Self {
        let token = sidecar.tokenize("4111 1111 1111 1111");
        assert!(grant(sidecar, SESSION, &[&token])[0].is_string());
        let detokenize = json!({ "token": token }).to_string();
        let verify = json!({ "session": SESSION, "tokens": [token] }).to_string();
        let session = [("lunasec-session", SESSION)];
        Self {
            detokenize: raw::request("/v1/detokenize", &session, detokenize.as_bytes()),
            verify: raw::request("/v1/grants/verify", &[], verify.as_bytes()),
        }
    }
}

fn ask(sidecar: &Sidecar, request: &[u8]) -> Taken {
    take(sidecar.socket(), sidecar.pid(), request, CONNECTIONS, Wait::Spinning)
}
