//! Where people come from.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::environment::{Mode, SecretKey};
pub use super::origin::Origin;
use super::provider;
pub use super::removals::{BrakeLimits, ProviderBrake, RecentRemovals};
use super::schema::{Rule, conditions, rules};
use super::span::Span;

fn spec_rules() -> serde_json::Value {
    rules(&[Rule::new(
        "[has(self.keycloak), has(self.ldap), has(self.scim)].filter(it, it).size() == 1",
        "say where people come from: exactly one of keycloak, ldap and scim",
    )])
}

fn template_rules() -> serde_json::Value {
    rules(&[
        Rule::new(
            "self.matches('^[^{}]*([{][A-Za-z][A-Za-z0-9_.;-]*[}][^{}]*)+$')",
            "write attributes of the source in braces, for example {username} or {firstName} {lastName}",
        ),
        // Whoever may look at Developers would see it.
        Rule::new(
            "!self.matches('(?i)[{][^}]*(password|pwd|secret|principalkey|nthash)')",
            "passwords and their digests are no part of a Developer: take that attribute out",
        ),
    ])
}

fn team_rules() -> serde_json::Value {
    rules(&[
        Rule::new(
            "!self.team.contains('{team}') || self.group.contains('{team}')",
            "{team} stands for the part of the group's name that it stands for there: write it in group, too",
        )
        .at(".team"),
        Rule::new(
            "self.group.replace('{team}', '', 1).matches('^[^{}]*$') && self.team.replace('{team}', '', 1).matches('^[^{}]*$')",
            "only {team} stands for something, and only once: take other braces out",
        ),
        Rule::new(
            "self.team.replace('{team}', 't').matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "name a team with lower-case letters, digits and hyphens, or {team}",
        )
        .at(".team"),
    ])
}

fn five_minutes() -> Span {
    "5m".parse().unwrap_or_else(|_| unreachable!("a constant"))
}

fn a_day() -> Span {
    "24h".parse().unwrap_or_else(|_| unreachable!("a constant"))
}

fn twenty() -> i32 {
    20
}

fn default_client_id() -> String {
    "usher".to_owned()
}

fn default_filter() -> String {
    "(objectClass=inetOrgPerson)".to_owned()
}

/// Where people come from: a directory or identity provider that is read, or that pushes.
#[derive(CustomResource, Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "usher.dev",
    version = "v1alpha1",
    kind = "Source",
    plural = "sources",
    shortname = "usource",
    category = "usher",
    status = "SourceStatus",
    derive = "PartialEq",
    doc = "Where people come from: a directory or identity provider. usher reads its people and groups, or is told of them by SCIM 2.0, and makes and changes Developers by what it reads, as field manager usher-source/<name>: it owns their e-mail, name, teams and state, and touches nothing that somebody else owns.",
    printcolumn(name = "Type", type_ = "string", json_path = ".status.summary.type", description = "What is read"),
    printcolumn(
        name = "People",
        type_ = "string",
        json_path = ".status.summary.people",
        description = "People that the last complete read told of"
    ),
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "Reading, InSync, Incomplete, Braked or Observing"
    ),
    printcolumn(
        name = "Last-Read",
        type_ = "date",
        json_path = ".status.lastRead.at",
        description = "When it was last read as a whole; told anew when something is new, and hourly"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Created",
        type_ = "integer",
        json_path = ".status.lastRead.created",
        description = "Developers that were made by the last read",
        priority = 1
    ),
    printcolumn(
        name = "Changed",
        type_ = "integer",
        json_path = ".status.lastRead.changed",
        description = "Developers that were changed by it",
        priority = 1
    ),
    printcolumn(
        name = "Missing",
        type_ = "integer",
        json_path = ".status.lastRead.missing",
        description = "Developers of this Source whom it did not tell of",
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
pub struct SourceSpec {
    /// A realm of Keycloak. Groups are written as their path, for example /engineering/payments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keycloak: Option<KeycloakRealm>,

    /// An LDAP directory. Groups are written as their cn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ldap: Option<LdapTree>,

    /// An identity provider that pushes by SCIM 2.0, to /scim/v2/<name of this Source> of usher's Service. Groups are written as their displayName. Who is deleted
    /// there is Departed, who is not active is Suspended, and both at once: absence speaks of those only who are missing without a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scim: Option<ScimPush>,

    /// Enforce: usher makes it so. Observe: usher says what would change, and changes nothing.
    #[serde(default)]
    pub mode: Mode,

    /// How often all of it is read. What is pushed is looked at as soon as it is, and so often besides.
    #[serde(default = "five_minutes")]
    pub every: Span,

    /// What of a person becomes what of a Developer. A field that is left out is as fits the source.
    #[serde(default)]
    pub people: PeopleMapping,

    /// Which group of the source is which team. The first entry that names a group counts; a group that none names is nobody's team. Left out, or none: the
    /// Source gives nobody a team.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub teams: Vec<TeamOfGroup>,

    /// What becomes of people whom the source does not tell of any more.
    #[serde(default)]
    pub absence: Absence,

    /// How many people may lose something within 10 minutes by what is read: be missing or deactivated, or lose a team. If there are more, nothing of the read is
    /// carried out until somebody says that it was meant. The larger of the two counts. Where several people came from the source and it tells of none of them any
    /// more, that is too many however few they are.
    #[serde(default)]
    pub brake: BrakeLimits,

    /// How many requests usher sends to the source in a second at most.
    #[serde(default = "twenty")]
    #[schemars(range(min = 1, max = 1_000))]
    pub requests_per_second: i32,
}

/// A realm of a Keycloak that is read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeycloakRealm {
    /// Where it is, without the realm, for example https://id.example.com.
    #[schemars(length(min = 1, max = 512), extend("x-kubernetes-validations" = provider::https_rules()))]
    pub url: String,
    /// The realm.
    #[schemars(length(min = 1, max = 255))]
    pub realm: String,
    /// The client of that realm whose service account reads users and groups. It needs the role view-users of realm-management, and no other.
    #[serde(default = "default_client_id")]
    #[schemars(length(min = 1, max = 255))]
    pub client_id: String,
    /// The client's secret. A Secret in usher's own namespace.
    pub credentials_secret: SecretKey,
    /// The CA that signed its certificate, as PEM, if that is not a public one. A Secret in usher's own namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
}

/// A part of an LDAP directory that is read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct LdapTree {
    /// Where it is: ldaps://ldap.example.com, or ldap://ldap.example.com with StartTLS.
    #[schemars(length(min = 1, max = 512), extend("x-kubernetes-validations" = provider::ldap_url_rules()))]
    pub url: String,
    /// As whom usher binds. It need not be allowed to write.
    #[serde(rename = "bindDN")]
    #[schemars(length(min = 1, max = 512))]
    pub bind_dn: String,
    /// The password of that bind DN. A Secret in usher's own namespace.
    #[serde(rename = "credentialsSecret")]
    pub credentials_secret: SecretKey,
    /// The CA that signed its certificate, as PEM, if that is not a public one. A Secret in usher's own namespace.
    #[serde(rename = "caSecret", default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<SecretKey>,
    /// Below which entry people are, for example ou=people,dc=example,dc=com.
    #[serde(rename = "baseDN")]
    #[schemars(length(min = 1, max = 512))]
    pub base_dn: String,
    /// Which entries below it are people.
    #[serde(default = "default_filter")]
    #[schemars(length(min = 3, max = 1_024))]
    pub filter: String,
    /// Below which entry groups are, for example ou=groups,dc=example,dc=com. Needed where teams names groups. Members are people's DNs (groupOfNames,
    /// groupOfUniqueNames, groupOfMembers) or logins (posixGroup); groups within groups are not followed.
    #[serde(rename = "groupBaseDN", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub group_base_dn: Option<String>,
}

/// An identity provider that pushes by SCIM 2.0.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScimPush {
    /// The token that it sends, as Authorization: Bearer: 32 characters at least, made by chance. A Secret in usher's own namespace.
    pub token_secret: SecretKey,
}

/// What of a person becomes what of a Developer: attributes of the source in braces, for example {username}.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeopleMapping {
    /// The Developer's name, made of lower-case letters, digits and hyphens. It is given once: who is called otherwise later keeps hers. Default: {username} of
    /// Keycloak, {uid} of LDAP, {login} of SCIM, which is the userName up to its @.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 256), extend("x-kubernetes-validations" = template_rules()))]
    pub name: Option<String>,
    /// The e-mail address. Default: {email} of Keycloak, {mail} of LDAP, {email} of SCIM: the primary one of emails, else that for work, else
    /// the userName if that is an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 256), extend("x-kubernetes-validations" = template_rules()))]
    pub email: Option<String>,
    /// The name as people say it. Default: {firstName} {lastName} of Keycloak, {cn} of LDAP, {displayName} of SCIM, else her name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 256), extend("x-kubernetes-validations" = template_rules()))]
    pub display_name: Option<String>,
    /// What is the same for the same person for ever, by which she is known again whatever her name is then. Default: {id} of Keycloak, {entryUUID} of LDAP,
    /// {externalId} of SCIM, to which the sender must map what never changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 256), extend("x-kubernetes-validations" = template_rules()))]
    pub person_id: Option<String>,
}

/// Which group is which team.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = team_rules()))]
pub struct TeamOfGroup {
    /// The group as the source calls it; {team} stands for a part of it without a slash, for example /engineering/{team}.
    #[schemars(length(min = 1, max = 256))]
    pub group: String,
    /// The team; {team} stands for that part. It must be a team's name once its letters are small: lower-case letters, digits and hyphens.
    #[schemars(length(min = 1, max = 63))]
    pub team: String,
}

/// What becomes of people whom the source does not tell of any more.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct Absence {
    /// Suspend: their Developers are Suspended, which Active undoes. Depart: they are Departed. Report: they are counted, and nothing happens.
    #[serde(default)]
    pub action: AbsenceAction,
    /// For those whom two complete reads did not tell of that are at least so far apart.
    #[serde(default = "a_day")]
    pub after: Span,
}

impl Default for Absence {
    fn default() -> Self {
        Self { action: AbsenceAction::default(), after: a_day() }
    }
}

/// What becomes of somebody who is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum AbsenceAction {
    /// Everything is taken away, and comes back with her.
    #[default]
    Suspend,
    /// She has left.
    Depart,
    /// It is told.
    Report,
}

/// What usher read, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<SourceState>,
    /// Ready, Accepted, Connected; Stalled only when waiting cannot help. Incomplete and Braked are reasons of Ready: while one of them holds, nobody loses anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "conditions")]
    pub conditions: Vec<Condition>,
    /// What the last complete read told, and what came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_read: Option<LastRead>,
    /// What the columns show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<SourceSummary>,
    /// What is still to be done: in mode Observe, or while the brake holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingPeople>,
    /// Some of the people who do not become a Developer, or not by all that the source says, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    pub problems: Vec<PersonProblem>,
    /// While a read is held because too many people would lose something by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<ProviderBrake>,
    /// What the brake must know when another replica goes on, or usher starts again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removals: Option<RecentRemovals>,
    /// The last different states that were read, the newest at the end: a read that is like an older one is a copy of the past until the contrary is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub states: Vec<ReadState>,
    /// Since when a state is read that was read before, while another one was read meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub returned: Option<ReadState>,
    /// A digest of what is read, and by which mapping: states of another one cannot be compared.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reads: String,
    /// The entries that were changed last, where the source tells versions: one that is older the next time is a copy of the past.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub newest: Vec<EntryVersion>,
    /// Teams that nobody is told to be in any more. Whoever was keeps them until that lasts for absence.after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub emptied: Vec<EmptiedTeam>,
}

/// Where a Source stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SourceState {
    /// It is read for the first time.
    Reading,
    /// Developers are as it says.
    InSync,
    /// It did not tell everything, or something that cannot be believed; nobody loses anything by that.
    Incomplete,
    /// Too many people would lose something, so nothing is done.
    Braked,
    /// usher only looks.
    Observing,
}

/// What a read told, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct LastRead {
    /// When it was. Told anew when something else is, and after an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// How many people it told of.
    #[serde(default)]
    pub people: i64,
    /// Whether the last try to read was complete; if not, the other figures are of the last one that was.
    #[serde(default)]
    pub complete: bool,
    /// How many Developers were made.
    #[serde(default)]
    pub created: i64,
    /// How many Developers were changed.
    #[serde(default)]
    pub changed: i64,
    /// How many Developers of this Source it did not tell of.
    #[serde(default)]
    pub missing: i64,
    /// How many people are not Developers, as somebody else has the name or something is wrong with them.
    #[serde(default)]
    pub conflicts: i64,
}

/// What the columns of a Source show.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
pub struct SourceSummary {
    /// What is read.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// People that the last complete read told of.
    #[serde(default)]
    pub people: String,
    /// What is wrong, and the remedy.
    #[serde(default)]
    pub message: String,
}

/// Changes that were not made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct PendingPeople {
    /// Developers that would be made.
    #[serde(default)]
    pub create: i64,
    /// Developers that would be changed, so that nobody loses anything.
    #[serde(default)]
    pub change: i64,
    /// Developers that would lose a team, or everything.
    #[serde(default)]
    pub remove: i64,
    /// Developers of this Source whom it did not tell of.
    #[serde(default)]
    pub missing: i64,
    /// Some of them, each with what would change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sample: Vec<String>,
}

/// Somebody who does not become a Developer, or not by all that the source says.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonProblem {
    /// Her personId, or as far as it is known how the source calls her.
    pub person: String,
    /// Conflict or InvalidPerson.
    pub reason: String,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// A state of the source, by a digest of all that was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct ReadState {
    /// The digest.
    pub digest: String,
    /// When it was first read.
    pub at: String,
}

/// An entry of the source, and how new it was.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct EntryVersion {
    /// A digest of what the source calls it.
    pub entry: String,
    /// Its version, which only grows.
    pub version: String,
}

/// A team that nobody is told to be in any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub struct EmptiedTeam {
    /// The team.
    pub team: String,
    /// Since when nobody is told to be in it.
    pub since: String,
}
