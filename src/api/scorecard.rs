//! The four figures.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::span::Span;

fn thirty_days() -> Span {
    "30d".parse().unwrap_or_else(|_| unreachable!("a constant"))
}

/// Of whom the figures are, and over which time.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "Scorecard",
    plural = "scorecards",
    shortname = "scorecard",
    category = "usher-audit",
    status = "ScorecardStatus",
    derive = "PartialEq",
    doc = "The four figures of the platform: time to first commit, access error rate, manual touchpoints, consistency index. Made and written by usher alone: one called all, and one for each team, called team-<team>.",
    printcolumn(name = "People", type_ = "integer", json_path = ".status.people", description = "Who has not left"),
    printcolumn(
        name = "Access-P50",
        type_ = "string",
        json_path = ".status.timeToAccess.p50",
        description = "The time from declaration until everything is in place, of half of those who came"
    ),
    printcolumn(
        name = "Commit-P50",
        type_ = "string",
        json_path = ".status.timeToFirstCommit.p50",
        description = "The time from declaration until the first push, of half of those who came"
    ),
    printcolumn(
        name = "Errors",
        type_ = "string",
        json_path = ".status.accessErrorRate.value",
        description = "The share of people's targets that are wrong, or have failed for longer than five minutes"
    ),
    printcolumn(
        name = "Touchpoints",
        type_ = "string",
        json_path = ".status.manualTouchpoints.perPerson",
        description = "What people had to do by hand, per person"
    ),
    printcolumn(
        name = "Consistency",
        type_ = "string",
        json_path = ".status.consistency.value",
        description = "The share of people's Roles that are alike in the Environments that are named together"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Observed",
        type_ = "string",
        json_path = ".status.observedAt",
        description = "When a figure last changed",
        priority = 1
    )
)]
pub struct ScorecardSpec {
    /// What happened longer ago does not count: who came, what was done by hand, which requests were denied. The chart's value figures.window decides it.
    #[serde(default = "thirty_days")]
    pub window: Span,
    /// Only people of this team count. Left out: everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub team: Option<String>,
}

impl Default for ScorecardSpec {
    fn default() -> Self {
        Self { window: thirty_days(), team: None }
    }
}

/// The figures. It is written when one of them changes, and once a minute at most.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScorecardStatus {
    /// How many people are declared and have not left.
    #[serde(default)]
    pub people: i64,
    /// From the declaration of a person until everything was in place: all access in the clusters, and all accounts. Only this part of the time to the first commit is usher's.
    #[serde(default)]
    pub time_to_access: Times,
    /// From then until her first push. Who pushed before everything was in place needed no time for it.
    #[serde(default)]
    pub time_to_first_push: Times,
    /// From the declaration of a person until her first push, as the forge tells it.
    #[serde(default)]
    pub time_to_first_commit: Times,
    /// How much of people's access is not what it should be.
    #[serde(default)]
    pub access_error_rate: ErrorRate,
    /// What people had to do by hand besides declaring and changing a person.
    #[serde(default)]
    pub manual_touchpoints: Touchpoints,
    /// Whether people have in Environments that are named together what their Roles give them there, and nothing more.
    #[serde(default)]
    pub consistency: ConsistencyIndex,
    /// When a figure last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_at: Option<Time>,
}

/// How long something took, of those who were declared within the window and for whom it has happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Times {
    /// Half of them took no longer. Left out while there is nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<String>,
    /// Nine of ten took no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90: Option<String>,
    /// How many they are.
    #[serde(default)]
    pub count: i64,
}

/// The access error rate. A cell is a person and a target: an Environment or a Provider in which she is to have something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ErrorRate {
    /// The share of the cells that are in error. Left out while there is no cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How many cells are in error: found to lack something or to have more than they should, failing for longer than five minutes, or denied what a Role gives.
    #[serde(default)]
    pub errors: i64,
    /// How many cells there are; those that should be empty and are not are among them.
    #[serde(default)]
    pub expected: i64,
    /// How many requests within the window were denied although a Role allowed them, where the audit webhook of the API server points at usher.
    #[serde(default)]
    pub denied: i64,
    /// Some of the cells that are in error, the worst first; at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub worst: Vec<WrongCell>,
}

/// A cell that is in error.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub struct WrongCell {
    /// Excess (there is more than there should be), Missing (something is not there), Denied (a request was denied that a Role allows) or Failing (for longer than five minutes).
    pub kind: WrongKind,
    /// The Developer; or the user name, where nobody is known by it.
    pub developer: String,
    /// environment/<name> or provider/<name>.
    pub target: String,
    /// What is wrong, in words.
    pub message: String,
}

/// How a cell is in error, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum WrongKind {
    /// There is more than there should be.
    Excess,
    /// Something is not there that should be.
    Missing,
    /// A request was denied that a Role allows.
    Denied,
    /// It has failed for longer than five minutes.
    Failing,
}

/// What people did by hand within the window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Touchpoints {
    /// The total, per person. Left out while there is nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_person: Option<String>,
    /// How many there were.
    #[serde(default)]
    pub total: i64,
    /// How many of each kind.
    #[serde(default)]
    pub by_kind: TouchpointKinds,
    /// The last of them, the newest first; at most ten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latest: Vec<Touchpoint>,
}

/// How many touchpoints of each kind there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TouchpointKinds {
    /// What a departure left was waived.
    #[serde(default)]
    pub waiver: i64,
    /// What a brake held was released.
    #[serde(default)]
    pub release: i64,
    /// A conflict was resolved.
    #[serde(default)]
    pub conflict: i64,
    /// What usher made was changed or removed by a hand, and usher put it back.
    #[serde(default)]
    pub hand_repair: i64,
    /// Access was given to somebody by a binding that usher did not make.
    #[serde(default)]
    pub hand_made_access: i64,
}

/// Something that was done by hand.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct Touchpoint {
    /// When usher saw it.
    pub at: Time,
    /// waiver, release, conflict, handRepair or handMadeAccess.
    pub kind: TouchpointKind,
    /// What it was about.
    pub what: String,
}

/// What was done by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TouchpointKind {
    /// What a departure left was waived.
    Waiver,
    /// What a brake held was released.
    Release,
    /// A conflict was resolved.
    Conflict,
    /// What usher made was changed or removed by a hand, and usher put it back.
    HandRepair,
    /// Access was given to somebody by a binding that usher did not make.
    HandMadeAccess,
}

/// The consistency index. A cell is a person, a Role and an Environment that the Role names together with another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ConsistencyIndex {
    /// The share of the cells that were found right. Left out while there is no cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// How many were found right.
    #[serde(default)]
    pub right: i64,
    /// How many there are. One that could not be looked at is not right.
    #[serde(default)]
    pub cells: i64,
    /// The Environments that are compared; at most ten are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
}
