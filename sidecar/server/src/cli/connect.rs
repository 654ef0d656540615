//! `lunasec check --connect`: whether the bucket, the keys and the issuers of a configuration are as they
//! should be.

use std::process::ExitCode;

use super::{FAILED, Outcome, START, Stop, open, print};
use crate::{
    checkup::{self, Finding, State},
    config::{Config, Keys, Storage},
    env::{SystemClock, SystemEntropy},
};

/// Prints every finding; fails when one is wrong.
pub(super) async fn connect(config: &Config) -> Outcome {
    let findings = findings(config).await?;
    if findings.is_empty() {
        let words = "nothing to connect to: storage and keys are files of this machine, and there are no \
                     issuers\n";
        print(words)?;
    }
    for finding in &findings {
        print(&format!("{finding}\n"))?;
    }
    match findings.iter().filter(|finding| finding.state == State::Wrong).count() {
        0 => Ok(ExitCode::SUCCESS),
        wrong => Err(Stop::new(
            FAILED,
            format!("{wrong} of {} are not as they should be", findings.len()),
        )),
    }
}

async fn findings(config: &Config) -> Result<Vec<Finding>, Stop> {
    let opener = open::opener(config);
    let failed = |error| Stop::new(START, error);
    let mut findings = checkup::check_issuers(&config.sessions).await;
    let mut bucket_answers = false;
    if let Storage::S3(place) = &config.storage {
        let aws = opener.aws(&place.region).await;
        let (clock, entropy) = (SystemClock::default(), SystemEntropy::default());
        let found = checkup::check_s3(aws, place, &clock, &entropy).await;
        bucket_answers = found.first().is_some_and(|bucket| bucket.state == State::Well);
        findings.extend(found);
    }
    let Keys::Kms(keys) = &config.keys else { return Ok(findings) };
    // An embedded store is its sidecar's alone.
    if bucket_answers {
        let store = opener.store().await.map_err(failed)?;
        let wrapper = opener.wrapper(&*store).await.map_err(failed)?;
        let keyring = opener.plain_keyring(&store, wrapper.clone());
        findings.extend(checkup::check_keys(keys, &*wrapper, Some((&*store, &keyring))).await);
    } else {
        let wrapper = opener.kms(keys).await;
        findings.extend(checkup::check_keys(keys, &*wrapper, None).await);
    }
    Ok(findings)
}
