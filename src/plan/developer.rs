//! What belongs to one person: workspaces, the owner's binding, the identity. Roles give the rest.
//!
//! [`plan_developer`] plans the objects; credentials, which need them, are planned by [`super::credential`] when they are there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;

use crate::api::developer::{Identity, Workspace};
use crate::api::metadata::{ADOPTED, DELETE_AT, DEPARTED_AT, DEVELOPER, DEVELOPER_UID, ENVIRONMENT, IDENTITIES_NAMESPACE, PERSON, ROLE};
use crate::api::{ConditionType, Developer, Environment, Mode, Reason};

use super::access::{Standing, next_change_of_developer, paused, revokes_accounts, spared_by_locks, standing};
use super::change::{Change, Step, Write, ensure, labels, remove};
use super::cluster::{ClusterKey, ClusterState};
use super::environment::home;
use super::finding::Finding;
use super::identity::{Known, Unknown, known, service_account};
use super::link::unseen;
use super::person::{Mark, Person};
use super::placement::Scene;
use super::rbac::issued_to;
use super::role::locks_unreadable;
use super::subjects::{known_as, person_of};
use super::target::environment_target;
use super::verify::{found, found_issued};
use super::workspace::{self, Site};
use super::world::deleting;

/// What one person's plan depends on besides the scene.
pub struct DeveloperInputs<'a> {
    /// What people wrote and clusters hold.
    pub scene: Scene<'a>,
    /// The Developer.
    pub developer: &'a Developer,
    /// The present.
    pub now: Timestamp,
}

/// What belongs to one person, and the next writes for it.
#[derive(Debug)]
pub struct DeveloperPlan {
    /// Who she is.
    pub person: Person,
    /// Where she stands.
    pub standing: Standing,
    /// Writes to make now, in phases.
    pub phases: Vec<Vec<Step>>,
    /// For somebody who leaves: writes to make once her access is gone.
    pub afterwards: Vec<Vec<Step>>,
    /// What would be written in Environments that are only observed.
    pub withheld: Vec<Step>,
    /// What is to be written in clusters that do not answer.
    pub owed: Vec<Step>,
    /// What to say.
    pub findings: Vec<Finding>,
    /// How the clusters know her.
    pub identities: Vec<Identity>,
    /// Her namespaces.
    pub workspaces: Vec<Workspace>,
    /// The bindings of this installation that name her, in clusters that answer: Role and namespace.
    pub found: BTreeSet<(String, String)>,
    /// The clusters that do not answer and in which she has something, or may have; with the Roles whose bindings name her there, as far as that is known.
    pub beyond: BTreeMap<ClusterKey, BTreeSet<String>>,
    /// How many bindings of others name her.
    pub foreign: i64,
    /// When the plan changes by itself.
    pub recheck_at: Option<Timestamp>,
}

impl DeveloperPlan {
    /// Whether usher gives her nothing any more in any cluster that answers.
    pub fn access_gone(&self) -> bool {
        self.found.is_empty() && self.phases.iter().all(Vec::is_empty)
    }
}

/// Plans what belongs to one person.
pub fn plan_developer(inputs: &DeveloperInputs<'_>) -> DeveloperPlan {
    let standing = standing(inputs.scene.world, inputs.developer, inputs.now);
    let mut plan = DeveloperPlan {
        person: person_of(inputs.scene, inputs.developer),
        standing,
        phases: Vec::new(),
        afterwards: Vec::new(),
        withheld: Vec::new(),
        owed: Vec::new(),
        findings: Vec::new(),
        identities: Vec::new(),
        workspaces: Vec::new(),
        found: BTreeSet::new(),
        beyond: BTreeMap::new(),
        foreign: 0,
        recheck_at: next_change_of_developer(inputs.scene.world, inputs.developer, inputs.now),
    };
    let names = all_names(inputs, &plan.person);
    for (cluster, state) in inputs.scene.planned().filter(|(cluster, _)| inputs.scene.answers(cluster)) {
        let empty = BTreeSet::new();
        let names = names.get(cluster).unwrap_or(&empty);
        plan.found.extend(found(state, names));
        if standing.leaves() {
            plan.found.extend(found_issued(inputs.scene, cluster, &inputs.developer.name_any()));
        }
        plan.foreign += names.iter().map(|known| state.foreign_bindings(known)).sum::<i64>();
    }
    plan.beyond = beyond(inputs, &names);
    if paused(inputs.developer) && !standing.leaves() {
        plan.findings.push(Finding::new(
            ConditionType::Ready,
            Reason::Paused,
            format!("dev/{} is paused; remove the annotation usher.dev/paused to go on", inputs.developer.name_any()),
        ));
        describe(inputs, &mut plan);
        return plan;
    }
    match standing {
        Standing::Active => arrive(inputs, &mut plan),
        Standing::Pending | Standing::Suspended | Standing::Locked | Standing::Departed | Standing::Deleted => {
            leave(inputs, &names, &mut plan);
        }
    }
    plan.owed = owed(inputs.scene, &mut plan);
    plan.phases.retain(|phase| !phase.is_empty());
    plan.afterwards.retain(|phase| !phase.is_empty());
    plan.findings.sort();
    plan.findings.dedup();
    plan
}

/// The clusters that do not answer and in which she has something, or may have as nothing was read of them since the start.
fn beyond(inputs: &DeveloperInputs<'_>, names: &BTreeMap<ClusterKey, BTreeSet<Known>>) -> BTreeMap<ClusterKey, BTreeSet<String>> {
    let scene = inputs.scene;
    let mut beyond = BTreeMap::new();
    for (cluster, state) in scene.planned().filter(|(cluster, _)| !scene.answers(cluster)) {
        let mut here = names.get(cluster).map(|names| found(state, names)).unwrap_or_default();
        here.extend(found_issued(scene, cluster, &inputs.developer.name_any()));
        let owned =
            || workspaces_of(inputs, state).into_iter().any(|namespace| state.owner_bindings(&namespace.name_any()).next().is_some());
        if !here.is_empty() || owned() || !accounts_of(inputs, state).is_empty() {
            beyond.insert(cluster.clone(), here.into_iter().map(|(role, _)| role).collect());
        }
    }
    // Who was never looked at has nothing anywhere.
    if inputs.developer.status.is_some() {
        let unseen = unseen(scene).into_keys().filter(|cluster| scene.plans(cluster));
        beyond.extend(unseen.map(|cluster| (cluster, BTreeSet::new())));
    }
    beyond
}

/// Takes out what is to be written in clusters that do not answer.
fn owed(scene: Scene<'_>, plan: &mut DeveloperPlan) -> Vec<Step> {
    let phases = plan.phases.iter_mut().chain(&mut plan.afterwards);
    phases.flat_map(|phase| phase.extract_if(.., |step| !scene.answers(&step.cluster)).collect::<Vec<_>>()).collect()
}

/// Every name by which a cluster may know her, also those of Environments that changed their mind.
fn all_names(inputs: &DeveloperInputs<'_>, person: &Person) -> BTreeMap<ClusterKey, BTreeSet<Known>> {
    let name = inputs.developer.name_any();
    let mut names: BTreeMap<ClusterKey, BTreeSet<Known>> = BTreeMap::new();
    for (cluster, state) in inputs.scene.clusters {
        let own = names.entry(cluster.clone()).or_default();
        own.insert(Known::ServiceAccount(service_account(&name, person).into()));
        own.insert(Known::ServiceAccount(service_account(&name, &Person::own(inputs.developer)).into()));
        own.extend(accounts_of(inputs, state).into_iter().map(|account| Known::ServiceAccount(account.name_any().into())));
    }
    for (_, environment) in inputs.scene.world.environments() {
        if let Ok(known) = known(inputs.developer, person, environment, inputs.scene.world.users()) {
            names.entry(ClusterKey::of(environment)).or_default().insert(known);
        }
    }
    names
}

/// The ServiceAccounts in a cluster that are hers.
fn accounts_of(inputs: &DeveloperInputs<'_>, state: &ClusterState) -> Vec<Arc<ServiceAccount>> {
    let name = inputs.developer.name_any();
    let accounts = state.service_accounts_of(&name);
    accounts
        .map(|(_, account)| account)
        .filter(|account| {
            Mark::read(account.labels(), account.annotations()).is_some_and(|mark| inputs.scene.world.owns(inputs.developer, &mark))
        })
        .collect()
}

/// The workspaces in a cluster that are hers.
fn workspaces_of<'a>(inputs: &DeveloperInputs<'_>, state: &'a ClusterState) -> Vec<&'a Arc<Namespace>> {
    state
        .workspaces_of(&inputs.developer.name_any())
        .filter(|namespace| {
            Mark::read(namespace.labels(), namespace.annotations()).is_some_and(|mark| inputs.scene.world.owns(inputs.developer, &mark))
        })
        .collect()
}

fn arrive(inputs: &DeveloperInputs<'_>, plan: &mut DeveloperPlan) {
    let scene = inputs.scene;
    if scene.world.live_environments().next().is_none() {
        plan.findings.push(Finding::new(
            ConditionType::WorkspaceReady,
            Reason::NoEnvironment,
            "there is no Environment; make one, for example uenv/dev",
        ));
    }
    let (mut make, mut fill, mut take) = (Vec::new(), Vec::new(), Vec::new());
    let mut kept: BTreeSet<(ClusterKey, String)> = BTreeSet::new();
    for (name, environment) in scene.world.live_environments() {
        let known = identify(inputs, plan, name, environment);
        if !scene.plans(&ClusterKey::of(environment)) {
            continue;
        }
        let Some(template) = &environment.spec.workspace else { continue };
        let Some(state) = scene.cluster_of(environment) else {
            unread(inputs, plan, name, environment);
            continue;
        };
        let site = Site { scene, state, developer: inputs.developer, person: &plan.person, environment, template };
        let found = match workspace::find(&site) {
            Ok(found) => found,
            Err(finding) => {
                plan.findings.push(finding.at(environment_target(name)));
                continue;
            }
        };
        kept.insert((ClusterKey::of(environment), found.name.clone()));
        plan.workspaces.push(Workspace {
            environment: name.clone(),
            namespace: found.name.clone(),
            home: home(scene.world).is_some_and(|home| home == name),
            delete_at: None,
        });
        if paused(environment.as_ref()) {
            continue;
        }
        let objects = workspace::objects(&site, &found, known.as_ref());
        plan.findings.extend(objects.findings.into_iter().map(|finding| finding.at(environment_target(name))));
        let wrap = |changes: Vec<Change>| steps(&ClusterKey::of(environment), Some(name), changes);
        let groups = [wrap(objects.namespace), wrap(objects.inside), wrap(objects.leftover)];
        if environment.spec.mode == Mode::Observe {
            plan.withheld.extend(groups.into_iter().flatten());
            continue;
        }
        for (phase, group) in [&mut make, &mut fill, &mut take].into_iter().zip(groups) {
            phase.extend(group);
        }
    }
    for (cluster, _) in scene.planned() {
        account(inputs, plan, cluster, &mut make, &mut take);
        abandoned(inputs, cluster, &kept, &mut take);
    }
    if !scene.world.locks_readable() {
        if !(make.is_empty() && fill.is_empty()) {
            plan.findings.push(locks_unreadable());
        }
        (make, fill) = (Vec::new(), Vec::new());
    }
    plan.phases = vec![make, fill, take];
}

/// Her workspace in a cluster of which nothing was read since the start: it is told of as before.
fn unread(inputs: &DeveloperInputs<'_>, plan: &mut DeveloperPlan, name: &str, environment: &Environment) {
    let told = inputs.developer.status.iter().flat_map(|status| &status.workspaces).filter(|workspace| workspace.environment == name);
    plan.workspaces.extend(told.cloned());
    if let Some((reason, why)) = inputs.scene.silence(&ClusterKey::of(environment)) {
        let told = Finding::new(ConditionType::WorkspaceReady, reason, format!("uenv/{name}: {why}"));
        plan.findings.push(told.at(environment_target(name)));
    }
}

fn steps(cluster: &ClusterKey, environment: Option<&String>, changes: Vec<Change>) -> Vec<Step> {
    changes.into_iter().map(|change| Step { cluster: cluster.clone(), environment: environment.cloned(), change }).collect()
}

/// Notes how an Environment knows her, or why it cannot.
fn identify(inputs: &DeveloperInputs<'_>, plan: &mut DeveloperPlan, name: &str, environment: &Environment) -> Option<Known> {
    match known_as(inputs.scene, inputs.developer, &plan.person, environment) {
        Ok(known) => {
            plan.identities.push(identity(name, &known));
            Some(known)
        }
        Err(unknown) => {
            plan.findings.extend(unknown_finding(name, unknown).map(|finding| finding.at(environment_target(name))));
            None
        }
    }
}

fn identity(environment: &str, known: &Known) -> Identity {
    let subject = known.subject();
    Identity { environment: environment.to_owned(), kind: subject.kind, namespace: subject.namespace, name: subject.name }
}

/// A stranger's ServiceAccount is told where the account is planned.
fn unknown_finding(environment: &str, unknown: Unknown) -> Option<Finding> {
    Some(match unknown {
        Unknown::Stranger => return None,
        Unknown::Missing(field) => Finding::new(
            ConditionType::AccessApplied,
            Reason::InvalidSpec,
            format!("uenv/{environment} knows people by {{{field}}}; set spec.{field}"),
        ),
        Unknown::Reserved(user) => Finding::new(
            ConditionType::AccessApplied,
            Reason::InvalidSpec,
            format!("uenv/{environment} would know her as {user}, which belongs to Kubernetes; change her e-mail or username"),
        ),
        Unknown::Taken { user, by } => Finding::new(
            ConditionType::AccessApplied,
            Reason::Conflict,
            format!(
                "in uenv/{environment} the user {user} is dev/{by}, who is older; give one of the two another e-mail, username or kubernetesUser"
            ),
        ),
    })
}

/// The ServiceAccount by which a cluster knows her, where an Environment of it asks for one; others of hers go.
fn account(inputs: &DeveloperInputs<'_>, plan: &mut DeveloperPlan, cluster: &ClusterKey, make: &mut Vec<Step>, take: &mut Vec<Step>) {
    let Some(state) = inputs.scene.clusters.get(cluster) else { return };
    let name = service_account(&inputs.developer.name_any(), &plan.person);
    let wanted = inputs.scene.world.live_environments().any(|(_, environment)| {
        ClusterKey::of(environment) == *cluster
            && environment.spec.mode == Mode::Enforce
            && matches!(known(inputs.developer, &plan.person, environment, inputs.scene.world.users()), Ok(Known::ServiceAccount(_)))
    });
    if wanted {
        let seen = state.service_accounts.get(&(IDENTITIES_NAMESPACE.to_owned(), name.clone()));
        if seen.as_ref().is_some_and(|account| !state.ours(account.as_ref())) {
            plan.findings.push(Finding::new(
                ConditionType::CredentialsReady,
                Reason::Conflict,
                format!(
                    "ServiceAccount {name} in {IDENTITIES_NAMESPACE} was not made by usher; delete it, or give the Developer another name"
                ),
            ));
        } else {
            let write = ensure(build_account(inputs, &plan.person, &name), seen.as_deref());
            make.extend(steps(cluster, None, write.map(Change::ServiceAccount).into_iter().collect()));
        }
    }
    for account in accounts_of(inputs, state) {
        // As long as a binding names it she works by it: an Environment may come back, or be only observed, and Roles may not have changed names yet.
        let known = Known::ServiceAccount(account.name_any().into());
        let named = || {
            state.role_bindings.values().any(|bound| bound.ours && bound.subjects.contains(&known))
                || state.cluster_role_bindings.values().any(|bound| bound.ours && bound.subjects.contains(&known))
        };
        if (!wanted || account.name_any() != name) && !deleting(account.as_ref()) && !named() {
            take.extend(steps(cluster, None, vec![Change::ServiceAccount(remove(account.as_ref()))]));
        }
    }
}

fn build_account(inputs: &DeveloperInputs<'_>, person: &Person, name: &str) -> ServiceAccount {
    let developer = inputs.developer.name_any();
    ServiceAccount {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(IDENTITIES_NAMESPACE.to_owned()),
            labels: Some(labels(&inputs.scene.settings.installation, [(DEVELOPER, developer.as_str()), (PERSON, person.as_str())])),
            annotations: Some(workspace::uid_annotation(inputs.developer)),
            ..ObjectMeta::default()
        },
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// Workspaces of hers that no Environment wants any more are kept, without her binding.
fn abandoned(inputs: &DeveloperInputs<'_>, cluster: &ClusterKey, kept: &BTreeSet<(ClusterKey, String)>, take: &mut Vec<Step>) {
    let Some(state) = inputs.scene.clusters.get(cluster) else { return };
    for namespace in workspaces_of(inputs, state) {
        let name = namespace.name_any();
        if kept.contains(&(cluster.clone(), name.clone())) || unknown_or_observed(inputs, namespace) {
            continue;
        }
        let bindings = state.owner_bindings(&name).map(|binding| Change::RoleBinding(binding.removal()));
        take.extend(steps(cluster, namespace.labels().get(ENVIRONMENT), bindings.collect()));
    }
}

/// Whether a workspace's Environment is one that nobody has written, or that is only observed: then it is left as it is.
fn unknown_or_observed(inputs: &DeveloperInputs<'_>, namespace: &Namespace) -> bool {
    let environment = namespace.labels().get(ENVIRONMENT).and_then(|name| inputs.scene.world.environment(name));
    environment.is_none_or(|environment| environment.spec.mode == Mode::Observe && !deleting(environment.as_ref()))
}

/// Takes the owner's bindings out of her workspaces.
fn take_access(inputs: &DeveloperInputs<'_>, plan: &mut DeveloperPlan) {
    let mut take = Vec::new();
    for (cluster, state) in inputs.scene.planned() {
        for namespace in workspaces_of(inputs, state) {
            let bindings = state.owner_bindings(namespace.metadata.name.as_deref().unwrap_or_default());
            let changes = bindings.map(|binding| Change::RoleBinding(binding.removal())).collect();
            take.extend(steps(cluster, namespace.labels().get(ENVIRONMENT), changes));
        }
    }
    plan.phases = vec![take];
    describe(inputs, plan);
}

/// Takes everything from somebody who is suspended or leaves: access, then credentials; the workspace by policy.
fn leave(inputs: &DeveloperInputs<'_>, names: &BTreeMap<ClusterKey, BTreeSet<Known>>, plan: &mut DeveloperPlan) {
    take_access(inputs, plan);
    plan.phases.push(ownerless(inputs, names));
    let (mut credentials, mut marks) = (Vec::new(), Vec::new());
    let revoked = revokes_accounts(inputs.scene.world, inputs.developer, inputs.now);
    for (cluster, state) in inputs.scene.planned() {
        let keeps = spared_by_locks(inputs.scene.world, inputs.developer, inputs.now);
        let accounts = accounts_of(inputs, state).into_iter().filter(|account| !deleting(account.as_ref()) && !keeps);
        credentials.extend(steps(cluster, None, accounts.map(|account| Change::ServiceAccount(remove(account.as_ref()))).collect()));
        for namespace in workspaces_of(inputs, state).into_iter().filter(|namespace| !deleting(namespace.as_ref()) && !keeps) {
            let environment = namespace.labels().get(ENVIRONMENT);
            credentials.extend(steps(cluster, environment, workspace::credentials_in(state, &namespace.name_any(), revoked)));
            if plan.standing.departs() {
                marks.extend(steps(cluster, environment, departed(inputs, namespace).into_iter().collect()));
            }
        }
    }
    plan.afterwards = vec![credentials, marks];
}

/// Takes her out of bindings of Roles that nobody has written any more: no pass over a Role does it.
fn ownerless(inputs: &DeveloperInputs<'_>, names: &BTreeMap<ClusterKey, BTreeSet<Known>>) -> Vec<Step> {
    let orphan = |labels: &BTreeMap<String, String>| labels.get(ROLE).is_some_and(|role| inputs.scene.world.role(role).is_none());
    let name = inputs.developer.name_any();
    let mut take = Vec::new();
    for (cluster, names) in names {
        let Some(state) = inputs.scene.clusters.get(cluster).filter(|_| inputs.scene.plans(cluster)) else { continue };
        let hers = |subjects: &BTreeSet<Known>, annotations: &BTreeMap<String, String>| -> BTreeSet<Known> {
            subjects.iter().filter(|known| names.contains(known) || issued_to(annotations, known) == Some(&name)).cloned().collect()
        };
        for bound in state.role_bindings.values().filter(|bound| bound.ours && orphan(bound.labels())) {
            let hers = hers(&bound.subjects, bound.annotations());
            let write = (!hers.is_empty()).then(|| Change::RoleBinding(bound.without(&hers)));
            take.extend(steps(cluster, None, write.into_iter().collect()));
        }
        for bound in state.cluster_role_bindings.values().filter(|bound| bound.ours && orphan(bound.labels())) {
            let hers = hers(&bound.subjects, bound.annotations());
            let write = (!hers.is_empty()).then(|| Change::ClusterRoleBinding(bound.without(&hers)));
            take.extend(steps(cluster, None, write.into_iter().collect()));
        }
    }
    take
}

/// Marks a workspace as that of somebody who departed, with the date of its end if its Environment sets one.
fn departed(inputs: &DeveloperInputs<'_>, namespace: &Namespace) -> Option<Change> {
    if namespace.annotations().contains_key(DEPARTED_AT) {
        return None;
    }
    let environment = namespace.labels().get(ENVIRONMENT).and_then(|name| inputs.scene.world.environment(name));
    let policy = environment.and_then(|environment| environment.spec.workspace.as_ref()).map(|template| &template.on_departure);
    let end = policy
        .filter(|policy| policy.action == crate::api::environment::DepartureAction::Delete)
        .filter(|_| !namespace.annotations().contains_key(ADOPTED))
        .and_then(|policy| inputs.now.checked_add(policy.delete_after.duration()).ok());
    let mut marked = namespace.clone();
    let annotations = marked.annotations_mut();
    annotations.insert(DEPARTED_AT.to_owned(), seconds(inputs.now));
    annotations.insert(DEVELOPER_UID.to_owned(), inputs.developer.uid().unwrap_or_default());
    if let Some(end) = end {
        annotations.insert(DELETE_AT.to_owned(), seconds(end));
    }
    Some(Change::Namespace(Write::Replace(marked)))
}

/// A moment in whole seconds, as objects of Kubernetes keep it.
pub fn whole_second(moment: Timestamp) -> Time {
    Time(Timestamp::from_second(moment.as_second()).unwrap_or(moment))
}

/// A moment as objects of Kubernetes write it.
pub fn seconds(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Lists her identities and workspaces where nothing is planned for them.
fn describe(inputs: &DeveloperInputs<'_>, plan: &mut DeveloperPlan) {
    for (name, environment) in inputs.scene.world.live_environments() {
        if let Ok(known) = known(inputs.developer, &plan.person, environment, inputs.scene.world.users()) {
            plan.identities.push(identity(name, &known));
        }
    }
    let home = home(inputs.scene.world);
    for state in inputs.scene.clusters.values() {
        for namespace in workspaces_of(inputs, state) {
            let environment = namespace.labels().get(ENVIRONMENT).cloned().unwrap_or_default();
            plan.workspaces.push(Workspace {
                namespace: namespace.name_any(),
                home: home.is_some_and(|home| *home == environment),
                delete_at: namespace.annotations().get(DELETE_AT).and_then(|at| at.parse().ok()).map(Time),
                environment,
            });
        }
    }
    plan.workspaces.sort();
}
