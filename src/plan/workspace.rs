//! A person's own namespace in an Environment: which it is, and what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem, LimitRangeSpec, Namespace, ResourceQuota, ResourceQuotaSpec};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicySpec};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::environment::{Isolation, PodSecurity, WorkspaceTemplate};
use crate::api::metadata::{
    ACCOUNTS_SECRET, ADOPTED, DEVELOPER, DEVELOPER_UID, ENVIRONMENT, INSTALLATION, ISOLATION, KUBECONFIG_SECRET, OWNER_BINDING, PERSON,
    WELCOME_CONFIG_MAP, WORKSPACE, WORKSPACE_OBJECT,
};
use crate::api::{ConditionType, Developer, Environment, Reason};

use super::bound::bind;
use super::change::{Change, Managed, ensure, labels, remove};
use super::cluster::{ClusterState, Key};
use super::fence;
use super::finding::Finding;
use super::identity::Known;
use super::name::{digest, workspace};
use super::person::{Mark, Person};
use super::placement::Scene;
use super::shelf::Shelf;
use super::territory::is_reserved;
use super::world::deleting;

const POD_SECURITY: &str = "pod-security.kubernetes.io/enforce";

/// Whose workspace, and where.
pub struct Site<'a> {
    /// What people wrote and clusters hold.
    pub scene: Scene<'a>,
    /// The Environment's cluster.
    pub state: &'a ClusterState,
    /// The owner.
    pub developer: &'a Developer,
    /// Who the owner is.
    pub person: &'a Person,
    /// The Environment.
    pub environment: &'a Environment,
    /// The Environment's template.
    pub template: &'a WorkspaceTemplate,
}

/// The namespace that is the workspace.
pub struct Found {
    /// Its name.
    pub name: String,
    /// Whether somebody else made it and a pin gives it to the person.
    pub adopted: bool,
}

/// The writes for one workspace.
#[derive(Default)]
pub struct Objects {
    /// The namespace itself.
    pub namespace: Vec<Change>,
    /// What is in it.
    pub inside: Vec<Change>,
    /// What is not wanted in it any more.
    pub leftover: Vec<Change>,
    /// What does not apply, and why.
    pub findings: Vec<Finding>,
}

fn refuse(reason: Reason, message: String) -> Finding {
    Finding::new(ConditionType::WorkspaceReady, reason, message)
}

/// Which namespace is the person's workspace: the pinned one, else the one she has, else the one that the template names.
pub fn find(site: &Site<'_>) -> Result<Found, Finding> {
    let environment = site.environment.name_any();
    let developer = site.developer.name_any();
    let pinned = site.developer.pinned_workspaces().get(environment.as_str()).map(|name| (*name).to_owned());
    let existing = || {
        let mut own = site.state.workspaces_of(&developer).filter(|namespace| {
            namespace.labels().get(ENVIRONMENT) == Some(&environment)
                && !deleting(namespace.as_ref())
                && Mark::read(namespace.labels(), namespace.annotations()).is_some_and(|mark| site.scene.world.owns(site.developer, &mark))
        });
        own.next().map(|namespace| namespace.name_any())
    };
    let name = pinned.clone().or_else(existing).unwrap_or_else(|| workspace(&site.template.name, &environment, &developer));
    check_name(site, &name)?;
    let seen = site.state.namespaces.get(&name);
    let Some(seen) = seen else { return Ok(Found { name, adopted: false }) };
    if deleting(seen.as_ref()) {
        return Err(refuse(Reason::Progressing, format!("namespace {name} is being deleted; it is made again when it is gone")));
    }
    if site.state.ours(seen.as_ref()) {
        return own_or_conflict(site, seen, name);
    }
    if let Some(role) = site.state.roles_in(&name).next() {
        return Err(refuse(
            Reason::Conflict,
            format!(
                "urole/{role} gives access in namespace {name}, so it is shared; pin another one, or wait until its Environment is settled"
            ),
        ));
    }
    match pinned {
        Some(_) if seen.labels().contains_key(INSTALLATION) => {
            Err(refuse(Reason::Conflict, format!("namespace {name} belongs to another installation of usher; pin another namespace")))
        }
        Some(_) => Ok(Found { name, adopted: true }),
        None => Err(refuse(
            Reason::Conflict,
            format!("namespace {name} exists and was not made by usher; pin it under workspaces if it is hers, or delete it"),
        )),
    }
}

fn check_name(site: &Site<'_>, name: &str) -> Result<(), Finding> {
    if is_reserved(name, &site.scene.settings.namespace) {
        return Err(refuse(Reason::InvalidSpec, format!("namespace {name} is nobody's workspace; choose another name")));
    }
    if name.len() > 63 {
        return Err(refuse(
            Reason::InvalidSpec,
            format!("namespace {name} is longer than 63 characters; shorten workspace.name of uenv/{}", site.environment.name_any()),
        ));
    }
    let shared = site.state.territory.of(name);
    if let Some(environment) = shared.first() {
        return Err(refuse(
            Reason::Conflict,
            format!("namespace {name} is shared in uenv/{environment}; pin another one, or take the label off that makes it shared"),
        ));
    }
    if let Some(environment) = site.state.territory.matching_labels(&site.template.labels).first() {
        return Err(refuse(
            Reason::InvalidSpec,
            format!(
                "workspace.labels of uenv/{} would make workspaces shared in uenv/{environment}; change the labels",
                site.environment.name_any()
            ),
        ));
    }
    Ok(())
}

fn own_or_conflict(site: &Site<'_>, seen: &Namespace, name: String) -> Result<Found, Finding> {
    let developer = site.developer.name_any();
    let environment = site.environment.name_any();
    let mark = Mark::read(seen.labels(), seen.annotations()).filter(|mark| site.scene.world.owns(site.developer, mark));
    // Labels that somebody took off or changed are put back where the mark says that it was made for her.
    let made_for_her = mark.as_ref().is_some_and(|mark| Some(&mark.uid) == site.developer.metadata.uid.as_ref());
    let named = made_for_her || seen.labels().get(DEVELOPER) == Some(&developer);
    let here = seen.labels().get(ENVIRONMENT).map_or(made_for_her, |label| *label == environment);
    if mark.is_some() && named && here {
        return Ok(Found { name, adopted: seen.annotations().contains_key(ADOPTED) });
    }
    let other = seen.labels().get(DEVELOPER).cloned().unwrap_or_default();
    let whose = if other == developer { format!("of another person who was called {developer}") } else { format!("of dev/{other}") };
    Err(refuse(
        Reason::Conflict,
        format!(
            "namespace {name} is the workspace {whose}; pin another namespace under workspaces, or delete it when its content is not needed"
        ),
    ))
}

/// The annotation that names the object of a Developer.
pub fn uid_annotation(developer: &Developer) -> BTreeMap<String, String> {
    BTreeMap::from([(DEVELOPER_UID.to_owned(), developer.uid().unwrap_or_default())])
}

/// What a namespace that somebody has gets besides her access when it becomes her workspace, each as the template's field, so that it stays as it is without.
pub fn added(template: &WorkspaceTemplate, namespace: &Namespace) -> Vec<&'static str> {
    // Without the label the API server takes what it was told to take, and that is privileged unless somebody changed it.
    let level = namespace.labels().get(POD_SECURITY).map_or(PodSecurity::Privileged.label(), String::as_str);
    let all = [
        ("quota", !template.quota.is_empty()),
        ("limits", template.limits.is_some()),
        ("isolation", template.isolation != Isolation::None),
        ("podSecurity", template.pod_security.label() != level),
    ];
    all.into_iter().filter_map(|(field, adds)| adds.then_some(field)).collect()
}

/// The writes that make the workspace as its template says.
pub fn objects(site: &Site<'_>, found: &Found, owner: Option<&Known>) -> Objects {
    let mut objects = Objects::default();
    let seen = site.state.namespaces.get(&found.name);
    objects.namespace.extend(ensure(build_namespace(site, found), seen.map(AsRef::as_ref)).map(Change::Namespace));
    owner_binding(site, &found.name, owner, &mut objects);
    let quota = (!site.template.quota.is_empty()).then(|| build_quota(site, &found.name));
    let limits = site.template.limits.as_ref().map(|_| build_limits(site, &found.name));
    let policy = (site.template.isolation != Isolation::None).then(|| build_policy(site, &found.name));
    settle(site, &mut objects, &site.state.quotas, &found.name, quota, Change::ResourceQuota);
    settle(site, &mut objects, &site.state.limits, &found.name, limits, Change::LimitRange);
    settle(site, &mut objects, &site.state.network_policies, &found.name, policy, Change::NetworkPolicy);
    objects
}

/// Makes, mends or removes the one object of a kind that usher has in a workspace.
fn settle<K: Managed + Serialize + DeserializeOwned>(
    site: &Site<'_>,
    objects: &mut Objects,
    shelf: &Shelf<K>,
    namespace: &str,
    desired: Option<K>,
    wrap: impl Fn(super::change::Write<K>) -> Change,
) {
    let seen = shelf.get(&key(namespace, WORKSPACE_OBJECT));
    if let Some(stranger) = seen.as_ref().filter(|seen| !site.state.ours(seen.as_ref())) {
        if desired.is_some() {
            objects.findings.push(stranger_finding(stranger.as_ref(), namespace));
        }
        return;
    }
    match (desired, seen) {
        (Some(desired), seen) => objects.inside.extend(ensure(desired, seen.as_deref()).map(wrap)),
        (None, Some(seen)) => objects.leftover.push(wrap(remove(seen.as_ref()))),
        (None, None) => {}
    }
}

fn stranger_finding<K: Resource<DynamicType = ()>>(object: &K, namespace: &str) -> Finding {
    let kind = K::kind(&());
    let name = object.meta().name.as_deref().unwrap_or_default();
    refuse(Reason::Conflict, format!("{kind} {name} in namespace {namespace} was not made by usher; delete or rename it"))
}

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}

fn meta(site: &Site<'_>, namespace: &str, name: &str) -> ObjectMeta {
    let (developer, environment) = (site.developer.name_any(), site.environment.name_any());
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels(
            &site.scene.settings.installation,
            [(DEVELOPER, developer.as_str()), (ENVIRONMENT, environment.as_str()), (PERSON, site.person.as_str())],
        )),
        ..ObjectMeta::default()
    }
}

fn build_namespace(site: &Site<'_>, found: &Found) -> Namespace {
    let mut meta = meta(site, "", &found.name);
    meta.namespace = None;
    let own = meta.labels.get_or_insert_default();
    own.extend(site.template.labels.clone());
    own.insert(WORKSPACE.to_owned(), site.developer.name_any());
    own.insert(ISOLATION.to_owned(), format!("{:?}", site.template.isolation));
    own.insert(POD_SECURITY.to_owned(), site.template.pod_security.label().to_owned());
    let mut annotations = uid_annotation(site.developer);
    if found.adopted {
        annotations.insert(ADOPTED.to_owned(), "true".to_owned());
    }
    meta.annotations = Some(annotations);
    Namespace { metadata: meta, ..Namespace::default() }
}

/// The owner's one binding. Another ClusterRole is another object, made before the old one goes.
fn owner_binding(site: &Site<'_>, namespace: &str, owner: Option<&Known>, objects: &mut Objects) {
    let role = &site.template.cluster_role;
    let environment = site.environment.name_any();
    let refusal = fence::refuses_cluster_role(&site.scene.settings.fence, role).map(|why| (Reason::Denied, why)).or_else(|| {
        (!site.state.has_cluster_role(role)).then(|| (Reason::ClusterRoleNotFound, format!("ClusterRole {role} does not exist")))
    });
    if let Some((reason, why)) = &refusal {
        objects.findings.push(refuse(*reason, format!("workspace.clusterRole of uenv/{environment}: {why}")));
    }
    let name = format!("{OWNER_BINDING}:{}", digest(&[role]));
    let wanted = owner.filter(|_| refusal.is_none());
    if let Some(owner) = wanted {
        let binding = RoleBinding {
            metadata: meta(site, namespace, &name),
            role_ref: RoleRef {
                api_group: Some("rbac.authorization.k8s.io".to_owned()),
                kind: "ClusterRole".to_owned(),
                name: role.clone(),
            },
            subjects: None,
        };
        let seen = site.state.role_bindings.get(&key(namespace, &name));
        match seen.filter(|seen| !seen.ours) {
            Some(stranger) => objects.findings.push(stranger_finding(stranger.head().as_ref(), namespace)),
            None => objects.inside.extend(bind(binding, &Arc::new(BTreeSet::from([owner.clone()])), seen).map(Change::RoleBinding)),
        }
    }
    let others = site.state.owner_bindings(namespace).filter(|binding| wanted.is_none() || binding.name() != name);
    objects.leftover.extend(others.map(|binding| Change::RoleBinding(binding.removal())));
}

fn quantities(values: &BTreeMap<String, IntOrString>) -> BTreeMap<String, Quantity> {
    let text = |value: &IntOrString| match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    };
    values.iter().map(|(key, value)| (key.clone(), Quantity(text(value)))).collect()
}

fn build_quota(site: &Site<'_>, namespace: &str) -> ResourceQuota {
    ResourceQuota {
        metadata: meta(site, namespace, WORKSPACE_OBJECT),
        spec: Some(ResourceQuotaSpec { hard: Some(quantities(&site.template.quota)), ..ResourceQuotaSpec::default() }),
        status: None,
    }
}

fn build_limits(site: &Site<'_>, namespace: &str) -> LimitRange {
    let limits = site.template.limits.clone().unwrap_or_default();
    let some = |values: &BTreeMap<String, IntOrString>| (!values.is_empty()).then(|| quantities(values));
    LimitRange {
        metadata: meta(site, namespace, WORKSPACE_OBJECT),
        spec: Some(LimitRangeSpec {
            limits: vec![LimitRangeItem {
                type_: "Container".to_owned(),
                default: some(&limits.default),
                default_request: some(&limits.default_request),
                ..LimitRangeItem::default()
            }],
        }),
    }
}

/// No traffic but from the workspace itself. Policies add up, so the owner may allow more by one of her own.
fn build_policy(site: &Site<'_>, namespace: &str) -> NetworkPolicy {
    NetworkPolicy {
        metadata: meta(site, namespace, WORKSPACE_OBJECT),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(LabelSelector::default()),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(vec![NetworkPolicyPeer { pod_selector: Some(LabelSelector::default()), ..NetworkPolicyPeer::default() }]),
                ports: None,
            }]),
            egress: None,
        }),
    }
}

/// The writes that remove a person's credentials, and what she was told, from a workspace; those of accounts only if they are `revoked`: else they work again
/// when she is back, and she may have changed them by then.
pub fn credentials_in(state: &ClusterState, namespace: &str, revoked: bool) -> Vec<Change> {
    let names = [Some(KUBECONFIG_SECRET), revoked.then_some(ACCOUNTS_SECRET)].into_iter().flatten();
    let secrets = names.filter_map(|name| state.secrets.get(&key(namespace, name)));
    let welcome = state.config_maps.get(&key(namespace, WELCOME_CONFIG_MAP)).filter(|map| state.ours(map.as_ref()));
    secrets
        .filter(|secret| state.ours(secret.as_ref()))
        .map(|secret| Change::Secret(remove(secret.as_ref())))
        .chain(welcome.map(|map| Change::ConfigMap(remove(map.as_ref()))))
        .collect()
}
