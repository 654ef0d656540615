use std::{collections::HashMap, fs, sync::Barrier, thread};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use lunasec_tests::{Answer, Dice, Raw, Sidecar};
use serde_json::{Value, json};

fn token(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn tokens(answer: &Answer) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.iter().map(|item| item["token"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn fifty_duplicates_at_once_get_one_token_and_one_record() {
    let sidecar = Sidecar::dev();
    for round in 0..5u64 {
        let (key, body) = (format!("key-{round}"), json!({ "value": round.to_string() }));
        let barrier = Barrier::new(50);
        let ask = |mut raw: Raw| {
            barrier.wait();
            let headers = [("idempotency-key", &*key)];
            token(&raw.post_with("/v1/tokenize", &headers, body.to_string().as_bytes()))
        };
        let connections: Vec<_> = (0..50).map(|_| sidecar.connect()).collect();
        let tokens: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> =
                connections.into_iter().map(|raw| scope.spawn(|| ask(raw))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(tokens.iter().all(|token| *token == tokens[0]));
        assert_eq!(sidecar.stored_records(), round + 1);
    }
}

#[test]
fn a_retry_finds_its_token_after_a_stop_and_after_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = Sidecar::dev_in(directory.path());
    let body = json!({ "value": "value", "metadata": { "a": 1 }, "expires_in": "1h" });
    let items = json!({ "items": [{ "value": "a" }, { "value": "a" }, { "value": "b" }] });
    let single = token(&sidecar.post_once("/v1/tokenize", "key", &body));
    let batch = tokens(&sidecar.post_once("/v1/tokenize:batch", "key", &items));
    for unclean in [false, true, true] {
        if unclean {
            sidecar.kill();
        } else {
            sidecar.stop();
        }
        sidecar = Sidecar::dev_in(directory.path());
        assert_eq!(token(&sidecar.post_once("/v1/tokenize", "key", &body)), single);
        assert_eq!(tokens(&sidecar.post_once("/v1/tokenize:batch", "key", &items)), batch);
        let other = sidecar.post_once("/v1/tokenize", "key", &json!({ "value": "other" }));
        assert_eq!((other.status, &*other.code()), (409, "conflict"));
    }
    assert_eq!(sidecar.stored_records(), 2 + 3);
}

#[test]
fn another_namespace_is_another_request() {
    let sidecar = Sidecar::dev();
    let body = json!({ "value": "value" }).to_string();
    let in_namespace = |namespace: &str| {
        let headers = [("idempotency-key", "key"), ("lunasec-namespace", namespace)];
        token(&sidecar.connect().post_with("/v1/tokenize", &headers, body.as_bytes()))
    };
    let (one, other) = (in_namespace("one"), in_namespace("other"));
    assert_ne!(one, other);
    assert_eq!((in_namespace("one"), in_namespace("other")), (one, other));
}

#[test]
fn a_batch_that_differs_is_a_conflict_and_nothing_of_it_is_stored() {
    let sidecar = Sidecar::dev();
    let batch = |values: &[&str]| {
        let items: Vec<_> = values.iter().map(|value| json!({ "value": value })).collect();
        sidecar.post_once("/v1/tokenize:batch", "key", &json!({ "items": items }))
    };
    let first = tokens(&batch(&["aa", "bb", "cc"]));
    for other in [
        &["aa", "bb", "xx"][..],
        &["cc", "bb", "aa"],
        &["aa", "bb"],
        &["aa", "bb", "cc", "dd"],
        &["aa", "bb", "cc", "aa"],
    ] {
        let answer = batch(other);
        assert_eq!((answer.status, &*answer.code()), (409, "conflict"), "{other:?}");
        assert_eq!(answer.json()["retryable"], false);
    }
    assert_eq!(sidecar.stored_records(), 3);
    assert_eq!(tokens(&batch(&["aa", "bb", "cc"])), first);
    // A single value under the same key is a request of its own.
    let single = token(&sidecar.post_once("/v1/tokenize", "key", &json!({ "value": "aa" })));
    assert!(!first.contains(&single));
}

#[test]
fn a_key_that_is_none_is_said_to_be_invalid() {
    let sidecar = Sidecar::dev();
    let body = json!({ "value": "value" }).to_string();
    let long = "k".repeat(256);
    for key in ["", "a b", "a\tb", &long, "schlüssel"] {
        let headers = [("idempotency-key", key)];
        let answer = sidecar.connect().post_with("/v1/tokenize", &headers, body.as_bytes());
        assert_eq!((answer.status, &*answer.code()), (400, "invalid_request"), "{key:?}");
        if key.len() > 1 {
            assert!(!answer.text().contains(key), "it is echoed: {}", answer.text());
        }
    }
    let twice = [("idempotency-key", "a"), ("idempotency-key", "a")];
    let answer = sidecar.connect().post_with("/v1/tokenize", &twice, body.as_bytes());
    assert_eq!((answer.status, &*answer.code()), (400, "invalid_request"));
    assert_eq!(sidecar.stored_records(), 0);
    for key in ["a", &long[1..], "order/1:2?x=%20\"'"] {
        token(&sidecar.post_once("/v1/tokenize", key, &json!({ "value": "value" })));
    }
}

#[test]
fn a_retry_after_a_delete_gets_the_token_that_remains_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = Sidecar::dev_in(directory.path());
    let body = json!({ "value": "value", "metadata": { "a": 1 } });
    let first = token(&sidecar.post_once("/v1/tokenize", "key", &body));
    sidecar.delete(&first);
    for _ in 0..2 {
        assert_eq!(token(&sidecar.post_once("/v1/tokenize", "key", &body)), first);
        assert_eq!(sidecar.detokenize(&first).code(), "not_found");
        sidecar.kill();
        sidecar = Sidecar::dev_in(directory.path());
    }
    assert_eq!(sidecar.detokenize(&first).code(), "not_found");
    assert_eq!(sidecar.stored_records(), 2);
}

/// Killed at random moments, clients repeat what they have no answer to. However often, one record
/// is stored for each key, and a token that was once given stays the token.
#[test]
fn retries_across_kill_9_store_nothing_twice() {
    const CLIENTS: usize = 8;
    const KEYS: usize = 40;
    let directory = tempfile::tempdir().unwrap();
    let mut dice = Dice::new();
    let mut given: Vec<HashMap<usize, String>> = vec![HashMap::new(); CLIENTS];
    for _ in 0..8 {
        let mut sidecar = Sidecar::dev_in(directory.path());
        let (sender, answered) = std::sync::mpsc::channel();
        given = thread::scope(|scope| {
            let clients: Vec<_> = given
                .into_iter()
                .enumerate()
                .map(|(client, given)| {
                    let (raw, sender) = (sidecar.connect(), sender.clone());
                    scope.spawn(move || {
                        retry_all(raw, client, KEYS, given, || {
                            let _ = sender.send(());
                        })
                    })
                })
                .collect();
            drop(sender);
            // The channel ends early when every client has all its answers.
            let _ = answered.iter().take(dice.below(CLIENTS * KEYS)).count();
            sidecar.kill();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
    }
    let sidecar = Sidecar::dev_in(directory.path());
    for (client, given) in given.into_iter().enumerate() {
        let all = retry_all(sidecar.connect(), client, KEYS, given, || ());
        for (key, token) in all {
            assert_eq!(sidecar.detokenize(&token).json()["value"], value(client, key));
        }
    }
    assert_eq!(sidecar.stored_records(), 2 * (CLIENTS * KEYS) as u64);
}

fn value(client: usize, key: usize) -> String {
    format!("value {key} of client {client}")
}

/// Sends every key once and compares with what earlier rounds gave, until the sidecar is gone.
fn retry_all(
    mut raw: Raw,
    client: usize,
    keys: usize,
    mut given: HashMap<usize, String>,
    answered: impl Fn(),
) -> HashMap<usize, String> {
    for key in 0..keys {
        let body = json!({ "value": value(client, key), "metadata": { "key": key } }).to_string();
        let name = format!("{client}/{key}");
        let headers = [("idempotency-key", &*name)];
        let Ok(answer) = raw.try_post_with("/v1/tokenize", &headers, body.as_bytes()) else {
            break;
        };
        let token = token(&answer);
        let first = given.entry(key).or_insert_with(|| token.clone());
        assert_eq!(*first, token, "{name} got a second token");
        answered();
    }
    given
}

#[test]
fn nothing_at_rest_shows_a_token_a_value_or_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = Sidecar::dev_in(directory.path());
    let mut secrets = vec![b"an-idempotency-key-to-look-for".to_vec()];
    for at in 0..20 {
        let value = format!("a value to look for {at}");
        let body = json!({ "value": value, "metadata": { "hidden": format!("metadata {at}") } });
        let answer = match at % 2 {
            0 => sidecar.post_once(
                "/v1/tokenize",
                &format!("an-idempotency-key-to-look-for-{at}"),
                &body,
            ),
            _ => sidecar.post("/v1/tokenize", &body),
        };
        let token = token(&answer);
        let raw = bytes_of(&token);
        secrets.extend([raw.to_vec(), raw.iter().rev().copied().collect()]);
        secrets.push(BASE64.encode(raw).into_bytes());
        secrets.push(token.replace('-', "").into_bytes());
        secrets.push(token.trim_start_matches("lunasec-").as_bytes().to_vec());
        secrets.extend([BASE64.encode(&value).into_bytes(), value.into_bytes()]);
        secrets.push(format!("metadata {at}").into_bytes());
        if at % 4 == 0 {
            sidecar.delete(&token);
        }
    }
    assert_hidden(directory.path(), &secrets);
    sidecar.stop();
    assert_eq!(assert_hidden(directory.path(), &secrets), 4, "files looked at");
    // The search finds what is there.
    fs::write(directory.path().join("leak"), &secrets[5]).unwrap();
    let found = std::panic::catch_unwind(|| assert_hidden(directory.path(), &secrets));
    assert!(found.is_err());
}

fn bytes_of(token: &str) -> [u8; 16] {
    let digits = token.trim_start_matches("lunasec-").replace('-', "");
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
    }
    bytes
}

/// Looks into every file but sockets and locks; how many it were.
fn assert_hidden(directory: &std::path::Path, secrets: &[Vec<u8>]) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files += assert_hidden(&entry.path(), secrets);
        }
        if !kind.is_file() || entry.file_name().to_string_lossy().ends_with(".lock") {
            continue;
        }
        files += 1;
        let bytes = fs::read(entry.path()).unwrap();
        for (at, secret) in secrets.iter().enumerate() {
            let found = bytes.windows(secret.len()).any(|window| window == &secret[..]);
            assert!(!found, "secret {at} lies in {:?}", entry.file_name());
        }
    }
    files
}

#[test]
fn other_bodies_are_other_requests_whatever_differs() {
    let sidecar = Sidecar::dev();
    let body = |change: &dyn Fn(&mut Value)| {
        let mut body = json!({ "value": "dmFsdWU=", "metadata": { "a": 1 }, "expires_in": "1h" });
        change(&mut body);
        body
    };
    let first = token(&sidecar.post_once("/v1/tokenize", "key", &body(&|_| ())));
    for other in [
        body(&|body| body["value"] = "dmFsdWUy".into()),
        body(&|body| body["encoding"] = "base64".into()),
        body(&|body| body["metadata"] = json!({ "a": 2 })),
        body(&|body| drop(body.as_object_mut().unwrap().remove("metadata"))),
        body(&|body| body["expires_in"] = "2h".into()),
        body(&|body| drop(body.as_object_mut().unwrap().remove("expires_in"))),
    ] {
        let answer = sidecar.post_once("/v1/tokenize", "key", &other);
        assert_eq!((answer.status, &*answer.code()), (409, "conflict"), "{other}");
    }
    assert_eq!(token(&sidecar.post_once("/v1/tokenize", "key", &body(&|_| ()))), first);
}
