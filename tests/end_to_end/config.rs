//! `lunasec check` and `lunasec serve` with real files.

use std::{fs, process::Output};

use lunasec_tests::{Sidecar, sidecar::lunasec};

fn check(text: &str, variables: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("lunasec.toml"), text).unwrap();
    let mut command = lunasec();
    command.current_dir(directory.path()).arg("check").envs(variables.iter().copied());
    command.output().unwrap()
}

const GOOD: &str = "[storage]\nkind = \"embedded\"\npath = \"store.redb\"\n\
                    [keys]\nkind = \"local\"\npath = \"local.key\"\n";

#[test]
fn a_good_file_passes() {
    let output = check(GOOD, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"lunasec.toml: no mistakes\n");
}

#[test]
fn every_mistake_is_named_at_once_with_its_place() {
    let text = GOOD.to_owned()
        + "[limits]\nvalue = \"2 MiB\"\nidle_tiem = \"5m\"\n[listen]\nmode = \"0666\"\n";
    let output = check(&text, &[("LUNASEC_LOG__LEVEL", "loud"), ("LUNASEC_SOCKET", "/x")]);
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8(output.stderr).unwrap();
    for expected in [
        "4 mistakes",
        "lunasec.toml:8:9: ",
        "lunasec.toml:9:1: ",
        "idle_time",
        "lunasec.toml:11:8: ",
        "LUNASEC_LOG__LEVEL: ",
    ] {
        assert!(words.contains(expected), "{expected} is not in:\n{words}");
    }
}

#[test]
fn serve_refuses_a_bad_file_before_it_binds_anything() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("lunasec.sock");
    let text = format!("{GOOD}[listen]\nsocket = \"{}\"\nmoed = 1\n", socket.display());
    fs::write(directory.path().join("lunasec.toml"), text).unwrap();
    let output = lunasec().current_dir(directory.path()).arg("serve").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(!socket.exists());
    assert!(!directory.path().join("store.redb").exists());
}

#[test]
fn the_schema_is_json() {
    let output = lunasec().args(["check", "--schema"]).output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["additionalProperties"], false);
}

#[test]
fn a_configured_sidecar_keeps_its_limits() {
    let sidecar = Sidecar::serve("[limits]\nvalue = \"16 B\"\nbatch_items = 2\n");
    let sixteen = serde_json::json!({ "value": "0123456789abcdef" });
    assert_eq!(sidecar.post("/v1/tokenize", &sixteen).status, 200);
    let seventeen = serde_json::json!({ "value": "0123456789abcdefg" });
    assert_eq!(sidecar.post("/v1/tokenize", &seventeen).code(), "payload_too_large");
    let three = serde_json::json!({ "items": [sixteen, sixteen, sixteen] });
    assert_eq!(sidecar.post("/v1/tokenize:batch", &three).code(), "invalid_request");
}

#[test]
fn variables_override_a_sidecar_for_development_too() {
    let sidecar = Sidecar::dev_with(&[("LUNASEC_LIMITS__VALUE", "16 B")]);
    let seventeen = serde_json::json!({ "value": "0123456789abcdefg" });
    assert_eq!(sidecar.post("/v1/tokenize", &seventeen).code(), "payload_too_large");
    let directory = tempfile::tempdir().unwrap();
    let mut command = lunasec();
    command.arg("dev").arg("--dir").arg(directory.path()).env("LUNASEC_LOG__LEVEL", "bogus");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("LUNASEC_LOG__LEVEL"));
    assert!(!directory.path().join("store.redb").exists());
}

#[test]
fn status_tells_a_person_and_a_program() {
    let sidecar = Sidecar::dev();
    let run = |arguments: &[&str]| {
        let mut command = lunasec();
        command.arg("status").args(arguments).arg("--socket").arg(sidecar.socket());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(&[]).contains("storage  up since "));
    let status: serde_json::Value = serde_json::from_str(&run(&["--json"])).unwrap();
    assert_eq!(status["dependencies"]["keys"]["state"], "up");
    let none = lunasec().args(["status", "--socket", "/nonexistent.sock"]).output().unwrap();
    assert_eq!(none.status.code(), Some(1));
}
