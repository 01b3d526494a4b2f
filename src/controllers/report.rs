//! What people are told about a pass: findings from errors, Events when the answer to "is it ready?" changes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;

use crate::api::ConditionType;
use crate::cluster::error::Error;
use crate::plan::finding::Finding;

use super::context::Context;

/// Findings for the errors of single steps. What changed meanwhile is no trouble: it is looked at again at once.
pub fn error_findings(condition: ConditionType, errors: &[Error]) -> Vec<Finding> {
    errors
        .iter()
        .filter(|error| !matches!(error, Error::Stale { .. }))
        .map(|error| Finding::new(condition, error.reason(), error.chain()))
        .collect()
}

/// Writes an Event when `Ready` changed its status or reason.
pub fn announce<K: Resource<DynamicType = ()>>(context: &Context, object: &K, old: Option<&[Condition]>, new: &[Condition]) {
    let ready = |conditions: &[Condition]| conditions.iter().find(|condition| condition.type_ == "Ready").cloned();
    let before = old.and_then(ready).map(|condition| (condition.status, condition.reason));
    let Some(after) = ready(new) else { return };
    if before.as_ref() != Some(&(after.status.clone(), after.reason.clone())) {
        let good = after.status == "True";
        let note = if after.message.is_empty() { "as asked".to_owned() } else { after.message.clone() };
        context.event(object, good, &after.reason, &note);
    }
}
