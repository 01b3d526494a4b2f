//! Sealing the workspaces of somebody who left or is locked: what others may do in them is taken out and kept for a return, and traffic is denied.

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicySpec};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::ResourceExt;

use crate::api::Developer;
use crate::api::departure::Sealed;
use crate::api::metadata::{DEVELOPER, DEVELOPER_UID, ENVIRONMENT, WORKSPACE_OBJECT};

use super::bound::Bound;
use super::change::{Change, Step, Write, ensure, labels};
use super::cluster::{ClusterKey, ClusterState};
use super::person::Mark;
use super::placement::Scene;
use super::world::deleting;

/// At most this many RoleBindings are kept for a return, so that the receipt stays small.
pub const MOST: usize = 100;

const RBAC: &str = "rbac.authorization.k8s.io";

/// A workspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site {
    /// The cluster.
    pub cluster: ClusterKey,
    /// The Environment.
    pub environment: String,
    /// The namespace.
    pub namespace: String,
}

/// What sealing comes to.
#[derive(Debug, Default)]
pub struct Seal {
    /// All that is kept for a return. It must be written before the steps are carried out.
    pub record: Vec<Sealed>,
    /// The writes.
    pub steps: Vec<Step>,
}

/// The workspaces that were made for one Developer object.
pub fn workspaces(scene: Scene<'_>, developer: &str, uid: &str) -> Vec<Site> {
    let mut sites = Vec::new();
    for (cluster, state) in scene.planned() {
        let hers =
            state.workspaces_of(developer).filter(|namespace| namespace.annotations().get(DEVELOPER_UID).is_some_and(|it| it == uid));
        sites.extend(hers.filter(|namespace| !deleting(namespace.as_ref())).map(|namespace| Site {
            cluster: cluster.clone(),
            environment: namespace.labels().get(ENVIRONMENT).cloned().unwrap_or_default(),
            namespace: namespace.name_any(),
        }));
    }
    sites
}

/// Plans the seal of some workspaces, of which something may be sealed already.
pub fn seal(scene: Scene<'_>, developer: &str, sites: &[Site], before: &[Sealed]) -> Seal {
    let mut seal = Seal { record: before.to_vec(), steps: Vec::new() };
    for site in sites {
        let Some(state) = scene.clusters.get(&site.cluster) else { continue };
        for binding in bindings_in(state, &site.namespace) {
            keep(&mut seal.record, sealed(site, binding));
            seal.steps.push(step(site, Change::RoleBinding(binding.removal())));
        }
        let seen = state.network_policies.get(&(site.namespace.clone(), WORKSPACE_OBJECT.to_owned()));
        if seen.as_ref().is_none_or(|seen| state.ours(seen.as_ref())) {
            let write = ensure(no_traffic(scene, site, developer), seen.as_deref());
            seal.steps.extend(write.map(|write| step(site, Change::NetworkPolicy(write))));
        }
    }
    seal
}

/// Adds to what is kept for a return. A binding that somebody makes again while it is sealed is kept as it was last.
fn keep(record: &mut Vec<Sealed>, one: Sealed) {
    let most = record.len() < MOST;
    match record.iter_mut().find(|kept| same_place(kept, &one)) {
        Some(kept) => *kept = one,
        None if most => record.push(one),
        None => {}
    }
}

/// Adds what somebody else has written down meanwhile: nothing that is kept for a return is forgotten.
pub fn keep_all<'a>(record: &mut Vec<Sealed>, written: impl IntoIterator<Item = &'a Sealed>) {
    for sealed in written {
        if !record.iter().any(|kept| same_place(kept, sealed)) {
            keep(record, sealed.clone());
        }
    }
}

/// Whether both are of one place.
fn same_place(one: &Sealed, other: &Sealed) -> bool {
    (&one.environment, &one.namespace, &one.name) == (&other.environment, &other.namespace, &other.name)
}

/// Whether something that is kept was taken out of a workspace.
fn taken_from(site: &Site, sealed: &Sealed) -> bool {
    let environment = (site.cluster != ClusterKey::Home).then_some(&site.environment);
    site.namespace == sealed.namespace && sealed.environment.as_ref() == environment
}

/// The RoleBindings of others in a workspace.
pub fn bindings_in<'a>(state: &'a ClusterState, namespace: &'a str) -> impl Iterator<Item = &'a Bound<RoleBinding>> {
    let from = (namespace.to_owned(), String::new());
    let here = state.role_bindings.range(from..).take_while(move |((at, _), _)| at == namespace);
    here.map(|(_, bound)| bound).filter(|bound| !bound.ours && !bound.deleting())
}

/// Whether something that is kept belongs into a workspace that is hers by its mark and was not yet taken over by this Developer object.
pub fn awaits_workspace(scene: Scene<'_>, developer: &Developer, sites: &[Site], kept: &[Sealed]) -> bool {
    let hers = |name: &String| {
        scene.planned().filter_map(|(_, state)| state.namespaces.get(name)).any(|namespace| {
            !deleting(namespace.as_ref())
                && Mark::read(namespace.labels(), namespace.annotations()).is_some_and(|mark| scene.world.owns(developer, &mark))
        })
    };
    let planned = |sealed: &&Sealed| match &sealed.environment {
        None => scene.plans(&ClusterKey::Home),
        Some(name) => scene.world.environment(name).is_some_and(|environment| scene.plans(&ClusterKey::of(environment))),
    };
    kept.iter().filter(planned).any(|sealed| sites.iter().all(|site| !taken_from(site, sealed)) && hers(&sealed.namespace))
}

/// The writes that put back what was sealed, where it is missing and the workspace is still there.
pub fn unseal(scene: Scene<'_>, sites: &[Site], kept: &[Sealed]) -> Vec<Step> {
    let mut steps = Vec::new();
    for site in sites {
        let Some(state) = scene.clusters.get(&site.cluster) else { continue };
        for sealed in kept.iter().filter(|sealed| taken_from(site, sealed)) {
            if !state.role_bindings.contains_key(&(sealed.namespace.clone(), sealed.name.clone())) {
                steps.extend(restored(sealed).map(|binding| step(site, Change::RoleBinding(Write::Create(binding)))));
            }
        }
    }
    steps
}

/// Of what is kept for a return what cannot be put back yet, where nothing failed in the home cluster: what its passes put back there is nobody's to put back again,
/// whoever takes it away afterwards. In other clusters it is kept until it was seen to be there, and while nothing is seen there.
pub fn still_sealed(scene: Scene<'_>, developer: &Developer, sites: &[Site], kept: &[Sealed]) -> Vec<Sealed> {
    let elsewhere = |sealed: &Sealed, name: &String| {
        let site = sites.iter().find(|site| taken_from(site, sealed));
        let Some(cluster) = site.map(|site| site.cluster.clone()).or_else(|| Some(ClusterKey::of(scene.world.environment(name)?))) else {
            return false;
        };
        !scene.answers(&cluster) || site.is_some() && !unseal(scene, sites, std::slice::from_ref(sealed)).is_empty()
    };
    let open = |sealed: &&Sealed| {
        !scene.world.locks_readable()
            || awaits_workspace(scene, developer, sites, std::slice::from_ref(*sealed))
            || sealed.environment.as_ref().is_some_and(|name| elsewhere(sealed, name))
    };
    kept.iter().filter(open).cloned().collect()
}

fn step(site: &Site, change: Change) -> Step {
    Step { cluster: site.cluster.clone(), environment: Some(site.environment.clone()), change }
}

fn sealed(site: &Site, binding: &Bound<RoleBinding>) -> Sealed {
    let role = binding.role_ref();
    let subject = |subject: &Subject| match &subject.namespace {
        Some(namespace) => format!("{}/{namespace}/{}", subject.kind, subject.name),
        None => format!("{}/{}", subject.kind, subject.name),
    };
    Sealed {
        environment: (site.cluster != ClusterKey::Home).then(|| site.environment.clone()),
        namespace: binding.namespace().unwrap_or_default().to_owned(),
        name: binding.name().to_owned(),
        role_ref: format!("{}/{}", role.kind, role.name),
        subjects: binding.all_subjects().iter().map(subject).collect(),
    }
}

fn restored(sealed: &Sealed) -> Option<RoleBinding> {
    let (kind, name) = sealed.role_ref.split_once('/')?;
    let subject = |text: &String| {
        let (kind, rest) = text.split_once('/')?;
        let (namespace, name) = match (kind, rest.split_once('/')) {
            ("ServiceAccount", Some((namespace, name))) => (Some(namespace.to_owned()), name),
            _ => (None, rest),
        };
        let api_group = (kind != "ServiceAccount").then(|| RBAC.to_owned());
        Some(Subject { api_group, kind: kind.to_owned(), name: name.to_owned(), namespace })
    };
    Some(RoleBinding {
        metadata: ObjectMeta { name: Some(sealed.name.clone()), namespace: Some(sealed.namespace.clone()), ..ObjectMeta::default() },
        role_ref: RoleRef { api_group: Some(RBAC.to_owned()), kind: kind.to_owned(), name: name.to_owned() },
        subjects: Some(sealed.subjects.iter().filter_map(subject).collect()),
    })
}

fn no_traffic(scene: Scene<'_>, site: &Site, developer: &str) -> NetworkPolicy {
    NetworkPolicy {
        metadata: ObjectMeta {
            name: Some(WORKSPACE_OBJECT.to_owned()),
            namespace: Some(site.namespace.clone()),
            labels: Some(labels(&scene.settings.installation, [(DEVELOPER, developer), (ENVIRONMENT, site.environment.as_str())])),
            ..ObjectMeta::default()
        },
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
            ingress: None,
            egress: None,
        }),
    }
}
