//! What Roles can give of what users hold.

use std::collections::BTreeSet;

use kube::ResourceExt;

use crate::api::metadata::WORKSPACE;
use crate::api::role::{Access, AccessRule};
use crate::plan::cluster::{ClusterKey, ClusterState};
use crate::plan::covering::covers;
use crate::plan::fence;
use crate::plan::identity::Known;
use crate::plan::territory::is_reserved;

use super::left::Left;
use super::owners::Workspaces;
use super::people::People;
use super::seen::Held;
use super::{Holdings, Inputs};

/// Something that a Role gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Grant {
    /// A ClusterRole in a shared namespace.
    Inside {
        /// The Environment.
        environment: String,
        /// The namespace.
        namespace: String,
        /// The ClusterRole.
        cluster_role: String,
    },
    /// What a ClusterRole allows, everywhere in a cluster.
    Wide {
        /// The cluster.
        cluster: ClusterKey,
        /// The ClusterRole.
        cluster_role: String,
    },
    /// An account in an outside system.
    Account {
        /// The Provider.
        provider: String,
    },
    /// That the account is in a group.
    Group {
        /// The Provider.
        provider: String,
        /// The group, as the system calls it.
        group: String,
    },
}

type Why = (String, String);

/// What each person has that Roles can give. The rest is left.
pub(super) fn holdings(
    inputs: Inputs<'_>,
    people: &People,
    held: &BTreeSet<Held>,
    workspaces: &Workspaces,
    left: &mut BTreeSet<Left>,
) -> Holdings {
    let mut holdings = Holdings::new();
    for held in held {
        // Who is nobody is left already.
        let Some(developer) = people.of(&held.cluster, &held.user) else { continue };
        let Some(state) = inputs.scene.clusters.get(&held.cluster) else { continue };
        match grant(inputs, state, workspaces, developer, held) {
            Ok(Some(grant)) if !given(state, held) => drop(holdings.entry(developer.to_owned()).or_default().insert(grant)),
            Ok(_) => {}
            Err(why) => drop(left.insert(Left::people(&held.binding, format!("User {}", held.user), why))),
        }
    }
    holdings
}

/// Whether usher gives it already.
fn given(state: &ClusterState, held: &Held) -> bool {
    let known = Known::User(held.user.as_str().into());
    let bindings = held.namespace.iter().flat_map(|namespace| state.role_bindings_naming_in(&known, namespace));
    bindings.into_iter().any(|bound| bound.role_ref().name == held.cluster_role)
}

fn why<T>(why: impl Into<String>, remedy: impl Into<String>) -> Result<T, Why> {
    Err((why.into(), remedy.into()))
}

/// What a Role would give; nothing if a workspace gives it to its owner.
fn grant(inputs: Inputs<'_>, state: &ClusterState, workspaces: &Workspaces, developer: &str, held: &Held) -> Result<Option<Grant>, Why> {
    let role = &held.cluster_role;
    if !state.has_cluster_role(role) {
        return why(format!("ClusterRole {role} does not exist, so it gives nothing"), "delete the binding");
    }
    let Some(namespace) = &held.namespace else { return wide(inputs, held).map(Some) };
    if let Some(workspace) = workspaces.get(&(held.cluster.clone(), namespace.clone())) {
        return if workspace.developer != developer {
            why(
                format!("{namespace} is the workspace of dev/{}, where usher gives nobody else anything", workspace.developer),
                "leave this binding as it is, or make the namespace shared by the label of an Environment",
            )
        } else if covers(inputs.rules, &held.cluster, &workspace.cluster_role, role) {
            Ok(None)
        } else {
            why(
                format!("{role} is more than {}, which uenv/{} gives in workspaces", workspace.cluster_role, workspace.environment),
                format!("set workspace.clusterRole of uenv/{} to what owners need; or delete this binding", workspace.environment),
            )
        };
    }
    let environment = environment(inputs, state, namespace)?;
    if let Some(refusal) = fence::refuses_cluster_role(&inputs.scene.settings.fence, role) {
        return why(refusal, "after that run this again");
    }
    Ok(Some(Grant::Inside { environment, namespace: namespace.clone(), cluster_role: role.clone() }))
}

/// The Environment in which a namespace is shared.
fn environment(inputs: Inputs<'_>, state: &ClusterState, namespace: &str) -> Result<String, Why> {
    let of = state.territory.of(namespace);
    match (of.first(), of.len()) {
        (Some(environment), 1) => Ok(environment.clone()),
        (Some(_), _) => {
            let all = of.iter().map(|name| format!("uenv/{name}")).collect::<Vec<_>>().join(" and ");
            why(format!("{namespace} matches {all}, so it belongs to neither"), "change its labels, or one of the selectors")
        }
        _ if state.namespaces.get(namespace).is_some_and(|it| state.ours(it.as_ref()) && it.labels().contains_key(WORKSPACE)) => why(
            format!("{namespace} is a workspace, where usher gives nobody but its owner anything"),
            "leave this binding as it is, or delete it",
        ),
        _ if is_reserved(namespace, &inputs.scene.settings.namespace) => {
            why(format!("usher gives nobody anything in {namespace}"), "leave the binding as it is")
        }
        _ => why(
            format!("{namespace} belongs to no Environment"),
            "label it so that an Environment selects it; or say whose it is, and give --owner-label or --owner-annotation",
        ),
    }
}

/// What a ClusterRole allows everywhere, where usher may give that.
fn wide(inputs: Inputs<'_>, held: &Held) -> Result<Grant, Why> {
    let here: Vec<_> = inputs.scene.world.live_environments().filter(|(_, it)| ClusterKey::of(it) == held.cluster).collect();
    let stays = "leave the binding as it is";
    if here.is_empty() {
        return why("no Environment is in this cluster", stays);
    }
    if let Some((name, _)) = here.iter().find(|(name, environment)| !environment.spec.allow_cluster_scope || !inputs.wants(name)) {
        return why(
            format!("it is cluster-wide, and uenv/{name} does not allow that or is not looked at"),
            format!("set allowClusterScope in uenv/{name}, or give what is needed in namespaces"),
        );
    }
    let Some(rules) = access_rules(inputs, &held.cluster, &held.cluster_role) else {
        return why(format!("what ClusterRole {} allows cluster-wide cannot be written as rules of a urole", held.cluster_role), stays);
    };
    let access = Access { name: "all".to_owned(), cluster: true, rules, ..Access::default() };
    match fence::refuses_rules(&inputs.scene.settings.fence, &access) {
        Some(refusal) => why(format!("cluster-wide {}: {refusal}", held.cluster_role), "or leave the binding as it is"),
        None => Ok(Grant::Wide { cluster: held.cluster.clone(), cluster_role: held.cluster_role.clone() }),
    }
}

/// What a ClusterRole allows, as a Role writes it; none where that is more than a Role may hold.
pub(super) fn access_rules(inputs: Inputs<'_>, cluster: &ClusterKey, cluster_role: &str) -> Option<Vec<AccessRule>> {
    let rules = inputs.rules.get(cluster)?.get(cluster_role)?;
    let fits = |rule: &AccessRule| {
        let some = [(rule.api_groups.len(), 16), (rule.resources.len(), 64), (rule.verbs.len(), 16)];
        some.iter().all(|(length, most)| (1..=*most).contains(length)) && rule.resource_names.len() <= 64
    };
    let written: Vec<AccessRule> = rules
        .iter()
        .map(|rule| AccessRule {
            api_groups: rule.api_groups.clone().unwrap_or_default(),
            resources: rule.resources.clone().unwrap_or_default(),
            resource_names: rule.resource_names.clone().unwrap_or_default(),
            verbs: rule.verbs.clone(),
        })
        .collect();
    let paths = rules.iter().any(|rule| rule.non_resource_urls.as_ref().is_some_and(|paths| !paths.is_empty()));
    (!paths && (1..=32).contains(&written.len()) && written.iter().all(fits)).then_some(written)
}

/// The Environments of a cluster.
pub(super) fn environments_of(inputs: Inputs<'_>, cluster: &ClusterKey) -> Vec<String> {
    let here = inputs.scene.world.live_environments().filter(|(_, environment)| ClusterKey::of(environment) == *cluster);
    here.map(|(_, environment)| environment.name_any()).collect()
}
