//! Holds: the head and the body of somebody's tokenize, idempotency key and all, and a place among the clients of the
//! policy. Lacks: the answer.
//!
//! Tries: to send it again, to be told the token; also in another namespace, and with another body. Stopped by: what is
//! remembered of a tokenize belongs to the user and client that made it, its namespace, and its body.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
};

use lunasec_tests::{
    Answer,
    raw::{Raw, stream_as},
};
use serde_json::{Value, json};

use crate::{
    attack::{End, OWN, SECRET, decide},
    storage::{Pod, cloud, pod},
};

const SHOP: u32 = 20_001;
const OTHER: u32 = 20_002;
const KEY: &str = "order-7";

/// Two clients with the same rights.
fn two_clients() -> Pod {
    clients_by("uid")
}

fn clients_by(id: &str) -> Pod {
    let client = |name: &str, number: u32| {
        format!(
            "[[clients]]\nname = \"{name}\"\n{id} = {number}\nnamespaces = [\"default\", \"others\"]\n\
             operations = [\"tokenize\", \"detokenize\"]\n"
        )
    };
    let pod = pod(&cloud(), &(client("shop", SHOP) + &client("other", OTHER)));
    fs::set_permissions(pod.directory(), Permissions::from_mode(0o711)).unwrap();
    fs::set_permissions(pod.socket(), Permissions::from_mode(0o666)).unwrap();
    pod
}

fn tokenize(pod: &Pod, uid: u32, namespace: &str, body: &Value) -> Answer {
    tokenize_as(pod, (uid, uid), namespace, body)
}

fn tokenize_as(pod: &Pod, (uid, gid): (u32, u32), namespace: &str, body: &Value) -> Answer {
    let headers = [("idempotency-key", KEY), ("lunasec-namespace", namespace)];
    let mut raw = Raw::over(stream_as(pod.socket(), uid, gid, &[]));
    raw.post_with("/v1/tokenize", &headers, body.to_string().as_bytes())
}

fn token(answer: &Answer) -> String {
    answer.json()["token"].as_str().unwrap_or_else(|| panic!("{}", answer.text())).to_owned()
}

/// The victim's tokenize; sent again by the victim it gives the same token.
fn victims(pod: &Pod, body: &Value) -> String {
    let given = token(&tokenize(pod, SHOP, "default", body));
    assert_eq!(token(&tokenize(pod, SHOP, "default", body)), given);
    given
}

/// Whether an answer tells the victim's token.
fn end(answer: &Answer, victims: &str) -> End {
    match answer.json()["token"].as_str() {
        Some(token) if token == victims => End::Took(token.into()),
        Some(_) => End::Stopped("another token".into()),
        None => End::Stopped(answer.code()),
    }
}

#[test]
fn by_another_client() {
    let (pod, body) = (two_clients(), json!({ "value": SECRET }));
    let victims = victims(&pod, &body);
    let end = end(&tokenize(&pod, OTHER, "default", &body), &victims);
    decide("caller-of-an-attempt", &end, &victims, "another token");
}

/// The policy tells them apart by their groups alone.
#[test]
fn by_another_client_of_the_same_user() {
    let (pod, body) = (clients_by("gid"), json!({ "value": SECRET }));
    let given = || token(&tokenize_as(&pod, (SHOP, SHOP), "default", &body));
    let victims = given();
    assert_eq!(given(), victims);
    let end = end(&tokenize_as(&pod, (SHOP, OTHER), "default", &body), &victims);
    decide("client-of-an-attempt", &end, &victims, "another token");
}

#[test]
fn in_another_namespace() {
    let (pod, body) = (two_clients(), json!({ "value": SECRET }));
    let victims = victims(&pod, &body);
    let end = end(&tokenize(&pod, SHOP, "others", &body), &victims);
    decide("namespace-of-an-attempt", &end, &victims, "another token");
}

/// He has the key, of a number that counts up, and not what was sealed.
#[test]
fn with_another_body() {
    let pod = two_clients();
    let victims = victims(&pod, &json!({ "value": SECRET }));
    let end = end(&tokenize(&pod, SHOP, "default", &json!({ "value": OWN })), &victims);
    decide("body-of-an-attempt", &end, &victims, "conflict");
}
