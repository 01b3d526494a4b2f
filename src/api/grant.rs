//! The audit record.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One person's holding of one Role, from a start to an end.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "Grant",
    plural = "grants",
    shortname = "grant",
    category = "usher-audit",
    derive = "PartialEq",
    selectable = ".spec.developer.name",
    selectable = ".spec.role",
    selectable = ".spec.state",
    doc = "The record that a person held a Role, from when to when, in which Environments, by whose request and why. Written by usher alone: a Grant gives nothing, and deleting it takes nothing away.",
    printcolumn(name = "Developer", type_ = "string", json_path = ".spec.developer.name"),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role"),
    printcolumn(name = "Targets", type_ = "string", json_path = ".spec.summary.targets", description = "Where the Role gives something"),
    printcolumn(name = "State", type_ = "string", json_path = ".spec.state", description = "Active or Ended"),
    printcolumn(name = "Since", type_ = "string", json_path = ".spec.since"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.summary.until", description = "When it will end by itself"),
    printcolumn(name = "Granted-By", type_ = "string", json_path = ".spec.grantedBy"),
    printcolumn(name = "Ended", type_ = "string", json_path = ".spec.ended.at", priority = 1),
    printcolumn(name = "Ended-By", type_ = "string", json_path = ".spec.ended.by", priority = 1),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason", priority = 1),
    printcolumn(name = "Via", type_ = "string", json_path = ".spec.summary.via", description = "The Bindings that gave it", priority = 1)
)]
#[serde(rename_all = "camelCase")]
pub struct GrantSpec {
    /// The person.
    pub developer: GrantedDeveloper,
    /// The Role.
    pub role: String,
    /// The generation of the Role when the Grant began.
    pub role_revision: i64,
    /// Where the Role gave something, from when to when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<GrantInterval>,
    /// The Bindings that gave the Role, from when to when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<GrantInterval>,
    /// Who last wrote the Binding that gave it, as admission saw it: of several the oldest. "unknown" where that was not recorded.
    pub granted_by: String,
    /// For whom the requester acted, where a trusted applier says so on that Binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<String>,
    /// The change that asked for it, where a trusted applier says so on that Binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    /// Why, as that Binding says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the access was in place.
    pub since: Time,
    /// When it will end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Active or Ended.
    pub state: GrantState,
    /// How it ended; set once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<GrantEnd>,
    /// What the columns show.
    pub summary: GrantSummary,
}

/// Whether a Grant still runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum GrantState {
    /// The person holds the Role.
    Active,
    /// The person held the Role.
    Ended,
}

/// The person of a Grant, as she was known then.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantedDeveloper {
    /// The Developer's name.
    pub name: String,
    /// The Developer's UID.
    pub uid: String,
    /// The Developer's personId.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person_id: Option<String>,
}

/// Something that held from a start to an end.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct GrantInterval {
    /// environment/<name> or provider/<name>; or a Binding's name.
    pub name: String,
    /// Of a Binding: the team by which it named the person; left out where it named her herself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Since when.
    pub since: Time,
    /// Until when; left out while it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// How a Grant ended.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct GrantEnd {
    /// When the access was gone.
    pub at: Time,
    /// Who ended it: whoever last wrote the object whose edit ended it. "nobody (expired)" at a time that was set before, "unknown (deleted)" where
    /// something was deleted, as no admission policy can record that; else "unknown" where it was not recorded or cannot be told.
    pub by: String,
    /// Why it ended.
    pub cause: EndCause,
}

/// Why a Grant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum EndCause {
    /// The Binding was deleted.
    BindingDeleted,
    /// The Binding does not give it to the person any more.
    BindingEdited,
    /// The Binding expired.
    BindingExpired,
    /// The Role was deleted.
    RoleDeleted,
    /// The Role gives nothing to the person any more.
    RoleEdited,
    /// The Environments were deleted in which the Role gave something.
    EnvironmentDeleted,
    /// The Providers were deleted at which the Role gave an account; the accounts stay as they are.
    ProviderDeleted,
    /// The person is no longer in the team by which she held it.
    DeveloperEdited,
    /// The person was suspended.
    DeveloperSuspended,
    /// The person was locked.
    DeveloperLocked,
    /// The person left.
    DeveloperDeparted,
    /// The Developer was deleted.
    DeveloperDeleted,
}

/// What the columns of a Grant show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct GrantSummary {
    /// Where the Role gives something.
    pub targets: String,
    /// The Bindings that gave it.
    pub via: String,
    /// When it will end by itself.
    pub until: String,
}
