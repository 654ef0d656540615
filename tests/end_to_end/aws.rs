//! The release binary on S3 and KMS, as LocalStack and moto speak them.

use std::{fs, path::Path};

use lunasec_tests::{
    Sidecar,
    apart::{grant, revoke},
    aws::{Cloud, Engine, wait},
    sidecar::{eventually, random_hex},
};
use serde_json::{Value, json};

use super::{contract, grants::verdicts};

mod connect;
pub(crate) mod credentials;
mod files;
mod keys;
mod policy;

const BOTH: [Engine; 2] = [Engine::Moto, Engine::LocalStack];

fn cloud(engine: Engine) -> Cloud {
    wait(Cloud::new(engine))
}

fn storage_requests(sidecar: &Sidecar) -> u64 {
    sidecar.dependency_requests(&["\"storage\""])
}

fn key_calls(sidecar: &Sidecar) -> u64 {
    sidecar.dependency_requests(&["\"keys\""])
}

#[test]
fn every_contract_case_is_answered_on_moto() {
    let directory = tempfile::tempdir().unwrap();
    contract::replay_all(&cloud(Engine::Moto).sidecar(directory.path(), ""));
}

#[test]
fn every_contract_case_is_answered_on_localstack() {
    let directory = tempfile::tempdir().unwrap();
    contract::replay_all(&cloud(Engine::LocalStack).sidecar(directory.path(), ""));
}

#[test]
fn sidecars_share_tokens_and_find_them_again() {
    for engine in BOTH {
        let cloud = cloud(engine);
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut first = cloud.sidecar(one.path(), "");
        let second = cloud.sidecar(two.path(), "");
        let token = first.tokenize("4111 1111 1111 1111");
        let other = second.tokenize("other");
        assert_eq!(second.detokenize(&token).json()["value"], "4111 1111 1111 1111");
        assert_eq!(first.detokenize(&other).json()["value"], "other");
        // One key for both, and each asked KMS once for it.
        assert_eq!(wait(cloud.names("k/default/")).len(), 1);
        for sidecar in [&first, &second] {
            assert_eq!(key_calls(sidecar), 1, "{}", sidecar.metrics());
        }
        second.delete(&token);
        assert_eq!(second.detokenize(&token).code(), "not_found");
        first.stop();
        let again = cloud.sidecar(one.path(), "");
        assert_eq!(again.detokenize(&token).code(), "not_found");
        assert_eq!(again.detokenize(&other).json()["value"], "other");
    }
}

#[test]
fn sidecars_share_grants_and_their_revocations() {
    let cloud = cloud(Engine::Moto);
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut first = cloud.sidecar(one.path(), "");
    let mut second = cloud.sidecar(two.path(), "");
    let (a, b) = (first.tokenize("a"), second.tokenize("b"));
    let (tokens, session) = ([a.as_str(), &b], random_hex(12));
    let until = grant(&first, &session, &tokens);
    assert_eq!(verdicts(&second, &session, &tokens), until);
    assert_eq!(revoke(&second, &session, Some(&tokens[..1])), 1);
    // Whoever has seen it valid believes that for a while.
    restart(&mut first, &cloud, one.path(), "");
    assert_eq!(verdicts(&first, &session, &tokens), ["denied".into(), until[1].clone()]);
    assert_eq!(revoke(&first, &session, None), Value::Null);
    assert_eq!(verdicts(&first, &session, &tokens), ["denied", "denied"]);
    restart(&mut second, &cloud, two.path(), "");
    assert_eq!(verdicts(&second, &session, &tokens), ["denied", "denied"]);
    let until = grant(&second, &session, &tokens);
    assert_eq!(verdicts(&second, &session, &tokens), until);
    restart(&mut first, &cloud, one.path(), "");
    assert_eq!(verdicts(&first, &session, &tokens), until);
    assert_eq!(wait(cloud.names("s/default/")).len(), 1);
    for (name, bytes) in wait(cloud.objects()) {
        let seen = name + &String::from_utf8_lossy(&bytes);
        assert!(!seen.contains(&session), "the bucket shows a session");
    }
}

#[test]
fn a_detokenize_is_one_request_and_the_next_one_none() {
    let cloud = cloud(Engine::Moto);
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = cloud.sidecar(directory.path(), "");
    let requests = |sidecar: &Sidecar, operation: &str| {
        let labels = ["\"storage\"", operation];
        sidecar.dependency_requests(&labels)
    };
    let tokens: Vec<_> = (0..11).map(|at| sidecar.tokenize(&format!("value {at}"))).collect();
    // Near midnight the next day's key is made meanwhile, which reads nothing.
    let puts = requests(&sidecar, "\"put_new\"");
    assert!((12..=13).contains(&puts), "{}", sidecar.metrics());
    sidecar.stop();
    let sidecar = cloud.sidecar(directory.path(), "");
    let reveal = |token: &String| assert_eq!(sidecar.detokenize(token).status, 200);
    // The first one also reads the key.
    reveal(&tokens[10]);
    let gets = || requests(&sidecar, "\"get\"");
    let before = gets();
    tokens[..10].iter().for_each(reveal);
    assert_eq!(gets() - before, 10);
    tokens.iter().for_each(reveal);
    assert_eq!(gets() - before, 10);
    assert!(key_calls(&sidecar) <= 2, "{}", sidecar.metrics());
}

#[test]
fn nothing_in_the_bucket_shows_a_token_or_a_value() {
    let cloud = cloud(Engine::Moto);
    let directory = tempfile::tempdir().unwrap();
    let sidecar = cloud.sidecar(directory.path(), "[log]\nlevel = \"trace\"\n");
    let value = "a value that must not show";
    let token = sidecar.tokenize(value);
    assert_eq!(sidecar.detokenize(&token).status, 200);
    let mut seen = sidecar.log() + &sidecar.metrics();
    for (name, bytes) in wait(cloud.objects()) {
        seen += &name;
        seen += &String::from_utf8_lossy(&bytes);
    }
    let id = token.trim_start_matches("lunasec-");
    for secret in [value, id, &id.replace('-', ""), "AWS4-HMAC", "x-amz-security-token"] {
        assert!(!seen.contains(secret), "{secret}");
    }
}

#[test]
fn a_sidecar_starts_without_its_bucket_and_works_once_that_is_there() {
    for engine in BOTH {
        let mut cloud = cloud(engine);
        let there = std::mem::replace(&mut cloud.place.bucket, "no-such-bucket".into());
        let directory = tempfile::tempdir().unwrap();
        let mut sidecar = cloud.sidecar(directory.path(), "");
        let answer = sidecar.post("/v1/tokenize", &json!({ "value": "x" }));
        assert_eq!((answer.status, answer.code().as_str()), (503, "storage_unavailable"));
        let unknown = lunasec_tests::sidecar::unknown_token();
        assert_eq!(sidecar.detokenize(&unknown).code(), "storage_unavailable");
        assert_log(&sidecar, &["NoSuchBucket", "create the bucket, or correct storage.bucket"]);
        sidecar.stop();
        cloud.place.bucket = there;
        let sidecar = cloud.sidecar(directory.path(), "");
        assert_eq!(sidecar.detokenize(&sidecar.tokenize("x")).json()["value"], "x");
    }
}

#[test]
fn a_sidecar_starts_while_everything_is_away() {
    let mut cloud = cloud(Engine::Moto);
    // Nobody listens on port 1.
    cloud.place.endpoint = Some("http://127.0.0.1:1".into());
    cloud.keys.endpoint = cloud.place.endpoint.clone();
    let directory = tempfile::tempdir().unwrap();
    let sidecar = cloud.sidecar(directory.path(), "");
    let answer = sidecar.post("/v1/tokenize", &json!({ "value": "x" }));
    // The data key is what is missed first, and it lies in storage.
    assert_eq!(answer.code(), "keys_unavailable");
    assert_eq!(answer.json()["retryable"], true);
    assert_log(&sidecar, &["Connection refused", "lunasec check --connect"]);
}

#[test]
fn without_credentials_the_log_says_so() {
    let cloud = cloud(Engine::Moto);
    let directory = tempfile::tempdir().unwrap();
    let config = cloud.configure(directory.path(), "");
    let mut command = cloud.lunasec();
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command.env_remove(name);
    }
    command.env("HOME", directory.path()).args(["serve", "--config"]).arg(config);
    let socket = directory.path().join("lunasec.sock");
    let sidecar = Sidecar::spawn(command, directory.path(), socket).ok().unwrap();
    let answer = sidecar.post("/v1/tokenize", &json!({ "value": "x" }));
    // The data key is what is missed first, and it lies in storage.
    assert_eq!(answer.code(), "keys_unavailable");
    assert_log(&sidecar, &["no AWS credentials were found"]);
}

#[test]
fn deletes_on_a_versioned_bucket_leave_only_what_does_not_open_by_itself() {
    for engine in BOTH {
        let cloud = cloud(engine);
        wait(cloud.version_bucket());
        let directory = tempfile::tempdir().unwrap();
        let sidecar = cloud.sidecar(directory.path(), "");
        let token = sidecar.tokenize("value");
        sidecar.delete(&token);
        assert_eq!(sidecar.detokenize(&token).code(), "not_found");
        // The lifecycle rule that `check --connect` asks for removes it.
        assert_eq!(wait(cloud.noncurrent_versions()), 1);
    }
}

fn assert_log(sidecar: &Sidecar, words: &[&str]) {
    for words in words {
        eventually(&format!("{words} in\n{}", sidecar.log()), || sidecar.log().contains(words));
    }
}

fn restart(sidecar: &mut Sidecar, cloud: &Cloud, directory: &Path, extra: &str) {
    sidecar.stop();
    let _ = fs::remove_file(sidecar.socket());
    sidecar.replace(cloud.sidecar(directory, extra));
}
