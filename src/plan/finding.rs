//! What a planner has to say besides the plan.

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
}

impl Finding {
    /// A finding.
    pub fn new(condition: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        Self { condition, reason, message: message.into() }
    }
}
