//! The emergency stop.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::departure::{DepartureTarget, Sealed};
use super::schema::{Rule, conditions, label_rule, rules};

fn spec_rules() -> serde_json::Value {
    rules(&[Rule::new(
        "self.reason.trim().size() > 0",
        "say why: the reason is what people read when they ask why somebody cannot work, for example SEC-91 laptop stolen",
    )
    .at(".reason")])
}

const fn yes() -> bool {
    true
}

/// The emergency stop for one person.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "Lock",
    plural = "locks",
    shortname = "ulock",
    category = "usher",
    status = "LockStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "The emergency stop: while it exists the person has nothing, whatever any other object (or Git) says. It ends when it is lifted or its time is over; until then it cannot be deleted.",
    printcolumn(name = "Developer", type_ = "string", json_path = ".spec.developer", description = "Who is locked"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "Applying, Applied or Lifted"),
    printcolumn(
        name = "Access-Gone",
        type_ = "string",
        json_path = ".status.summary.accessGone",
        description = "How long it took until every API server that answers denied"
    ),
    printcolumn(
        name = "Targets",
        type_ = "string",
        json_path = ".status.summary.targets",
        description = "Environments and accounts where nothing is left, of those asked"
    ),
    printcolumn(name = "By", type_ = "string", json_path = r".metadata.annotations.usher\.dev/requested-by"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = spec_rules()))]
pub struct LockSpec {
    /// The Developer who is locked, by name. A Lock for somebody who does not exist yet waits for her.
    #[schemars(length(min = 1, max = 38), extend("x-kubernetes-validations" = label_rule("the Developer")))]
    pub developer: String,

    /// Why.
    #[schemars(length(min = 1, max = 1_024))]
    pub reason: String,

    /// From this time on the Lock does nothing any more. Left out: it holds until it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,

    /// Ends the Lock. Whoever sets it needs the verb `lift` on locks.
    #[serde(default)]
    pub lifted: bool,

    /// Whether tokens, keys and sessions that existed are dead for good, so that new ones are issued when the Lock ends. false: those of usher work again
    /// then.
    #[serde(default = "yes")]
    pub revoke_credentials: bool,
}

/// What usher found and did for a Lock.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Accepted, AccessGone, CredentialsRevoked; Stalled only when waiting cannot help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Applying, Applied or Lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<LockState>,
    /// Milliseconds from the Lock until every API server that answers denied; asked, not assumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_gone_ms: Option<i64>,
    /// RoleBindings that were taken out of the person's workspaces and are put back when the Lock ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed: Vec<Sealed>,
    /// The person's accounts in outside systems, each as it stands.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<DepartureTarget>,
    /// What the columns show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<LockSummary>,
}

/// Whether a Lock holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LockState {
    /// Access is being taken away.
    Applying,
    /// The person has nothing, and what is to be revoked is refused.
    Applied,
    /// It was lifted, or its time is over.
    Lifted,
}

/// What the columns of a Lock show.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LockSummary {
    /// Environments and accounts where nothing is left, of those asked.
    #[serde(default)]
    pub targets: String,
    /// How long it took until every API server that answers denied.
    #[serde(default)]
    pub access_gone: String,
}
