//! Expiry and sweep, through the command line.

use lunasec_tests::{Sidecar, sidecar::lunasec};
use serde_json::json;

fn sweep(arguments: &[&str]) -> (Option<i32>, String) {
    let output = lunasec().arg("sweep").args(arguments).output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(words).unwrap())
}

#[test]
fn what_expired_is_gone_at_read_and_then_swept_and_nothing_else_is() {
    let mut sidecar = Sidecar::serve("");
    let kept = sidecar.tokenize("kept");
    let items: Vec<_> =
        (0..1_000).map(|at| json!({ "value": format!("{at}"), "expires_in": "1ms" })).collect();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let answer = sidecar.post("/v1/tokenize:batch", &json!({ "items": items })).json();
        tokens.push(answer["items"][0]["token"].as_str().unwrap().to_owned());
    }
    let deleted = sidecar.tokenize("deleted");
    let answer = sidecar.post("/v1/delete", &json!({ "tokens": [deleted] })).json();
    assert_eq!(answer["items"][0]["deleted"], true);
    assert_eq!(sidecar.detokenize(&tokens[0]).code(), "expired");

    let socket = sidecar.socket().to_str().unwrap().to_owned();
    let dry = ["--socket", &socket, "--grace", "0s", "--dry-run"];
    let (code, words) = sweep(&dry);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("would remove 2000 expired, 0 tombstones"), "{words}");
    // The kept one, 2,000 expired ones, and a tombstone for the deleted one's value and metadata.
    assert!(words.contains("examined 2003 records with 4 storage requests"), "{words}");
    assert_eq!(sidecar.stored_records(), 2_003);
    let (_, words) = sweep(&dry[..4]);
    assert!(words.contains("removed 2000 expired, 0 tombstones"), "{words}");
    assert!(words.contains("requests per million records"), "{words}");
    assert_eq!(sidecar.stored_records(), 3);
    assert_eq!(sidecar.detokenize(&tokens[1]).code(), "not_found");
    assert_eq!(sidecar.detokenize(&kept).json()["value"], "kept");
    assert_eq!(sidecar.detokenize(&deleted).code(), "not_found");

    let (code, words) = sweep(&["--socket", &socket, "--tombstone-grace", "47h"]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("at least 48h"), "{words}");

    // Of a stopped sidecar, through its store; of a running one that is refused.
    let config = sidecar.directory().join("lunasec.toml").to_str().unwrap().to_owned();
    let (code, words) = sweep(&["--config", &config]);
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("another process"), "{words}");
    sidecar.stop();
    let (code, words) = sweep(&["--config", &config]);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("examined 3 records with 2 storage requests"), "{words}");
}
