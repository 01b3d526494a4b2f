//! Which access users have by the bindings of others.

use std::collections::BTreeSet;

use crate::api::metadata::INSTALLATION;
use crate::plan::bound::{Bound, RbacBinding};
use crate::plan::cluster::{ClusterKey, ClusterState};
use k8s_openapi::api::rbac::v1::{RoleRef, Subject};

use super::Inputs;
use super::left::{Left, Sort};
use super::words::in_cluster;

/// The label of what the API server makes for itself.
const BOOTSTRAP: &str = "kubernetes.io/bootstrapping";

/// A ClusterRole that a user holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Held {
    /// The cluster.
    pub cluster: ClusterKey,
    /// The namespace; none: everywhere.
    pub namespace: Option<String>,
    /// The ClusterRole.
    pub cluster_role: String,
    /// The user.
    pub user: String,
    /// The binding, as it is called in messages.
    pub binding: String,
}

type Lefts = BTreeSet<Left>;

/// Everything that users hold. Whatever else bindings say is left.
pub(super) fn held(inputs: Inputs<'_>, left: &mut Lefts) -> BTreeSet<Held> {
    let mut held = BTreeSet::new();
    for (cluster, state) in inputs.scene.clusters.iter().filter(|(cluster, _)| inputs.looks_at(cluster)) {
        for ((namespace, _), bound) in &state.role_bindings {
            if concerns(inputs, state, namespace) {
                read(cluster, bound, &format!("RoleBinding {namespace}/{}", bound.name()), &mut held, left);
            }
        }
        for bound in state.cluster_role_bindings.values() {
            read(cluster, bound, &format!("ClusterRoleBinding {}", bound.name()), &mut held, left);
        }
    }
    held
}

/// Whether a namespace is looked at: unless it is of another Environment than those that are named.
fn concerns(inputs: Inputs<'_>, state: &ClusterState, namespace: &str) -> bool {
    let of = state.territory.of(namespace);
    of.is_empty() || of.iter().any(|environment| inputs.wants(environment))
}

fn read<K: RbacBinding>(cluster: &ClusterKey, bound: &Bound<K>, name: &str, held: &mut BTreeSet<Held>, left: &mut Lefts) {
    let title = in_cluster(name, cluster);
    if bound.deleting() {
        return;
    }
    if bound.ours || bound.labels().contains_key(INSTALLATION) {
        left.insert(Left::other(Sort::Usher, title, "", "usher made it"));
        return;
    }
    if bound.labels().contains_key(BOOTSTRAP) {
        left.insert(Left::other(Sort::System, title, "", "Kubernetes made it"));
        return;
    }
    for subject in bound.all_subjects() {
        match refused(&subject, bound.role_ref()) {
            Some(mut refusal) => {
                refusal.object.clone_from(&title);
                left.insert(refusal);
            }
            None => {
                held.insert(Held {
                    cluster: cluster.clone(),
                    namespace: bound.namespace().map(str::to_owned),
                    cluster_role: bound.role_ref().name.clone(),
                    user: subject.name,
                    binding: title.clone(),
                });
            }
        }
    }
}

/// Why nobody's Role can give what a binding gives to a subject, if so.
fn refused(subject: &Subject, role: &RoleRef) -> Option<Left> {
    let who = format!("{} {}", subject.kind, subject.name);
    let people = |why: String, remedy: &str| Some(Left::people("", who.clone(), (why, remedy)));
    match subject.kind.as_str() {
        "ServiceAccount" => {
            let who = format!("ServiceAccount {}/{}", subject.namespace.as_deref().unwrap_or_default(), subject.name);
            Some(Left::other(Sort::Machine, "", who, "a ServiceAccount is a program, and no person"))
        }
        "User" | "Group" if subject.name.starts_with("system:") && !everybody(&subject.name) => {
            Some(Left::other(Sort::System, "", who, "names that start with system: are Kubernetes' own"))
        }
        "Group" => people(
            "usher gives access to people, and only the authenticator knows who is in a group".to_owned(),
            "name its members as Developers of a team, and give the team a Role by a Binding",
        ),
        "User" if role.kind != "ClusterRole" => people(
            format!("it gives {} {}, which is in one namespace, and a urole names ClusterRoles", role.kind, role.name),
            "write what it allows as rules of a urole, or make it a ClusterRole that fence.mayBind allows",
        ),
        "User" => None,
        kind => people(format!("{kind} is no kind of subject that RBAC knows"), "delete it from the binding: it gives nothing"),
    }
}

/// The groups of Kubernetes in which people are.
fn everybody(group: &str) -> bool {
    matches!(group, "system:authenticated" | "system:masters" | "system:unauthenticated")
}
