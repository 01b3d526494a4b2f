//! The receipt of one offboarding.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::developer::Identity;
use super::environment::KnownCluster;
use super::grant::GrantedDeveloper;
use super::schema::conditions;

/// What was taken from one person who left, how fast, and what is left.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "Departure",
    plural = "departures",
    shortname = "departure",
    category = "usher-audit",
    status = "DepartureStatus",
    derive = "PartialEq",
    selectable = ".spec.developer.name",
    doc = "The receipt of one offboarding: what was taken away, how fast, and what is left. Written by usher alone; it survives the Developer, and its debts are paid after she is gone.",
    printcolumn(name = "Developer", type_ = "string", json_path = ".spec.developer.name"),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "Revoking, Verifying, Incomplete, Complete or CompleteWithWaivers"
    ),
    printcolumn(
        name = "Access-Gone",
        type_ = "string",
        json_path = ".status.summary.accessGone",
        description = "How long it took until every API server that answers denied"
    ),
    printcolumn(name = "Accounts", type_ = "string", json_path = ".status.summary.accounts", description = "Targets in order, of all"),
    printcolumn(name = "Leftovers", type_ = "string", json_path = ".status.summary.leftovers", description = "What could not be removed"),
    printcolumn(name = "Next-Try", type_ = "string", json_path = ".status.summary.nextTry"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Completed", type_ = "string", json_path = ".status.completedAt", priority = 1),
    printcolumn(name = "Requested-By", type_ = "string", json_path = ".spec.requestedBy", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.summary.message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct DepartureSpec {
    /// The person.
    pub developer: GrantedDeveloper,
    /// Who asked for it, as seen at admission; "unknown" where that was not recorded.
    pub requested_by: String,
    /// When it was asked for.
    pub requested_at: Time,
}

/// How far an offboarding is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepartureStatus {
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DepartureState>,
    /// AccessGone, CredentialsRevoked, Complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// While destruction is held because many left at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<Brake>,
    /// Milliseconds from the request until every API server that answers denied; asked, not assumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_gone_ms: Option<i64>,
    /// How the clusters knew the person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<Identity>,
    /// Each place where the person had something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<DepartureTarget>,
    /// RoleBindings that were taken out of the person's workspaces; they are put back if she returns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed: Vec<Sealed>,
    /// What could not be removed. Waive one with the annotation `usher.dev/waive: "<target>=<reason>"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<Leftover>,
    /// How many leftovers there are; the list shows the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leftover_count: Option<i64>,
    /// When nothing was left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Time>,
    /// When the person came back: from then on this receipt is history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned_at: Option<Time>,
    /// What the columns show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<DepartureSummary>,
}

/// Where an offboarding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DepartureState {
    /// Access is being taken away.
    Revoking,
    /// Access is gone; it is being verified that credentials are refused.
    Verifying,
    /// Something is left, or could not be asked.
    Incomplete,
    /// Nothing is left.
    Complete,
    /// What is left was waived.
    CompleteWithWaivers,
}

/// Destruction that is held because many left at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Brake {
    /// Names exactly this batch. `usher.dev/release: <digest>` on one of its Departures lets it through.
    pub digest: String,
    /// How many people left in the batch.
    pub removals: i64,
    /// Of how many.
    pub population: i64,
    /// When the first of them left.
    pub since: String,
}

/// One place where the person had something.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepartureTarget {
    /// environment/<name>, provider/<name>, or cluster/<secret>/<key> for a cluster of which no Environment speaks any more.
    pub target: String,
    /// The cluster, if it is another one than that which usher runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<KnownCluster>,
    /// How it stands there.
    pub state: TargetState,
    /// The id of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The login of the account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// When it was read again and found so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,
    /// When what is retained will be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_at: Option<Time>,
    /// Revoked, None or Cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<String>,
    /// How often it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// When it will be tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_try_at: Option<Time>,
}

/// How it stands in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TargetState {
    /// Something is still to be removed.
    #[default]
    Pending,
    /// Nothing is left.
    Gone,
    /// The account is locked out.
    Disabled,
    /// Access is gone; data is kept by policy.
    Retained,
    /// It does not answer.
    Unreachable,
    /// Something could not be removed.
    Failed,
    /// What is left was waived.
    Waived,
}

/// A RoleBinding that was taken out of a workspace.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sealed {
    /// The Environment of the workspace; left out in the cluster that usher runs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The workspace.
    pub namespace: String,
    /// The RoleBinding.
    pub name: String,
    /// What it gave, as Kind/name.
    pub role_ref: String,
    /// To whom: Kind/name, for ServiceAccounts ServiceAccount/namespace/name.
    pub subjects: Vec<String>,
}

/// What could not be removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Leftover {
    /// The target that it belongs to.
    pub target: String,
    /// What it is.
    pub object: String,
    /// Why it is left, in the target's own words, and what to do.
    pub reason: String,
}

/// What the columns of a Departure show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepartureSummary {
    /// Targets in order, of all.
    #[serde(default)]
    pub accounts: String,
    /// How long it took until every API server that answers denied.
    #[serde(default)]
    pub access_gone: String,
    /// How many leftovers.
    #[serde(default)]
    pub leftovers: String,
    /// When something is tried again.
    #[serde(default)]
    pub next_try: String,
    /// What is left, and the remedy.
    #[serde(default)]
    pub message: String,
}
