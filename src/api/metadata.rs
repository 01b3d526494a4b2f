//! Every label, annotation, finalizer and field manager that usher reads or writes, once.
//!
//! Labels and annotations are an index and a memory, never authority: nothing is granted because of them.

/// The API group of usher's kinds.
pub const GROUP: &str = "usher.dev";

/// Says who manages an object (<https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>).
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on everything that usher makes.
pub const MANAGER: &str = "usher";
/// Label: the installation that made an object, by the UID of its `kube-system` namespace.
pub const INSTALLATION: &str = "usher.dev/installation";
/// Label: the name of the Developer that an object belongs to.
pub const DEVELOPER: &str = "usher.dev/developer";
/// Label: the person that an object belongs to, see [`crate::plan::person`].
pub const PERSON: &str = "usher.dev/person";
/// Label: the Role that an object belongs to.
pub const ROLE: &str = "usher.dev/role";
/// Label: the Environment that an object belongs to.
pub const ENVIRONMENT: &str = "usher.dev/environment";
/// Label: marks a namespace as somebody's workspace; the value is the Developer's name.
pub const WORKSPACE: &str = "usher.dev/workspace";
/// Label: the isolation of a workspace, read by the chart's policy for `Enforced`.
pub const ISOLATION: &str = "usher.dev/isolation";
/// Label: the access entry whose rules a ClusterRole holds.
pub const ENTRY: &str = "usher.dev/entry";
/// Label on Developers: the Source that made her, or claimed her by her personId. Nobody but usher may write it.
pub const SOURCE: &str = "usher.dev/source";
/// Label on what was pushed by SCIM: the type of the resource, `User` or `Group`.
pub const SCIM: &str = "usher.dev/scim";
/// Label on what was pushed by SCIM: the UID of the Source, so that another one of its name is none the wiser.
pub const SOURCE_UID: &str = "usher.dev/source-uid";
/// Label on what was pushed by SCIM: a digest of what a Group is called.
pub const SCIM_NAME: &str = "usher.dev/scim-name";
/// Label on what was pushed by SCIM: the id of the resource.
pub const SCIM_ID: &str = "usher.dev/scim-id";
/// Label on what was pushed by SCIM: a digest of what the sender knows it by.
pub const SCIM_EXTERNAL: &str = "usher.dev/scim-external";
/// Label on Grants: `Active` or `Ended`.
pub const STATE: &str = "usher.dev/state";

/// Annotation on Developers: when her Source recorded her, if it says so. What she waits for began then, where that is earlier than her Developer.
pub const RECORDED_AT: &str = "usher.dev/recorded-at";
/// Annotation on Developers: since when her Source does not tell of her.
pub const MISSING_SINCE: &str = "usher.dev/missing-since";
/// Annotation: the UID of the Developer object that an object was last made for.
pub const DEVELOPER_UID: &str = "usher.dev/developer-uid";
/// Annotation: the UID of the Role that a RoleBinding was last written for.
pub const ROLE_UID: &str = "usher.dev/role-uid";
/// Annotation: a digest of the UIDs of usher's CRDs when the object was last written.
pub const EPOCH: &str = "usher.dev/epoch";
/// Annotation: digests of the users that usher put into a binding, each with the Developer it stood for, to tell them from those that others added
/// and to know whose they were when the Developer has another name by now.
pub const ISSUED: &str = "usher.dev/issued-subjects";
/// Annotation: digests of subjects that no Binding explains and that are kept until one does.
pub const ORPHANS: &str = "usher.dev/orphaned-subjects";
/// Annotation on a cluster-wide binding: the Environments of its cluster when it was written, all of which were meant.
pub const ENVIRONMENTS: &str = "usher.dev/environments";
/// Annotation on a workspace: when its person departed.
pub const DEPARTED_AT: &str = "usher.dev/departed-at";
/// Annotation on a workspace: when it will be deleted.
pub const DELETE_AT: &str = "usher.dev/delete-at";
/// Annotation on a workspace that existed before and was taken over because a Developer pins it.
pub const ADOPTED: &str = "usher.dev/adopted";
/// Annotation on a credential: when the token in it ends.
pub const TOKEN_EXPIRES_AT: &str = "usher.dev/token-expires-at";
/// Annotation on a credential: when the token in it was issued.
pub const TOKEN_ISSUED_AT: &str = "usher.dev/token-issued-at";
/// Annotation on a credential: the UID of the ServiceAccount that the token was issued for.
pub const TOKEN_OF: &str = "usher.dev/service-account-uid";
/// Annotation on a credential: the tokens for other clusters that are in it, as JSON: by cluster the UID of the ServiceAccount, when it was issued, when it ends.
pub const TOKENS_ELSEWHERE: &str = "usher.dev/tokens-elsewhere";
/// Annotation on a credential: a digest of everything in it but the token.
pub const CONTENT: &str = "usher.dev/content";
/// Annotation on a credential: a digest of its data, to see that nobody changed it.
pub const DATA_DIGEST: &str = "usher.dev/data-digest";
/// Annotation: who asked for this object, stamped at admission.
pub const REQUESTED_BY: &str = "usher.dev/requested-by";
/// Annotation: for whom the requester acted. Only a trusted applier may say so.
pub const ON_BEHALF_OF: &str = "usher.dev/on-behalf-of";
/// Annotation: the change that asked for it, for example the URL of a pull request. Only a trusted applier may say so.
pub const CHANGE: &str = "usher.dev/change";
/// Annotation on a Departure: leftovers that are accepted, `<target>=<reason>`, several divided by `;`.
pub const WAIVE: &str = "usher.dev/waive";
/// Annotation: lets exactly the batch with this digest through the brake.
pub const RELEASE: &str = "usher.dev/release";
/// Annotation on a CRD of usher's: `"true"` allows its deletion.
pub const ALLOW_DELETION: &str = "usher.dev/allow-deletion";
/// Annotation: `"true"` stops work on the object, except that leaving is carried out all the same.
pub const PAUSED: &str = "usher.dev/paused";
/// Annotation on the ConfigMap of default manifests: those that were applied already.
pub const APPLIED: &str = "usher.dev/applied";

/// The finalizer that makes every deletion an event.
pub const FINALIZER: &str = "usher.dev/offboard";
/// The field manager of usher's writes.
pub const FIELD_MANAGER: &str = "usher";
/// The beginning of the field manager of what a Source says of Developers; its name follows.
pub const SOURCE_MANAGER: &str = "usher-source/";

/// The namespace, in each cluster, that holds the ServiceAccounts by which people are known.
pub const IDENTITIES_NAMESPACE: &str = "usher-identities";
/// The Secret with a person's kubeconfig in the home workspace.
pub const KUBECONFIG_SECRET: &str = "usher-kubeconfig";
/// The key of the kubeconfig in [`KUBECONFIG_SECRET`].
pub const KUBECONFIG_KEY: &str = "kubeconfig";
/// The Secret with a person's first passwords at Providers, in the home workspace.
pub const ACCOUNTS_SECRET: &str = "usher-accounts";
/// The ConfigMap that tells a person what she has.
pub const WELCOME_CONFIG_MAP: &str = "usher-welcome";
/// The prefix of RoleBindings and ClusterRoles that belong to a Role.
pub const ROLE_PREFIX: &str = "usher:role:";
/// The prefix of cluster-wide bindings and ClusterRoles that belong to a Role.
pub const CLUSTER_PREFIX: &str = "usher:cluster:";
/// The RoleBinding of a workspace's owner.
pub const OWNER_BINDING: &str = "usher:owner";
/// The name of the quota, limits and network policy in a workspace.
pub const WORKSPACE_OBJECT: &str = "usher";
/// The ConfigMap with the chart's values.
pub const SETTINGS_CONFIG_MAP: &str = "usher-settings";
/// The key of the settings in [`SETTINGS_CONFIG_MAP`].
pub const SETTINGS_KEY: &str = "settings.yaml";
/// The ConfigMap with the manifests that are applied at the first start.
pub const DEFAULTS_CONFIG_MAP: &str = "usher-defaults";
/// The ConfigMap with what people did by hand and which of their requests were wrongly denied, by day.
pub const LEDGER_CONFIG_MAP: &str = "usher-ledger";
/// The key of it in [`LEDGER_CONFIG_MAP`].
pub const LEDGER_KEY: &str = "ledger.json";
/// The Lease that elects the replica that works.
pub const LEASE: &str = "usher";
