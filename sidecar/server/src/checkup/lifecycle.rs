//! What a bucket's lifecycle rules do to the objects below a prefix.

use aws_sdk_s3::types::{ExpirationStatus, LifecycleRule};

use super::{Finding, State};

const ABOUT: &str = "lifecycle";

/// Judges the rules. On a bucket that is versioned, or was, deleted values stay until one removes
/// noncurrent versions; on any, one that removes current ones removes values that are in use.
pub(super) fn judge(
    rules: &[LifecycleRule],
    prefix: &str,
    versioned: Option<bool>,
) -> Vec<Finding> {
    let active = || rules.iter().filter(|rule| *rule.status() == ExpirationStatus::Enabled);
    let mut findings = Vec::new();
    for rule in active().filter(|rule| touches(rule, prefix) && expires(rule)) {
        let id = rule.id().unwrap_or("without an id");
        findings.push(Finding::wrong(
            ABOUT,
            format!(
                "the rule {id} removes current objects, so values vanish; remove its expiration"
            ),
        ));
    }
    let days = active().filter(|rule| covers(rule, prefix)).filter_map(noncurrent_days).min();
    findings.push(match (versioned, days) {
        (Some(true) | None, Some(days)) => Finding::well(
            ABOUT,
            format!("deleted values are gone {days} days after they were deleted"),
        ),
        (Some(true), None) => Finding::wrong(
            ABOUT,
            format!(
                "deleted values stay for ever as noncurrent versions; add a rule for the prefix {prefix:?} with NoncurrentVersionExpiration"
            ),
        ),
        (Some(false), _) => Finding::well(ABOUT, "nothing to ask for"),
        (None, None) => Finding {
            about: ABOUT,
            state: State::Unknown,
            words: "no rule removes noncurrent versions, which is wrong if there are any".into(),
        },
    });
    findings
}

fn noncurrent_days(rule: &LifecycleRule) -> Option<i32> {
    let expiration = rule.noncurrent_version_expiration()?;
    // With newer versions kept, the last value of a deleted token would be one of them.
    let keeps_some = expiration.newer_noncurrent_versions().is_some_and(|kept| kept > 0);
    expiration.noncurrent_days().filter(|_| !keeps_some)
}

fn expires(rule: &LifecycleRule) -> bool {
    rule.expiration().is_some_and(|expiration| {
        expiration.days().is_some_and(|days| days > 0) || expiration.date().is_some()
    })
}

/// The names that a rule is for begin with this.
#[expect(deprecated, reason = "rules that were made before filters still have it")]
fn scope(rule: &LifecycleRule) -> &str {
    let filter = rule.filter();
    let and = filter.and_then(|filter| filter.and()).and_then(|and| and.prefix());
    filter.and_then(|filter| filter.prefix()).or(and).or(rule.prefix()).unwrap_or_default()
}

/// Whether a rule is for everything below the prefix.
fn covers(rule: &LifecycleRule, prefix: &str) -> bool {
    let narrowed = rule.filter().is_some_and(|filter| {
        filter.tag().is_some()
            || filter.and().is_some()
            || filter.object_size_greater_than().is_some()
            || filter.object_size_less_than().is_some()
    });
    prefix.starts_with(scope(rule)) && !narrowed
}

/// Whether a rule is for anything below the prefix.
fn touches(rule: &LifecycleRule, prefix: &str) -> bool {
    prefix.starts_with(scope(rule)) || scope(rule).starts_with(prefix)
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{
        LifecycleExpiration, LifecycleRuleFilter, NoncurrentVersionExpiration, Tag,
        builders::LifecycleRuleBuilder,
    };

    use super::*;

    fn rule(prefix: &str) -> LifecycleRuleBuilder {
        let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
        LifecycleRule::builder().id("a").status(ExpirationStatus::Enabled).filter(filter)
    }

    fn noncurrent(rule: LifecycleRuleBuilder, days: i32, kept: Option<i32>) -> LifecycleRule {
        let expiration = NoncurrentVersionExpiration::builder()
            .noncurrent_days(days)
            .set_newer_noncurrent_versions(kept);
        rule.noncurrent_version_expiration(expiration.build()).build().unwrap()
    }

    fn states(rules: &[LifecycleRule], versioned: bool) -> Vec<State> {
        judge(rules, "tokens/", Some(versioned)).into_iter().map(|finding| finding.state).collect()
    }

    #[test]
    fn a_versioned_bucket_needs_a_rule_for_the_whole_prefix() {
        let disabled = rule("").status(ExpirationStatus::Disabled);
        let tag = Tag::builder().key("k").value("v").build().unwrap();
        let tagged = LifecycleRuleFilter::builder().prefix("tokens/").tag(tag).build();
        for insufficient in [
            noncurrent(rule("other/"), 1, None),
            noncurrent(rule("tokens/r/"), 1, None),
            noncurrent(rule("tokens/"), 1, Some(1)),
            noncurrent(disabled, 1, None),
            noncurrent(rule("").filter(tagged), 1, None),
        ] {
            assert_eq!(
                states(std::slice::from_ref(&insufficient), true),
                [State::Wrong],
                "{insufficient:?}"
            );
            assert_eq!(states(&[insufficient], false), [State::Well]);
        }
        assert_eq!(states(&[], true), [State::Wrong]);
        for prefix in ["", "tok", "tokens/"] {
            let rules = [noncurrent(rule(prefix), 30, None), noncurrent(rule(""), 7, None)];
            let findings = judge(&rules, "tokens/", Some(true));
            assert_eq!((findings.len(), findings[0].state), (1, State::Well));
            assert!(findings[0].words.contains("7 days"), "{}", findings[0]);
        }
    }

    #[test]
    fn what_is_not_known_is_not_called_well() {
        assert_eq!(judge(&[], "tokens/", None)[0].state, State::Unknown);
        let rules = [noncurrent(rule(""), 7, None)];
        assert_eq!(judge(&rules, "tokens/", None)[0].state, State::Well);
    }

    #[test]
    fn a_rule_that_removes_what_is_in_use_is_reported_on_any_bucket() {
        let expiration = || LifecycleExpiration::builder().days(90).build();
        for prefix in ["", "tokens/", "tokens/r/shop/"] {
            let rules = [rule(prefix).expiration(expiration()).build().unwrap()];
            assert_eq!(states(&rules, false), [State::Wrong, State::Well], "{prefix}");
        }
        let elsewhere = [rule("logs/").expiration(expiration()).build().unwrap()];
        assert_eq!(states(&elsewhere, false), [State::Well]);
        let markers = LifecycleExpiration::builder().expired_object_delete_marker(true).build();
        assert_eq!(states(&[rule("").expiration(markers).build().unwrap()], false), [State::Well]);
    }
}
