//! What a job needs.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelectorRequirement, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{Rule, conditions, environment_names_or_all, label_expressions, label_map, label_rule, role_names, rules};
use super::span::Span;

fn access_rules() -> serde_json::Value {
    rules(&[
        Rule::new(
            "(has(self.clusterRoles) && self.clusterRoles.size() > 0) || (has(self.rules) && self.rules.size() > 0)",
            "an access entry gives something: name clusterRoles, write rules, or both",
        )
        .at(".clusterRoles"),
        Rule::new(
            "!has(self.cluster) || !self.cluster || !has(self.clusterRoles) || self.clusterRoles.size() == 0",
            "with cluster: true only inline rules are possible: write what is needed under rules, or leave cluster out",
        )
        .at(".clusterRoles"),
        Rule::new(
            "!has(self.cluster) || !self.cluster || !has(self.namespaces)",
            "with cluster: true there are no namespaces to choose: leave namespaces out, or leave cluster out",
        )
        .at(".namespaces"),
    ])
}

fn namespace_rules() -> serde_json::Value {
    rules(&[
        Rule::new(
            "!(has(self.names) && (has(self.matchLabels) || has(self.matchExpressions)))",
            "choose namespaces either by names or by labels, not both: use two access entries",
        ),
        Rule::new(
            "has(self.names) || (has(self.matchLabels) && self.matchLabels.size() > 0) || (has(self.matchExpressions) && self.matchExpressions.size() > 0)",
            "write names, matchLabels or matchExpressions; to choose all shared namespaces of the Environments, leave namespaces out",
        ),
    ])
}

/// What a job needs, inside the clusters and outside, in one object.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "Role",
    plural = "roles",
    shortname = "urole",
    category = "usher",
    status = "RoleStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "What a job needs, in the clusters and outside, in one object. A Role gives nothing by itself: a Binding says who has it. Write `kubectl get urole`, as `kubectl get role` means RBAC's.",
    printcolumn(name = "Holders", type_ = "integer", json_path = ".status.holders", description = "People who hold this Role now"),
    printcolumn(
        name = "Environments",
        type_ = "string",
        json_path = ".status.summary.environments",
        description = "Environments in which it gives access"
    ),
    printcolumn(
        name = "Providers",
        type_ = "string",
        json_path = ".status.summary.providers",
        description = "Providers at which it gives accounts"
    ),
    printcolumn(
        name = "Applied",
        type_ = "date",
        json_path = ".status.lastApplied.at",
        description = "Since the last change of access was applied"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct RoleSpec {
    /// What the job is, for those who read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1_024))]
    pub description: Option<String>,

    /// Who answers for the Role: a Developer's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub owner: Option<String>,

    /// Other Roles whose access this one gives as well, at most 16. In a cycle every Role gives its own access only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "role_names")]
    pub includes: Vec<String>,

    /// Access in Kubernetes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub access: Vec<Access>,

    /// Accounts in outside systems.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["provider"]))]
    pub accounts: Vec<AccountEntitlement>,

    /// A Binding of this Role must set expiresAt, at most this far from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_duration: Option<Span>,

    /// A Binding of this Role must give a reason.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub require_reason: bool,
}

/// Access in the namespaces of some Environments.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = access_rules()))]
pub struct Access {
    /// What this entry is called within the Role.
    #[schemars(length(min = 1, max = 40), extend("x-kubernetes-validations" = label_rule("the entry")))]
    pub name: String,

    /// The Environments in which this entry applies, or "*" alone for all. An Environment that is added later is never included by silence.
    #[schemars(schema_with = "environment_names_or_all")]
    pub environments: Vec<String>,

    /// Which of the Environments' shared namespaces. Left out: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceChoice>,

    /// Existing ClusterRoles, by name. The installation says which may be named (fence.mayBind).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub cluster_roles: Vec<String>,

    /// Rules of RBAC, written here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub rules: Vec<AccessRule>,

    /// Cluster-wide instead of in namespaces: rules only, to get, list and watch, and only where every Environment of the cluster is meant and allows it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cluster: bool,
}

/// Which of an Environment's shared namespaces: by labels, or by names.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = namespace_rules()))]
pub struct NamespaceChoice {
    /// Labels that the namespaces have, with these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_map")]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Conditions on the namespaces' labels; all must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_expressions")]
    pub match_expressions: Option<Vec<LabelSelectorRequirement>>,
    /// Names of namespaces; those outside the Environment's own selector are not reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub names: Option<Vec<String>>,
}

/// A rule of RBAC (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/>).
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccessRule {
    /// API groups; "" is the core group.
    #[schemars(length(min = 1, max = 16), inner(length(max = 253)))]
    pub api_groups: Vec<String>,
    /// Resources, for example pods or pods/log.
    #[schemars(length(min = 1, max = 64), inner(length(min = 1, max = 253)))]
    pub resources: Vec<String>,
    /// Names of objects. Left out: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub resource_names: Vec<String>,
    /// Verbs, for example get, list, watch, create.
    #[schemars(length(min = 1, max = 16), inner(length(min = 1, max = 63)))]
    pub verbs: Vec<String>,
}

/// An account in an outside system.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct AccountEntitlement {
    /// The Provider.
    #[schemars(length(min = 1, max = 40), extend("x-kubernetes-validations" = label_rule("the Provider")))]
    pub provider: String,
    /// What the Provider calls its groups, teams or roles. Left out: not managed by this Role; []: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)), extend("x-kubernetes-list-type" = "set"))]
    pub groups: Option<Vec<String>>,
}

/// What usher found and did for a Role.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Accepted, ReferencesResolved, AccessApplied; Stalled only when waiting cannot help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The number of people who hold the Role now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holders: Option<i64>,
    /// The last time that access was changed for this Role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_applied: Option<LastApplied>,
    /// What the columns show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<RoleSummary>,
}

/// A change of access that was applied.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct LastApplied {
    /// The generation of the Role.
    pub generation: i64,
    /// When the last write was done.
    pub at: Time,
    /// How long the writes took together.
    pub took: String,
}

/// What the columns of a Role show.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct RoleSummary {
    /// Environments in which the Role gives access.
    #[serde(default)]
    pub environments: String,
    /// Providers at which the Role gives accounts.
    #[serde(default)]
    pub providers: String,
}
