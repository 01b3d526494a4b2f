//! Who is to have which account: the union of what all her Roles give her at a Provider, where she stands, and what the Provider says becomes of leavers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::metadata::ACCOUNTS_SECRET;
use crate::api::provider::{AccountAction, Adopt, InitialCredentials, Membership, OwnedObjects};
use crate::api::{Departure, Developer, Mode, Provider};

use super::access::{Standing, held_roles, revokes_accounts, standing, standing_as_written, would_hold};
use super::account::{AccountKey, Adoption, Managed, Owned, Owner, Presence, Profile, PublicKey, Wish};
use super::brake::brake;
use super::cluster::ClusterKey;
use super::departures::{lasts, same_person};
use super::environment::home;
use super::lane::Lane;
use super::person::Person;
use super::placement::Scene;
use super::target::provider_target;
use super::world::World;

/// Before the titles of keys that usher installs, so that it never touches those that people install themselves.
pub const KEY_TITLE: &str = "usher: ";

/// What somebody is to have at a Provider, and by what her account is found.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each answers a question of its own")]
pub struct Desired {
    /// What she is to have.
    pub wish: Wish,
    /// By what her account is found.
    pub key: AccountKey,
    /// Whether she loses it because of what was said of herself: she was suspended, locked, or has left. That is never braked.
    pub named: bool,
    /// Whether that is written in her own objects. That an object goes says nothing while its kind goes.
    pub written: bool,
    /// Whether some Role that she holds, or would hold if she were Active, names the Provider: then there may be an account, also one that nobody told of yet.
    pub entitled: bool,
    /// When her account will be deleted.
    pub delete_at: Option<Timestamp>,
    /// Whether the account waits for a batch of departures to be released before it is deleted.
    pub held: bool,
    /// The id that was told of before, for systems that cannot keep a mark.
    pub recorded: Option<String>,
    /// The id that somebody pinned: no other account is meant.
    pub pinned: Option<String>,
    /// Whether the account was there before usher, and what its owner had for it was not revoked since.
    pub adopted: bool,
    /// The groups that her status says usher gave her: they are usher's to take, and stay told until the account was looked at.
    pub given: BTreeSet<String>,
    /// Which definitions of usher's kinds were there when she was last entitled.
    pub epoch: Option<String>,
    /// Whether usher only looks.
    pub observes: bool,
    /// Since when she is to be gone, by the receipt of it: what was seen before says nothing of her leaving.
    pub asked_at: Option<Timestamp>,
}

impl Desired {
    /// The same for an account that was there before usher: its owner has a password, which is hers.
    #[must_use]
    pub fn of_adopted(mut self) -> Self {
        self.adopted = matches!(self.wish.presence, Presence::Active | Presence::LockedOut);
        self.wish.password &= !self.adopted;
        self
    }
}

/// The Providers that Roles which somebody holds name, each with her groups there.
pub fn entitlements(world: &World, developer: &Developer, now: Timestamp) -> BTreeMap<String, BTreeSet<String>> {
    given_by(world, held_roles(world, developer, now).keys())
}

/// The same for the Roles that somebody would hold if she were Active: where she may have an account.
pub fn possible(world: &World, developer: &Developer, now: Timestamp) -> BTreeSet<String> {
    let named = given_by(world, would_hold(world, developer, now).keys());
    named.into_keys().filter(|name| world.live_providers().any(|(provider, _)| provider == name)).collect()
}

/// The accounts that Roles give somebody, as she is told of them: by Provider, with her login and her groups there. Where usher only looks there may be none.
pub fn given<'a>(
    world: &'a World,
    developer: &Developer,
    roles: impl Iterator<Item = &'a String>,
) -> Vec<(&'a String, &'a Provider, String, BTreeSet<String>)> {
    let mut all = given_by(world, roles);
    let makes = world.live_providers().filter(|(_, provider)| provider.spec.mode == Mode::Enforce);
    makes.filter_map(|(name, provider)| Some((name, provider.as_ref(), login(developer, name), all.remove(name)?))).collect()
}

/// Where somebody has an account, or may have one, each with what is known of it: its id, and the login.
pub fn accounts_of(world: &World, developer: &Developer, now: Timestamp) -> BTreeMap<String, (Option<String>, String)> {
    let told = |name: &str| developer.status.iter().flat_map(|status| &status.accounts).find(|account| account.provider == name);
    let recorded = developer.status.iter().flat_map(|status| &status.accounts).filter(|account| account.id.is_some());
    let mut names = possible(world, developer, now);
    names.extend(recorded.map(|account| account.provider.clone()).filter(|name| world.live_providers().any(|(live, _)| live == name)));
    let known = |name: String| {
        let told = told(&name);
        let username = told.and_then(|account| account.username.clone()).unwrap_or_else(|| login(developer, &name));
        (name, (told.and_then(|account| account.id.clone()), username))
    };
    names.into_iter().map(known).collect()
}

/// The login that somebody is to have at a Provider.
pub fn login(developer: &Developer, provider: &str) -> String {
    let pin = developer.spec.accounts.iter().find(|pin| pin.provider == provider);
    let pinned = pin.and_then(|pin| pin.username.clone());
    pinned.or_else(|| developer.spec.username.clone()).unwrap_or_else(|| developer.name_any())
}

fn given_by<'a>(world: &World, roles: impl Iterator<Item = &'a String>) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for role in roles.filter_map(|name| world.live_role(name)) {
        for account in &role.spec.accounts {
            all.entry(account.provider.clone()).or_default().extend(account.groups.iter().flatten().cloned());
        }
    }
    all
}

/// Which groups of a Provider are usher's to give and take.
pub fn managed(world: &World, name: &str, provider: &Provider) -> Managed {
    if provider.spec.membership == Membership::Exclusive {
        return Managed::All;
    }
    let accounts = world.roles().flat_map(|(_, role)| &role.spec.accounts).filter(|account| account.provider == name);
    Managed::Only(accounts.filter_map(|account| account.groups.as_ref()).flatten().cloned().collect())
}

/// The same with all that usher gave anybody: whoever asks for everybody's groups must be told of those, too.
pub fn managed_of_all(world: &World, name: &str, provider: &Provider) -> Managed {
    let told = world.developers().flat_map(|(_, developer)| &developer.status).flat_map(|status| &status.accounts);
    let given = told.filter(|account| account.provider == name).flat_map(|account| &account.given_groups);
    and_given(managed(world, name, provider), given)
}

/// What usher gave is usher's to take, also when no Role names it any more.
pub fn and_given<'a>(managed: Managed, given: impl IntoIterator<Item = &'a String>) -> Managed {
    match managed {
        Managed::All => Managed::All,
        Managed::Only(groups) => Managed::Only(groups.into_iter().chain(given.into_iter().cloned()).collect()),
    }
}

/// What somebody whose Developer is there is to have at a Provider.
pub fn desired(scene: Scene<'_>, (name, provider): (&str, &Provider), developer: &Developer, now: Timestamp) -> Desired {
    let standing = standing(scene.world, developer, now);
    let groups = entitlements(scene.world, developer, now).remove(name);
    let person = Person::own(developer);
    let departure = scene.world.departures().current(developer).filter(|_| standing.departs());
    let end = end(scene, provider, departure.map(AsRef::as_ref), now);
    let presence = match standing {
        Standing::Active if groups.is_some() => Presence::Active,
        Standing::Locked if revokes_accounts(scene.world, developer, now) => Presence::Revoked,
        Standing::Active | Standing::Pending | Standing::Suspended | Standing::Locked => Presence::LockedOut,
        Standing::Departed | Standing::Deleted => end.presence,
    };
    let pin = developer.spec.accounts.iter().find(|pin| pin.provider == name);
    let before = developer.status.iter().flat_map(|status| &status.accounts).find(|account| account.provider == name);
    let recorded = before.and_then(|account| account.id.clone());
    let username = login(developer, name);
    let adoption = match provider.spec.adopt {
        _ if pin.is_some_and(|pin| pin.adopt) => Adoption::Pinned,
        Adopt::Never => Adoption::Never,
        Adopt::ByEmail => Adoption::ByEmail,
        Adopt::ByUsername => Adoption::ByUsername,
    };
    let given = before.map(|account| account.given_groups.clone()).unwrap_or_default();
    let (issues, delivered) = delivered(scene, name, provider, developer);
    // Her own departure says nothing about what was marked before she was declared again.
    let departed =
        scene.world.departures().of_name(&developer.name_any()).any(|it| developer.uid().as_ref() != Some(&it.spec.developer.uid));
    let wish = Wish {
        presence,
        owner: owner(scene, &person, &developer.name_any()),
        groups: if presence == Presence::Active { groups.clone().unwrap_or_default() } else { BTreeSet::new() },
        managed: and_given(managed(scene.world, name, provider), &given),
        adoption,
        heir: !departed,
        password: presence == Presence::Active && issues,
        delivered,
        owned: owned(provider),
        protected: provider.spec.protected.iter().cloned().collect(),
        profile: profile(developer, username.clone()),
    };
    let desired = Desired {
        key: AccountKey {
            id: pin.and_then(|pin| pin.id.clone()).or_else(|| recorded.clone()),
            username,
            email: (adoption == Adoption::ByEmail).then(|| developer.spec.email.clone()),
        },
        wish,
        named: standing.leaves(),
        written: standing_as_written(scene.world, developer, now).leaves(),
        pinned: pin.and_then(|pin| pin.id.clone()),
        entitled: groups.is_some() || possible(scene.world, developer, now).contains(name),
        delete_at: end.delete_at.filter(|_| standing.departs()),
        held: end.held && standing.departs(),
        recorded,
        adopted: false,
        given,
        epoch: before.and_then(|account| account.epoch.clone()),
        observes: provider.spec.mode == Mode::Observe,
        asked_at: departure.map(|departure| departure.spec.requested_at.0),
    };
    if before.is_some_and(|account| account.adopted) { desired.of_adopted() } else { desired }
}

/// What somebody whose Developer is gone leaves at a Provider: the account that her receipt tells of.
pub fn left(scene: Scene<'_>, (name, provider): (&str, &Provider), departure: &Departure, now: Timestamp) -> Desired {
    let left = &departure.spec.developer;
    let target = provider_target(name);
    let told = departure.status.iter().flat_map(|status| &status.targets).find(|it| it.target == target);
    let end = end(scene, provider, Some(departure), now);
    let person = Person::of(left.person_id.as_deref(), &left.uid);
    let recorded = told.and_then(|told| told.id.clone());
    let username = told.and_then(|told| told.username.clone()).unwrap_or_else(|| left.name.clone());
    let wish = Wish {
        presence: end.presence,
        profile: Profile { username: username.clone(), ..Profile::default() },
        owner: owner(scene, &person, &left.name),
        groups: BTreeSet::new(),
        managed: managed(scene.world, name, provider),
        adoption: Adoption::Never,
        heir: false,
        password: false,
        delivered: None,
        owned: owned(provider),
        protected: provider.spec.protected.iter().cloned().collect(),
    };
    Desired {
        key: AccountKey { id: recorded.clone(), username, email: None },
        wish,
        named: true,
        written: true,
        pinned: None,
        entitled: true,
        delete_at: end.delete_at,
        held: end.held,
        recorded,
        adopted: false,
        given: BTreeSet::new(),
        epoch: None,
        observes: provider.spec.mode == Mode::Observe,
        asked_at: Some(departure.spec.requested_at.0),
    }
}

struct End {
    presence: Presence,
    delete_at: Option<Timestamp>,
    held: bool,
}

/// What becomes of the account of somebody who left, by now.
fn end(scene: Scene<'_>, provider: &Provider, departure: Option<&Departure>, now: Timestamp) -> End {
    let policy = &provider.spec.on_departure;
    let after = match policy.action {
        AccountAction::Retain => None,
        AccountAction::Delete => Some(jiff::SignedDuration::ZERO),
        AccountAction::Disable => policy.delete_after.as_ref().map(crate::api::Span::duration),
    };
    let due = departure.zip(after).and_then(|(departure, after)| departure.spec.requested_at.0.checked_add(after).ok());
    let held = departure.is_some_and(|departure| brake(scene, &departure.spec.developer.uid).is_some());
    let gone = due.is_some_and(|due| due <= now);
    let presence = if gone && !held { Presence::Gone } else { Presence::Revoked };
    End { presence, delete_at: due, held: gone && held }
}

fn owned(provider: &Provider) -> Owned {
    let policy = &provider.spec.on_departure;
    match policy.owned_objects {
        OwnedObjects::Keep => Owned::Keep,
        OwnedObjects::Transfer => Owned::Transfer(policy.transfer_to.clone().unwrap_or_default()),
        OwnedObjects::Archive => Owned::Archive,
    }
}

fn owner(scene: Scene<'_>, person: &Person, developer: &str) -> Owner {
    let (installation, person) = (scene.settings.installation.clone(), person.as_str().to_owned());
    Owner { installation, person, developer: developer.to_owned(), adopted: false }
}

fn profile(developer: &Developer, username: String) -> Profile {
    let key = |key: &crate::api::developer::SshKey| PublicKey {
        title: format!("{KEY_TITLE}{}", key.name),
        key: key.key.split_whitespace().take(2).collect::<Vec<_>>().join(" "),
    };
    Profile {
        username,
        display_name: developer.display_name().to_owned(),
        email: developer.spec.email.clone(),
        ssh_keys: developer.spec.ssh_keys.iter().map(key).collect(),
    }
}

/// The workspace to which the first password of an account is delivered; nothing while it is not there.
pub fn delivery<'a>(scene: Scene<'a>, developer: &Developer) -> Option<&'a str> {
    let home = home(scene.world)?;
    let environment = scene.world.environment(home)?;
    let state = scene.cluster_of(environment)?;
    let owner = developer.name_any();
    let workspaces = state.workspaces_of(&owner);
    let mut own = workspaces.filter(|namespace| {
        namespace.labels().get(crate::api::metadata::ENVIRONMENT) == Some(home)
            && super::person::Mark::read(namespace.labels(), namespace.annotations()).is_some_and(|mark| scene.world.owns(developer, &mark))
    });
    let name = own.find_map(|namespace| namespace.metadata.name.as_deref())?;
    (ClusterKey::of(environment) == ClusterKey::Home).then_some(name)
}

/// The annotation on the Secret that says for which account of a Provider a password was delivered.
pub fn delivered_note(provider: &str) -> String {
    format!("{provider}.accounts.usher.dev/delivered")
}

/// The id of the account that such an annotation tells of.
pub fn delivered_to(note: &str) -> &str {
    note.rsplit_once(" at ").map_or(note, |(id, _)| id)
}

/// Whether somebody is given passwords for accounts of a Provider, and for which account she was.
fn delivered(scene: Scene<'_>, name: &str, provider: &Provider, developer: &Developer) -> (bool, Option<String>) {
    let nothing = (false, None);
    if provider.spec.initial_credentials == InitialCredentials::None {
        return nothing;
    }
    let Some(namespace) = delivery(scene, developer) else { return nothing };
    let Some(state) = scene.clusters.get(&ClusterKey::Home) else { return nothing };
    let Some(seen) = state.secrets.get(&(namespace.to_owned(), ACCOUNTS_SECRET.to_owned())) else { return (true, None) };
    // One that somebody else made is never written to.
    let note = seen.annotations().get(&delivered_note(name)).map(|note| delivered_to(note).to_owned());
    (state.ours(seen.as_ref()), note)
}

/// The people whom a Provider concerns by what is written: those who are entitled, and those of whose account their status tells.
pub fn concerned(world: &World, name: &str, now: Timestamp) -> BTreeSet<String> {
    let people = world.developers().filter(|(_, developer)| {
        let recorded = developer.status.iter().flat_map(|status| &status.accounts).any(|account| account.provider == name);
        recorded || entitlements(world, developer, now).contains_key(name)
    });
    people.map(|(person, _)| person.clone()).collect()
}

/// Of whom it is told that there is an account at a Provider: the people who are there, and the receipts of those who are not.
pub fn recorded(world: &World, name: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let told = |developer: &Developer| {
        developer.status.iter().flat_map(|status| &status.accounts).any(|account| account.provider == name && account.id.is_some())
    };
    let people = world.developers().filter(|(_, developer)| told(developer)).map(|(person, _)| person.clone());
    (people.collect(), debts(world, name))
}

/// How urgent somebody's account at a Provider is, given when it was last looked at since the start. What is written now decided otherwise at that time: then
/// something began or ended by itself, and nobody edited anything for it.
pub fn urgency(world: &World, provider: &str, developer: &Developer, seen: Option<Timestamp>, now: Timestamp) -> Lane {
    // After a restart a look at everybody finds what was taken long ago, at less cost.
    let taken = seen.is_none() && told_gone(developer, provider);
    if standing(world, developer, now).leaves() && !taken {
        return Lane::Departure;
    }
    let given = |at| entitlements(world, developer, at).remove(provider);
    if seen.is_some_and(|seen| given(seen) != given(now)) { Lane::Expiry } else { Lane::New }
}

/// Whether somebody's status says that nobody can log in with her account.
fn told_gone(developer: &Developer, provider: &str) -> bool {
    let told = developer.status.iter().flat_map(|status| &status.accounts).find(|account| account.provider == provider);
    told.is_some_and(|account| matches!(account.state.as_str(), "Disabled" | "Absent"))
}

/// Whether it is a receipt's matter what becomes of somebody's accounts: she is gone, and did not come back. Who is there has a Developer, which says so.
pub fn owes(world: &World, departure: &Departure) -> bool {
    lasts(departure) && !world.developer(&departure.spec.developer.name).is_some_and(|developer| same_person(departure, developer))
}

/// The receipts of people whose Developer is gone and who may still have something at a Provider.
pub fn debts(world: &World, name: &str) -> BTreeSet<String> {
    let target = provider_target(name);
    let open = world.departures().all().filter(|(_, departure)| {
        let told = departure.status.iter().flat_map(|status| &status.targets).find(|it| it.target == target);
        owes(world, departure) && told.is_some_and(|it| it.state != crate::api::departure::TargetState::Gone)
    });
    open.map(|(departure, _)| departure.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::Binding;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn object<K: DeserializeOwned>(name: &str, spec: &Value) -> Arc<K> {
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name, "uid": name}, "spec": spec})).expect("an object"))
    }

    fn binding(role: &str, from: i64, until: i64) -> Arc<Binding> {
        object("b", &json!({"role": role, "developers": ["ada"], "startsAt": at(from), "expiresAt": at(until)}))
    }

    /// Ada is a developer at the forge for good. Another Role makes her one of those who release, a third gives her nothing there.
    fn world() -> World {
        let mut world = World::default();
        for (role, accounts) in [("lasting", json!(["developers"])), ("short", json!(["releases"]))] {
            world.set_role(role, Some(object(role, &json!({"accounts": [{"provider": "forge", "groups": accounts}]}))));
        }
        world.set_role("other", Some(object("other", &json!({"accounts": [{"provider": "chat"}]}))));
        world.set_binding("lasting", Some(object("lasting", &json!({"role": "lasting", "developers": ["ada"]}))));
        world
    }

    fn ada(more: &Value) -> Arc<Developer> {
        let mut spec = json!({"email": "ada@example.com"});
        spec.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        object("ada", &spec)
    }

    #[test]
    fn what_ends_or_begins_by_itself_goes_after_who_leaves_and_before_what_is_new_or_edited() {
        let lane = |binding: Option<Arc<Binding>>, more: Value, seen: Option<i64>, now: i64| {
            let (mut world, developer) = (world(), ada(&more));
            world.set_developer("ada", Some(developer.clone()));
            world.set_binding("b", binding);
            urgency(&world, "forge", &developer, seen.map(at), at(now))
        };
        let short = || Some(binding("short", 0, 10));
        let stays = || json!({});
        assert_eq!(lane(None, stays(), Some(5), 10), Lane::New, "only an edit can have been");
        assert_eq!(lane(short(), stays(), Some(5), 9), Lane::New, "nothing has ended yet");
        assert_eq!(lane(short(), stays(), Some(5), 10), Lane::Expiry);
        assert_eq!(lane(short(), stays(), Some(10), 20), Lane::New, "it was looked at since");
        assert_eq!(lane(short(), stays(), None, 20), Lane::New, "what ended before a start a look at everybody finds");
        assert_eq!(lane(Some(binding("short", 10, 99)), stays(), Some(5), 10), Lane::Expiry, "it begins");
        assert_eq!(lane(Some(binding("other", 0, 10)), stays(), Some(5), 10), Lane::New, "it gave nothing here");
        assert_eq!(lane(None, json!({"startsAt": at(10)}), Some(5), 10), Lane::Expiry, "she begins");
        assert_eq!(lane(None, json!({"endsAt": at(10)}), Some(5), 10), Lane::Departure, "she leaves, though nobody edited her");
        assert_eq!(lane(short(), json!({"state": "Suspended"}), Some(5), 10), Lane::Departure);
        assert!(Lane::Departure < Lane::Expiry && Lane::Expiry < Lane::New);
    }

    #[test]
    fn a_lock_whose_time_is_over_ended_by_itself_and_one_that_was_lifted_did_not() {
        let lane = |lock: Value| {
            let (mut world, developer) = (world(), ada(&json!({})));
            world.set_developer("ada", Some(developer.clone()));
            world.set_lock("l", Some(object("l", &lock)));
            urgency(&world, "forge", &developer, Some(at(5)), at(10))
        };
        let lock = |more: (&str, Value)| json!({"developer": "ada", "reason": "lost", more.0: more.1});
        assert_eq!(lane(lock(("until", json!(at(11))))), Lane::Departure);
        assert_eq!(lane(lock(("until", json!(at(10))))), Lane::Expiry);
        assert_eq!(lane(lock(("lifted", json!(true)))), Lane::New);
    }

    #[test]
    fn who_was_told_to_be_locked_out_before_a_start_is_not_urgent() {
        let account = |state: &str| json!({"accounts": [{"provider": "forge", "state": state}]});
        let lane = |state: &str, seen: Option<i64>| {
            let mut developer = ada(&json!({"state": "Departed"})).as_ref().clone();
            developer.status = Some(serde_json::from_value(account(state)).expect("a status"));
            urgency(&world(), "forge", &developer, seen.map(at), at(10))
        };
        assert_eq!(lane("Disabled", None), Lane::New);
        assert_eq!(lane("Active", None), Lane::Departure);
        assert_eq!(lane("Disabled", Some(5)), Lane::Departure);
    }
}
