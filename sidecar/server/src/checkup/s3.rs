//! A bucket: what a sidecar does there, done once with an object of its own, and how it is set up.

use std::sync::{Arc, OnceLock};

use aws_sdk_s3::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::BeforeDeserializationInterceptorContextRef,
    },
    error::BoxError,
    types::{BucketVersioningStatus, PublicAccessBlockConfiguration},
};
use bytes::Bytes;
use lunasec_core::limits;

use super::{Finding, lifecycle};
use crate::{
    aws::{Aws, Kind, Trouble, ahead_of, answered_at, attempt, is_apart},
    config::S3Place,
    env::{Clock, Entropy, random},
    store::{Name, S3Store, Store, StoreError, Version},
};

/// Looks at everything about a bucket that a sidecar relies on.
pub async fn check_s3(
    aws: &Aws,
    place: &S3Place,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> Vec<Finding> {
    let client = aws.s3(place);
    let store = S3Store::new(aws, place);
    let (bucket, answered) = bucket(&client, place, clock).await;
    let mut findings = bucket;
    if answered {
        findings.extend(objects(&store, entropy).await);
        findings.extend(versions(&client, place).await);
        findings.push(public_access(&client, place).await);
    }
    findings
}

/// Takes the time of an answer.
#[derive(Clone, Debug, Default)]
struct ServerTime(Arc<OnceLock<i64>>);

impl Intercept for ServerTime {
    fn name(&self) -> &'static str {
        "ServerTime"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(time) = answered_at(context) {
            // The first answer counts, and there is but one.
            let _ = self.0.set(time);
        }
        Ok(())
    }
}

/// Whether the bucket can be listed at all; without that nothing else can be looked at.
async fn bucket(client: &Client, place: &S3Place, clock: &dyn Clock) -> (Vec<Finding>, bool) {
    const ACTION: &str = "listing objects of S3";
    let server = ServerTime::default();
    let request = client.list_objects_v2().bucket(&place.bucket).prefix(&place.prefix).max_keys(1);
    let request = request.customize().interceptor(server.clone());
    let listed = attempt(ACTION, limits::STORAGE_ATTEMPT_TIME, async {
        request.send().await.map_err(|error| Trouble::of(ACTION, &error))
    });
    let listed = listed.await;
    let mut findings = vec![match &listed {
        Ok(_) => Finding::well(
            "bucket",
            format!("{} in {} can be listed (s3:ListBucket)", place.bucket, place.region),
        ),
        Err(trouble) => Finding::wrong("bucket", trouble.cause.clone()),
    }];
    findings.extend(server.0.get().map(|time| skew(*time, clock)));
    (findings, listed.is_ok())
}

fn skew(server: i64, clock: &dyn Clock) -> Finding {
    let ahead = ahead_of(server, clock);
    let seconds = ahead.unsigned_abs();
    if !is_apart(ahead) {
        return Finding::well("clock", format!("{seconds} s apart from storage's"));
    }
    let words = format!(
        "{seconds} s apart from storage's; set this machine's clock, best by NTP: expiry and signatures go by it"
    );
    Finding::wrong("clock", words)
}

/// What a sidecar does with objects, each permission by itself.
async fn objects(store: &S3Store, entropy: &dyn Entropy) -> Vec<Finding> {
    let id = random::<8>(entropy).map_or(0, u64::from_be_bytes);
    let name = Name::from_text(&format!("check/{id:016x}"));
    let mut findings = vec![missing(store, &name).await];
    let first = match store.put_new(&name, Bytes::from_static(b"first")).await {
        Ok(version) => version,
        Err(error) => {
            findings.push(Finding::wrong("write", words(error)));
            return findings;
        }
    };
    findings.push(Finding::well("write", "objects can be written (s3:PutObject)"));
    findings.push(read(store, &name).await);
    let (conditions, last) = conditions(store, &name, first).await;
    findings.push(conditions);
    findings.push(match store.remove_if(&name, &last).await {
        Ok(true) => Finding::well("remove", "objects can be removed (s3:DeleteObject)"),
        Ok(false) => {
            Finding::wrong("remove", format!("{name:?} was not removed; remove it by hand"))
        }
        Err(error) => Finding::wrong(
            "remove",
            format!("{}; only `lunasec sweep` needs it; remove {name:?} by hand", words(error)),
        ),
    });
    findings
}

async fn missing(store: &S3Store, name: &Name) -> Finding {
    match store.get(name).await {
        Ok(None) => Finding::well("missing object", "is told from a forbidden one"),
        Ok(Some(_)) => {
            Finding::wrong("missing object", format!("{name:?} is there; run this again"))
        }
        Err(error) => Finding::wrong("missing object", words(error)),
    }
}

async fn read(store: &S3Store, name: &Name) -> Finding {
    match store.get(name).await {
        Ok(Some(object)) if object.bytes == "first" => {
            Finding::well("read", "objects can be read (s3:GetObject)")
        }
        Ok(_) => Finding::wrong("read", "what was written is not what is read; use another server"),
        Err(error) => Finding::wrong("read", words(error)),
    }
}

/// Whether conditions are kept; and the version that lies there in the end.
async fn conditions(store: &S3Store, name: &Name, first: Version) -> (Finding, Version) {
    const ABOUT: &str = "conditional writes";
    let ignored = |condition: &str| {
        Finding::wrong(
            ABOUT,
            format!(
                "the server ignores {condition}: sidecars would overwrite each other; use another"
            ),
        )
    };
    match store.put_new(name, Bytes::from_static(b"again")).await {
        Err(StoreError::Precondition) => {}
        Ok(version) => return (ignored("If-None-Match"), version),
        Err(error) => return (Finding::wrong(ABOUT, words(error)), first),
    }
    let second = match store.put_if(name, Bytes::from_static(b"second"), &first).await {
        Ok(version) => version,
        Err(error) => return (Finding::wrong(ABOUT, words(error)), first),
    };
    match store.put_if(name, Bytes::from_static(b"third"), &first).await {
        Err(StoreError::Precondition) => (Finding::well(ABOUT, "are kept"), second),
        Ok(version) => (ignored("If-Match"), version),
        Err(error) => (Finding::wrong(ABOUT, words(error)), second),
    }
}

async fn versions(client: &Client, place: &S3Place) -> Vec<Finding> {
    const ABOUT: &str = "versioning";
    const ACTION: &str = "reading the bucket's versioning";
    let request = client.get_bucket_versioning().bucket(&place.bucket).send();
    let answer = attempt(ACTION, limits::STORAGE_ATTEMPT_TIME, async {
        request.await.map_err(|error| Trouble::of(ACTION, &error))
    });
    let (finding, versioned) = match answer.await {
        Ok(output) => match output.status() {
            Some(BucketVersioningStatus::Enabled) => (
                Finding::well(ABOUT, "is on: what is overwritten by mistake can be restored"),
                Some(true),
            ),
            // Old versions are still there.
            Some(_) => {
                (Finding::well(ABOUT, "is suspended; versions from before stay"), Some(true))
            }
            None => (Finding::well(ABOUT, "is off: deleted values are gone at once"), Some(false)),
        },
        Err(trouble) => (Finding::unknown(ABOUT, &trouble, "s3:GetBucketVersioning"), None),
    };
    let mut findings = vec![finding];
    findings.extend(rules(client, place, versioned).await);
    findings
}

async fn rules(client: &Client, place: &S3Place, versioned: Option<bool>) -> Vec<Finding> {
    const ACTION: &str = "reading the bucket's lifecycle";
    let request = client.get_bucket_lifecycle_configuration().bucket(&place.bucket).send();
    let answer = attempt(ACTION, limits::STORAGE_ATTEMPT_TIME, async {
        request.await.map_err(|error| Trouble::of(ACTION, &error))
    });
    match answer.await {
        Ok(output) => lifecycle::judge(output.rules(), &place.prefix, versioned),
        Err(trouble) if trouble.kind == Kind::Absent => {
            lifecycle::judge(&[], &place.prefix, versioned)
        }
        Err(trouble) => {
            vec![Finding::unknown("lifecycle", &trouble, "s3:GetLifecycleConfiguration")]
        }
    }
}

async fn public_access(client: &Client, place: &S3Place) -> Finding {
    const ABOUT: &str = "public access";
    const ACTION: &str = "reading the bucket's public access block";
    let open = || {
        Finding::wrong(ABOUT, "is not blocked; turn on all four settings of Block Public Access")
    };
    let request = client.get_public_access_block().bucket(&place.bucket).send();
    let answer = attempt(ACTION, limits::STORAGE_ATTEMPT_TIME, async {
        request.await.map_err(|error| Trouble::of(ACTION, &error))
    });
    match answer.await {
        Ok(output) if output.public_access_block_configuration().is_some_and(blocks_all) => {
            Finding::well(ABOUT, "is blocked")
        }
        Ok(_) => open(),
        Err(trouble) if trouble.kind == Kind::Absent => open(),
        Err(trouble) => Finding::unknown(ABOUT, &trouble, "s3:GetBucketPublicAccessBlock"),
    }
}

fn blocks_all(block: &PublicAccessBlockConfiguration) -> bool {
    [
        block.block_public_acls(),
        block.ignore_public_acls(),
        block.block_public_policy(),
        block.restrict_public_buckets(),
    ]
    .iter()
    .all(|blocks| *blocks == Some(true))
}

/// A store's error without the words that say it is one.
fn words(error: StoreError) -> String {
    match error {
        StoreError::Unavailable(cause)
        | StoreError::Unknown(cause)
        | StoreError::Full(cause)
        | StoreError::Refused(cause)
        | StoreError::Throttled(cause)
        | StoreError::Again(cause)
        | StoreError::Corrupted(cause) => cause,
        StoreError::Overloaded => error.to_string(),
        StoreError::Away => error.to_string(),
        StoreError::Precondition => "another wrote there at the same time; run this again".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::State, *};

    struct At(u64);

    impl Clock for At {
        fn now(&self) -> u64 {
            self.0
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[test]
    fn more_than_a_minute_of_skew_is_wrong_either_way() {
        for (here, state) in [
            (1_000_000, State::Well),
            (1_060_999, State::Well),
            (1_061_000, State::Wrong),
            (940_000, State::Well),
            (939_999, State::Wrong),
        ] {
            assert_eq!(skew(1_000, &At(here)).state, state, "{here}");
        }
    }

    #[test]
    fn public_access_is_blocked_by_all_four_settings_only() {
        let all = || {
            PublicAccessBlockConfiguration::builder()
                .block_public_acls(true)
                .ignore_public_acls(true)
                .block_public_policy(true)
                .restrict_public_buckets(true)
        };
        assert!(blocks_all(&all().build()));
        assert!(!blocks_all(&all().restrict_public_buckets(false).build()));
        assert!(!blocks_all(&all().set_block_public_acls(None).build()));
    }
}
