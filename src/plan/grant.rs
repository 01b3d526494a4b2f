//! The record of who held which Role. Grants follow access: written after it is in place, ended after it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::api::grant::{EndCause, GrantEnd, GrantInterval, GrantSummary, GrantedDeveloper};
use crate::api::metadata::{DEVELOPER, ENVIRONMENT, ROLE, STATE};
use crate::api::{Binding, BindingState, Developer, Environment, Grant, GrantSpec, GrantState};

use super::access::{Standing, Via, binding_state, roles_of_binding};
use super::change::labels;
use super::developer::seconds;
use super::name::digest;
use super::placement::Scene;
use super::subjects::known_in;
use super::verify::idle;
use super::world::deleting;

/// What is said where nobody recorded who asked.
pub const UNKNOWN: &str = "unknown";

/// A Role that a person holds, as it was seen in the clusters.
#[derive(Debug)]
pub struct Held {
    /// Why.
    pub via: Via,
    /// The Environments in which it gives something.
    pub environments: BTreeSet<String>,
    /// Whether all of it was seen.
    pub in_place: bool,
}

/// What the record of one person depends on besides the scene.
pub struct GrantInputs<'a> {
    /// What people wrote and clusters hold.
    pub scene: Scene<'a>,
    /// The Developer.
    pub developer: &'a Developer,
    /// Where she stands.
    pub standing: Standing,
    /// What she holds.
    pub held: &'a BTreeMap<String, Held>,
    /// The Roles whose bindings still name her.
    pub found: &'a BTreeSet<String>,
    /// Her Grants so far.
    pub grants: &'a [Arc<Grant>],
    /// The present.
    pub now: Timestamp,
}

/// The Grants to write: new ones, and those that changed.
#[derive(Debug, Default)]
pub struct GrantPlan {
    /// To be made.
    pub create: Vec<Grant>,
    /// To be changed.
    pub update: Vec<Grant>,
}

/// Plans the record of one person.
pub fn plan_grants(inputs: &GrantInputs<'_>) -> GrantPlan {
    let mut plan = GrantPlan::default();
    let now = Time(Timestamp::from_second(inputs.now.as_second()).unwrap_or(inputs.now));
    let uid = inputs.developer.uid().unwrap_or_default();
    let running = |role: &str| {
        inputs
            .grants
            .iter()
            .find(|grant| grant.spec.state == GrantState::Active && grant.spec.role == role && grant.spec.developer.uid == uid)
    };
    let all: BTreeMap<&str, Held> = inputs.held.iter().map(|(role, held)| (role.as_str(), given(inputs, role, held))).collect();
    for (role, held) in all.iter().filter(|(_, held)| held.in_place && !held.environments.is_empty()) {
        match running(role) {
            None => plan.create.push(begin(inputs, role, held, &now)),
            Some(grant) => plan.update.extend(go_on(inputs, grant, held, &now)),
        }
    }
    for grant in inputs.grants.iter().filter(|grant| grant.spec.state == GrantState::Active) {
        let holds = all.get(grant.spec.role.as_str()).is_some_and(|held| !held.environments.is_empty());
        let same = grant.spec.developer.uid == uid;
        if !same || (!holds && !inputs.found.contains(&grant.spec.role)) {
            plan.update.push(end(inputs, grant, &now));
        }
    }
    plan
}

fn begin(inputs: &GrantInputs<'_>, role: &str, held: &Held, now: &Time) -> Grant {
    let developer = inputs.developer;
    let name = developer.name_any();
    let uid = developer.uid().unwrap_or_default();
    let previous = inputs.grants.iter().filter(|grant| grant.spec.role == role).map(|grant| grant.name_any()).max();
    let before = inputs.grants.iter().filter(|grant| grant.spec.role == role).count().to_string();
    let id = digest(&[&uid, role, &before, previous.as_deref().unwrap_or_default()]);
    let interval = |name: String| GrantInterval { name, since: now.clone(), until: None };
    let mut grant = Grant::new(
        &format!("{name}-{role}-{id}"),
        GrantSpec {
            developer: GrantedDeveloper { name: name.clone(), uid, person_id: developer.spec.person_id.clone() },
            role: role.to_owned(),
            role_revision: inputs.scene.world.live_role(role).and_then(|role| role.metadata.generation).unwrap_or_default(),
            targets: targets(held).map(interval).collect(),
            via: held.via.keys().cloned().map(interval).collect(),
            granted_by: UNKNOWN.to_owned(),
            on_behalf_of: None,
            change: None,
            reason: held.via.keys().find_map(|name| inputs.scene.world.binding(name)?.spec.reason.clone()),
            since: now.clone(),
            until: until(inputs, held),
            state: GrantState::Active,
            ended: None,
            summary: GrantSummary::default(),
        },
    );
    grant.metadata.labels =
        Some(labels(&inputs.scene.settings.installation, [(DEVELOPER, name.as_str()), (ROLE, role), (STATE, "Active")]));
    summarize(&mut grant);
    grant
}

/// What of a holding there is to record: where nothing is written, only what was seen there all the same.
fn given(inputs: &GrantInputs<'_>, role: &str, held: &Held) -> Held {
    let scene = inputs.scene;
    let seen = |environment: &Environment| {
        let (Some(state), Ok(known)) = (scene.cluster_of(environment), known_in(scene, inputs.developer, environment)) else {
            return false;
        };
        let name = environment.name_any();
        let mut bindings = state.role_bindings_of(role);
        bindings.any(|(_, bound)| bound.object.labels().get(ENVIRONMENT) == Some(&name) && bound.subjects.contains(&known))
    };
    let there = |name: &&String| scene.world.environment(name).is_some_and(|environment| !idle(environment) || seen(environment));
    Held { via: held.via.clone(), environments: held.environments.iter().filter(there).cloned().collect(), in_place: held.in_place }
}

fn targets(held: &Held) -> impl Iterator<Item = String> {
    held.environments.iter().map(|name| format!("environment/{name}"))
}

/// When a holding ends by itself: with the last of its Bindings, or the person's own end.
fn until(inputs: &GrantInputs<'_>, held: &Held) -> Option<Time> {
    let own = inputs.developer.spec.ends_at.as_ref().map(|time| time.0);
    let ends: Vec<Option<Timestamp>> = held
        .via
        .keys()
        .filter_map(|name| inputs.scene.world.binding(name))
        .map(|binding| binding.spec.expires_at.as_ref().map(|time| time.0))
        .collect();
    let last = if ends.iter().any(Option::is_none) { None } else { ends.into_iter().flatten().max() };
    [own, last].into_iter().flatten().min().map(Time)
}

/// The Grant as it should read now, if that is a change. Targets and reasons only gain entries or an end.
fn go_on(inputs: &GrantInputs<'_>, grant: &Arc<Grant>, held: &Held, now: &Time) -> Option<Grant> {
    let mut next = grant.as_ref().clone();
    adjust(&mut next.spec.targets, &targets(held).collect(), now);
    adjust(&mut next.spec.via, &held.via.keys().cloned().collect(), now);
    next.spec.until = until(inputs, held);
    summarize(&mut next);
    (next.spec != grant.spec).then_some(next)
}

fn adjust(intervals: &mut Vec<GrantInterval>, wanted: &BTreeSet<String>, now: &Time) {
    for interval in intervals.iter_mut().filter(|interval| interval.until.is_none() && !wanted.contains(&interval.name)) {
        interval.until = Some(now.clone());
    }
    for name in wanted {
        if !intervals.iter().any(|interval| interval.name == *name && interval.until.is_none()) {
            intervals.push(GrantInterval { name: name.clone(), since: now.clone(), until: None });
        }
    }
}

fn end(inputs: &GrantInputs<'_>, grant: &Arc<Grant>, now: &Time) -> Grant {
    let mut ended = grant.as_ref().clone();
    let cause = cause(inputs, grant);
    let deleted = matches!(cause, EndCause::BindingDeleted | EndCause::RoleDeleted | EndCause::DeveloperDeleted);
    let by = if deleted { "unknown (deleted)" } else { UNKNOWN };
    for interval in ended.spec.targets.iter_mut().chain(&mut ended.spec.via).filter(|interval| interval.until.is_none()) {
        interval.until = Some(now.clone());
    }
    ended.spec.state = GrantState::Ended;
    ended.spec.ended = Some(GrantEnd { at: now.clone(), by: by.to_owned(), cause });
    ended.metadata.labels.get_or_insert_default().insert(STATE.to_owned(), "Ended".to_owned());
    ended
}

fn cause(inputs: &GrantInputs<'_>, grant: &Grant) -> EndCause {
    let world = inputs.scene.world;
    if grant.spec.developer.uid != inputs.developer.uid().unwrap_or_default() {
        return EndCause::DeveloperDeleted;
    }
    match inputs.standing {
        Standing::Deleted => return EndCause::DeveloperDeleted,
        Standing::Departed => return EndCause::DeveloperDeparted,
        Standing::Suspended | Standing::Pending => return EndCause::DeveloperSuspended,
        Standing::Locked => return EndCause::DeveloperLocked,
        Standing::Active => {}
    }
    if world.live_role(&grant.spec.role).is_none() {
        return EndCause::RoleDeleted;
    }
    binding_cause(inputs, grant).unwrap_or(EndCause::RoleEdited)
}

fn binding_cause(inputs: &GrantInputs<'_>, grant: &Grant) -> Option<EndCause> {
    let (world, now) = (inputs.scene.world, inputs.now);
    let name = inputs.developer.name_any();
    // Whether a Binding was never edited, or gave its present Role as long as this one: then it is the Role that does not include this one any more.
    let gave_before = |binding: &Binding, since: &Time| {
        if binding.metadata.generation == Some(1) {
            return true;
        }
        let others = inputs.grants.iter().filter(|other| other.spec.role == binding.spec.role);
        others.flat_map(|other| &other.spec.via).any(|other| other.name == binding.name_any() && other.since.0 <= since.0)
    };
    let open = grant.spec.via.iter().filter(|interval| interval.until.is_none());
    let mut open = open;
    open.find_map(|interval| match world.binding(&interval.name).filter(|binding| !deleting(binding.as_ref())) {
        None => Some(EndCause::BindingDeleted),
        Some(binding) if binding_state(binding, now) == BindingState::Expired => Some(EndCause::BindingExpired),
        Some(binding) if !world.people_of(binding).contains(name.as_str()) => Some(EndCause::BindingEdited),
        Some(binding) if !roles_of_binding(world, binding).contains(&grant.spec.role) && !gave_before(binding, &interval.since) => {
            Some(EndCause::BindingEdited)
        }
        Some(_) => None,
    })
}

fn summarize(grant: &mut Grant) {
    let open = |intervals: &[GrantInterval]| {
        let names = intervals.iter().filter(|interval| interval.until.is_none());
        let names: Vec<&str> = names.map(|interval| interval.name.rsplit('/').next().unwrap_or_default()).collect();
        names.join(",")
    };
    let spec = &mut grant.spec;
    spec.summary = GrantSummary {
        targets: open(&spec.targets),
        via: open(&spec.via),
        until: spec.until.as_ref().map(|time| seconds(time.0)).unwrap_or_default(),
    };
}
