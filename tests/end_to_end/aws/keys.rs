//! Keys that are disabled, replaced, or another's.

use lunasec_tests::{
    aws::{Engine, wait},
    sidecar::eventually,
};
use serde_json::json;

use super::{BOTH, assert_log, cloud, restart};

fn detokenized(sidecar: &lunasec_tests::Sidecar, token: &str) -> String {
    let answer = sidecar.detokenize(token);
    match answer.json()["value"].as_str() {
        Some(value) => value.to_owned(),
        None => answer.code(),
    }
}

#[test]
fn a_repointed_alias_breaks_nothing_where_the_old_key_is_accepted() {
    for engine in BOTH {
        let cloud = cloud(engine);
        let directory = tempfile::tempdir().unwrap();
        let mut sidecar = cloud.sidecar(directory.path(), "");
        let token = sidecar.tokenize("value");
        let (old, new) = wait(async { (cloud.current_key().await, cloud.new_key().await) });
        wait(cloud.point_alias_to(&new));
        // Held keys go on.
        assert_eq!(detokenized(&sidecar, &token), "value");
        restart(&mut sidecar, &cloud, directory.path(), "");
        assert_eq!(detokenized(&sidecar, &token), "keys_unavailable");
        assert_log(&sidecar, &[&old, "accept_key_ids"]);
        let accept = format!("accept_key_ids = [\"{old}\"]\n");
        restart(&mut sidecar, &cloud, directory.path(), &accept);
        assert_eq!(detokenized(&sidecar, &token), "value");
        // A namespace that had no key yet gets one under the new KMS key.
        let headers = [("lunasec-namespace", "fresh")];
        let body = json!({ "value": "x" }).to_string();
        let answer = sidecar.connect().post_with("/v1/tokenize", &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{engine:?}\n{}", sidecar.log());
        let wrapped = wait(cloud.wrapped_keys());
        let under = |arn: &str| {
            wrapped.iter().filter(|bytes| String::from_utf8_lossy(bytes).contains(arn)).count()
        };
        assert_eq!((under(&old), under(&new)), (1, 1));
    }
}

#[test]
fn a_key_that_someone_plants_in_the_bucket_is_not_used() {
    for engine in BOTH {
        let cloud = cloud(engine);
        let directory = tempfile::tempdir().unwrap();
        let mut sidecar = cloud.sidecar(directory.path(), "");
        let token = sidecar.tokenize("value");
        // The same context, wrapped under a key of the attacker's.
        let stranger = wait(cloud.new_key());
        wait(cloud.plant(&stranger));
        restart(&mut sidecar, &cloud, directory.path(), "");
        assert_eq!(detokenized(&sidecar, &token), "keys_unavailable");
        let answer = sidecar.post("/v1/tokenize", &json!({ "value": "x" }));
        assert_eq!(answer.code(), "keys_unavailable");
        assert_log(&sidecar, &[&stranger]);
    }
}

/// moto decrypts with disabled keys.
#[test]
fn a_disabled_key_is_reported_with_what_to_do() {
    let cloud = cloud(Engine::LocalStack);
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = cloud.sidecar(directory.path(), "");
    let token = sidecar.tokenize("value");
    let key = wait(cloud.current_key());
    wait(cloud.kms.disable_key().key_id(&key).send()).unwrap();
    restart(&mut sidecar, &cloud, directory.path(), "");
    let answer = sidecar.detokenize(&token);
    assert_eq!((answer.status, answer.code().as_str()), (503, "keys_unavailable"));
    assert!(!answer.text().contains(&key), "an error names what only the log may");
    assert_log(&sidecar, &["DisabledException", "enable the KMS key again"]);
    wait(cloud.kms.enable_key().key_id(&key).send()).unwrap();
    // What was refused is not asked again for a second.
    eventually("the key is asked for again", || sidecar.detokenize(&token).status == 200);
    assert_eq!(detokenized(&sidecar, &token), "value");
}

#[test]
fn a_key_that_does_not_exist_is_reported_with_what_to_do() {
    for engine in BOTH {
        let mut cloud = cloud(engine);
        cloud.keys.key_id = "alias/not-there".into();
        let directory = tempfile::tempdir().unwrap();
        let sidecar = cloud.sidecar(directory.path(), "");
        let answer = sidecar.post("/v1/tokenize", &json!({ "value": "x" }));
        assert_eq!(answer.code(), "keys_unavailable");
        assert_log(&sidecar, &["alias/not-there", "create the KMS key, or correct keys.key_id"]);
    }
}

#[test]
fn a_namespace_can_have_a_key_of_its_own() {
    for engine in BOTH {
        let cloud = cloud(engine);
        let own = wait(cloud.new_key());
        let directory = tempfile::tempdir().unwrap();
        let extra = format!("[keys.namespaces]\nshop = \"{own}\"\n");
        let mut sidecar = cloud.sidecar(directory.path(), &extra);
        let headers = [("lunasec-namespace", "shop")];
        let body = json!({ "value": "x" }).to_string();
        let answer = sidecar.connect().post_with("/v1/tokenize", &headers, body.as_bytes());
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        let wrapped = wait(cloud.wrapped_keys());
        assert_eq!(wrapped.len(), 1);
        assert!(String::from_utf8_lossy(&wrapped[0]).contains(&own));
        restart(&mut sidecar, &cloud, directory.path(), &extra);
        let body = json!({ "token": token }).to_string();
        let answer = sidecar.connect().post_with("/v1/detokenize", &headers, body.as_bytes());
        assert_eq!(answer.json()["value"], "x");
        // Without its key the namespace is closed: the other one is not its.
        restart(&mut sidecar, &cloud, directory.path(), "");
        let answer = sidecar.connect().post_with("/v1/detokenize", &headers, body.as_bytes());
        assert_eq!(answer.code(), "keys_unavailable");
    }
}

fn keys(cloud: &lunasec_tests::aws::Cloud, config: &std::path::Path, verb: &str) -> (bool, String) {
    let mut command = cloud.lunasec();
    command.env("LUNASEC_DEGRADE__DISK_CACHE", "true");
    let output = command.args(["keys", verb, "--config"]).arg(config).output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(words).unwrap())
}

#[test]
fn rewrapped_keys_need_the_old_one_no_more() {
    for engine in BOTH {
        let cloud = cloud(engine);
        let directory = tempfile::tempdir().unwrap();
        let mut sidecar = cloud.sidecar(directory.path(), "");
        let token = sidecar.tokenize("value");
        let (old, new) = wait(async { (cloud.current_key().await, cloud.new_key().await) });
        wait(cloud.point_alias_to(&new));
        let accept = format!("accept_key_ids = [\"{old}\"]\n");
        let config = cloud.configure(directory.path(), &accept);
        // Beside the running sidecar.
        let (well, words) = keys(&cloud, &config, "rewrap");
        assert!(well && words.contains("rewrapped 1 data keys, 0 were"), "{words}");
        assert!(words.contains(&format!("nothing is wrapped under {old} any more")), "{words}");
        assert_eq!(detokenized(&sidecar, &token), "value");
        restart(&mut sidecar, &cloud, directory.path(), "");
        assert_eq!(detokenized(&sidecar, &token), "value");
        let (well, words) = keys(&cloud, &config, "rewrap");
        assert!(well && words.contains("rewrapped 0 data keys, 1 were"), "{words}");
        let wrapped = wait(cloud.wrapped_keys());
        assert!(wrapped.iter().all(|bytes| !String::from_utf8_lossy(bytes).contains(&old)));
    }
}

#[test]
fn a_key_that_cannot_be_rewrapped_is_left_as_it_was_and_reported() {
    for engine in BOTH {
        let cloud = cloud(engine);
        let directory = tempfile::tempdir().unwrap();
        let sidecar = cloud.sidecar(directory.path(), "");
        let token = sidecar.tokenize("value");
        let (old, new) = wait(async { (cloud.current_key().await, cloud.new_key().await) });
        wait(cloud.point_alias_to(&new));
        let before = wait(cloud.wrapped_keys());
        let config = cloud.configure(directory.path(), "");
        let (well, words) = keys(&cloud, &config, "rewrap");
        assert!(!well && words.contains(&old) && words.contains("accept_key_ids"), "{words}");
        assert!(words.contains("1 data keys were left as they were"), "{words}");
        assert_eq!(wait(cloud.wrapped_keys()), before);
        assert_eq!(detokenized(&sidecar, &token), "value");
    }
}

#[test]
fn a_rotation_makes_a_key_that_the_next_sidecar_seals_under() {
    let cloud = cloud(Engine::Moto);
    let directory = tempfile::tempdir().unwrap();
    // Beside one that runs, and keeps a cache on its disk.
    let cached = ("LUNASEC_DEGRADE__DISK_CACHE", "true");
    let mut sidecar = cloud.sidecar_with(directory.path(), "", &[cached]);
    let token = sidecar.tokenize("value");
    let config = cloud.configure(directory.path(), "");
    let (well, words) = keys(&cloud, &config, "rotate");
    assert!(well && words.contains("-00001 seals from now on"), "{words}");
    assert_eq!(wait(cloud.names("k/default/")).len(), 2);
    restart(&mut sidecar, &cloud, directory.path(), "");
    let fresh = sidecar.tokenize("fresh");
    for (token, value) in [(&token, "value"), (&fresh, "fresh")] {
        assert_eq!(detokenized(&sidecar, token), value);
    }
    // Both keys were needed: the one that seals, and the one that the old record names.
    assert_eq!(super::key_calls(&sidecar), 2);
}

#[test]
fn rotation_and_rewrapping_work_on_an_embedded_store_too() {
    let directory = tempfile::tempdir().unwrap();
    let mut sidecar = lunasec_tests::Sidecar::serve_in(directory.path(), "");
    let token = sidecar.tokenize("value");
    let config = directory.path().join("lunasec.toml");
    let run = |verb: &str| {
        let mut command = lunasec_tests::sidecar::lunasec();
        let output = command.args(["keys", verb, "--config"]).arg(&config).output().unwrap();
        let words = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(words).unwrap())
    };
    let (code, words) = run("rotate");
    assert_eq!(code, Some(3), "{words}");
    assert!(words.contains("another process"), "{words}");
    sidecar.stop();
    assert!(run("rotate").1.contains("-00001 seals from now on"));
    // The new local key above the old one.
    let (old, other) = (directory.path().join("local.key"), tempfile::tempdir().unwrap());
    let mut another = lunasec_tests::Sidecar::serve_in(other.path(), "");
    another.stop();
    let both = std::fs::read_to_string(other.path().join("local.key")).unwrap()
        + &std::fs::read_to_string(&old).unwrap();
    std::fs::write(&old, &both).unwrap();
    let (code, words) = run("rewrap");
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("rewrapped 2 data keys"), "{words}");
    std::fs::write(&old, both.lines().next().unwrap().to_owned() + "\n").unwrap();
    let sidecar = lunasec_tests::Sidecar::serve_in(directory.path(), "");
    assert_eq!(detokenized(&sidecar, &token), "value");
}
