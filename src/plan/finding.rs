//! What a planner has to say besides the plan.

use std::collections::BTreeSet;

use crate::api::{ConditionType, Reason};

/// A problem or a wait: which condition it belongs to, why, and the remedy. Never an exception: the rest of the plan stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The condition that is not True because of it.
    pub condition: ConditionType,
    /// The bounded word.
    pub reason: Reason,
    /// What is wrong, naming the culprit and the remedy.
    pub message: String,
    /// The targets that it is about; none where it is about no place, or where nobody asks.
    pub targets: BTreeSet<String>,
}

impl Finding {
    /// A finding.
    pub fn new(condition: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { condition, reason, message: message.into(), targets: BTreeSet::new() }
    }

    /// The same, about a target.
    #[must_use]
    pub fn at(self, target: String) -> Self {
        self.at_all([target])
    }

    /// The same, about several targets.
    #[must_use]
    pub fn at_all(mut self, targets: impl IntoIterator<Item = String>) -> Self {
        self.targets.extend(targets);
        self
    }
}
