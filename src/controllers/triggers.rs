//! Which objects must be looked at again when something changed. Waking too many costs time; waking too few costs truth.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Resource, ResourceExt};

use crate::api::metadata::{CLUSTER_PREFIX, DELETE_AT, DEVELOPER, ENVIRONMENT, PAUSED, RELEASE, ROLE, ROLE_PREFIX, WORKSPACE};
use crate::api::{Binding, Departure, Developer, Environment, Grant, Lock, Mode, Provider, Role, Source};
use crate::cluster::seen::{By, Seen};
use crate::plan::access::{active_people, holders, lock_holds, roles_of_binding, roles_of_developer, standing};
use crate::plan::bound::{Bound, RbacBinding};
use crate::plan::cluster::ClusterKey;
use crate::plan::departures::lasts;
use crate::plan::identity::Known;
use crate::plan::link::key_of;
use crate::plan::subjects::behind;
use crate::plan::target::provider_target;
use crate::plan::world::deleting;

use super::context::{ClusterQueues, Context, Leaving};
use super::purge::{DEPARTURES, RECORDS, REVISIONS};
use super::queue::Lane;

/// How long somebody who is named or not named in a binding any more waits to be looked at, for each one of whom that is so, and how long at most: where many
/// are, more of their bindings are on their way, and each look at each of them would be in the way of those.
const GATHER: std::time::Duration = std::time::Duration::from_millis(10);
const GATHER_MOST: std::time::Duration = std::time::Duration::from_secs(1);
/// How long changes of many receipts, or workspaces, are gathered before all are looked at.
const BATCH: std::time::Duration = std::time::Duration::from_secs(1);

/// Wakes all that a change concerns.
pub fn wake(context: &Context, seen: &Seen, by: By) {
    super::figures::notice(context, seen, by);
    match seen {
        Seen::Developer(name, old, new) => developer(context, name, old.as_deref(), new.as_deref(), by),
        Seen::Role(name, old, new) => role(context, name, old.as_ref(), new.as_ref()),
        Seen::Binding(name, old, new) => binding(context, name, old.as_deref(), new.as_deref()),
        Seen::Environment(name, old, new) => environment(context, name, old.as_ref(), new.as_ref()),
        Seen::Provider(name, old, new) => provider(context, name, old.as_ref(), new.as_ref()),
        Seen::Source(name, old, new) => source(context, name, old.as_deref(), new.as_deref()),
        Seen::Pushed(name) => context.queues.sources.push(name, Lane::New),
        Seen::OwnSecret(name) => own_secret(context, name),
        Seen::Namespace(old, new) => namespace(context, old.as_deref(), new.as_deref()),
        Seen::RoleBinding(old, new) => bound(context, old.as_ref(), new.as_ref()),
        Seen::ClusterRoleBinding(old, new) => bound(context, old.as_ref(), new.as_ref()),
        Seen::ClusterRole(name, roles, came_or_went) => cluster_role(context, name, roles, *came_or_went),
        Seen::Personal(developers, _) => developers.iter().for_each(|developer| personal(context, developer, by)),
        Seen::Stranger(name) => stranger(context, name),
        Seen::Lock(name, old, new) => lock(context, name, old.as_deref(), new.as_deref()),
        Seen::LocksReadable => wake_all(context),
        Seen::Departure(name, old, new) => departure(context, name, old.as_ref(), new.as_ref()),
        // The figures notice by themselves.
        Seen::ScorecardGone => {}
        Seen::RevisionGone(role) => context.queues.roles.push(role, Lane::Sweep),
        Seen::Grant(old, new) => grant(context, old.as_ref(), new.as_ref()),
        Seen::Link(cluster, ..) => link(context, cluster),
    }
}

/// What is told of the Environments of a cluster.
fn link(context: &Context, cluster: &ClusterKey) {
    context.memory.read(|content, _| {
        let was = |environment: &Environment| {
            environment.status.iter().flat_map(|status| &status.clusters).any(|known| key_of(&known.kubeconfig_secret) == *cluster)
        };
        let here = content.world.environments().filter(|(_, environment)| ClusterKey::of(environment) == *cluster || was(environment));
        here.for_each(|(name, _)| context.queues.environments.push(name, Lane::New));
        content.world.roles().for_each(|(name, _)| context.consistency.look(name));
    });
}

/// Wakes everything in a cluster that answers again, departures first.
pub fn returned(context: &Context, there: &ClusterQueues) {
    context.memory.read(|content, _| {
        let now = context.now();
        for (name, developer) in content.world.developers() {
            let lane = if standing(&content.world, developer, now).leaves() { Lane::Departure } else { Lane::New };
            there.developers.push(name, lane);
        }
        content.world.roles().for_each(|(name, _)| there.roles.push(name, Lane::New));
        content.world.locks().for_each(|(name, _)| there.locks.push(name, Lane::Departure));
        content.world.departures().all().for_each(|(name, _)| there.departures.push(name, Lane::Departure));
        let ending = content.clusters.values().flat_map(|state| state.namespaces.values());
        let ending = ending.filter(|namespace| namespace.annotations().contains_key(DELETE_AT));
        ending.for_each(|namespace| there.workspaces.push(&namespace.name_any(), Lane::Expiry));
    });
}

/// Wakes all that tells of clusters, behind all other work, in the home cluster; who leaves waits no more for one that does not answer.
pub fn tell_all(context: &Context) {
    let queues = &context.queues;
    context.memory.read(|content, _| {
        let world = &content.world;
        let now = context.now();
        for (name, developer) in world.developers() {
            let lane = if standing(world, developer, now).leaves() { Lane::Departure } else { Lane::Sweep };
            queues.developers.push_here(name, lane);
        }
        world.roles().for_each(|(name, _)| queues.roles.push_here(name, Lane::Sweep));
        world.bindings().for_each(|(name, _)| queues.bindings.push(name, Lane::Sweep));
        world.locks().for_each(|(name, _)| queues.locks.push_here(name, Lane::Sweep));
        world.environments().for_each(|(name, _)| queues.environments.push(name, Lane::New));
        let lasting = world.departures().all().filter(|(_, departure)| lasts(departure));
        lasting.for_each(|(name, _)| queues.departures.push_here(name, Lane::Sweep));
    });
}

/// Wakes everything, as at the start.
pub fn wake_all(context: &Context) {
    context.memory.read(|content, _| {
        let now = context.now();
        for (name, developer) in content.world.developers() {
            let lane = if standing(&content.world, developer, now).leaves() { Lane::Departure } else { Lane::New };
            context.queues.developers.push(name, lane);
        }
        content.world.roles().for_each(|(name, _)| context.queues.roles.push(name, Lane::New));
        content.world.bindings().for_each(|(name, _)| context.queues.bindings.push(name, Lane::New));
        content.world.environments().for_each(|(name, _)| context.queues.environments.push(name, Lane::New));
        content.world.providers().for_each(|(name, _)| context.queues.providers.push(name, Lane::New));
        super::sources::wake(context, content);
        RECORDS.iter().for_each(|name| context.queues.records.push(name, Lane::Sweep));
        content.world.locks().for_each(|(name, _)| context.queues.locks.push(name, Lane::Departure));
        content.world.departures().all().for_each(|(name, _)| context.queues.departures.push(name, Lane::Sweep));
        for state in content.clusters.values() {
            state.namespaces.values().for_each(|namespace| retention(context, namespace));
        }
    });
}

/// A Grant that went may be missed: it comes back if she still holds the Role.
fn grant(context: &Context, old: Option<&Arc<Grant>>, new: Option<&Arc<Grant>>) {
    if let (Some(old), None) = (old, new) {
        context.queues.developers.push(&old.spec.developer.name, Lane::Drift);
    }
    context.export.note_change(old, new);
}

/// Counts a change of what somebody declared: of its spec, or that it came or goes.
fn count<K: Resource<DynamicType = ()>>(context: &Context, old: Option<&K>, new: Option<&K>) {
    let generation = |object: Option<&K>| object.map(|object| (object.meta().uid.clone(), object.meta().generation));
    if generation(old) != generation(new) {
        context.metrics.declared(&K::kind(&()));
    }
}

/// Whether a change may matter: not one of status alone.
fn matters<K: Resource>(old: Option<&K>, new: Option<&K>, same_spec: impl Fn(&K, &K) -> bool) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return true };
    let note = |object: &K| object.meta().annotations.as_ref().and_then(|notes| notes.get(PAUSED).cloned());
    !same_spec(old, new)
        || old.meta().uid != new.meta().uid
        || old.meta().deletion_timestamp != new.meta().deletion_timestamp
        || old.meta().finalizers != new.meta().finalizers
        || note(old) != note(new)
}

fn developer(context: &Context, name: &str, old: Option<&Developer>, new: Option<&Developer>, by: By) {
    count(context, old, new);
    let queues = &context.queues;
    if !matters(old, new, |old, new| old.spec == new.spec) {
        let drifted = old.zip(new).is_some_and(|(old, new)| old.status != new.status);
        if drifted && by != By::Answer {
            queues.developers.push(name, Lane::Sweep);
        }
        return;
    }
    let leaves = new.is_none_or(|new| context.memory.read(|content, _| standing(&content.world, new, context.now()).leaves()));
    let stood = old.is_some_and(|old| context.memory.read(|content, _| !standing(&content.world, old, context.now()).leaves()));
    if leaves && stood {
        since_now(context, name);
    }
    let lane = if leaves { Lane::Departure } else { Lane::New };
    queues.developers.push(name, lane);
    receipts_of(context, name, lane);
    if new.is_none() {
        // Her receipt may be kept for her sake only.
        queues.records.push(DEPARTURES, Lane::Sweep);
    }
    let only_finalizer = old.zip(new).is_some_and(|(old, new)| {
        old.spec == new.spec
            && old.meta().deletion_timestamp == new.meta().deletion_timestamp
            && old.meta().uid == new.meta().uid
            && old.annotations() == new.annotations()
    });
    if only_finalizer {
        return;
    }
    context.memory.read(|content, _| {
        let world = &content.world;
        for developer in [old, new].into_iter().flatten() {
            for role in roles_of_developer(world, developer) {
                queues.roles.push(&role, lane);
            }
            for binding in world.bindings_of_developer(name, developer) {
                queues.bindings.push(&binding, Lane::Sweep);
            }
            let environments: Vec<_> = world.environments().map(|(_, environment)| environment.clone()).collect();
            for rival in world.users().rivals(developer, environments.iter()) {
                queues.developers.push(&rival, Lane::New);
                if let Some(rival) = world.developer(&rival) {
                    roles_of_developer(world, rival).iter().for_each(|role| queues.roles.push(role, Lane::New));
                }
            }
        }
    });
}

/// Something of somebody's own changed. What was made or changed for her needs no other look; but when she leaves others may wait for what her next pass says.
fn personal(context: &Context, name: &str, by: By) {
    let leaves = || {
        context.memory.read(|content, _| {
            content.world.developer(name).is_none_or(|developer| standing(&content.world, developer, context.now()).leaves())
        })
    };
    if by != By::Answer || leaves() {
        context.queues.developers.push(name, Lane::Drift);
    }
}

fn role(context: &Context, name: &str, old: Option<&Arc<Role>>, new: Option<&Arc<Role>>) {
    count(context, old.map(AsRef::as_ref), new.map(AsRef::as_ref));
    if !matters(old.map(AsRef::as_ref), new.map(AsRef::as_ref), |old: &Role, new: &Role| old.spec == new.spec) {
        return;
    }
    let queues = &context.queues;
    queues.roles.push_promptly(name, Lane::New);
    if new.is_none() {
        queues.records.push(REVISIONS, Lane::Sweep);
    }
    let only_finalizer = old.zip(new).is_some_and(|(old, new)| {
        old.spec == new.spec && deleting(old.as_ref()) == deleting(new.as_ref()) && old.annotations() == new.annotations()
    });
    if only_finalizer {
        return;
    }
    context.memory.read(|content, _| {
        let world = &content.world;
        let mut below: BTreeSet<String> = [old, new].into_iter().flatten().flat_map(|role| role.spec.includes.clone()).collect();
        let further: Vec<String> = below.iter().flat_map(|include| world.includes().given_by_role(include)).cloned().collect();
        below.extend(further);
        below.extend(world.includes().given_by_role(name).cloned());
        below.iter().for_each(|role| queues.roles.push(role, Lane::New));
        // Who includes a Role that comes, goes or closes a cycle gives something else now.
        for (other, role) in world.roles() {
            if role.spec.includes.iter().any(|include| include == name || below.contains(include)) {
                queues.roles.push(other, Lane::New);
            }
        }
    });
    // Who holds a Role that is edited looks when its pass has put that into force.
    if !old.zip(new).is_some_and(|(old, new)| old.spec != new.spec && !deleting(new.as_ref())) {
        reporters_of_role(context, name);
    }
    let accounts =
        |role: Option<&Arc<Role>>| role.filter(|role| !deleting(role.as_ref())).map(|role| role.spec.accounts.clone()).unwrap_or_default();
    if accounts(old) != accounts(new) {
        let providers: BTreeSet<String> =
            [old, new].into_iter().flatten().flat_map(|role| &role.spec.accounts).map(|it| it.provider.clone()).collect();
        super::accounts::look_at_all(context, providers.iter());
    }
}

/// A Provider that came or changed concerns the Roles that name it, and everybody who holds them.
fn provider(context: &Context, name: &str, old: Option<&Arc<Provider>>, new: Option<&Arc<Provider>>) {
    count(context, old.map(AsRef::as_ref), new.map(AsRef::as_ref));
    if !matters(old.map(AsRef::as_ref), new.map(AsRef::as_ref), |old: &Provider, new: &Provider| old.spec == new.spec)
        && old.zip(new).is_some_and(|(old, new)| old.annotations().get(RELEASE) == new.annotations().get(RELEASE))
    {
        return;
    }
    context.queues.providers.push(name, Lane::New);
    if new.is_none() {
        receipts_at(context, name);
    }
    let there = |provider: Option<&Arc<Provider>>| provider.is_some_and(|provider| !deleting(provider.as_ref()));
    if there(old) != there(new) {
        let roles: Vec<String> = context.memory.read(|content, _| {
            let naming = content.world.roles().filter(|(_, role)| role.spec.accounts.iter().any(|account| account.provider == name));
            naming.map(|(role, _)| role.clone()).collect()
        });
        for role in roles {
            context.queues.roles.push(&role, Lane::New);
            reporters_of_role(context, &role);
        }
    }
    super::accounts::look_at_all(context, std::iter::once(&name.to_owned()));
}

/// A Secret of usher's own namespace may be what a system or a source of people is waited for with.
fn own_secret(context: &Context, name: &str) {
    context.desks.secret_changed();
    let sources: Vec<Arc<Source>> = context.memory.read(|content, _| content.world.sources().map(|(_, source)| source.clone()).collect());
    context.sources.secret_changed(name, sources.into_iter());
}

/// A Source that is something else now, or of which somebody said a word of release, is read at once: what was read before may be old.
fn source(context: &Context, name: &str, old: Option<&Source>, new: Option<&Source>) {
    count(context, old, new);
    let released = |source: Option<&Source>| source.and_then(|source| source.annotations().get(RELEASE).cloned());
    if released(old) == released(new) && !matters(old, new, |old, new| old.spec == new.spec) {
        return;
    }
    context.sources.look_again(name);
    context.queues.sources.push(name, Lane::New);
}

/// Wakes the receipts that tell of an account at a Provider: when that is gone nobody looks after it any more.
fn receipts_at(context: &Context, provider: &str) {
    let target = provider_target(provider);
    context.memory.read(|content, _| {
        let lasting = content.world.departures().all().filter(|(_, departure)| lasts(departure));
        let telling = lasting.filter(|(_, it)| it.status.iter().flat_map(|status| &status.targets).any(|line| line.target == target));
        telling.for_each(|(receipt, _)| context.queues.departures.push(receipt, Lane::Drift));
    });
}

/// Wakes the Bindings and Developers that report on a Role.
pub fn reporters_of_role(context: &Context, name: &str) {
    bindings_of_role(context, name);
    holders_of_role(context, name);
}

/// Wakes the Bindings that report on a Role.
pub fn bindings_of_role(context: &Context, name: &str) {
    context.memory.read(|content, _| {
        let world = &content.world;
        let giving: Vec<&String> = world.includes().giving(name).collect();
        for role in giving.iter().map(|role| role.as_str()).chain([name]) {
            for (binding, _) in world.bindings_of_role(role) {
                context.queues.bindings.push(binding, Lane::Sweep);
            }
        }
    });
}

/// Wakes everybody who holds a Role.
pub fn holders_of_role(context: &Context, name: &str) {
    context.memory.read(|content, _| {
        for (developer, _) in holders(&content.world, name, context.now()) {
            context.queues.developers.push(&developer, Lane::Drift);
        }
    });
}

fn binding(context: &Context, name: &str, old: Option<&Binding>, new: Option<&Binding>) {
    count(context, old, new);
    let queues = &context.queues;
    if !matters(old, new, |old, new| old.spec == new.spec) {
        return;
    }
    queues.bindings.push(name, Lane::New);
    let lane = if new.is_none_or(deleting) { Lane::Departure } else { Lane::New };
    context.memory.read(|content, _| {
        let world = &content.world;
        for binding in [old, new].into_iter().flatten() {
            roles_of_binding(world, binding).iter().for_each(|role| queues.roles.push(role, lane));
            active_people(world, binding, context.now()).iter().for_each(|person| queues.developers.push(person, Lane::Drift));
        }
    });
}

/// From now on it is measured how long it takes until somebody has nothing.
fn since_now(context: &Context, developer: &str) {
    let leaving = Leaving { since: tokio::time::Instant::now(), gone: false, denied: false };
    if context.memory.read(|content, _| content.world.developer(developer).is_none()) {
        return;
    }
    context.leaving.lock().entry(developer.to_owned()).or_insert(leaving);
}

/// A Lock comes before everything else, and so does its end.
fn lock(context: &Context, name: &str, old: Option<&Lock>, new: Option<&Lock>) {
    count(context, old, new);
    let queues = &context.queues;
    queues.locks.push(name, Lane::Departure);
    if !matters(old, new, |old, new| old.spec == new.spec) {
        return;
    }
    if let Some(lock) = new.filter(|lock| old.is_none() && lock_holds(lock, context.now())) {
        since_now(context, &lock.spec.developer);
    }
    context.memory.read(|content, _| {
        for name in [old, new].into_iter().flatten().map(|lock| &lock.spec.developer) {
            queues.developers.push(name, Lane::Departure);
            let Some(developer) = content.world.developer(name) else { continue };
            roles_of_developer(&content.world, developer).iter().for_each(|role| queues.roles.push(role, Lane::Departure));
            content.world.bindings_of_developer(name, developer).iter().for_each(|binding| queues.bindings.push(binding, Lane::Sweep));
        }
    });
}

/// Wakes what is said about a person's leaving.
pub fn receipts_of(context: &Context, developer: &str, lane: Lane) {
    context.memory.read(|content, _| {
        let world = &content.world;
        let lasting = world.departures().of_name(developer).filter(|departure| lasts(departure));
        lasting.for_each(|departure| context.queues.departures.push(&departure.name_any(), lane));
        world.locks_of(developer).for_each(|lock| context.queues.locks.push(&lock.name_any(), lane));
    });
}

/// A receipt is worked on by its own pass, and decides what becomes of the workspaces.
fn departure(context: &Context, name: &str, old: Option<&Arc<Departure>>, new: Option<&Arc<Departure>>) {
    context.export.note_change(old, new);
    context.queues.records.push(DEPARTURES, Lane::Sweep);
    let (old, new) = (old.map(AsRef::as_ref), new.map(AsRef::as_ref));
    // A Developer that is being deleted waits until her receipt tells of every place, and how she is known there.
    let places = |departure: Option<&Departure>| {
        let status = departure.and_then(|departure| departure.status.as_ref());
        let targets: BTreeSet<String> = status.iter().flat_map(|status| &status.targets).map(|target| target.target.clone()).collect();
        (targets, status.map(|status| status.identities.clone()).unwrap_or_default())
    };
    if let Some(new) = new.filter(|_| places(old) != places(new)) {
        context.queues.developers.push(&new.spec.developer.name, Lane::Drift);
    }
    let notes = |departure: Option<&Departure>| departure.map(|departure| (departure.annotations().clone(), lasts(departure)));
    if notes(old) == notes(new) {
        return;
    }
    context.queues.departures.push(name, Lane::Departure);
    context.memory.read(|content, _| {
        // A workspace is destroyed only with a receipt, which may be seen after the workspace's date.
        for person in [old, new].into_iter().flatten().map(|departure| &departure.spec.developer.name) {
            context.queues.developers.push(person, Lane::Drift);
            content.clusters.values().flat_map(|state| state.workspaces_of(person)).for_each(|namespace| retention(context, namespace));
        }
        // A released batch lets the others of it through, too. What a new one does to the others its own pass tells them.
        if old.is_some() {
            content.world.departures().all().for_each(|(name, _)| context.queues.departures.push_after(name, Lane::Sweep, BATCH));
            content.clusters.values().flat_map(|state| state.namespaces.values()).for_each(|namespace| retention(context, namespace));
        }
    });
}

fn environment(context: &Context, name: &str, old: Option<&Arc<Environment>>, new: Option<&Arc<Environment>>) {
    count(context, old.map(AsRef::as_ref), new.map(AsRef::as_ref));
    if !matters(old.map(AsRef::as_ref), new.map(AsRef::as_ref), |old: &Environment, new: &Environment| old.spec == new.spec) {
        context.queues.environments.push(name, Lane::Sweep);
        return;
    }
    wake_all(context);
}

fn namespace(context: &Context, old: Option<&Namespace>, new: Option<&Namespace>) {
    let queues = &context.queues;
    let owner = |namespace: &Namespace| namespace.labels().get(WORKSPACE).cloned();
    for developer in [old, new].into_iter().flatten().filter_map(owner).collect::<BTreeSet<_>>() {
        queues.developers.push(&developer, Lane::Drift);
        // What became of a workspace stands on the receipt.
        if old.is_none() || new.is_none_or(deleting) {
            receipts_of(context, &developer, Lane::Drift);
        }
        if new.is_none() {
            queues.records.push(DEPARTURES, Lane::Sweep);
        }
    }
    if let Some(namespace) = new {
        retention(context, namespace);
    }
    let shape = |namespace: Option<&Namespace>| namespace.map(|namespace| (namespace.labels().clone(), deleting(namespace)));
    if shape(old) == shape(new) {
        return;
    }
    let name = new.or(old).map(ResourceExt::name_any).unwrap_or_default();
    let workspace = |namespace: Option<&Namespace>| namespace.is_none_or(|namespace| owner(namespace).is_some());
    if workspace(old) && workspace(new) {
        let environments = [old, new].into_iter().flatten().filter_map(|namespace| namespace.labels().get(ENVIRONMENT));
        // How many there are is told together: hundreds may come in a minute.
        environments.for_each(|environment| queues.environments.push_after(environment, Lane::Sweep, BATCH));
        return;
    }
    context.memory.read(|content, _| {
        content.world.roles().for_each(|(role, _)| queues.roles.push(role, Lane::New));
        content.world.environments().for_each(|(environment, _)| queues.environments.push(environment, Lane::Sweep));
        let concerned = content.world.developers().filter(|(_, developer)| concerns(developer, &name));
        concerned.for_each(|(developer, _)| queues.developers.push(developer, Lane::New));
    });
}

/// Whether a Developer pins a namespace, has it, or was told that it is in her way.
fn concerns(developer: &Developer, namespace: &str) -> bool {
    let status = developer.status.as_ref();
    developer.spec.workspaces.iter().any(|pin| pin.namespace == namespace)
        || status.is_some_and(|status| status.workspaces.iter().any(|workspace| workspace.namespace == namespace))
        || status.and_then(|status| status.summary.as_ref()).is_some_and(|summary| summary.message.contains(namespace))
}

fn retention(context: &Context, namespace: &Namespace) {
    if namespace.annotations().contains_key(DELETE_AT) {
        context.queues.workspaces.push(&namespace.name_any(), Lane::Expiry);
    }
}

/// Wakes somebody whose ServiceAccount is another one's or is not any more, and her Roles, which must not name it.
fn stranger(context: &Context, name: &str) {
    context.queues.developers.push(name, Lane::Drift);
    context.memory.read(|content, _| {
        let Some(developer) = content.world.developer(name) else { return };
        roles_of_developer(&content.world, developer).iter().for_each(|role| context.queues.roles.push(role, Lane::Drift));
    });
}

/// Wakes the Role at whose place an object of somebody else's stands, by its name.
fn in_the_way(context: &Context, name: &str) {
    let rest = name.strip_prefix(ROLE_PREFIX).or_else(|| name.strip_prefix(CLUSTER_PREFIX));
    if let Some((role, _)) = rest.and_then(|rest| rest.rsplit_once(':')) {
        context.queues.roles.push(role, Lane::Drift);
    }
}

/// Wakes what is said about the leaving of somebody in whose workspace somebody else's RoleBinding comes or goes: it may be sealed.
fn in_a_workspace(context: &Context, namespace: Option<&str>) {
    let Some(namespace) = namespace else { return };
    let owner = context.memory.read(|content, _| {
        let found = content.clusters.values().find_map(|state| state.namespaces.get(namespace));
        found.and_then(|namespace| namespace.labels().get(WORKSPACE).cloned())
    });
    if let Some(owner) = owner {
        receipts_of(context, &owner, Lane::Drift);
    }
}

fn bound<K: RbacBinding>(context: &Context, old: Option<&Bound<K>>, new: Option<&Bound<K>>) {
    let queues = &context.queues;
    for bound in [old, new].into_iter().flatten().filter(|bound| bound.ours) {
        if let Some(role) = bound.labels().get(ROLE) {
            queues.roles.push(role, Lane::Drift);
        } else if let Some(developer) = bound.labels().get(DEVELOPER) {
            queues.developers.push(developer, Lane::Drift);
        }
    }
    // A stranger's binding may stand where one of a Role should be.
    for bound in [old, new].into_iter().flatten().filter(|bound| !bound.ours) {
        in_the_way(context, bound.name());
        in_a_workspace(context, bound.namespace());
    }
    let people = |bound: Option<&Bound<K>>| bound.map(|bound| bound.subjects.clone()).unwrap_or_default();
    let (before, after) = (people(old), people(new));
    let changed: Vec<&Known> = before.symmetric_difference(&after).collect();
    if changed.is_empty() {
        return;
    }
    let of_others = [old, new].into_iter().flatten().any(|bound| !bound.ours);
    let wait = u32::try_from(changed.len()).map_or(GATHER_MOST, |count| GATHER.saturating_mul(count).min(GATHER_MOST));
    let leaving: BTreeSet<String> = context.leaving.lock().keys().cloned().collect();
    context.memory.read(|_, scene| {
        let observes = scene.world.live_environments().any(|(_, environment)| environment.spec.mode == Mode::Observe);
        for known in &changed {
            if let Some(developer) = scene.clusters.keys().find_map(|cluster: &ClusterKey| behind(scene, cluster, known)) {
                let name = developer.name_any();
                let wait = if leaving.contains(&name) { std::time::Duration::ZERO } else { wait };
                queues.developers.push_after(&name, Lane::Drift, wait);
                for role in of_others.then(|| roles_of_developer(scene.world, developer)).into_iter().flatten() {
                    context.consistency.look(&role);
                    // Whether what is pending there would change what she may do.
                    if observes {
                        queues.roles.push_after(&role, Lane::Drift, wait);
                    }
                }
            }
        }
        // What names somebody who left contradicts her receipt.
        let subjects: BTreeSet<(Option<String>, String)> =
            changed.iter().map(|known| known.subject()).map(|subject| (subject.namespace, subject.name)).collect();
        let hers = scene.world.departures().all().filter(|(_, departure)| {
            let identities = departure.status.iter().flat_map(|status| &status.identities);
            lasts(departure)
                && identities.into_iter().any(|identity| subjects.contains(&(identity.namespace.clone(), identity.name.clone())))
        });
        hers.for_each(|(name, _)| queues.departures.push(name, Lane::Drift));
    });
}

fn cluster_role(context: &Context, name: &str, roles: &BTreeSet<String>, came_or_went: bool) {
    roles.iter().for_each(|role| context.queues.roles.push(role, Lane::Drift));
    if !roles.is_empty() {
        return;
    }
    if !came_or_went {
        return;
    }
    in_the_way(context, name);
    context.memory.read(|content, _| {
        for (role, object) in content.world.roles() {
            if object.spec.access.iter().any(|access| access.cluster_roles.iter().any(|other| other == name)) {
                context.queues.roles.push(role, Lane::New);
            }
        }
        for (environment, object) in content.world.environments() {
            if object.spec.workspace.as_ref().is_some_and(|template| template.cluster_role == name) {
                context.queues.environments.push(environment, Lane::New);
                content.world.developers().for_each(|(developer, _)| context.queues.developers.push(developer, Lane::Drift));
            }
        }
    });
}
