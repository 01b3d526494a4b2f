//! What is said about an Environment.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding, RoleRef};
use kube::ResourceExt;

use crate::api::environment::{EnvironmentSummary, KnownCluster};
use crate::api::metadata::{DEVELOPER, ENVIRONMENT, ENVIRONMENTS};
use crate::api::{ConditionType, Environment, EnvironmentStatus, Mode, Reason};

use super::access::paused;
use super::bound::Bound;
use super::change::{Change, Step, Verb, Write};
use super::cluster::{ClusterKey, ClusterState};
use super::consistency::Figure;
use super::developer::seconds;
use super::fence;
use super::finding::Finding;
use super::identity::Known;
use super::link::{Link, key_of, known_cluster, recorded_of_another, untouched};
use super::person::Mark;
use super::placement::Scene;
use super::world::World;

/// The Environment in which the Secrets of people live: the oldest that says so, or the only one.
pub fn home(world: &World) -> Option<&String> {
    let mut marked: Vec<_> = world.live_environments().filter(|(_, environment)| environment.spec.home).collect();
    marked.sort_by_key(|(name, environment)| (environment.creation_timestamp().map(|time| time.0), (*name).clone()));
    if let Some((name, _)) = marked.first() {
        return Some(name);
    }
    let mut all = world.live_environments();
    match (all.next(), all.next()) {
        (Some((name, _)), None) => Some(name),
        _ => None,
    }
}

/// Objects to add, change and remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    /// To add.
    pub add: usize,
    /// To change.
    pub change: usize,
    /// To remove.
    pub remove: usize,
    /// How many of all these change what people may do, where that was looked at: in Environments that are only observed.
    pub access: usize,
}

impl Pending {
    /// Counts one more.
    pub fn count(&mut self, scene: Scene<'_>, step: &Step) {
        match step.change.verb() {
            Verb::Create => self.add += 1,
            Verb::Replace => self.change += 1,
            Verb::Delete => self.remove += 1,
        }
        let environment = step.environment.as_ref().and_then(|name| scene.world.environment(name));
        let observed = environment.is_some_and(|environment| environment.spec.mode == Mode::Observe);
        self.access += usize::from(observed && changes_access(scene, step));
    }

    /// The sum of two.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            add: self.add + other.add,
            change: self.change + other.change,
            remove: self.remove + other.remove,
            access: self.access + other.access,
        }
    }

    /// Whether nothing is to be done.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

impl std::fmt::Display for Pending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "+{} ~{} -{}", self.add, self.change, self.remove)
    }
}

/// Whether a write may change what people may do. A binding that gives no more than bindings of others do changes nothing.
fn changes_access(scene: Scene<'_>, step: &Step) -> bool {
    match &step.change {
        Change::RoleBinding(Write::Create(binding)) => !given_by_others(scene, &step.cluster, binding),
        Change::RoleBinding(_) | Change::ClusterRoleBinding(_) | Change::ClusterRole(Write::Replace(_) | Write::Delete(_)) => true,
        _ => false,
    }
}

/// Whether everybody in a binding has the same role in that namespace by bindings that usher did not make.
fn given_by_others(scene: Scene<'_>, cluster: &ClusterKey, binding: &RoleBinding) -> bool {
    let Some(state) = scene.clusters.get(cluster) else { return false };
    let namespace = binding.namespace().unwrap_or_default();
    let here = state.role_bindings.range((namespace.clone(), String::new())..).take_while(|((at, _), _)| *at == namespace);
    let role = |role: &RoleRef| (role.kind.clone(), role.name.clone());
    let alike =
        here.map(|(_, bound)| bound).filter(|bound| !bound.ours && !bound.deleting() && role(bound.role_ref()) == role(&binding.role_ref));
    let named: BTreeSet<&Known> = alike.flat_map(|bound| bound.subjects.iter()).collect();
    binding.subjects.iter().flatten().all(|subject| Known::read(subject).is_some_and(|known| named.contains(&known)))
}

/// What is told of an Environment that is only observed.
pub fn observing(pending: Pending) -> String {
    let told = match pending.access {
        _ if pending.is_nothing() => "nothing is changed here".to_owned(),
        0 => "nothing is changed here, and none of the pending changes would change what people may do".to_owned(),
        access => format!("nothing is changed here; what people may do would change by {access} of the pending changes"),
    };
    format!("{told}; set mode: Enforce when the pending changes are what you want")
}

/// What is wrong with an Environment.
pub fn environment_findings(scene: Scene<'_>, environment: &Environment) -> Vec<Finding> {
    let name = environment.name_any();
    let mut findings = Vec::new();
    let mut add = |condition, reason, message: String| findings.push(Finding::new(condition, reason, message));
    if environment.spec.home && home(scene.world).is_some_and(|home| *home != name) {
        let other = home(scene.world).map_or("", String::as_str);
        add(
            ConditionType::Accepted,
            Reason::Conflict,
            format!("uenv/{other} is home already, and one must be: set home: false here, or there"),
        );
    }
    let cluster = ClusterKey::of(environment);
    if let Some(trouble) = scene.trouble(&cluster) {
        add(ConditionType::Connected, trouble.reason, trouble.message.clone());
    }
    let Some(state) = scene.clusters.get(&cluster) else {
        if scene.trouble(&cluster).is_none() {
            add(ConditionType::Connected, Reason::Progressing, "the cluster is being read".to_owned());
        }
        return findings;
    };
    for (namespace, environments) in state.territory.contested(&name).take(10) {
        let others: Vec<String> = environments.iter().filter(|other| **other != name).map(|other| format!("uenv/{other}")).collect();
        add(
            ConditionType::Accepted,
            Reason::Conflict,
            format!(
                "namespace {namespace} matches {} too, so it belongs to neither; change its labels or one of the selectors",
                others.join(" and ")
            ),
        );
    }
    if let Some(template) = &environment.spec.workspace {
        if let Some(why) = fence::refuses_cluster_role(&scene.settings.fence, &template.cluster_role) {
            add(ConditionType::Accepted, Reason::Denied, format!("workspace.clusterRole: {why}"));
        } else if !state.has_cluster_role(&template.cluster_role) {
            add(
                ConditionType::Accepted,
                Reason::ClusterRoleNotFound,
                format!("workspace.clusterRole: ClusterRole {} does not exist; make it, or name another", template.cluster_role),
            );
        }
        if let Some(other) = state.territory.matching_labels(&template.labels).first() {
            add(
                ConditionType::Accepted,
                Reason::InvalidSpec,
                format!("workspace.labels would make workspaces shared namespaces of uenv/{other}; change the labels"),
            );
        }
    }
    if paused(environment) {
        add(ConditionType::Ready, Reason::Paused, format!("uenv/{name} is paused; remove the annotation usher.dev/paused to go on"));
    }
    findings
}

/// So long before usher's token for another cluster ends it is warned of.
const WARNED_BEFORE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// A warning that usher's token for an Environment's cluster ends soon, and when there will be one.
pub fn token_warning(scene: Scene<'_>, environment: &Environment, now: Timestamp) -> (Option<String>, Option<Timestamp>) {
    let cluster = ClusterKey::of(environment);
    let Some(ends) = scene.links.get(&cluster).and_then(|link| link.token_ends) else { return (None, None) };
    let from = ends.checked_sub(WARNED_BEFORE).unwrap_or(now);
    if now < from {
        return (None, Some(from));
    }
    let message = format!(
        "usher's token for it ends at {}; before that put another kubeconfig into Secret {cluster}, made with `usher remote kubeconfig`",
        seconds(ends)
    );
    (Some(message), None)
}

/// The status of an Environment but for its conditions. Without a figure its consistency stays as it was told last.
pub fn environment_status(scene: Scene<'_>, environment: &Environment, pending: Pending, figure: Option<Figure>) -> EnvironmentStatus {
    let name = environment.name_any();
    let state = scene.cluster_of(environment);
    let before = environment.status.clone().unwrap_or_default();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    // Of a cluster of which nothing was read yet, nobody knows.
    let pending = state.map_or_else(|| "unknown".to_owned(), |_| pending.to_string());
    let (consistency, differences) = match figure {
        Some(figure) => (figure.tally.percent(), figure.worst),
        None => (before.consistency, before.differences),
    };
    EnvironmentStatus {
        observed_generation: environment.metadata.generation,
        conditions: Vec::new(),
        namespaces: state.map(|state| count(state.territory.shared(&name).count())).or(before.namespaces),
        workspaces: state.map(|state| count(state.workspaces_in(&name).count())).or(before.workspaces),
        clusters: clusters(scene, environment),
        consistency,
        differences,
        summary: Some(EnvironmentSummary { cluster: ClusterKey::of(environment).to_string(), pending }),
    }
}

/// The clusters besides the home cluster in which usher works for an Environment, or has something left to take away: the present one first. One whose Secret was
/// taken away is nobody's to look at any more, and one that was not read since the start may hold anything.
fn clusters(scene: Scene<'_>, environment: &Environment) -> Vec<KnownCluster> {
    let present = ClusterKey::of(environment);
    let before = environment.status.iter().flat_map(|status| &status.clusters);
    let (here, former): (Vec<&KnownCluster>, Vec<&KnownCluster>) = before.partition(|known| key_of(&known.kubeconfig_secret) == present);
    let uid = scene.links.get(&present).and_then(|link| link.uid.as_deref());
    let uid = uid.filter(|uid| !recorded_of_another(scene.world, &present, uid));
    let here = here.first().map(|known| (*known).clone()).or_else(|| known_cluster(&present, Some(uid?)));
    let left = former.into_iter().filter(|known| !left_behind(scene, environment, &key_of(&known.kubeconfig_secret)));
    here.into_iter().chain(left.cloned()).collect()
}

/// Whether something is being taken away where an Environment was before.
pub fn moves(scene: Scene<'_>, environment: &Environment, status: &EnvironmentStatus) -> bool {
    let clusters = status.clusters.iter().map(|known| key_of(&known.kubeconfig_secret));
    clusters.filter(|cluster| *cluster != ClusterKey::of(environment)).any(|cluster| scene.answers(&cluster))
}

/// Whether usher has nothing any more to do with a cluster in which an Environment is not. Of one that does not answer only that is known which was seen last: a
/// write whose answer was lost may have been carried out since.
fn left_behind(scene: Scene<'_>, environment: &Environment, cluster: &ClusterKey) -> bool {
    let seen = scene.clusters.get(cluster).filter(|_| scene.answers(cluster));
    scene.links.get(cluster).is_some_and(Link::given_up) || seen.is_some_and(|state| empty(scene, environment, state, cluster))
}

/// Whether a deleted Environment may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// It may.
    Now,
    /// What it gave is being taken away.
    Soon,
    /// What it gave cannot be taken away before its cluster answers.
    WhenItAnswers,
}

/// Whether a deleted Environment may go: everything that this installation made for it is gone, also where it was before.
pub fn going(scene: Scene<'_>, environment: &Environment) -> Going {
    if environment.spec.mode == Mode::Observe {
        return Going::Now;
    }
    let former = environment.status.iter().flat_map(|status| &status.clusters).map(|known| key_of(&known.kubeconfig_secret));
    let all: BTreeSet<ClusterKey> = former.chain([ClusterKey::of(environment)]).collect();
    let open: Vec<&ClusterKey> =
        all.iter().filter(|cluster| !left_behind(scene, environment, cluster) && !untouched(scene, cluster)).collect();
    if open.is_empty() {
        return Going::Now;
    }
    if open.iter().any(|cluster| scene.answers(cluster)) { Going::Soon } else { Going::WhenItAnswers }
}

/// Whether somebody's pass, or that of her receipt, takes a ServiceAccount away when no Environment asks for it any more. One whose owner nobody knows stays, and is
/// reported as an orphan.
fn is_taken(scene: Scene<'_>, account: &ServiceAccount) -> bool {
    let Some(mark) = Mark::read(account.labels(), account.annotations()) else { return false };
    let Some(name) = account.labels().get(DEVELOPER) else { return false };
    let left = scene.world.departures().of_name(name).any(|departure| departure.spec.developer.uid == mark.uid);
    left || scene.world.developer(name).is_some_and(|developer| scene.world.owns(developer, &mark))
}

/// Whether everything that this installation made for an Environment that goes is gone in a cluster: bindings of Roles, and of owners; in another cluster than home
/// what is cluster-wide and people's identities, too, if no other Environment is there.
fn empty(scene: Scene<'_>, environment: &Environment, state: &ClusterState, cluster: &ClusterKey) -> bool {
    let name = environment.name_any();
    let shared = scene.world.live_environments().any(|(other, it)| *other != name && ClusterKey::of(it) == *cluster);
    if *cluster != ClusterKey::Home && !shared {
        let identities = state.service_accounts.values().any(|account| state.ours(account.as_ref()) && is_taken(scene, &account));
        let listed = |list: &String| list.split(',').any(|item| item == name);
        let wide = |bound: &Bound<ClusterRoleBinding>| bound.ours && bound.annotations().get(ENVIRONMENTS).is_some_and(listed);
        if identities || state.cluster_role_bindings.values().any(wide) {
            return false;
        }
    }
    let workspaces: BTreeSet<String> = state.workspaces_in(&name).map(|namespace| namespace.name_any()).collect();
    let its = |bound: &Bound<RoleBinding>| bound.labels().get(ENVIRONMENT).is_some_and(|label| *label == name);
    !state.role_bindings.iter().any(|((namespace, _), bound)| bound.ours && (workspaces.contains(namespace) || its(bound)))
}
