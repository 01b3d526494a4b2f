//! Who has a Role.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{Rule, conditions, developer_names, environment_names, label_rule, rules, team_names};
use super::span::Span;

fn spec_rules() -> serde_json::Value {
    rules(&[
        Rule::new(
            "(has(self.developers) && self.developers.size() > 0) || (has(self.teams) && self.teams.size() > 0)",
            "a Binding needs somebody: name at least one Developer under developers, or one team under teams",
        )
        .at(".developers"),
        Rule::new("!has(self.startsAt) || !has(self.expiresAt) || self.startsAt < self.expiresAt", "expiresAt must be later than startsAt")
            .at(".expiresAt"),
        Rule::new(
            "!has(self.deleteAfterExpiry) || has(self.expiresAt)",
            "deleteAfterExpiry needs expiresAt: say when the Binding expires, or leave deleteAfterExpiry out",
        )
        .at(".deleteAfterExpiry"),
    ])
}

/// Who has a Role, where, from when, until when, and why.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "Binding",
    plural = "bindings",
    shortname = "ubind",
    category = "usher",
    status = "BindingStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Who has a Role, where, from when, until when, and why. Write `kubectl get ubind`, as `kubectl get bindings` means something of Kubernetes' own.",
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role", description = "The Role that it gives"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "Scheduled, Active or Expired"),
    printcolumn(name = "Holders", type_ = "integer", json_path = ".status.holders", description = "People who hold it now"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.summary.expires"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason", priority = 1),
    printcolumn(name = "Requested-By", type_ = "string", json_path = r".metadata.annotations.usher\.dev/requested-by", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = spec_rules()))]
pub struct BindingSpec {
    /// The Role that is given.
    #[schemars(length(min = 1, max = 40), extend("x-kubernetes-validations" = label_rule("the Role")))]
    pub role: String,

    /// The Developers who get it, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "developer_names")]
    pub developers: Vec<String>,

    /// The teams whose members get it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "team_names")]
    pub teams: Vec<String>,

    /// The Environments to which the Role is narrowed. Left out: all that the Role names. []: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "environment_names")]
    pub environments: Option<Vec<String>>,

    /// Before this time the Binding gives nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Time>,

    /// From this time on the Binding gives nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,

    /// How long after its expiry the Binding is deleted. Left out: it is kept until somebody deletes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_after_expiry: Option<Span>,

    /// Why the people have the Role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1_024))]
    pub reason: Option<String>,
}

/// What usher found and did for a Binding.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Accepted, ReferencesResolved, AccessApplied; Stalled only when waiting cannot help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// Scheduled, Active or Expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<BindingState>,
    /// The number of people who hold the Binding now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holders: Option<i64>,
    /// What the columns show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<BindingSummary>,
}

/// Whether a Binding gives something now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum BindingState {
    /// Before startsAt.
    Scheduled,
    /// Between startsAt and expiresAt.
    Active,
    /// After expiresAt.
    Expired,
}

/// What the columns of a Binding show.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct BindingSummary {
    /// When the Binding expires.
    #[serde(default)]
    pub expires: String,
}
