//! Where people work.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{Rule, conditions, label_expressions, label_map, label_syntax, quantities, rules};
use super::span::Span;

fn selector_rules() -> serde_json::Value {
    rules(&[Rule::new(
        "(has(self.matchLabels) && self.matchLabels.size() > 0) || (has(self.matchExpressions) && self.matchExpressions.size() > 0)",
        "write matchLabels or matchExpressions; an Environment without shared namespaces leaves namespaces out",
    )])
}

fn identity_rules() -> serde_json::Value {
    rules(&[Rule::new(
        "has(self.serviceAccount) != has(self.user)",
        "choose one: serviceAccount: {} or user: a pattern such as \"oidc:{email}\"",
    )])
}

fn quota_rules() -> serde_json::Value {
    rules(&[Rule::new(
        QUOTA_KEYS_THAT_LOCK_OUT,
        "a quota on secrets, configmaps, serviceaccounts, resourcequotas or count/ of secrets, configmaps, serviceaccounts, resourcequotas, limitranges, rolebindings or networkpolicies could lock usher out of the workspace: take it out",
    )])
}

const QUOTA_KEYS_THAT_LOCK_OUT: &str = "!self.exists(k, k in ['secrets', 'configmaps', 'serviceaccounts', 'resourcequotas'] || k.matches('^count/(secrets|configmaps|serviceaccounts|resourcequotas|limitranges|rolebindings[.].*|networkpolicies[.].*)$'))";

fn workspace_labels(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let mut schema = label_map(generator);
    schema.insert(
        "x-kubernetes-validations".into(),
        rules(&[
            label_syntax(),
            Rule::new(
                "self.all(k, !k.matches('^([^/]+[.])?(kubernetes[.]io|k8s[.]io|usher[.]dev)/'))",
                "labels of kubernetes.io, k8s.io and usher.dev are not yours to set on workspaces: use a prefix of your own",
            ),
        ]),
    );
    schema
}

fn template_rules() -> serde_json::Value {
    rules(&[
        Rule::new("self.contains('{developer}')", "the name must contain {developer}, or two people would get one namespace"),
        Rule::new(
            "self.replace('{developer}', 'd').replace('{environment}', 'e').matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "write lower-case letters, digits, hyphens, {environment} and {developer} only",
        ),
    ])
}

fn user_rules() -> serde_json::Value {
    rules(&[
        Rule::new(
            "!self.startsWith('system:')",
            "names that start with system: belong to Kubernetes: use what your authenticator gives people, for example oidc:{email}",
        ),
        Rule::new(
            "self.contains('{email}') || self.contains('{username}') || self.contains('{name}') || self.contains('{personId}')",
            "the pattern must contain {email}, {username}, {name} or {personId}, or everybody would be one user",
        ),
        Rule::new(
            "!self.replace('{email}', '').replace('{username}', '').replace('{name}', '').replace('{personId}', '').matches('[{}]')",
            "only {email}, {username}, {name} and {personId} stand for something: take other braces out",
        ),
    ])
}

fn default_template() -> String {
    "{environment}-{developer}".to_owned()
}

fn default_cluster_role() -> String {
    "usher-developer".to_owned()
}

fn default_delete_after() -> Span {
    "7d".parse().unwrap_or_else(|_| unreachable!("a constant"))
}

/// Where people work: dev, staging, prod.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "Environment",
    plural = "environments",
    shortname = "uenv",
    category = "usher",
    status = "EnvironmentStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "Where people work: dev, staging or prod. A set of shared namespaces of this or another cluster, and the workspaces that people get there.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".status.summary.cluster"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", description = "Enforce or Observe"),
    printcolumn(name = "Namespaces", type_ = "integer", json_path = ".status.namespaces", description = "Shared namespaces"),
    printcolumn(name = "Workspaces", type_ = "integer", json_path = ".status.workspaces", description = "People's own namespaces"),
    printcolumn(
        name = "Pending",
        type_ = "string",
        json_path = ".status.summary.pending",
        description = "Objects to add, change and remove"
    ),
    printcolumn(
        name = "Consistency",
        type_ = "string",
        json_path = ".status.consistency",
        description = "Share of people's Roles that are here just what they should be"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentSpec {
    /// The cluster. Left out: the one that usher runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterReference>,

    /// Enforce: usher makes it so. Observe: usher says what would change, and changes nothing.
    #[serde(default)]
    pub mode: Mode,

    /// Which namespaces of the cluster are shared by the people of this Environment. Left out: none. Namespace labels are authority: only administrators should write them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceSelector>,

    /// Whether the Secrets of people live in their workspaces here. One Environment is home; the only one is home by itself.
    #[serde(default)]
    pub home: bool,

    /// Whether Roles may give cluster-wide rules in this Environment's cluster. Every Environment of a cluster must allow it.
    #[serde(default)]
    pub allow_cluster_scope: bool,

    /// How people are known in this cluster. Default: a ServiceAccount for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityKind>,

    /// The namespace that each person gets here for herself. Left out: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<WorkspaceTemplate>,
}

/// Another cluster.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterReference {
    /// The Secret in usher's own namespace that holds a kubeconfig for the cluster, as `usher remote kubeconfig` makes it. It may run no program and name no file; a new one is taken without a restart. Environments in one cluster name the same Secret.
    pub kubeconfig_secret: SecretKey,
}

/// Which cluster a Secret leads to.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KnownCluster {
    /// The Secret in usher's own namespace that leads there.
    pub kubeconfig_secret: SecretKey,
    /// The UID of its namespace kube-system. Left out: it was never reached.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// A key of a Secret in usher's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct SecretKey {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Whether usher acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Mode {
    /// usher makes it so.
    #[default]
    Enforce,
    /// usher says what would change, and changes nothing.
    Observe,
}

/// Which namespaces of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = selector_rules()))]
pub struct NamespaceSelector {
    /// Labels that the namespaces have, with these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_map")]
    pub match_labels: Option<BTreeMap<String, String>>,
    /// Conditions on the namespaces' labels; all must hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "label_expressions")]
    pub match_expressions: Option<Vec<LabelSelectorRequirement>>,
}

/// How people are known in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = identity_rules()))]
pub struct IdentityKind {
    /// usher makes a ServiceAccount for each person and issues its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccountIdentity>,
    /// The cluster has an authenticator of its own, which gives people this user name, for example "oidc:{email}". {email}, {username}, {name} and {personId} stand for the
    /// person's. usher then issues no credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), extend("x-kubernetes-validations" = user_rules()))]
    pub user: Option<String>,
}

/// A ServiceAccount for each person; nothing to set yet.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct ServiceAccountIdentity {}

/// The namespace that each person gets for herself.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceTemplate {
    /// The namespace's name; {environment} and {developer} stand for the names of those.
    #[serde(default = "default_template")]
    #[schemars(length(min = 1, max = 80), extend("x-kubernetes-validations" = template_rules()))]
    pub name: String,

    /// The ClusterRole that the owner holds in her workspace. The default is edit without ServiceAccounts, their tokens and impersonation.
    #[serde(default = "default_cluster_role")]
    #[schemars(length(min = 1, max = 253))]
    pub cluster_role: String,

    /// Labels of the namespace. They may not make it a shared namespace of any Environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "workspace_labels")]
    pub labels: BTreeMap<String, String>,

    /// The hard limits of a ResourceQuota in each workspace. Left out: no quota.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities", extend("x-kubernetes-validations" = quota_rules()))]
    pub quota: BTreeMap<String, IntOrString>,

    /// Defaults for containers in each workspace. Left out: no LimitRange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,

    /// Default: no traffic from other namespaces, and the owner may widen it. Enforced: she may not. None: no restriction.
    #[serde(default)]
    pub isolation: Isolation,

    /// The Pod Security Standard that is enforced in each workspace.
    #[serde(default)]
    pub pod_security: PodSecurity,

    /// What becomes of the workspace when its owner departs.
    #[serde(default)]
    pub on_departure: OnDeparture,
}

impl Default for WorkspaceTemplate {
    fn default() -> Self {
        Self {
            name: default_template(),
            cluster_role: default_cluster_role(),
            labels: BTreeMap::new(),
            quota: BTreeMap::new(),
            limits: None,
            isolation: Isolation::default(),
            pod_security: PodSecurity::default(),
            on_departure: OnDeparture::default(),
        }
    }
}

/// Defaults for containers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// The limits of a container that names none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub default: BTreeMap<String, IntOrString>,
    /// The requests of a container that names none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub default_request: BTreeMap<String, IntOrString>,
}

/// Who may send traffic into a workspace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Isolation {
    /// Nobody outside it, until the owner says otherwise.
    #[default]
    Default,
    /// Nobody outside it, and the owner cannot change that.
    Enforced,
    /// Everybody.
    None,
}

/// A Pod Security Standard (<https://kubernetes.io/docs/concepts/security/pod-security-standards/>).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PodSecurity {
    /// No restriction.
    Privileged,
    /// No known way to escalate.
    #[default]
    Baseline,
    /// Hardened.
    Restricted,
}

impl PodSecurity {
    /// The value of the label `pod-security.kubernetes.io/enforce`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }
}

/// What becomes of a workspace when its owner departs.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OnDeparture {
    /// Retain: it stays until somebody deletes it. Delete: it is deleted after deleteAfter; a namespace that existed before and was pinned stays all the same.
    #[serde(default)]
    pub action: DepartureAction,
    /// How long the workspace stays before it is deleted.
    #[serde(default = "default_delete_after")]
    pub delete_after: Span,
}

impl Default for OnDeparture {
    fn default() -> Self {
        Self { action: DepartureAction::Retain, delete_after: default_delete_after() }
    }
}

/// Whether a workspace is deleted after its owner departed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DepartureAction {
    /// It stays until somebody deletes it.
    #[default]
    Retain,
    /// It is deleted after a time.
    Delete,
}

/// What usher found and did for an Environment.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvironmentStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Accepted, Connected, AccessApplied; Stalled only when waiting cannot help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// The number of shared namespaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<i64>,
    /// The number of workspaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspaces: Option<i64>,
    /// The clusters in which usher works for this Environment, or has something left to take away: the present one first. Empty in the cluster that usher runs in. A Secret that leads to another cluster than before is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<KnownCluster>,
    /// How many of the cells are right here, in percent, rounded down. A cell is a person and a Role that she holds here; it counts where an access entry of the Role names this Environment together with another. It is right if all that the Role gives was seen in the cluster, and nothing more: no other binding that names her in the shared namespaces, or cluster-wide. What was not seen, as the cluster does not answer, is wrong. Left out: there are no cells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistency: Option<String>,
    /// The cells that are not right: the worst ten. `usher consistency` lists all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
    /// What the columns show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<EnvironmentSummary>,
}

/// A person whose Role is not what it should be in an Environment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub struct Difference {
    /// How it differs.
    pub kind: DifferenceKind,
    /// The person: her Developer, or the name that was found where nobody is known by it.
    pub developer: String,
    /// The Role.
    pub role: String,
    /// What is wrong.
    pub message: String,
}

/// How what somebody has differs from what she should have. The worse come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum DifferenceKind {
    /// She has more.
    More,
    /// Something was not found.
    Missing,
    /// The cluster does not answer, or was never read.
    Unseen,
}

/// What the columns of an Environment show.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct EnvironmentSummary {
    /// The cluster.
    #[serde(default)]
    pub cluster: String,
    /// Objects to add, change and remove, for example "+2 ~0 -1".
    #[serde(default)]
    pub pending: String,
}
