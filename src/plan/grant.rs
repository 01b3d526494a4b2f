//! The record of who held which Role. Grants follow access: written after it is in place, ended after it is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::api::developer::AccountStatus;
use crate::api::grant::{GrantEnd, GrantInterval, GrantSummary, GrantedDeveloper};
use crate::api::metadata::{DEVELOPER, ENVIRONMENT, ROLE, STATE};
use crate::api::{Binding, Developer, Environment, Grant, GrantSpec, GrantState, Role};

use super::access::{Standing, Via, team};
use super::change::labels;
use super::cluster::ClusterKey;
use super::developer::{seconds, whole_second};
use super::ending::{Ending, ending};
use super::name::digest;
use super::placement::Scene;
use super::request::Request;
use super::subjects::known_in;
use super::target::{environment_of, environment_target, provider_target};
use super::verify::idle;
use super::world::World;

/// A Role that a person holds, as it was seen in the clusters.
#[derive(Debug)]
pub struct Held {
    /// Why.
    pub via: Via,
    /// The Environments in which it gives something.
    pub environments: BTreeSet<String>,
    /// Those of them, and others that are meant, whose clusters do not answer, so that it is not known whether she has it: what runs there goes on.
    pub awaited: BTreeSet<String>,
    /// Whether all of it was seen, in clusters that answer.
    pub in_place: bool,
    /// The Providers at which it gives an account, each with whether one can log in with that by now. Where nobody can any more it is left out.
    pub accounts: BTreeMap<String, bool>,
}

/// The Providers at which a Role gives somebody an account, given what is told of her accounts: what does not answer now takes nothing from her.
pub fn accounts_by(world: &World, role: &Role, told: &[AccountStatus]) -> BTreeMap<String, bool> {
    let live = |name: &str| world.live_providers().any(|(provider, _)| provider == name);
    let names = role.spec.accounts.iter().map(|account| &account.provider).filter(|name| live(name));
    let state = |name: &str| told.iter().find(|account| account.provider == name).map(|account| account.state.as_str());
    let there = names.filter_map(|name| match state(name) {
        Some("Disabled" | "Absent" | "Conflict") => None,
        other => Some((name.clone(), other == Some("Active"))),
    });
    there.collect()
}

impl Held {
    /// Whether it gives something anywhere.
    fn gives(&self) -> bool {
        !(self.environments.is_empty() && self.awaited.is_empty() && self.accounts.is_empty())
    }
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
    /// The Roles whose bindings still name her, in clusters that answer.
    pub found: &'a BTreeSet<String>,
    /// The others in which she has something, or may have, with the Roles as far as they are known.
    pub beyond: &'a BTreeMap<ClusterKey, BTreeSet<String>>,
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
    let now = whole_second(inputs.now);
    let uid = inputs.developer.uid().unwrap_or_default();
    let running = |role: &str| {
        inputs
            .grants
            .iter()
            .find(|grant| grant.spec.state == GrantState::Active && grant.spec.role == role && grant.spec.developer.uid == uid)
    };
    let all: BTreeMap<&str, Held> = inputs.held.iter().map(|(role, held)| (role.as_str(), given(inputs, role, held))).collect();
    for (role, held) in all.iter().filter(|(_, held)| held.in_place && held.gives()) {
        match running(role) {
            // An account that is not there yet is no holding of its own.
            None if targets(held, None).is_empty() => {}
            None => plan.create.push(begin(inputs, role, held, &now)),
            Some(grant) => plan.update.extend(go_on(inputs, grant, held, &now)),
        }
    }
    for grant in inputs.grants.iter().filter(|grant| grant.spec.state == GrantState::Active) {
        let holds = all.get(grant.spec.role.as_str()).is_some_and(Held::gives);
        let same = grant.spec.developer.uid == uid;
        if !same || (!holds && !inputs.found.contains(&grant.spec.role)) {
            plan.update.extend(end_where_seen(inputs, grant, same, &now));
        }
    }
    plan
}

fn begin(inputs: &GrantInputs<'_>, role: &str, held: &Held, now: &Time) -> Grant {
    let developer = inputs.developer;
    let name = developer.name_any();
    let uid = developer.uid().unwrap_or_default();
    let interval = |name: String| GrantInterval { name, team: None, since: now.clone(), until: None };
    let via = held.via.keys().map(|name| GrantInterval { team: way(inputs, name), ..interval(name.clone()) }).collect();
    let giving = oldest(inputs, held);
    let request = giving.map_or_else(Request::unknown, |binding| Request::of(binding.as_ref()));
    let mut grant = Grant::new(
        &free_name(inputs, &uid, role),
        GrantSpec {
            developer: GrantedDeveloper { name: name.clone(), uid, person_id: developer.spec.person_id.clone() },
            role: role.to_owned(),
            role_revision: inputs.scene.world.live_role(role).and_then(|role| role.metadata.generation).unwrap_or_default(),
            targets: targets(held, None).into_iter().map(interval).collect(),
            via,
            granted_by: request.by,
            on_behalf_of: request.on_behalf_of,
            change: request.change,
            reason: giving.and_then(|binding| binding.spec.reason.clone()),
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

/// A name that none of her Grants has: the same again until that Grant is seen, so that one which was begun before a crash is not begun twice.
fn free_name(inputs: &GrantInputs<'_>, uid: &str, role: &str) -> String {
    let developer = inputs.developer.name_any();
    let taken: BTreeSet<String> = inputs.grants.iter().map(|grant| grant.name_any()).collect();
    let mut number = inputs.grants.iter().filter(|grant| grant.spec.role == role).count();
    loop {
        let name = format!("{developer}-{role}-{}", digest(&[uid, role, &number.to_string()]));
        if !taken.contains(&name) {
            return name;
        }
        number += 1;
    }
}

/// The Binding that says who asked and why: of several the oldest.
fn oldest<'a>(inputs: &GrantInputs<'a>, held: &Held) -> Option<&'a Arc<Binding>> {
    let giving = held.via.keys().filter_map(|name| inputs.scene.world.binding(name));
    giving.min_by_key(|binding| (binding.creation_timestamp().map(|time| time.0), binding.name_any()))
}

/// The team by which a Binding names her, if it does not name her herself.
fn way(inputs: &GrantInputs<'_>, binding: &str) -> Option<String> {
    team(inputs.scene.world.binding(binding)?, inputs.developer)
}

/// Whether a Binding still names her as it did.
fn same_way(inputs: &GrantInputs<'_>, interval: &GrantInterval) -> bool {
    let Some(binding) = inputs.scene.world.binding(&interval.name) else { return false };
    match &interval.team {
        None => binding.spec.developers.contains(&inputs.developer.name_any()),
        Some(team) => binding.spec.teams.contains(team) && inputs.developer.spec.teams.contains(team),
    }
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
        bindings.any(|(_, bound)| bound.labels().get(ENVIRONMENT) == Some(&name) && bound.subjects.contains(&known))
    };
    let there = |name: &&String| scene.world.environment(name).is_some_and(|environment| !idle(environment) || seen(environment));
    let environments = held.environments.iter().filter(there).cloned().collect();
    Held { via: held.via.clone(), environments, awaited: held.awaited.clone(), in_place: held.in_place, accounts: held.accounts.clone() }
}

/// Where a holding gives something. An account is there since one can log in with it, and as long as it is not seen to be gone; what a cluster gives that
/// does not answer, likewise.
fn targets(held: &Held, grant: Option<&Grant>) -> Vec<String> {
    let runs = |target: &String| grant.is_some_and(|grant| grant.spec.targets.iter().any(|it| it.name == *target && it.until.is_none()));
    let accounts = held.accounts.iter().map(|(name, active)| (provider_target(name), *active));
    let accounts = accounts.filter(|(target, active)| *active || runs(target)).map(|(target, _)| target);
    let environments = held.environments.union(&held.awaited).map(|name| (environment_target(name), held.awaited.contains(name)));
    let environments = environments.filter(|(target, awaited)| !awaited || runs(target)).map(|(target, _)| target);
    environments.chain(accounts).collect()
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
    adjust(&mut next.spec.targets, targets(held, Some(grant)).into_iter().map(|name| (name, None)), |_| true, now);
    let via = held.via.keys().map(|name| (name.clone(), way(inputs, name)));
    adjust(&mut next.spec.via, via, |interval| same_way(inputs, interval), now);
    next.spec.until = until(inputs, held);
    summarize(&mut next);
    (next.spec != grant.spec).then_some(next)
}

/// Ends what holds no more and begins what is new, each with the team by which it came.
fn adjust(
    intervals: &mut Vec<GrantInterval>,
    wanted: impl Iterator<Item = (String, Option<String>)>,
    goes_on: impl Fn(&GrantInterval) -> bool,
    now: &Time,
) {
    let wanted: BTreeMap<String, Option<String>> = wanted.collect();
    for interval in intervals.iter_mut().filter(|interval| interval.until.is_none()) {
        if !wanted.contains_key(&interval.name) || !goes_on(interval) {
            interval.until = Some(now.clone());
        }
    }
    for (name, team) in wanted {
        if !intervals.iter().any(|interval| interval.name == name && interval.until.is_none()) {
            intervals.push(GrantInterval { name, team, since: now.clone(), until: None });
        }
    }
}

/// Ends a Grant; of somebody who is still there not where it cannot be seen that she has nothing any more. What may be left of somebody who departs stands on her
/// receipt.
fn end_where_seen(inputs: &GrantInputs<'_>, grant: &Arc<Grant>, same: bool, now: &Time) -> Option<Grant> {
    let left = unseen_targets(inputs, grant);
    if left.is_empty() || !same || inputs.standing.departs() {
        return Some(end(inputs, grant, now));
    }
    let mut next = grant.as_ref().clone();
    adjust(&mut next.spec.targets, left.into_iter().map(|name| (name, None)), |_| true, now);
    summarize(&mut next);
    (next.spec != grant.spec).then_some(next)
}

/// The targets of a Grant that run and of which it cannot be seen that they are over.
fn unseen_targets(inputs: &GrantInputs<'_>, grant: &Grant) -> Vec<String> {
    let scene = inputs.scene;
    let unseen = |target: &str| {
        let environment = environment_of(target).and_then(|name| scene.world.environment(name))?;
        let cluster = ClusterKey::of(environment);
        let roles = inputs.beyond.get(&cluster)?;
        Some(roles.contains(&grant.spec.role) || !scene.clusters.contains_key(&cluster))
    };
    let running = grant.spec.targets.iter().filter(|target| target.until.is_none());
    running.filter(|target| unseen(&target.name).unwrap_or_default()).map(|target| target.name.clone()).collect()
}

fn end(inputs: &GrantInputs<'_>, grant: &Arc<Grant>, now: &Time) -> Grant {
    let mut ended = grant.as_ref().clone();
    let Ending { cause, by } = ending(inputs, grant);
    for interval in ended.spec.targets.iter_mut().chain(&mut ended.spec.via).filter(|interval| interval.until.is_none()) {
        interval.until = Some(now.clone());
    }
    ended.spec.state = GrantState::Ended;
    ended.spec.ended = Some(GrantEnd { at: now.clone(), by, cause });
    ended.metadata.labels.get_or_insert_default().insert(STATE.to_owned(), "Ended".to_owned());
    ended
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
