//! In which targets something of a person's fails, and since when: from findings, which know their places, and never from words.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::ConditionType;
use crate::api::developer::FailingTarget;

use super::developer::whole_second;
use super::finding::Finding;

/// The conditions of a Developer that tell of what she has.
pub const TELLING: [ConditionType; 4] =
    [ConditionType::WorkspaceReady, ConditionType::AccessApplied, ConditionType::CredentialsReady, ConditionType::AccountsSynced];
/// At most so many targets are told: a status stays small.
const MOST: usize = 64;

/// What fails by findings. One that names no place is about what is her own, which is at `home`, unless it is about accounts. What failed before has failed since
/// then.
pub fn failing(before: &[FailingTarget], findings: &[Finding], home: Option<&String>, now: Timestamp) -> Vec<FailingTarget> {
    let mut targets: BTreeSet<&String> = BTreeSet::new();
    for finding in findings.iter().filter(|finding| TELLING.contains(&finding.condition)) {
        targets.extend(&finding.targets);
        targets.extend(home.filter(|_| finding.targets.is_empty() && finding.condition != ConditionType::AccountsSynced));
    }
    let known: BTreeMap<&String, &Time> = before.iter().map(|it| (&it.target, &it.since)).collect();
    let since = |target: &String| known.get(target).map_or_else(|| whole_second(now), |since| (*since).clone());
    targets.into_iter().take(MOST).map(|target| FailingTarget { target: target.clone(), since: since(target) }).collect()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::api::Reason;

    use super::*;

    fn finding(condition: ConditionType, targets: &[&str]) -> Finding {
        let told = Finding::new(condition, Reason::Unreachable, "it does not answer, like uenv/lab");
        told.at_all(targets.iter().map(|target| (*target).to_owned()))
    }

    #[test]
    fn each_target_fails_since_it_first_failed_and_all_of_them_are_told() {
        let (now, later) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_mins(3));
        let home = "environment/home".to_owned();
        let told = |before: &[FailingTarget], findings: &[Finding], now| -> Vec<(String, Timestamp)> {
            failing(before, findings, Some(&home), now).into_iter().map(|it| (it.target, it.since.0)).collect()
        };
        let first = failing(&[], &[finding(ConditionType::AccessApplied, &["environment/dev"])], Some(&home), now);
        let both =
            [finding(ConditionType::AccessApplied, &["environment/prod"]), finding(ConditionType::AccessApplied, &["environment/dev"])];
        assert_eq!(told(&first, &both, later), [("environment/dev".to_owned(), now), ("environment/prod".to_owned(), later)]);
        let many: Vec<Finding> = (0..20).map(|number| finding(ConditionType::AccountsSynced, &[&format!("provider/p{number}")])).collect();
        assert_eq!(told(&[], &many, now).len(), 20, "though a condition tells ten");
        assert_eq!(told(&first, &[finding(ConditionType::CredentialsReady, &[])], later), [(home.clone(), later)]);
        assert_eq!(told(&first, &[finding(ConditionType::ReferencesResolved, &[])], later), [], "she has what she is to have");
    }
}
