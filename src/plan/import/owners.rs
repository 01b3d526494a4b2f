//! Namespaces that say whose they are, and become that person's workspace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;

use crate::api::environment::WorkspaceTemplate;
use crate::api::metadata::INSTALLATION;
use crate::api::{Developer, Environment};
use crate::plan::cluster::{ClusterKey, ClusterState};
use crate::plan::covering::covers;
use crate::plan::fence;
use crate::plan::name::workspace;
use crate::plan::territory::is_reserved;
use crate::plan::workspace::added;
use crate::plan::world::deleting;

use super::left::Left;
use super::people::People;
use super::seen::Held;
use super::words::{aliases, bare, in_cluster, local};
use super::{Inputs, OwnerKey, Place};

/// A namespace that is to be somebody's workspace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Workspace {
    /// Her Developer.
    pub developer: String,
    /// The Environment.
    pub environment: String,
    /// What usher gives her in it, which she has already.
    pub cluster_role: String,
}

/// The namespaces that are to be workspaces.
pub(super) type Workspaces = BTreeMap<Place, Workspace>;

type Why = (String, String);

/// By what names people are called in a cluster, and the Developers who are called so.
type Called = BTreeMap<(ClusterKey, String), BTreeSet<String>>;

/// At most so many people or namespaces are named in one line.
const NAMED: usize = 5;

/// Finds the namespaces that can be pinned. The others that say whose they are are left.
pub(super) fn workspaces(inputs: Inputs<'_>, people: &People, held: &BTreeSet<Held>, left: &mut BTreeSet<Left>) -> Workspaces {
    let Some(key) = inputs.owner else { return Workspaces::new() };
    let called = called(inputs, people);
    let mut found = Workspaces::new();
    for (cluster, state) in inputs.scene.clusters.iter().filter(|(cluster, _)| inputs.looks_at(cluster)) {
        for (name, namespace) in state.namespaces.iter().filter(|(_, namespace)| !state.ours(namespace.as_ref())) {
            let Some(owner) = owner(key, namespace) else { continue };
            match candidate(inputs, (people, &called), (cluster, state, namespace), &owner) {
                Ok(None) => {}
                Ok(Some(workspace)) => match holds(inputs, people, held, (cluster, name), &workspace) {
                    Ok(()) => drop(found.insert((cluster.clone(), name.clone()), workspace)),
                    Err(why) => drop(left.insert(Left::people(title(name, cluster), owner, why))),
                },
                Err(why) => drop(left.insert(Left::people(title(name, cluster), owner, why))),
            }
        }
    }
    only_one_each(&mut found, left);
    found
}

fn title(namespace: &str, cluster: &ClusterKey) -> String {
    in_cluster(&format!("Namespace {namespace}"), cluster)
}

fn owner(key: &OwnerKey, namespace: &Namespace) -> Option<String> {
    let value = match key {
        OwnerKey::Label(key) => namespace.labels().get(key),
        OwnerKey::Annotation(key) => namespace.annotations().get(key),
    };
    value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// Everything that people are called: by their user names, and by what stands in their Developers.
fn called(inputs: Inputs<'_>, people: &People) -> Called {
    let mut called = Called::new();
    for (cluster, user, name) in people.users() {
        let developer = people.new_one(name).or_else(|| inputs.scene.world.developer(name).map(Arc::as_ref));
        let own = [user, bare(user), local(bare(user))].map(str::to_lowercase);
        for alias in own.into_iter().chain(developer.into_iter().flat_map(aliases)) {
            called.entry((cluster.clone(), alias)).or_default().insert(name.to_owned());
        }
    }
    called
}

/// The workspace that a namespace would be; none if it is of an Environment that is not looked at.
fn candidate(
    inputs: Inputs<'_>,
    (people, called): (&People, &Called),
    (cluster, state, namespace): (&ClusterKey, &ClusterState, &Namespace),
    owner: &str,
) -> Result<Option<Workspace>, Why> {
    let name = namespace.name_any();
    if is_reserved(&name, &inputs.scene.settings.namespace) {
        return why(format!("{name} is nobody's workspace"), "take the owner off");
    }
    if deleting(namespace) {
        return why("it is being deleted", "nothing to do");
    }
    if namespace.labels().contains_key(INSTALLATION) || state.roles_in(&name).next().is_some() {
        return why("usher gives access in it already", "take it out of what usher shares, if it is one person's");
    }
    if let Some(environment) = state.territory.of(&name).first() {
        return why(
            format!("it is shared in uenv/{environment}, so it is nobody's workspace"),
            "take off the label that makes it shared, if it is one person's",
        );
    }
    let developer = match called.get(&(cluster.clone(), owner.to_lowercase())).map(|all| (all.first(), all.len())) {
        Some((Some(developer), 1)) => developer.clone(),
        Some((_, count)) if count > 1 => {
            return why(format!("{count} people are called so"), "name her there by her user name or e-mail address");
        }
        _ => {
            return why(
                "nobody who has access in this cluster is called so",
                "name her there as her bindings do, or make her a Developer with this pin",
            );
        }
    };
    let Some((environment, template)) = environment(inputs, cluster, &developer, &name)? else { return Ok(None) };
    granted(inputs, state, environment, template)?;
    let environment = environment.name_any();
    pinnable(inputs, people, &developer, &environment, &name)?;
    Ok(Some(Workspace { developer, environment, cluster_role: template.cluster_role.clone() }))
}

fn why<T>(why: impl Into<String>, remedy: &str) -> Result<T, Why> {
    Err((why.into(), remedy.to_owned()))
}

/// The Environment whose workspace a namespace would be: the only one of the cluster that has workspaces, else the one whose workspaces are called so.
fn environment<'a>(
    inputs: Inputs<'a>,
    cluster: &ClusterKey,
    developer: &str,
    namespace: &str,
) -> Result<Option<(&'a Environment, &'a WorkspaceTemplate)>, Why> {
    let with = inputs.scene.world.live_environments().filter(|(_, environment)| ClusterKey::of(environment) == *cluster);
    let with: Vec<_> = with.filter_map(|(name, it)| Some((name, it.as_ref(), it.spec.workspace.as_ref()?))).collect();
    let mut wanted: Vec<_> = with.iter().filter(|(name, ..)| inputs.wants(name)).collect();
    if with.is_empty() {
        return why("no Environment of its cluster has workspaces", "give the Environment that it belongs to a workspace");
    }
    if wanted.len() > 1 {
        wanted.retain(|(name, _, template)| workspace(&template.name, name, developer) == namespace);
        if wanted.len() != 1 {
            return why("several Environments of its cluster have workspaces", "say which one with --environment, one after the other");
        }
    }
    Ok(wanted.first().map(|(_, environment, template)| (*environment, *template)))
}

/// Refuses where usher could not give the owner anything.
fn granted(inputs: Inputs<'_>, state: &ClusterState, environment: &Environment, template: &WorkspaceTemplate) -> Result<(), Why> {
    let name = environment.name_any();
    if let Some(refusal) = fence::refuses_cluster_role(&inputs.scene.settings.fence, &template.cluster_role) {
        return why(format!("workspace.clusterRole of uenv/{name}: {refusal}"), "name another one there");
    }
    if !state.has_cluster_role(&template.cluster_role) {
        return why(format!("workspace.clusterRole of uenv/{name} does not exist"), "make it, or name another one there");
    }
    Ok(())
}

/// Refuses what only the Developer herself can say who is there already.
fn pinnable(inputs: Inputs<'_>, people: &People, developer: &str, environment: &str, namespace: &str) -> Result<(), Why> {
    if people.new_one(developer).is_some() {
        return Ok(());
    }
    let pinned =
        inputs.scene.world.developer(developer).and_then(|it| it.pinned_workspaces().get(environment).map(|pin| (*pin).to_owned()));
    if pinned.as_deref() == Some(namespace) {
        return Ok(());
    }
    let pin = format!("add {{environment: {environment}, namespace: {namespace}}} to spec.workspaces of dev/{developer}");
    why(format!("dev/{developer} is there already, and does not pin it"), &pin)
}

/// Refuses where the owner has less than usher would give her.
fn holds(
    inputs: Inputs<'_>,
    people: &People,
    held: &BTreeSet<Held>,
    (cluster, namespace): (&ClusterKey, &str),
    it: &Workspace,
) -> Result<(), Why> {
    let hers = |held: &&Held| {
        let here = held.namespace.as_deref().is_none_or(|at| at == namespace);
        held.cluster == *cluster && here && people.of(cluster, &held.user) == Some(it.developer.as_str())
    };
    if held.iter().filter(hers).any(|held| covers(inputs.rules, cluster, &held.cluster_role, &it.cluster_role)) {
        return Ok(());
    }
    why(
        format!("dev/{} has less in it than {}, which uenv/{} gives in workspaces", it.developer, it.cluster_role, it.environment),
        "give it to her, or name less as workspace.clusterRole; or pin it by hand",
    )
}

/// Leaves all namespaces of who has several in one Environment.
fn only_one_each(found: &mut Workspaces, left: &mut BTreeSet<Left>) {
    let mut of: BTreeMap<(String, String), BTreeSet<Place>> = BTreeMap::new();
    for (place, it) in found.iter() {
        of.entry((it.developer.clone(), it.environment.clone())).or_default().insert(place.clone());
    }
    for ((developer, environment), places) in of.into_iter().filter(|(_, places)| places.len() > 1) {
        let names = places.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ");
        for place in places {
            found.remove(&place);
            let reason =
                format!("dev/{developer} has several namespaces for uenv/{environment}, and a person has one workspace there: {names}");
            let remedy = "pin one by hand, and make the others shared by the label of an Environment".to_owned();
            left.insert(Left::people(title(&place.1, &place.0), format!("dev/{developer}"), (reason, remedy)));
        }
    }
}

/// Tells what else than access namespaces would get that become workspaces.
pub(super) fn new_objects(inputs: Inputs<'_>, workspaces: &Workspaces, left: &mut BTreeSet<Left>) {
    let mut of: BTreeMap<&str, (BTreeSet<&str>, Vec<String>)> = BTreeMap::new();
    for ((cluster, name), workspace) in workspaces {
        let template = inputs.scene.world.environment(&workspace.environment).and_then(|it| it.spec.workspace.as_ref());
        let namespace = inputs.scene.clusters.get(cluster).and_then(|state| state.namespaces.get(name));
        let added = template.zip(namespace).map(|(template, namespace)| added(template, namespace)).unwrap_or_default();
        if !added.is_empty() {
            let (fields, names) = of.entry(&workspace.environment).or_default();
            fields.extend(added);
            names.push(name.clone());
        }
    }
    for (environment, (fields, names)) in of {
        let fields = fields.into_iter().collect::<Vec<_>>().join(", ");
        let reason = format!("these namespaces become workspaces, and get what they have not today: {fields}");
        let remedy = format!("set these fields of workspace in uenv/{environment} to what holds there today; or let them have it");
        left.insert(Left::people(format!("uenv/{environment}"), some(&names), (reason, remedy)));
    }
}

/// Tells of the people who would get a new workspace, which they have not today.
pub(super) fn new_workspaces(inputs: Inputs<'_>, developers: &[Developer], left: &mut BTreeSet<Left>) {
    for (name, environment) in inputs.scene.world.live_environments() {
        let Some(template) = &environment.spec.workspace else { continue };
        let without = developers.iter().filter(|developer| !developer.pinned_workspaces().contains_key(name.as_str()));
        let all: Vec<String> = without.map(|developer| format!("dev/{}", developer.name_any())).collect();
        if all.is_empty() {
            continue;
        }
        let reason = format!("they have no namespace of their own there, and get a new one with {} in it", template.cluster_role);
        let remedy = format!("pin what they have under workspaces; or take workspace out of uenv/{name}");
        left.insert(Left::people(format!("uenv/{name}"), some(&all), (reason, remedy)));
    }
}

/// The first of many, and how many more there are.
fn some(all: &[String]) -> String {
    let some = all.iter().take(NAMED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => some,
        more => format!("{some} and {more} more"),
    }
}
