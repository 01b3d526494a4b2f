//! Builders of RBAC objects. They cannot fail.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding, RoleRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::api::metadata::{ENTRY, ENVIRONMENT, ENVIRONMENTS, EPOCH, ISSUED, ORPHANS, ROLE, ROLE_UID};
use crate::api::role::AccessRule;

use super::change::labels;
use super::identity::Known;
use super::name::digest;

/// At most this many subjects in one binding. Each costs an API server some 30 µs whenever the binding is written, so that a write for one who leaves or comes stays
/// small; and a binding costs some 3 ms whoever is in it, so that a Role which moves to another ClusterRole has not too many to write.
pub const SUBJECTS_PER_BINDING: usize = 160;
/// At most this many bytes of subjects in one binding.
pub const BYTES_PER_BINDING: usize = 64 * 1_024;

/// Who a binding is written for.
#[derive(Clone, Debug)]
pub struct Origin<'a> {
    /// The installation.
    pub installation: &'a str,
    /// The Role.
    pub role: &'a str,
    /// The Role's UID.
    pub role_uid: &'a str,
    /// The digest of the UIDs of usher's CRDs.
    pub epoch: &'a str,
}

/// What stands in a binding's annotations of those who are in it.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// Those whom no Binding explains.
    pub orphans: &'a BTreeSet<Known>,
    /// The Developers to whom the user names among them were issued.
    pub issued: &'a BTreeMap<Known, String>,
}

/// What stands in the annotations for a subject.
pub fn subject_digest(known: &Known) -> String {
    let kind = match known {
        Known::ServiceAccount(_) => "ServiceAccount",
        Known::User(_) => "User",
    };
    digest(&[kind, known.text()])
}

fn list(items: impl Iterator<Item = String>) -> Option<String> {
    let items: Vec<String> = items.collect();
    (!items.is_empty()).then(|| items.join(","))
}

/// The Developer to whom a user name was issued by a binding with these annotations; a ServiceAccount says so itself.
pub fn issued_to<'a>(annotations: &'a BTreeMap<String, String>, known: &Known) -> Option<&'a str> {
    let items = annotations.get(ISSUED)?.split(',');
    let digest = subject_digest(known);
    items.filter_map(|item| item.split_once('=')).find(|(subject, _)| *subject == digest).map(|(_, developer)| developer)
}

/// The Developers to whom a binding with these annotations issued user names.
pub fn issued_names(annotations: &BTreeMap<String, String>) -> impl Iterator<Item = &str> {
    let items = annotations.get(ISSUED).into_iter().flat_map(|list| list.split(','));
    items.filter_map(|item| item.split_once('=')).map(|(_, developer)| developer)
}

fn annotations(origin: &Origin<'_>, named: &Named<'_>) -> BTreeMap<String, String> {
    let users = named.issued.iter().map(|(known, developer)| format!("{}={developer}", subject_digest(known)));
    let pairs = [
        (ROLE_UID, Some(origin.role_uid.to_owned())),
        (EPOCH, Some(origin.epoch.to_owned())),
        (ISSUED, list(users)),
        (ORPHANS, list(named.orphans.iter().map(subject_digest))),
    ];
    pairs.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
}

fn role_ref(cluster_role: &str) -> RoleRef {
    RoleRef { api_group: Some("rbac.authorization.k8s.io".to_owned()), kind: "ClusterRole".to_owned(), name: cluster_role.to_owned() }
}

/// A RoleBinding of a Role in a namespace of an Environment, but for its subjects.
pub fn role_binding(
    origin: &Origin<'_>,
    environment: &str,
    (namespace, name): (&str, &str),
    cluster_role: &str,
    named: Named<'_>,
) -> RoleBinding {
    RoleBinding {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels(origin.installation, [(ROLE, origin.role), (ENVIRONMENT, environment)])),
            annotations: Some(annotations(origin, &named)),
            ..ObjectMeta::default()
        },
        role_ref: role_ref(cluster_role),
        subjects: None,
    }
}

/// A ClusterRoleBinding of a Role, in a cluster with these Environments, but for its subjects.
pub fn cluster_role_binding(
    origin: &Origin<'_>,
    environments: &[&str],
    name: &str,
    cluster_role: &str,
    named: Named<'_>,
) -> ClusterRoleBinding {
    let mut annotations = annotations(origin, &named);
    annotations.insert(ENVIRONMENTS.to_owned(), environments.join(","));
    ClusterRoleBinding {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels(origin.installation, [(ROLE, origin.role)])),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        role_ref: role_ref(cluster_role),
        subjects: None,
    }
}

/// The ClusterRole that holds the inline rules of one access entry.
pub fn cluster_role(installation: &str, role: &str, entry: &str, name: &str, rules: &[AccessRule]) -> ClusterRole {
    ClusterRole {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels(installation, [(ROLE, role), (ENTRY, entry)])),
            ..ObjectMeta::default()
        },
        rules: Some(policy_rules(rules)),
        aggregation_rule: None,
    }
}

/// The rules of an access entry as RBAC writes them.
pub fn policy_rules(rules: &[AccessRule]) -> Vec<PolicyRule> {
    rules
        .iter()
        .map(|rule| PolicyRule {
            api_groups: Some(rule.api_groups.clone()),
            resources: Some(rule.resources.clone()),
            resource_names: (!rule.resource_names.is_empty()).then(|| rule.resource_names.clone()),
            verbs: rule.verbs.clone(),
            non_resource_urls: None,
        })
        .collect()
}

/// A rule in words.
pub fn rule_words(rule: &PolicyRule) -> String {
    let groups: Vec<&str> = rule.api_groups.iter().flatten().map(String::as_str).filter(|group| !group.is_empty()).collect();
    let groups = if groups.is_empty() { String::new() } else { format!(" ({})", groups.join(", ")) };
    let names = rule.resource_names.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
    let names = if names.is_empty() { names } else { format!(" named {names}") };
    let resources = rule.resources.as_deref().unwrap_or_default().join(",");
    format!("{} {resources}{groups}{names}", rule.verbs.join(","))
}
