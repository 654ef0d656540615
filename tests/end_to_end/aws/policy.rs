//! The documented IAM policy, as far as moto enforces one: signatures, every action, and S3's
//! resources. Not the KMS key's ARN, its condition, or the policies of key and bucket.

use std::{fs, path::Path};

use lunasec_tests::{
    Sidecar,
    aws::{Cloud, Engine, Server, wait},
    sidecar::random_hex,
};
use serde_json::{Value, json};

use super::connect::block_public_access;

/// The policy of the documentation, for one bucket and key.
pub(super) fn policy(cloud: &Cloud) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/iam-policy.json");
    let text = fs::read_to_string(path)
        .unwrap()
        .replace("BUCKET", &cloud.place.bucket)
        .replace("PREFIX", &cloud.place.prefix)
        .replace("KEY_ARN", &wait(cloud.current_key()));
    let mut policy: Value = serde_json::from_str(&text).unwrap();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        // To moto every KMS key is "*", and a condition never holds.
        if statement.as_object_mut().unwrap().remove("Condition").is_some() {
            statement["Resource"] = json!("*");
        }
    }
    policy
}

/// Every action that the policy grants.
fn actions(policy: &Value) -> Vec<String> {
    let statements = policy["Statement"].as_array().unwrap().iter();
    let each = |statement: &Value| match &statement["Action"] {
        Value::Array(actions) => actions.clone(),
        action => vec![action.clone()],
    };
    statements.flat_map(each).map(|action| action.as_str().unwrap().to_owned()).collect()
}

fn without(policy: &Value, action: &str) -> Value {
    let mut less = policy.clone();
    for statement in less["Statement"].as_array_mut().unwrap() {
        let kept: Vec<_> = actions(&json!({ "Statement": [statement] }))
            .into_iter()
            .filter(|other| other != action)
            .collect();
        statement["Action"] = json!(kept);
    }
    // A statement must say something.
    let statements = less["Statement"].as_array_mut().unwrap();
    statements.retain(|statement| statement["Action"] != json!([]));
    less
}

/// What `check --connect` says to a user with that policy.
fn check(cloud: &Cloud, (key, secret): &(String, String), config: &Path) -> String {
    let mut command = cloud.lunasec();
    command.env("AWS_ACCESS_KEY_ID", key).env("AWS_SECRET_ACCESS_KEY", secret);
    let output = command.args(["check", "--connect", "--config"]).arg(config).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

#[test]
fn the_documented_policy_is_enough_and_each_of_its_actions_is_needed() {
    let server = Server::start(Engine::Moto);
    let cloud = wait(Cloud::at(Engine::Moto, server.endpoint.clone()));
    let other = wait(Cloud::at(Engine::Moto, server.endpoint.clone()));
    block_public_access(&cloud);
    let policy = policy(&cloud);
    let full = server.user("full", &policy.to_string());
    let less: Vec<_> = actions(&policy)
        .into_iter()
        .map(|action| {
            let user = server.user(&random_hex(4), &without(&policy, &action).to_string());
            (action, user)
        })
        .collect();
    assert_eq!(less.len(), 6);
    server.check_access();
    let directory = tempfile::tempdir().unwrap();
    let config = cloud.configure(directory.path(), "");
    let mut command = cloud.lunasec();
    command.env("AWS_ACCESS_KEY_ID", &full.0).env("AWS_SECRET_ACCESS_KEY", &full.1);
    command.args(["serve", "--config"]).arg(&config);
    let socket = directory.path().join("lunasec.sock");
    let sidecar = Sidecar::spawn(command, directory.path(), socket).ok().unwrap();
    let token = sidecar.tokenize("value");
    assert_eq!(sidecar.detokenize(&token).json()["value"], "value", "{}", sidecar.log());
    sidecar.delete(&token);
    assert_eq!(sidecar.detokenize(&token).code(), "not_found");
    assert_eq!(sidecar.stored_records(), 2);

    let words = check(&cloud, &full, &config);
    assert!(!words.contains("WRONG"), "{words}");
    for (action, user) in less {
        let words = check(&cloud, &user, &config);
        let denied = |line: &str| line.starts_with("WRONG") && line.contains(": 403");
        assert!(words.lines().any(denied), "without {action}: {words}");
    }
    let words = check(&other, &full, &other.configure(directory.path(), ""));
    assert!(words.contains("WRONG  bucket") && words.contains("AccessDenied"), "{words}");
    let nobody = ("AKIANOBODY".to_owned(), "x".to_owned());
    let words = check(&cloud, &nobody, &cloud.configure(directory.path(), ""));
    assert!(words.contains("correct the AWS credentials"), "{words}");
}
