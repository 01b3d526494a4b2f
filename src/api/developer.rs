//! A person.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema::{Rule, conditions, label_rule, rules, team_names};

/// What the API server checks across the fields of a Developer.
fn spec_rules() -> serde_json::Value {
    rules(&[
        Rule::new(
            "!has(self.startsAt) || !has(self.endsAt) || self.startsAt < self.endsAt",
            "endsAt must be later than startsAt",
        )
        .at(".endsAt"),
        Rule::new(
            "!has(oldSelf.personId) || (has(self.personId) && self.personId == oldSelf.personId)",
            "personId is the same person for ever, so it cannot be changed or taken away: make a new Developer for another person",
        )
        .at(".personId"),
        Rule::new(
            "has(self.kubernetesUser) == has(oldSelf.kubernetesUser) && (!has(self.kubernetesUser) || self.kubernetesUser == oldSelf.kubernetesUser)",
            "kubernetesUser is immutable: delete the Developer and make it again with the other user name",
        )
        .at(".kubernetesUser"),
    ])
}

/// A person who gets a workspace, credentials, the access of the Roles she holds and accounts in outside systems, and loses all of them when she leaves.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "Developer",
    plural = "developers",
    shortname = "dev",
    category = "usher",
    status = "DeveloperStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A person. usher gives her a workspace in every Environment, credentials, the access of each Role that a Binding gives her, and accounts in outside systems; and takes all of it away when she is suspended or leaves.",
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "Pending, Active, Suspended, Locked, Departing or Departed"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        description = "Whether the clusters and systems are as asked"
    ),
    printcolumn(name = "Teams", type_ = "string", json_path = ".status.summary.teams", description = "Her teams"),
    printcolumn(name = "Roles", type_ = "string", json_path = ".status.summary.roles", description = "The Roles she holds now"),
    printcolumn(
        name = "Accounts",
        type_ = "string",
        json_path = ".status.summary.accounts",
        description = "Accounts in order, of those wanted"
    ),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.summary.expires", description = "When she departs by herself"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Email", type_ = "string", json_path = ".spec.email", priority = 1),
    printcolumn(
        name = "Workspace",
        type_ = "string",
        json_path = ".status.summary.workspace",
        description = "The namespace that holds her Secrets",
        priority = 1
    ),
    printcolumn(
        name = "Foreign",
        type_ = "integer",
        json_path = ".status.foreignBindings",
        description = "RBAC that names her and that usher did not make",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.summary.message",
        description = "What is wrong, and the remedy",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = spec_rules()))]
pub struct DeveloperSpec {
    /// The person's name as people say it. Default: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub display_name: Option<String>,

    /// The person's e-mail address. Environments and Providers may know her by it.
    #[schemars(length(min = 3, max = 254), extend("x-kubernetes-validations" = rules(&[Rule::new(
        r"self.matches('^[^@\\s,;<>()\\x22]+@[^@\\s,;<>()\\x22.]+([.][^@\\s,;<>()\\x22.]+)*$')",
        "write one e-mail address, for example ada@example.com",
    )])))]
    pub email: String,

    /// The number of the person at the source of people: an HR number or a directory's object id. The same personId is the same person, for ever:
    /// someone who comes back under it finds her workspace and accounts again. May be added later, never changed or taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub person_id: Option<String>,

    /// The login at Providers. Default: the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub username: Option<String>,

    /// The Kubernetes user name by which every cluster knows the person; overrides the identity of the Environments. Rarely needed, and immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 254), extend("x-kubernetes-validations" = rules(&[Rule::new(
        "!self.startsWith('system:')",
        "names that start with system: belong to Kubernetes: use the name that your authenticator gives people, for example oidc:ada",
    )])))]
    pub kubernetes_user: Option<String>,

    /// The name of the Developer who manages this person. For the record only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub manager: Option<String>,

    /// The teams of the person, at most 16. A Binding to one of them is a Binding to her.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "team_names")]
    pub teams: Vec<String>,

    /// Public SSH keys, which Providers install in her accounts; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub ssh_keys: Vec<SshKey>,

    /// What should be: Active, Suspended (everything is taken away and comes back with Active) or Departed (the person has left).
    #[serde(default)]
    pub state: DesiredState,

    /// Before this time the person is Pending and has nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Time>,

    /// At this time the person departs by herself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Time>,

    /// Namespaces that exist already and become the person's workspaces. Default: the Environment's template makes one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["environment"]))]
    pub workspaces: Vec<WorkspacePin>,

    /// Accounts that exist already and become the person's accounts at Providers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["provider"]))]
    pub accounts: Vec<AccountPin>,
}

/// What a Developer's spec asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum DesiredState {
    /// Everything that Bindings give.
    #[default]
    Active,
    /// Nothing, until Active again.
    Suspended,
    /// Nothing any more.
    Departed,
}

/// A public SSH key.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct SshKey {
    /// What the key is called, for example laptop.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
    /// The public key as in a .pub file: type, base64, comment.
    #[schemars(length(min = 1, max = 4_096), extend("x-kubernetes-validations" = rules(&[Rule::new(
        r"self.matches('^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh[.]com|sk-ecdsa-sha2-nistp256@openssh[.]com) [A-Za-z0-9+/]{16,}={0,3}( [^\\n\\r]*)?$')",
        "write one line of a .pub file: the type (ssh-ed25519, ssh-rsa, ecdsa-sha2-… or sk-…), the key in base64, and a comment if you like; never a private key",
    )])))]
    pub key: String,
}

/// A namespace that becomes a workspace.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct WorkspacePin {
    /// The Environment.
    #[schemars(length(min = 1, max = 24), extend("x-kubernetes-validations" = label_rule("the Environment")))]
    pub environment: String,
    /// The namespace in the Environment's cluster. usher takes it over if it exists, and makes it if not. Never a system namespace, a shared one or somebody else's.
    #[schemars(length(min = 1, max = 63), extend("x-kubernetes-validations" = rules(&[
        Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "name a namespace: lower-case letters, digits and hyphens"),
        Rule::new("!self.startsWith('kube-') && self != 'default' && self != 'usher-identities'", "kube-*, default and usher-identities are nobody's workspace: name another namespace"),
    ])))]
    pub namespace: String,
}

/// An account that becomes a person's account.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct AccountPin {
    /// The Provider.
    #[schemars(length(min = 1, max = 40), extend("x-kubernetes-validations" = label_rule("the Provider")))]
    pub provider: String,
    /// The login there. Default: the Developer's username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 254))]
    pub username: Option<String>,
    /// The account's id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 254))]
    pub id: Option<String>,
    /// Whether usher may take over the account although it did not make it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
}

/// What usher found and did for a Developer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeveloperStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pending, Active, Suspended, Locked, Departing or Departed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<DeveloperState>,
    /// Ready, Accepted, ReferencesResolved, WorkspaceReady, AccessApplied, CredentialsReady; Stalled only when waiting cannot help.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// What the columns show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<DeveloperSummary>,
    /// How the clusters know the person.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<Identity>,
    /// The person's own namespaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<Workspace>,
    /// The Roles that the person holds now, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<HeldRole>,
    /// The person's accounts at Providers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AccountStatus>,
    /// The number of RoleBindings and ClusterRoleBindings that name the person and that usher did not make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub foreign_bindings: Option<i64>,
    /// The targets in which something of hers fails or is under way, and since when; the conditions say what. What has failed for longer than five minutes is an
    /// error on Scorecards.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<FailingTarget>,
    /// When it happened; each is set once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeline: Option<Timeline>,
}

/// A target in which something of a person's fails.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub struct FailingTarget {
    /// environment/<name> or provider/<name>.
    pub target: String,
    /// Since when.
    pub since: Time,
}

/// Where a person stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub enum DeveloperState {
    /// Before startsAt: nothing is granted.
    Pending,
    /// Has what the Bindings give.
    Active,
    /// Has nothing, until Active again.
    Suspended,
    /// Has nothing while a Lock exists.
    Locked,
    /// Is losing everything.
    Departing,
    /// Has nothing any more.
    Departed,
}

/// What the columns of a Developer show.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct DeveloperSummary {
    /// The Roles, by name.
    #[serde(default)]
    pub roles: String,
    /// The teams.
    #[serde(default)]
    pub teams: String,
    /// The namespace that holds the person's Secrets.
    #[serde(default)]
    pub workspace: String,
    /// Accounts in order, of those wanted.
    #[serde(default)]
    pub accounts: String,
    /// When the person departs by herself.
    #[serde(default)]
    pub expires: String,
    /// What is wrong, and the remedy.
    #[serde(default)]
    pub message: String,
}

/// How one Environment's cluster knows a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub struct Identity {
    /// The Environment.
    pub environment: String,
    /// ServiceAccount or User.
    pub kind: String,
    /// The namespace of a ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

/// A person's own namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// The Environment.
    pub environment: String,
    /// The namespace.
    pub namespace: String,
    /// Whether it holds the person's Secrets.
    #[serde(default)]
    pub home: bool,
    /// When it will be deleted, after a departure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_at: Option<Time>,
}

/// A Role that a person holds.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldRole {
    /// The Role.
    pub name: String,
    /// The Bindings that give it.
    pub via: Vec<String>,
    /// The Environments in which it gives something.
    pub environments: Vec<String>,
    /// When the last of these Bindings expires; left out when one of them does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}

/// When a person came, and could work.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Timeline {
    /// When the Developer was made, or her Source recorded her if that was earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_at: Option<Time>,
    /// When all access in the clusters was first in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_ready_at: Option<Time>,
    /// When all accounts were first in order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts_ready_at: Option<Time>,
    /// When everything that she was to have by then was first in place, access and accounts. What she is given later does not move it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<Time>,
    /// When the person first pushed a commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_commit_at: Option<Time>,
}

/// An account at a Provider.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AccountStatus {
    /// The Provider.
    pub provider: String,
    /// The account's id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The login there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Pending, Active, Invited, Disabled, Absent, Conflict or Failed.
    pub state: String,
    /// The number of groups that her Roles give her there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<i64>,
    /// The groups that usher gave her there: they are taken again when no Role of hers gives them, also if no Role names them any more.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub given_groups: BTreeSet<String>,
    /// Whether the account was there before usher, which took it over: its owner has a password, and is issued none until hers is revoked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// Which definitions of usher's kinds were there when a Role of hers last gave her the account: while they are others, it takes nothing that no Binding is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// What is wrong, and the remedy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Developer {
    /// The name to show to people.
    pub fn display_name(&self) -> &str {
        self.spec.display_name.as_deref().or(self.metadata.name.as_deref()).unwrap_or_default()
    }

    /// The pinned workspaces by Environment.
    pub fn pinned_workspaces(&self) -> BTreeMap<&str, &str> {
        self.spec.workspaces.iter().map(|pin| (pin.environment.as_str(), pin.namespace.as_str())).collect()
    }
}
