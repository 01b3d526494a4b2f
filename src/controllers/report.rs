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

/// An Event that says whether something is ready.
pub struct News {
    good: bool,
    reason: String,
    note: String,
}

impl News {
    /// What there is to say when `Ready` changed its status or reason.
    pub fn of(old: Option<&[Condition]>, new: &[Condition]) -> Option<Self> {
        let ready = |conditions: &[Condition]| conditions.iter().find(|condition| condition.type_ == "Ready").cloned();
        let before = old.and_then(ready).map(|condition| (condition.status, condition.reason));
        let after = ready(new)?;
        let changed = before.as_ref() != Some(&(after.status.clone(), after.reason.clone()));
        let note = if after.message.is_empty() { "as asked".to_owned() } else { after.message };
        changed.then(|| Self { good: after.status == "True", reason: after.reason, note })
    }

    /// Says more with it.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.note = format!("{}; {more}", self.note);
        self
    }

    /// Writes it.
    pub fn tell<K: Resource<DynamicType = ()>>(self, context: &Context, object: &K) {
        context.event(object, self.good, &self.reason, &self.note);
    }
}

/// Writes an Event when `Ready` changed its status or reason.
pub fn announce<K: Resource<DynamicType = ()>>(context: &Context, object: &K, old: Option<&[Condition]>, new: &[Condition]) {
    if let Some(news) = News::of(old, new) {
        news.tell(context, object);
    }
}
