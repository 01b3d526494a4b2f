//! Why a Grant ended, and who ended it. Only what can be told from the objects is said; the rest is unknown.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::grant::{EndCause, GrantInterval};
use crate::api::{Binding, BindingState, DesiredState, Grant, Role};

use super::access::{Standing, binding_state, covers, lock_holds, roles_of_binding};
use super::grant::GrantInputs;
use super::request::{DELETED, EXPIRED, Request, UNKNOWN};
use super::target::{environment_of, provider_of};
use super::world::deleting;

/// How a Grant ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub cause: EndCause,
    /// Who ended it.
    pub by: String,
}

impl Ending {
    fn deleted(cause: EndCause) -> Self {
        Self { cause, by: DELETED.to_owned() }
    }

    fn by_edit(cause: EndCause, edited: &impl ResourceExt) -> Self {
        Self { cause, by: Request::of(edited).by }
    }

    fn unknown(cause: EndCause) -> Self {
        Self { cause, by: UNKNOWN.to_owned() }
    }

    /// By a time that came. If the Grant had announced it nobody did anything; else somebody has just set it.
    fn by_time(cause: EndCause, grant: &Grant, set_in: &impl ResourceExt, now: Timestamp) -> Self {
        let announced = grant.spec.until.as_ref().is_some_and(|until| until.0 <= now);
        if announced { Self { cause, by: EXPIRED.to_owned() } } else { Self::by_edit(cause, set_in) }
    }
}

/// How a Grant of somebody ended who holds its Role no more.
pub fn ending(inputs: &GrantInputs<'_>, grant: &Grant) -> Ending {
    by_person(inputs, grant).or_else(|| by_binding(inputs, grant)).unwrap_or_else(|| by_role(inputs, grant))
}

fn by_person(inputs: &GrantInputs<'_>, grant: &Grant) -> Option<Ending> {
    let developer = inputs.developer;
    if grant.spec.developer.uid != developer.uid().unwrap_or_default() {
        return Some(Ending::deleted(EndCause::DeveloperDeleted));
    }
    match inputs.standing {
        Standing::Active => None,
        Standing::Deleted => Some(Ending::deleted(EndCause::DeveloperDeleted)),
        Standing::Departed if developer.spec.state == DesiredState::Departed => {
            Some(Ending::by_edit(EndCause::DeveloperDeparted, developer))
        }
        Standing::Departed => Some(Ending::by_time(EndCause::DeveloperDeparted, grant, developer, inputs.now)),
        Standing::Suspended | Standing::Pending => Some(Ending::by_edit(EndCause::DeveloperSuspended, developer)),
        Standing::Locked => {
            let name = developer.name_any();
            let lock = inputs.scene.world.locks_of(&name).find(|lock| lock_holds(lock, inputs.now));
            Some(lock.map_or_else(
                || Ending::unknown(EndCause::DeveloperLocked),
                |lock| Ending::by_edit(EndCause::DeveloperLocked, lock.as_ref()),
            ))
        }
    }
}

fn open(intervals: &[GrantInterval]) -> impl Iterator<Item = &GrantInterval> {
    intervals.iter().filter(|interval| interval.until.is_none())
}

/// The Environments in which it gave something until now.
fn environments(grant: &Grant) -> BTreeSet<&str> {
    open(&grant.spec.targets).filter_map(|target| environment_of(&target.name)).collect()
}

fn by_binding(inputs: &GrantInputs<'_>, grant: &Grant) -> Option<Ending> {
    let world = inputs.scene.world;
    if world.live_role(&grant.spec.role).is_none() {
        return Some(Ending::deleted(EndCause::RoleDeleted));
    }
    open(&grant.spec.via).find_map(|interval| match world.binding(&interval.name).filter(|binding| !deleting(binding.as_ref())) {
        None => Some(Ending::deleted(EndCause::BindingDeleted)),
        Some(binding) => by_edited_binding(inputs, grant, interval, binding),
    })
}

fn by_edited_binding(inputs: &GrantInputs<'_>, grant: &Grant, interval: &GrantInterval, binding: &Arc<Binding>) -> Option<Ending> {
    let (world, now) = (inputs.scene.world, inputs.now);
    let edited = || Some(Ending::by_edit(EndCause::BindingEdited, binding.as_ref()));
    match binding_state(binding, now) {
        BindingState::Expired => return Some(Ending::by_time(EndCause::BindingExpired, grant, binding.as_ref(), now)),
        BindingState::Scheduled => return edited(),
        BindingState::Active => {}
    }
    if !world.people_of(binding).contains(inputs.developer.name_any().as_str()) {
        let left_team = interval.team.as_ref().is_some_and(|team| binding.spec.teams.contains(team));
        return if left_team { Some(Ending::by_edit(EndCause::DeveloperEdited, inputs.developer)) } else { edited() };
    }
    // Whether it was never edited, or gave its present Role as long as this one: then it is the Role that does not include this one any more.
    let gave_before = || {
        if binding.metadata.generation == Some(1) {
            return true;
        }
        let others = inputs.grants.iter().filter(|other| other.spec.role == binding.spec.role);
        others.flat_map(|other| &other.spec.via).any(|other| other.name == binding.name_any() && other.since.0 <= interval.since.0)
    };
    let scope = binding.spec.environments.as_ref().map(|names| names.iter().cloned().collect());
    let places = environments(grant);
    let narrowed = !places.is_empty() && !places.iter().any(|environment| covers(&scope, environment));
    let other_role = !roles_of_binding(world, binding).contains(&grant.spec.role) && !gave_before();
    if narrowed || other_role { edited() } else { None }
}

/// The Bindings still give what they gave: so it is a Role that does not, or an Environment that is no more.
fn by_role(inputs: &GrantInputs<'_>, grant: &Grant) -> Ending {
    let world = inputs.scene.world;
    let Some(role) = world.live_role(&grant.spec.role) else { return Ending::deleted(EndCause::RoleDeleted) };
    let outer: BTreeSet<&str> = open(&grant.spec.via)
        .filter_map(|interval| world.binding(&interval.name))
        .map(|binding| binding.spec.role.as_str())
        .filter(|outer| !world.includes().given_by_role(outer).any(|given| *given == grant.spec.role))
        .collect();
    if !outer.is_empty() {
        return not_included(inputs, &outer);
    }
    let places = environments(grant);
    if !places.is_empty() && !places.iter().any(|name| world.environment(name).is_some_and(|it| !deleting(it.as_ref()))) {
        return Ending::deleted(EndCause::EnvironmentDeleted);
    }
    let mut providers = open(&grant.spec.targets).filter_map(|target| provider_of(&target.name)).peekable();
    if places.is_empty() && providers.peek().is_some() && providers.all(|name| !world.live_providers().any(|(live, _)| live == name)) {
        return Ending::deleted(EndCause::ProviderDeleted);
    }
    let edited = role.metadata.generation.unwrap_or_default() > grant.spec.role_revision;
    let names =
        |role: &Role, place: &str| role.spec.access.iter().flat_map(|access| &access.environments).any(|it| it == "*" || it == place);
    if edited && !places.iter().any(|place| names(role, place)) {
        return Ending::by_edit(EndCause::RoleEdited, role.as_ref());
    }
    Ending::unknown(EndCause::RoleEdited)
}

/// Some Role on the way to this one does not include the next any more. Which one cannot be told, so it is said only if it is the same author for all.
fn not_included(inputs: &GrantInputs<'_>, outer: &BTreeSet<&str>) -> Ending {
    let world = inputs.scene.world;
    if outer.iter().all(|name| world.live_role(name).is_none()) {
        return Ending::deleted(EndCause::RoleDeleted);
    }
    let on_the_way: BTreeSet<&String> = outer.iter().flat_map(|name| world.includes().given_by_role(name)).collect();
    let missing = |role: &Role| role.spec.includes.iter().any(|include| world.live_role(include).is_none());
    let elsewhere = |name: &String| world.includes().cycle(name).is_some() || world.live_role(name).is_some_and(|role| missing(role));
    if on_the_way.iter().any(|name| elsewhere(name)) {
        return Ending::unknown(EndCause::RoleEdited);
    }
    let authors: BTreeSet<String> =
        on_the_way.into_iter().filter_map(|name| world.live_role(name)).map(|role| Request::of(role.as_ref()).by).collect();
    let mut authors = authors.into_iter();
    match (authors.next(), authors.next()) {
        (Some(by), None) => Ending { cause: EndCause::RoleEdited, by },
        _ => Ending::unknown(EndCause::RoleEdited),
    }
}
