//! The bucket's lifecycle rules: ours beside the user's, never instead of them.

use aws_sdk_s3::error::BuildError;
use aws_sdk_s3::types::{AbortIncompleteMultipartUpload, ExpirationStatus, LifecycleRule, LifecycleRuleFilter};

/// Days after which an upload that nobody completed is thrown away. adlake's own take minutes.
const ABORT_DAYS: i32 = 1;

/// Whether an enabled rule already ends unfinished uploads below `prefix` in time.
pub(super) fn has_abort_rule(rules: &[LifecycleRule], prefix: &str) -> bool {
    rules.iter().any(|rule| {
        let days = rule.abort_incomplete_multipart_upload().and_then(|abort| abort.days_after_initiation());
        is_enabled(rule) && covers(rule, prefix) && days.is_some_and(|days| days <= ABORT_DAYS)
    })
}

/// Whether an enabled rule ends old versions below `prefix`.
pub(super) fn expires_noncurrent(rules: &[LifecycleRule], prefix: &str) -> bool {
    rules.iter().any(|rule| is_enabled(rule) && covers(rule, prefix) && rule.noncurrent_version_expiration().is_some())
}

/// An enabled rule of the user's that deletes current objects below `prefix`: the lake would lose files.
pub(super) fn deletes_the_lake<'a>(rules: &'a [LifecycleRule], prefix: &str) -> Option<&'a str> {
    let folder = folder(prefix);
    let touches = |rule: &LifecycleRule| {
        let own = rule_prefix(rule).unwrap_or_default();
        folder.starts_with(own) || own.starts_with(&folder)
    };
    let found = rules.iter().find(|rule| is_enabled(rule) && touches(rule) && expires_current(rule))?;
    Some(found.id().unwrap_or("(without a name)"))
}

fn expires_current(rule: &LifecycleRule) -> bool {
    rule.expiration().is_some_and(|expiration| expiration.days().is_some() || expiration.date().is_some())
}

/// All rules of the user's, and ours; an older form of ours is replaced.
pub(super) fn merged(rules: &[LifecycleRule], prefix: &str) -> Result<Vec<LifecycleRule>, BuildError> {
    let id = rule_id(prefix);
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(ABORT_DAYS).build();
    let ours = LifecycleRule::builder()
        .id(&id)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(folder(prefix)).build())
        .abort_incomplete_multipart_upload(abort)
        .build()?;
    let mut all: Vec<LifecycleRule> = rules.iter().filter(|rule| rule.id() != Some(&id)).cloned().collect();
    all.push(ours);
    Ok(all)
}

fn rule_id(prefix: &str) -> String {
    match prefix {
        "" => "adlake-unfinished-uploads".to_owned(),
        prefix => format!("adlake-unfinished-uploads-{}", prefix.replace('/', "-")),
    }
}

/// `lake/prod` → `lake/prod/`, so that `lake/production` is not meant.
fn folder(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

fn is_enabled(rule: &LifecycleRule) -> bool {
    *rule.status() == ExpirationStatus::Enabled
}

/// Whether the rule is for every object below `prefix`.
fn covers(rule: &LifecycleRule, prefix: &str) -> bool {
    let narrowed = rule.filter().is_some_and(|filter| {
        filter.tag().is_some()
            || filter.and().is_some()
            || filter.object_size_greater_than().is_some()
            || filter.object_size_less_than().is_some()
    });
    !narrowed && folder(prefix).starts_with(rule_prefix(rule).unwrap_or_default())
}

#[expect(deprecated, reason = "old rules carry their prefix outside the filter")]
fn rule_prefix(rule: &LifecycleRule) -> Option<&str> {
    rule.filter().and_then(|filter| filter.prefix()).or_else(|| rule.prefix())
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::{LifecycleExpiration, NoncurrentVersionExpiration};

    use super::*;

    fn users(id: &str, prefix: &str) -> aws_sdk_s3::types::builders::LifecycleRuleBuilder {
        let filter = LifecycleRuleFilter::builder().prefix(prefix).build();
        LifecycleRule::builder().id(id).status(ExpirationStatus::Enabled).filter(filter)
    }

    #[test]
    fn users_rules_stay_and_ours_is_added_once() {
        let logs = users("logs", "logs/").expiration(LifecycleExpiration::builder().days(30).build()).build().unwrap();
        assert!(!has_abort_rule(std::slice::from_ref(&logs), "lake"));
        let once = merged(std::slice::from_ref(&logs), "lake").unwrap();
        assert_eq!(once.len(), 2);
        assert_eq!(once[0], logs);
        assert!(has_abort_rule(&once, "lake"));
        assert!(!has_abort_rule(&once, "lakeside"), "the rule ends at the folder");
        assert_eq!(merged(&once, "lake").unwrap(), once, "running it again changes nothing");
        assert_eq!(merged(&once, "other").unwrap().len(), 3, "a second lake in the bucket has its own rule");
    }

    #[test]
    fn a_rule_of_the_users_for_the_whole_bucket_is_enough() {
        let abort = AbortIncompleteMultipartUpload::builder();
        let whole = users("all", "").abort_incomplete_multipart_upload(abort.clone().days_after_initiation(1).build());
        assert!(has_abort_rule(&[whole.build().unwrap()], "lake/prod"));
        let late = users("all", "").abort_incomplete_multipart_upload(abort.days_after_initiation(30).build());
        assert!(!has_abort_rule(&[late.build().unwrap()], "lake/prod"));
    }

    #[test]
    fn rules_that_delete_the_lake_and_those_that_end_old_versions_are_seen() {
        let days = LifecycleExpiration::builder().days(30).build();
        let rule = |prefix| users("old", prefix).expiration(days.clone()).build().unwrap();
        assert_eq!(deletes_the_lake(&[rule("")], "lake"), Some("old"));
        assert_eq!(deletes_the_lake(&[rule("lake/tables/")], "lake"), Some("old"));
        assert_eq!(deletes_the_lake(&[rule("logs/")], "lake"), None);
        let versions = NoncurrentVersionExpiration::builder().noncurrent_days(7).build();
        let ends = users("versions", "").noncurrent_version_expiration(versions).build().unwrap();
        assert!(expires_noncurrent(std::slice::from_ref(&ends), "lake"));
        assert!(!expires_noncurrent(&[rule("")], "lake"));
    }
}
