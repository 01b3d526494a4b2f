//! Who holds which Role, where, until when and why: every access rule of DESIGN.md, "Exactly who gets what".

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::metadata::PAUSED;
use crate::api::{Binding, BindingState, DesiredState, Developer, Lock, Role};

use super::world::{World, deleting};

/// Whether a person is given anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Before `startsAt`.
    Pending,
    /// Holds her Bindings.
    Active,
    /// Has nothing, until Active again.
    Suspended,
    /// Has nothing while a Lock holds, whatever else is written.
    Locked,
    /// Has left: `state: Departed`, or `endsAt` has come.
    Departed,
    /// Has left: the Developer is being deleted.
    Deleted,
}

impl Standing {
    /// Whether everything she may have is to be taken away now; before her start there should be nothing.
    pub const fn leaves(self) -> bool {
        !matches!(self, Self::Active)
    }

    /// Whether she has left for good.
    pub const fn departs(self) -> bool {
        matches!(self, Self::Departed | Self::Deleted)
    }
}

/// Where a Developer stands at a moment.
pub fn standing(world: &World, developer: &Developer, now: Timestamp) -> Standing {
    if deleting(developer) { Standing::Deleted } else { standing_as_written(world, developer, now) }
}

/// Where a Developer stands by what is written alone, as if she were not being deleted.
pub fn standing_as_written(world: &World, developer: &Developer, now: Timestamp) -> Standing {
    let spec = &developer.spec;
    if spec.state == DesiredState::Departed || spec.ends_at.as_ref().is_some_and(|end| end.0 <= now) {
        return Standing::Departed;
    }
    if world.locks_of(developer.metadata.name.as_deref().unwrap_or_default()).any(|lock| lock_holds(lock, now)) {
        return Standing::Locked;
    }
    if spec.state == DesiredState::Suspended {
        return Standing::Suspended;
    }
    if spec.starts_at.as_ref().is_some_and(|start| now < start.0) {
        return Standing::Pending;
    }
    Standing::Active
}

/// Whether a Lock holds: as long as it exists, unless it was lifted or its time is over. That it is being deleted does not end it.
pub fn lock_holds(lock: &Lock, now: Timestamp) -> bool {
    !lock.spec.lifted && lock.spec.until.as_ref().is_none_or(|until| now < until.0)
}

/// Whether somebody's credentials outlast the Locks on her: all of those that hold say so, and nothing but them takes anything from her.
pub fn spared_by_locks(world: &World, developer: &Developer, now: Timestamp) -> bool {
    let name = developer.name_any();
    let mut holding = world.locks_of(&name).filter(|lock| lock_holds(lock, now));
    standing(world, developer, now) == Standing::Locked
        && developer.spec.state == DesiredState::Active
        && holding.all(|lock| !lock.spec.revoke_credentials)
}

/// Whether what somebody was issued in outside systems becomes worthless for good: she leaves, or a Lock that holds says so. A suspension only shuts it out.
pub fn revokes_accounts(world: &World, developer: &Developer, now: Timestamp) -> bool {
    let name = developer.name_any();
    let standing = standing(world, developer, now);
    let mut holding = world.locks_of(&name).filter(|lock| lock_holds(lock, now));
    standing.departs() || standing == Standing::Locked && holding.any(|lock| lock.spec.revoke_credentials)
}

/// Whether a Binding gives something at a moment.
pub fn binding_state(binding: &Binding, now: Timestamp) -> BindingState {
    if binding.spec.expires_at.as_ref().is_some_and(|end| end.0 <= now) {
        return BindingState::Expired;
    }
    if binding.spec.starts_at.as_ref().is_some_and(|start| now < start.0) {
        return BindingState::Scheduled;
    }
    BindingState::Active
}

fn gives(binding: &Binding, now: Timestamp) -> bool {
    !deleting(binding) && binding_state(binding, now) == BindingState::Active
}

/// Whether `usher.dev/paused` stops work on an object.
pub fn paused(object: &impl ResourceExt) -> bool {
    object.annotations().get(PAUSED).is_some_and(|value| value == "true")
}

/// Why nothing is added to or taken from a Role, but for people who leave: it is paused, or a Binding that gives it.
pub fn frozen(world: &World, role: &Role) -> bool {
    let name = role.name_any();
    let by_binding = || {
        let mut bindings = world.includes().giving(&name).flat_map(|giving| world.bindings_of_role(giving));
        bindings.any(|(_, binding)| paused(binding.as_ref()) && !deleting(binding.as_ref()))
    };
    !deleting(role) && (paused(role) || by_binding())
}

/// The Environments to which a Binding narrows a Role; `None` for all that the Role names.
pub type Scope = Option<BTreeSet<String>>;

/// The Bindings by which somebody holds a Role, each with its scope. Many hold it by the same.
pub type Via = Arc<BTreeMap<String, Scope>>;

/// Whether an Environment is in a scope.
pub fn covers(scope: &Scope, environment: &str) -> bool {
    scope.as_ref().is_none_or(|names| names.contains(environment))
}

fn scope(binding: &Binding) -> Scope {
    binding.spec.environments.as_ref().map(|names| names.iter().cloned().collect())
}

/// The people who hold a Role now, by itself or through a Role that includes it.
pub fn holders(world: &World, role: &str, now: Timestamp) -> BTreeMap<String, Via> {
    let mut holders: BTreeMap<String, Via> = BTreeMap::new();
    for giving in world.includes().giving(role) {
        for (name, binding) in world.bindings_of_role(giving).filter(|(_, binding)| gives(binding, now)) {
            let alone = Via::new(BTreeMap::from([(name.clone(), scope(binding))]));
            for (person, _) in world.named_by(binding).filter(|(_, developer)| standing(world, developer, now) == Standing::Active) {
                match holders.get_mut(person) {
                    Some(via) => {
                        Arc::make_mut(via).insert(name.clone(), scope(binding));
                    }
                    None => {
                        holders.insert(person.to_owned(), alone.clone());
                    }
                }
            }
        }
    }
    holders
}

/// The Roles that a Developer holds now, by themselves or through others that include them.
pub fn held_roles(world: &World, developer: &Developer, now: Timestamp) -> BTreeMap<String, Via> {
    if standing(world, developer, now) == Standing::Active { would_hold(world, developer, now) } else { BTreeMap::new() }
}

/// The Roles that a Developer would hold now if she were Active.
pub fn would_hold(world: &World, developer: &Developer, now: Timestamp) -> BTreeMap<String, Via> {
    let mut held: BTreeMap<String, Via> = BTreeMap::new();
    for name in world.bindings_of_developer(&developer.name_any(), developer) {
        let Some(binding) = world.binding(&name).filter(|binding| gives(binding, now)) else { continue };
        for role in world.includes().given_by_role(&binding.spec.role) {
            Arc::make_mut(held.entry(role.clone()).or_default()).insert(name.clone(), scope(binding));
        }
    }
    held
}

/// The people who hold a Binding now.
pub fn active_people<'a>(world: &'a World, binding: &'a Binding, now: Timestamp) -> BTreeSet<&'a str> {
    let active = world.named_by(binding).filter(|(_, developer)| standing(world, developer, now) == Standing::Active);
    active.map(|(name, _)| name).collect()
}

/// The team by which a Binding names somebody, unless it names her herself.
pub fn team(binding: &Binding, developer: &Developer) -> Option<String> {
    let herself = binding.spec.developers.contains(&developer.name_any());
    binding.spec.teams.iter().filter(|_| !herself).find(|team| developer.spec.teams.contains(team)).cloned()
}

/// The first of these moments that is still to come.
pub fn next_of(moments: impl IntoIterator<Item = Option<Timestamp>>, now: Timestamp) -> Option<Timestamp> {
    moments.into_iter().flatten().filter(|moment| *moment > now).min()
}

/// The moments at which a Developer's standing changes by itself.
pub fn developer_moments<'a>(world: &'a World, developer: &Developer) -> impl Iterator<Item = Option<Timestamp>> + use<'a> {
    let name = developer.metadata.name.as_deref().unwrap_or_default();
    let locks = world.locks_of(name).map(|lock| lock.spec.until.as_ref().map(|time| time.0));
    [&developer.spec.starts_at, &developer.spec.ends_at].map(|time| time.as_ref().map(|time| time.0)).into_iter().chain(locks)
}

/// The moments at which a Binding's state changes by itself.
pub fn binding_moments(binding: &Binding) -> [Option<Timestamp>; 2] {
    [binding.spec.starts_at.as_ref().map(|time| time.0), binding.spec.expires_at.as_ref().map(|time| time.0)]
}

/// When the holders of a Role next change by themselves.
pub fn next_change_of_role(world: &World, role: &str, now: Timestamp) -> Option<Timestamp> {
    let bindings = world.includes().giving(role).flat_map(|giving| world.bindings_of_role(giving));
    let moments = bindings.flat_map(|(_, binding)| {
        let people = world.named_by(binding).flat_map(|(_, developer)| developer_moments(world, developer));
        binding_moments(binding).into_iter().chain(people)
    });
    next_of(moments, now)
}

/// When what a Developer holds next changes by itself.
pub fn next_change_of_developer(world: &World, developer: &Developer, now: Timestamp) -> Option<Timestamp> {
    let bindings = world.bindings_of_developer(&developer.name_any(), developer);
    let moments = bindings.iter().filter_map(|name| world.binding(name)).flat_map(|binding| binding_moments(binding));
    next_of(moments.chain(developer_moments(world, developer)), now)
}

/// Every Role whose holders a Binding may decide.
pub fn roles_of_binding(world: &World, binding: &Binding) -> BTreeSet<String> {
    let mut roles: BTreeSet<String> = world.includes().given_by_role(&binding.spec.role).cloned().collect();
    roles.insert(binding.spec.role.clone());
    roles
}

/// Every Role that a Developer may hold at some time.
pub fn roles_of_developer(world: &World, developer: &Developer) -> BTreeSet<String> {
    let bindings = world.bindings_of_developer(&developer.name_any(), developer);
    bindings.iter().filter_map(|name| world.binding(name)).flat_map(|binding| roles_of_binding(world, binding)).collect()
}
