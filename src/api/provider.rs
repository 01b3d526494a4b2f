//! An outside system with accounts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::environment::{Mode, SecretKey};
pub use super::removals::{BrakeLimits, ProviderBrake, RecentRemovals};
use super::schema::{Rule, conditions, rules};
use super::span::Span;

/// What a Provider can be, as the fields of its spec are called.
pub const PROVIDER_TYPES: [&str; 5] = ["gitea", "keycloak", "ldap", "postgresql", "scim"];

fn spec_rules() -> serde_json::Value {
    rules(&[
        Rule::new(
            "[has(self.gitea), has(self.keycloak), has(self.ldap), has(self.postgresql), has(self.scim)].filter(x, x).size() == 1",
            "say what the system is: exactly one of gitea, keycloak, ldap, postgresql and scim",
        ),
        Rule::new(
            "[has(self.gitea) == has(oldSelf.gitea), has(self.keycloak) == has(oldSelf.keycloak), has(self.ldap) == has(oldSelf.ldap), has(self.postgresql) == has(oldSelf.postgresql), has(self.scim) == has(oldSelf.scim)].all(x, x)",
            "a Provider stays the system that it is, as people's accounts are there: make another Provider for another system",
        ),
    ])
}

fn departure_rules() -> serde_json::Value {
    rules(&[
        Rule::new(
            "has(self.transferTo) == (has(self.ownedObjects) && self.ownedObjects == 'Transfer')",
            "ownedObjects: Transfer needs transferTo, who gets what the person owned; without it leave transferTo out",
        )
        .at(".transferTo"),
        Rule::new(
            "!has(self.deleteAfter) || !has(self.action) || self.action == 'Disable'",
            "deleteAfter belongs to action: Disable; Delete deletes at once, and Retain never",
        )
        .at(".deleteAfter"),
    ])
}

pub(super) fn https_rules() -> serde_json::Value {
    rules(&[
        Rule::new(
            "isURL(self) && url(self).getScheme() == 'https'",
            "write an https URL: credentials are never sent without TLS; name the CA of a private one in caSecret",
        ),
        // What is in it is shown to everybody who may see the Provider, and to people in their workspaces.
        Rule::new(
            "!isURL(self) || self.matches('^[A-Za-z]+://[^/?#@]+(/[^?#]*)?$')",
            "write the URL without user, password, query and fragment: people see it; who usher is there stands in credentialsSecret",
        ),
    ])
}

pub(super) fn ldap_url_rules() -> serde_json::Value {
    rules(&[Rule::new(
        "self.matches('^ldaps?://[^/?#@]+/?$')",
        "write ldaps://host or ldap://host, with a port if it is not 636 or 389; ldap:// is upgraded by StartTLS before anything is sent",
    )])
}

fn postgresql_url_rules() -> serde_json::Value {
    rules(&[Rule::new(
        "self.matches('^postgres(ql)?://[^/?#@]+/[^/?#]+$')",
        "write postgresql://host:port/database without user, password and parameters; TLS is always verified",
    )])
}

fn default_requests_per_second() -> i32 {
    10
}

fn default_verify_every() -> Span {
    "10m".parse().unwrap_or_else(|_| unreachable!("a constant"))
}

fn default_client_id() -> String {
    "usher".to_owned()
}

/// An outside system in which people get accounts.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "Provider",
    plural = "providers",
    shortname = "uprov",
    category = "usher",
    status = "ProviderStatus",
    derive = "PartialEq",
    doc = "An outside system with accounts: a git forge, an identity provider, a directory, a database, or anything with SCIM. Roles name it under accounts; whoever holds such a Role has one account there.",
    printcolumn(name = "Type", type_ = "string", json_path = ".status.summary.type", description = "What the system is"),
    printcolumn(
        name = "Accounts",
        type_ = "string",
        json_path = ".status.summary.accounts",
        description = "Accounts that usher keeps there"
    ),
    printcolumn(name = "Mode", type_ = "string", json_path = ".spec.mode", description = "Enforce or Observe"),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "Connected, Unreachable, Quarantined, Braked or Observing"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.summary.url", priority = 1),
    printcolumn(
        name = "Queue",
        type_ = "string",
        json_path = ".status.summary.queue",
        description = "Accounts that wait for the system",
        priority = 1
    ),
    printcolumn(name = "Next-Try", type_ = "string", json_path = ".status.summary.nextTry", priority = 1),
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
pub struct ProviderSpec {
    /// A git forge: Gitea or Forgejo. Groups are written organization/team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gitea: Option<Gitea>,

    /// An identity provider: a realm of Keycloak. Groups are written as their path without the first slash, for example engineering/payments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keycloak: Option<Keycloak>,

    /// A directory: LDAP with inetOrgPerson and groupOfNames. Groups are written as their cn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ldap: Option<Ldap>,

    /// A database server: people are login roles of PostgreSQL, and groups are roles that they are members of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<Postgresql>,

    /// Anything with SCIM 2.0 (RFC 7644). Groups are written as their displayName.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scim: Option<Scim>,

    /// Enforce: usher makes it so. Observe: usher says what would change, and changes nothing.
    #[serde(default)]
    pub mode: Mode,

    /// Whether an account of a person's name that usher did not make becomes hers. ByUsername and ByEmail let whoever creates Developers claim unclaimed
    /// accounts; accounts of administrators and protected ones are never taken over.
    #[serde(default)]
    pub adopt: Adopt,

    /// Additive: only groups that some Role names are managed. Exclusive: people are in no other group of the system.
    #[serde(default)]
    pub membership: Membership,

    /// Secret: a new account gets a password, delivered once in the Secret usher-accounts of the person's home workspace. None: people log in by SSO or key.
    #[serde(default)]
    pub initial_credentials: InitialCredentials,

    /// What becomes of the account of somebody who departs. Whatever it says, she is locked out and what was issued is revoked at once.
    #[serde(default)]
    pub on_departure: OnDeparture,

    /// Logins that usher never touches. The system's administrators are protected anyway.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 254)), extend("x-kubernetes-list-type" = "set"))]
    pub protected: Vec<String>,

    /// How many accounts may lose something within 10 minutes because of an edit; the larger of the two counts. One named person's departure is never braked.
    #[serde(default)]
    pub brake: BrakeLimits,

    /// How many requests usher sends to the system in a second at most.
    #[serde(default = "default_requests_per_second")]
    #[schemars(range(min = 1, max = 1_000))]
    pub requests_per_second: i32,

    /// How often every account is read again and repaired.
    #[serde(default = "default_verify_every")]
    pub verify_every: Span,
}

/// A Gitea or Forgejo.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gitea {
    /// Where it is, for example https://git.example.com.
    #[schemars(length(min = 1, max = 512), extend("x-kubernetes-validations" = https_rules()))]
    pub url: String,
    /// The access token of an administrator, with the scopes write:admin, write:organization, write:user, write:repository and read:package. A Secret in usher's own
    /// namespace.
    pub credentials_secret: SecretKey,
    /// The CA that signed its certificate, as PEM, if that is not a public one. A Secret in usher's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
}

/// A realm of a Keycloak.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Keycloak {
    /// Where it is, without the realm, for example https://id.example.com.
    #[schemars(length(min = 1, max = 512), extend("x-kubernetes-validations" = https_rules()))]
    pub url: String,
    /// The realm.
    #[schemars(length(min = 1, max = 255))]
    pub realm: String,
    /// The client of that realm whose service account manages users and groups.
    #[serde(default = "default_client_id")]
    #[schemars(length(min = 1, max = 255))]
    pub client_id: String,
    /// The client's secret. A Secret in usher's own namespace.
    pub credentials_secret: SecretKey,
    /// The CA that signed its certificate, as PEM, if that is not a public one. A Secret in usher's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
}

/// An LDAP directory.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct Ldap {
    /// Where it is: ldaps://ldap.example.com, or ldap://ldap.example.com with StartTLS.
    #[schemars(length(min = 1, max = 512), extend("x-kubernetes-validations" = ldap_url_rules()))]
    pub url: String,
    /// As whom usher binds.
    #[serde(rename = "bindDN")]
    #[schemars(length(min = 1, max = 512))]
    pub bind_dn: String,
    /// The password of that bind DN. A Secret in usher's own namespace.
    #[serde(rename = "credentialsSecret")]
    pub credentials_secret: SecretKey,
    /// The CA that signed its certificate, as PEM, if that is not a public one. A Secret in usher's own namespace.
    #[serde(rename = "caSecret", default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
    /// Below which entry people are, for example ou=people,dc=example,dc=com. usher makes and removes entries directly below it.
    #[serde(rename = "baseDN")]
    #[schemars(length(min = 1, max = 512))]
    pub base_dn: String,
    /// Below which entry groups are, for example ou=groups,dc=example,dc=com.
    #[serde(rename = "groupBaseDN")]
    #[schemars(length(min = 1, max = 512))]
    pub group_base_dn: String,
    /// How people are locked out. Password: what is in userPassword is put aside within it, so that no password fits, and is put back later; works everywhere, and
    /// needs the right to read userPassword. Policy: by pwdAccountLockedTime of OpenLDAP's password policy overlay; counts only where the policy has
    /// pwdLockout: TRUE, so look that it does.
    #[serde(rename = "lockOut", default)]
    pub lock_out: LockOut,
    /// The attribute of people's entries that keeps whose an account is. It may have other values too, and must be one that people cannot edit themselves. Left out:
    /// employeeType.
    #[serde(rename = "markAttribute", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), pattern("^[A-Za-z][A-Za-z0-9-]*$"))]
    pub mark_attribute: Option<String>,
    /// Who is in a group that nobody is in, where the directory wants one member at least. Left out: cn=empty-membership-placeholder, an entry that need not exist.
    #[serde(rename = "emptyGroupMember", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub empty_group_member: Option<String>,
}

/// How people are locked out of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum LockOut {
    /// No password fits any more.
    #[default]
    Password,
    /// The password policy lets nobody in.
    Policy,
}

/// A PostgreSQL server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Postgresql {
    /// Where it is, with the database that usher connects to: postgresql://db.example.com:5432/postgres.
    #[schemars(length(min = 1, max = 512), extend("x-kubernetes-validations" = postgresql_url_rules()))]
    pub url: String,
    /// As which role usher connects. It needs CREATEROLE and pg_signal_backend; usher never touches superusers.
    #[schemars(length(min = 1, max = 63))]
    pub user: String,
    /// The password of that role. A Secret in usher's own namespace.
    pub credentials_secret: SecretKey,
    /// The CA that signed its certificate, as PEM, if that is not a public one. A Secret in usher's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
}

/// A service with SCIM 2.0.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scim {
    /// The base URL, below which /Users and /Groups are.
    #[schemars(length(min = 1, max = 512), extend("x-kubernetes-validations" = https_rules()))]
    pub url: String,
    /// The bearer token. A Secret in usher's own namespace.
    pub credentials_secret: SecretKey,
    /// The CA that signed its certificate, as PEM, if that is not a public one. A Secret in usher's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
    /// Say true only if the service's documentation says that setting an account inactive makes its tokens, keys and sessions worthless for ever. SCIM itself
    /// cannot tell nor revoke them: without this word every departure shows that what was issued must be revoked by hand, until the account is deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabling_revokes: bool,
}

/// Which accounts that usher did not make it may take over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Adopt {
    /// Only those that a Developer pins with adopt: true.
    #[default]
    Never,
    /// One that has the person's e-mail address.
    ByEmail,
    /// One that has the person's login.
    ByUsername,
}

/// Which groups of the system usher manages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Membership {
    /// Those that some Role names.
    #[default]
    Additive,
    /// All: no other group may remain.
    Exclusive,
}

/// How people first log in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum InitialCredentials {
    /// With a password that usher makes.
    #[default]
    Secret,
    /// Without usher: by SSO or key.
    None,
}

/// What becomes of accounts of people who depart.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = departure_rules()))]
pub struct OnDeparture {
    /// Disable: kept, and deleted after deleteAfter if that is set. Delete: deleted at once. Retain: never deleted. All three lock out and revoke at once.
    #[serde(default)]
    pub action: AccountAction,
    /// How long after the departure the account is deleted. Left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_after: Option<Span>,
    /// What becomes of what the person owns when her account is to be deleted: repositories, database objects. Keep: the account is deleted only if it owns
    /// nothing. Transfer: transferTo gets it. Archive: archived, then transferred to the administrator that usher is.
    #[serde(default)]
    pub owned_objects: OwnedObjects,
    /// Who gets what the person owned: an account, organization or role of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 254))]
    pub transfer_to: Option<String>,
}

/// What becomes of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AccountAction {
    /// Locked out, and deleted after a while.
    #[default]
    Disable,
    /// Deleted at once.
    Delete,
    /// Locked out for ever.
    Retain,
}

/// What becomes of what a person owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum OwnedObjects {
    /// Nothing; the account stays as long as it owns something.
    #[default]
    Keep,
    /// Somebody else gets it.
    Transfer,
    /// It is archived, where the system can.
    Archive,
}

/// What usher found and did at an outside system.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<ProviderState>,
    /// Ready, Accepted, Connected; Stalled only when waiting cannot help. Quarantined and Braked are reasons of Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// What the columns show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<ProviderSummary>,
    /// What the system can do; what it cannot do is told where it is needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// How many accounts of which sort there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<AccountCounts>,
    /// Some of the accounts that usher made and that are nobody's it knows; `usher orphans` lists them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<OrphanedAccount>,
    /// While removals are held because there are too many at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<ProviderBrake>,
    /// What the brake must know when another replica goes on, or usher starts again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removals: Option<RecentRemovals>,
}

/// Where a Provider stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum ProviderState {
    /// It answers.
    Connected,
    /// It does not answer, or not to usher.
    Unreachable,
    /// It failed again and again, so it is asked less often.
    Quarantined,
    /// Too many accounts would lose something at once.
    Braked,
    /// usher only looks.
    Observing,
}

/// What the columns of a Provider show.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderSummary {
    /// What the system is.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Accounts that usher keeps there.
    #[serde(default)]
    pub accounts: String,
    /// Where it is.
    #[serde(default)]
    pub url: String,
    /// Accounts that wait for the system.
    #[serde(default)]
    pub queue: String,
    /// When a system that fails is tried again.
    #[serde(default)]
    pub next_try: String,
    /// What is wrong, and the remedy.
    #[serde(default)]
    pub message: String,
}

/// How many accounts of which sort a system has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct AccountCounts {
    /// Those that usher keeps for people.
    pub managed: i64,
    /// Those that people should have and that are somebody else's.
    pub conflicts: i64,
    /// Those that usher made for people whom nobody has declared, or who have another account now.
    pub orphans: i64,
    /// Those that usher did not make.
    pub unmanaged: i64,
}

/// An account that usher made and that is nobody's it knows. It is left as it is until somebody declares the person again, or sees to it at the system.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
pub struct OrphanedAccount {
    /// Its login.
    pub username: String,
    /// Its id at the system.
    pub id: String,
    /// The Developer that it was made for.
    pub developer: String,
    /// Why it is nobody's.
    pub why: String,
}

/// Which system a Provider is, with its settings.
#[derive(Clone, Copy, Debug)]
pub enum System<'a> {
    /// A git forge.
    Gitea(&'a Gitea),
    /// An identity provider.
    Keycloak(&'a Keycloak),
    /// A directory.
    Ldap(&'a Ldap),
    /// A database server.
    Postgresql(&'a Postgresql),
    /// Anything with SCIM.
    Scim(&'a Scim),
}

impl ProviderSpec {
    /// Which system it is; nothing if the spec names none, which the schema refuses.
    pub fn system(&self) -> Option<System<'_>> {
        let gitea = self.gitea.as_ref().map(System::Gitea);
        let keycloak = self.keycloak.as_ref().map(System::Keycloak);
        let ldap = self.ldap.as_ref().map(System::Ldap);
        let postgresql = self.postgresql.as_ref().map(System::Postgresql);
        let scim = self.scim.as_ref().map(System::Scim);
        gitea.or(keycloak).or(ldap).or(postgresql).or(scim)
    }
}

impl<'a> System<'a> {
    /// The name of its sort, as the field of the spec.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Gitea(_) => "gitea",
            Self::Keycloak(_) => "keycloak",
            Self::Ldap(_) => "ldap",
            Self::Postgresql(_) => "postgresql",
            Self::Scim(_) => "scim",
        }
    }

    /// Where it is.
    pub fn url(&self) -> &'a str {
        match self {
            Self::Gitea(it) => &it.url,
            Self::Keycloak(it) => &it.url,
            Self::Ldap(it) => &it.url,
            Self::Postgresql(it) => &it.url,
            Self::Scim(it) => &it.url,
        }
    }

    /// Where usher's own credential for it is kept.
    pub const fn credentials(&self) -> &'a SecretKey {
        match self {
            Self::Gitea(it) => &it.credentials_secret,
            Self::Keycloak(it) => &it.credentials_secret,
            Self::Ldap(it) => &it.credentials_secret,
            Self::Postgresql(it) => &it.credentials_secret,
            Self::Scim(it) => &it.credentials_secret,
        }
    }

    /// Where the CA of its certificate is kept, if it is not a public one.
    pub const fn ca(&self) -> Option<&'a SecretKey> {
        match self {
            Self::Gitea(it) => it.ca_secret.as_ref(),
            Self::Keycloak(it) => it.ca_secret.as_ref(),
            Self::Ldap(it) => it.ca_secret.as_ref(),
            Self::Postgresql(it) => it.ca_secret.as_ref(),
            Self::Scim(it) => it.ca_secret.as_ref(),
        }
    }
}
