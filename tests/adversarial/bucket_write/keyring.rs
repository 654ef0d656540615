//! Tries: to have the victim's sidecar seal under a data key that he knows: one wrapped under his own KMS key, or that of
//! his own namespace, which he may unwrap; later he opens what was sealed, with a token out of the application's database.
//! Stopped by: KMS is told which key to use, and that comes from the configuration; the context of a wrapped key, which
//! names its namespace and its place.

use lunasec_tests::{
    aws::{Cloud, wait},
    sidecar::Sidecar,
};
use serde_json::json;

use crate::{
    attack::{End, OWN, SECRET, decide},
    storage::{bytes_of, cloud, get, only, open, pod, put, unwrap, value_of},
};

/// Has the victim tokenize, and opens what came of it.
fn end(cloud: &Cloud, victims: &Sidecar, known: &[u8; 32]) -> End {
    let answer = victims.post("/v1/tokenize", &json!({ "value": SECRET }));
    if answer.status != 200 {
        return End::Stopped(answer.code());
    }
    let token = answer.json()["token"].as_str().unwrap().to_owned();
    let name = value_of(&token);
    End::found(
        open(&name, &get(cloud, &name), &[known, &bytes_of(&token)]),
        "another key sealed it",
    )
}

#[test]
fn wrapped_under_someone_elses_kms_key() {
    let cloud = cloud();
    let before = pod(&cloud, "").tokenize(OWN);
    let (name, victims) = only(&cloud, "k/default/0");
    // In the same account, where a policy gives him that one.
    let own = wait(cloud.new_key());
    wait(cloud.plant(&own));
    let planted = get(&cloud, &name);
    assert_ne!(planted, victims);
    let known = unwrap(&cloud, &name, &planted).unwrap();
    let end = end(&cloud, &pod(&cloud, ""), &known);
    decide("named-kms-key", &end, SECRET, "keys_unavailable");
    // What was there before is as it was, once the key is.
    put(&cloud, &name, &victims);
    assert_eq!(pod(&cloud, "").detokenize(&before).json()["value"], OWN);
}

#[test]
fn moved_from_the_attackers_own_namespace() {
    let cloud = cloud();
    let headers = [("lunasec-namespace", "mallory")];
    let body = json!({ "value": OWN }).to_string();
    let first = pod(&cloud, "");
    let tokenized = first.connect().post_with("/v1/tokenize", &headers, body.as_bytes());
    assert_eq!(tokenized.status, 200, "{}", tokenized.text());
    let (own, wrapped) = only(&cloud, "k/mallory/0");
    let known = unwrap(&cloud, &own, &wrapped).unwrap();
    put(&cloud, &own.replace("mallory", "default"), &wrapped);
    let end = end(&cloud, &pod(&cloud, ""), &known);
    decide("context-of-a-wrapped-key", &end, SECRET, "corrupted");
}
