use std::{
    process::{Command, Output},
    thread,
    time::Duration,
};

use lunasec_tests::{Sidecar, sidecar::lunasec};
use serde_json::json;

use crate::storm::Storm;

fn sweep(sidecar: &Sidecar, arguments: &[&str]) -> Output {
    let mut command: Command = lunasec();
    command.args(["sweep", "--socket"]).arg(sidecar.socket()).args(arguments);
    command.output().unwrap()
}

fn says(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn tokenize_for(sidecar: &Sidecar, value: &str, expires_in: &str) -> String {
    let body = json!({ "value": value, "expires_in": expires_in, "metadata": { "a": 1 } });
    let answer = sidecar.post("/v1/tokenize", &body);
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn wait_until_expired(sidecar: &Sidecar, token: &str) {
    loop {
        let answer = sidecar.detokenize(token);
        if answer.status != 200 {
            assert_eq!((answer.status, &*answer.code()), (410, "expired"));
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_has_expired_is_gone_for_readers_and_then_for_good() {
    let sidecar = Sidecar::dev();
    let expired: Vec<_> = (0..3).map(|_| tokenize_for(&sidecar, "short", "50ms")).collect();
    let alive = tokenize_for(&sidecar, "long", "1h");
    let deleted = sidecar.tokenize("deleted");
    sidecar.delete(&deleted);
    for token in &expired {
        wait_until_expired(&sidecar, token);
    }
    let dry = says(&sweep(&sidecar, &["--grace", "0s", "--dry-run"]));
    assert!(dry.starts_with("would remove 6 expired, 0 tombstones\n"), "{dry}");
    assert_eq!(sidecar.stored_records(), 10);
    // Without a grace, what has just expired is kept.
    assert!(says(&sweep(&sidecar, &[])).starts_with("removed 0 expired, 0 tombstones\n"));
    let said = says(&sweep(&sidecar, &["--grace", "0s", "--tombstone-grace", "48h"]));
    assert!(said.starts_with("removed 6 expired, 0 tombstones\n"), "{said}");
    assert!(said.contains("examined 10 records with 8 storage requests\n"), "{said}");
    assert!(said.contains("that is 800000 requests per million records"), "{said}");
    assert_eq!(sidecar.stored_records(), 4);
    assert_eq!(sidecar.detokenize(&alive).json()["value"], "long");
    assert_eq!(sidecar.detokenize(&deleted).code(), "not_found");
    assert_eq!(sidecar.detokenize(&expired[0]).code(), "not_found");
}

#[test]
fn tombstones_cannot_be_swept_early() {
    let sidecar = Sidecar::dev();
    let token = sidecar.tokenize("deleted");
    sidecar.delete(&token);
    for grace in ["0s", "1h", "47h", "172799999ms"] {
        let output = sweep(&sidecar, &["--tombstone-grace", grace]);
        assert_eq!(output.status.code(), Some(1));
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(words.contains("48h"), "{words}");
    }
    assert_eq!(sidecar.stored_records(), 2);
    let output = sweep(&sidecar, &["--grace", "soon"]);
    assert!(!output.status.success());
}

#[test]
fn many_pages_beside_large_values_and_active_writers() {
    let mut sidecar = Sidecar::dev();
    let large = tokenize_for(&sidecar, &"v".repeat(1 << 20), "50ms");
    let items: Vec<_> =
        (0..500).map(|at| json!({ "value": at.to_string(), "expires_in": "50ms" })).collect();
    let mut last = large;
    for _ in 0..5 {
        let answer = sidecar.post("/v1/tokenize:batch", &json!({ "items": items })).json();
        last = answer["items"][499]["token"].as_str().unwrap().to_owned();
    }
    let kept = sidecar.tokenize("kept");
    wait_until_expired(&sidecar, &last);
    let storm = Storm::begin(&sidecar, 4);
    storm.wait_for(20);
    let said = says(&sweep(&sidecar, &["--grace", "0s"]));
    // 2,500 values and the large one with its metadata; its other record is swept with it.
    assert!(said.starts_with("removed 2502 expired, 0 tombstones\n"), "{said}");
    storm.wait_for(20);
    assert!(says(&sweep(&sidecar, &["--grace", "0s"])).starts_with("removed 0 expired"));
    assert_eq!(sidecar.detokenize(&kept).json()["value"], "kept");
    let socket = sidecar.directory().to_owned();
    sidecar.kill();
    let ledger = storm.end();
    ledger.check(&Sidecar::dev_in(&socket));
}
