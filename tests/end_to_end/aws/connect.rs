//! `lunasec check --connect`, with one thing wrong at a time.

use std::path::Path;

use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, ExpirationStatus, LifecycleRule, LifecycleRuleFilter,
    NoncurrentVersionExpiration, PublicAccessBlockConfiguration,
};
use lunasec_tests::{
    aws::{Cloud, Engine, wait},
    sidecar::{Sidecar, lunasec},
};

use super::{BOTH, cloud};

/// With everything as it should be.
fn well_set_up(engine: Engine) -> Cloud {
    let cloud = cloud(engine);
    block_public_access(&cloud);
    cloud
}

pub(super) fn block_public_access(cloud: &Cloud) {
    let block = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .restrict_public_buckets(true)
        .build();
    let request = cloud.s3.put_public_access_block().bucket(&cloud.place.bucket);
    wait(request.public_access_block_configuration(block).send()).unwrap();
}

fn check(cloud: &Cloud, directory: &Path, extra: &str) -> (Option<i32>, String) {
    let config = cloud.configure(directory, extra);
    let mut command = cloud.lunasec();
    let output = command.args(["check", "--connect", "--config"]).arg(config).output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(words).unwrap())
}

/// Checks that nothing but this is wrong.
fn only_wrong(cloud: &Cloud, directory: &Path, extra: &str, about: &str, words: &[&str]) {
    let (code, output) = check(cloud, directory, extra);
    let wrong: Vec<_> = output.lines().filter(|line| line.starts_with("WRONG")).collect();
    assert_eq!((code, wrong.len()), (Some(1), 1), "{output}");
    assert!(wrong[0].starts_with(&format!("WRONG  {about}")), "{output}");
    for words in words {
        assert!(wrong[0].contains(words), "{words} is not in {output}");
    }
}

#[test]
fn what_is_well_is_named_one_by_one_and_nothing_is_left_behind() {
    for engine in BOTH {
        let cloud = well_set_up(engine);
        let directory = tempfile::tempdir().unwrap();
        let (code, words) = check(&cloud, directory.path(), "");
        assert_eq!(code, Some(0), "{words}");
        for about in [
            "s3:ListBucket",
            "s3:PutObject",
            "s3:GetObject",
            "s3:DeleteObject",
            "missing object",
            "conditional writes",
            "clock",
            "versioning",
            "lifecycle",
            "public access",
            "kms:GenerateDataKey",
            "kms:Decrypt",
            "kms:ReEncrypt",
            "stored keys",
        ] {
            let line = words.lines().find(|line| line.contains(about)).unwrap();
            // moto tells of versioning in a form that is not S3's.
            let told =
                engine == Engine::LocalStack || !["versioning", "lifecycle"].contains(&about);
            assert!(line.starts_with(if told { "ok " } else { "? " }), "{about} in {words}");
        }
        assert!(wait(cloud.names("")).is_empty());
    }
}

#[test]
fn a_missing_bucket_and_one_that_is_open_to_all() {
    for engine in BOTH {
        let directory = tempfile::tempdir().unwrap();
        let mut cloud = well_set_up(engine);
        let request = cloud.s3.delete_public_access_block().bucket(&cloud.place.bucket);
        wait(request.send()).unwrap();
        let words = ["is not blocked", "turn on all four settings"];
        only_wrong(&cloud, directory.path(), "", "public access", &words);
        cloud.place.bucket = "no-such-bucket".into();
        let words = ["NoSuchBucket", "create the bucket, or correct storage.bucket"];
        only_wrong(&cloud, directory.path(), "", "bucket", &words);
    }
}

/// moto tells of versioning in a form that is not S3's.
#[test]
fn a_versioned_bucket_needs_a_rule_that_ends_deleted_values() {
    let cloud = well_set_up(Engine::LocalStack);
    let directory = tempfile::tempdir().unwrap();
    wait(cloud.version_bucket());
    let words = ["stay for ever", "NoncurrentVersionExpiration", "\"tokens/\""];
    only_wrong(&cloud, directory.path(), "", "lifecycle", &words);
    let rule = LifecycleRule::builder()
        .id("deleted-values")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("tokens/").build())
        .noncurrent_version_expiration(
            NoncurrentVersionExpiration::builder().noncurrent_days(7).build(),
        );
    let rules = BucketLifecycleConfiguration::builder().rules(rule.build().unwrap());
    let request = cloud.s3.put_bucket_lifecycle_configuration().bucket(&cloud.place.bucket);
    wait(request.lifecycle_configuration(rules.build().unwrap()).send()).unwrap();
    let (code, words) = check(&cloud, directory.path(), "");
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("gone 7 days after"), "{words}");
}

#[test]
fn keys_that_are_missing_disabled_or_needed_and_not_configured() {
    let directory = tempfile::tempdir().unwrap();
    // moto makes data keys with disabled ones.
    let disabled = well_set_up(Engine::LocalStack);
    let key = wait(disabled.current_key());
    wait(disabled.kms.disable_key().key_id(&key).send()).unwrap();
    only_wrong(&disabled, directory.path(), "", "key", &["enable the KMS key again"]);
    for engine in BOTH {
        let mut cloud = well_set_up(engine);
        let directory = tempfile::tempdir().unwrap();
        let mut sidecar = cloud.sidecar(directory.path(), "");
        sidecar.tokenize("value");
        sidecar.stop();
        let (old, new) = wait(async { (cloud.current_key().await, cloud.new_key().await) });
        wait(cloud.point_alias_to(&new));
        only_wrong(&cloud, directory.path(), "", "stored keys", &[&old, "keys.accept_key_ids"]);
        let accept = format!("accept_key_ids = [\"{old}\"]\n");
        let (code, words) = check(&cloud, directory.path(), &accept);
        assert_eq!(code, Some(0), "{words}");
        cloud.keys.key_id = "alias/not-there".into();
        let words = ["alias/not-there", "create the KMS key, or correct keys.key_id"];
        only_wrong(&cloud, directory.path(), &accept, "key", &words);
    }
}

#[test]
fn whoever_does_not_answer_is_named() {
    let mut cloud = cloud(Engine::Moto);
    cloud.place.endpoint = Some("http://127.0.0.1:1".into());
    let directory = tempfile::tempdir().unwrap();
    let (code, words) = check(&cloud, directory.path(), "");
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("WRONG  bucket") && words.contains("Connection refused"), "{words}");
}

#[test]
fn files_of_this_machine_need_no_connection() {
    let directory = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::serve_in(directory.path(), "");
    let config = sidecar.directory().join("lunasec.toml");
    let output = lunasec().args(["check", "--connect", "--config"]).arg(config).output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().contains("nothing to connect to"));
}
