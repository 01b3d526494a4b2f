//! What usher made and whose owner it does not know any more: reported, and removed only when somebody says so (DESIGN.md, promise 5).

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::ResourceExt;

use crate::api::Departure;
use crate::api::metadata::{DEPARTED_AT, DEVELOPER, IDENTITIES_NAMESPACE, ORPHANS, ROLE, WORKSPACE};

use super::bound::{Bound, RbacBinding};
use super::change::{Change, Verb, remove};
use super::cluster::{ClusterKey, ClusterState};
use super::departures::lasts;
use super::identity::Known;
use super::person::Mark;
use super::placement::Scene;
use super::rbac::{issued_to, subject_digest};
use super::subjects::behind;
use super::world::deleting;

/// Whose something was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// A Developer of that name.
    Developer(String),
    /// A Role of that name.
    Role(String),
    /// The people whom a binding of that Role names, though no Binding explains it.
    Subjects(String, BTreeSet<Known>),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Developer(name) => write!(f, "dev/{name}"),
            Self::Role(name) | Self::Subjects(name, _) => write!(f, "urole/{name}"),
        }
    }
}

/// Something whose owner is unknown.
#[derive(Clone, Debug)]
pub struct Orphan {
    /// Whose it was.
    pub owner: Owner,
    /// Why it is an orphan.
    pub why: String,
    /// The write that removes it: exactly what was seen.
    pub removal: Change,
}

impl Orphan {
    /// What it is, as Kind namespace/name.
    pub fn title(&self) -> String {
        let meta = self.removal.meta();
        let namespace = meta.namespace.as_ref().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        format!("{} {namespace}{}", self.removal.kind(), meta.name.as_deref().unwrap_or_default())
    }

    /// The people who are taken out of it, where the rest of it stays.
    pub fn subjects(&self) -> Vec<String> {
        match (&self.owner, self.removal.verb()) {
            (Owner::Subjects(_, known), _) => known.iter().map(|known| known.text().to_owned()).collect(),
            _ => Vec::new(),
        }
    }

    /// Whether people's data goes with it.
    pub fn holds_data(&self) -> bool {
        matches!(self.removal, Change::Namespace(_))
    }

    /// Whether the object itself goes, and not only some of its subjects.
    pub fn goes_whole(&self) -> bool {
        self.removal.verb() == Verb::Delete
    }
}

/// Every orphan in the home cluster: access first, then identities, then workspaces, so that what is removed first is what matters most.
pub fn orphans(scene: Scene<'_>) -> Vec<Orphan> {
    let Some(state) = scene.clusters.get(&ClusterKey::Home) else { return Vec::new() };
    let mut orphans = Vec::new();
    for ((namespace, _), bound) in state.role_bindings.iter().filter(|(_, bound)| bound.ours) {
        let whole = Change::RoleBinding(bound.removal());
        let rest = |names: &BTreeSet<Known>| Change::RoleBinding(bound.without(names));
        orphans.extend(binding(scene, bound, whole, rest).or_else(|| owner_binding(scene, state, namespace, bound)));
    }
    for bound in state.cluster_role_bindings.values().filter(|bound| bound.ours) {
        let whole = Change::ClusterRoleBinding(bound.removal());
        let rest = |names: &BTreeSet<Known>| Change::ClusterRoleBinding(bound.without(names));
        orphans.extend(binding(scene, bound, whole, rest));
    }
    for object in state.cluster_roles.values() {
        let role = object.labels().get(ROLE).filter(|role| scene.world.role(role).is_none());
        orphans.extend(role.map(|role| of_role(role, Change::ClusterRole(remove(object.as_ref())))));
    }
    orphans.extend(state.service_accounts.iter().filter_map(|((namespace, _), account)| identity(scene, state, namespace, &account)));
    orphans.extend(state.namespaces.values().filter_map(|namespace| workspace(scene, state, namespace)));
    orphans
}

fn of_role(role: &str, removal: Change) -> Orphan {
    Orphan { owner: Owner::Role(role.to_owned()), why: format!("urole/{role} does not exist"), removal }
}

/// A binding whose Role is unknown, or some of whose subjects are.
fn binding<K: RbacBinding>(scene: Scene<'_>, bound: &Bound<K>, whole: Change, rest: impl Fn(&BTreeSet<Known>) -> Change) -> Option<Orphan> {
    let role = bound.labels().get(ROLE)?;
    if scene.world.role(role).is_none() {
        return Some(of_role(role, whole));
    }
    let notes = bound.annotations();
    let listed = |known: &Known| notes.get(ORPHANS).is_some_and(|list| list.split(',').any(|item| item == subject_digest(known)));
    let nobody = |known: &Known| {
        let issued = issued_to(notes, known);
        let there = issued.is_some_and(|name| scene.world.developer(name).is_some()) || behind(scene, &ClusterKey::Home, known).is_some();
        !there && (issued.is_some() || matches!(known, Known::ServiceAccount(_)))
    };
    let orphaned: BTreeSet<Known> = bound.subjects.iter().filter(|known| listed(known) || nobody(known)).cloned().collect();
    let names = orphaned.iter().map(Known::text).collect::<Vec<_>>().join(", ");
    (!orphaned.is_empty()).then(|| Orphan {
        why: format!("no Binding explains {names} in it"),
        removal: rest(&orphaned),
        owner: Owner::Subjects(role.clone(), orphaned),
    })
}

/// Why a Developer is not known as the owner of what bears a mark. What somebody left whose Departure lasts is that receipt's to deal with.
fn unknown(scene: Scene<'_>, name: &str, mark: Option<&Mark>) -> Option<String> {
    let left = |departure: &Departure| lasts(departure) && mark.is_some_and(|mark| mark.uid == departure.spec.developer.uid);
    if scene.world.departures().of_name(name).any(|departure| left(departure)) {
        return None;
    }
    match scene.world.developer(name) {
        None => Some(format!("dev/{name} does not exist")),
        Some(developer) if mark.is_some_and(|mark| !scene.world.owns(developer, mark)) => {
            Some(format!("it is another person's than today's dev/{name}"))
        }
        Some(_) => None,
    }
}

/// The binding of a workspace's owner.
fn owner_binding(
    scene: Scene<'_>,
    state: &ClusterState,
    namespace: &str,
    bound: &Bound<k8s_openapi::api::rbac::v1::RoleBinding>,
) -> Option<Orphan> {
    let labels = bound.labels();
    let place = state.namespaces.get(namespace);
    let name = labels.get(DEVELOPER).or_else(|| place?.labels().get(WORKSPACE)).filter(|_| !labels.contains_key(ROLE))?;
    let mark = place.and_then(|place| Mark::read(place.labels(), place.annotations()));
    let why = unknown(scene, name, mark.as_ref())?;
    Some(Orphan { owner: Owner::Developer(name.clone()), why, removal: Change::RoleBinding(bound.removal()) })
}

fn identity(scene: Scene<'_>, state: &ClusterState, namespace: &str, account: &ServiceAccount) -> Option<Orphan> {
    if namespace != IDENTITIES_NAMESPACE || !state.ours(account) || deleting(account) {
        return None;
    }
    let name = account.labels().get(DEVELOPER)?;
    let why = unknown(scene, name, Mark::read(account.labels(), account.annotations()).as_ref())?;
    Some(Orphan { owner: Owner::Developer(name.clone()), why, removal: Change::ServiceAccount(remove(account)) })
}

/// A workspace, unless its person is known to have departed: then its end is the policy's.
fn workspace(scene: Scene<'_>, state: &ClusterState, namespace: &Namespace) -> Option<Orphan> {
    if !state.ours(namespace) || deleting(namespace) || namespace.annotations().contains_key(DEPARTED_AT) {
        return None;
    }
    let name = namespace.labels().get(WORKSPACE)?;
    let why = unknown(scene, name, Mark::read(namespace.labels(), namespace.annotations()).as_ref())?;
    Some(Orphan { owner: Owner::Developer(name.clone()), why, removal: Change::Namespace(remove(namespace)) })
}
