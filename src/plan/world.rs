//! What people have written: Developers, Roles, Bindings, Environments, Providers and Sources, with the indexes that decisions need.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kube::ResourceExt;

use crate::api::{Binding, Departure, Developer, Environment, Lock, Provider, Role, Source};

use super::departures::{Departures, lasts};
use super::identity::UserIndex;
use super::includes::Includes;
use super::person::{Mark, Person};

/// Everything that people have written, kept in memory.
#[derive(Debug, Default)]
pub struct World {
    developers: BTreeMap<String, Arc<Developer>>,
    /// Who each of them is if nothing was made for her name before.
    persons: HashMap<String, Person>,
    roles: BTreeMap<String, Arc<Role>>,
    bindings: BTreeMap<String, Arc<Binding>>,
    environments: BTreeMap<String, Arc<Environment>>,
    providers: BTreeMap<String, Arc<Provider>>,
    sources: BTreeMap<String, Arc<Source>>,
    locks: BTreeMap<String, Arc<Lock>>,
    locks_unread: bool,
    locks_going: bool,
    locks_of: HashMap<String, BTreeSet<String>>,
    departures: Departures,
    teams: HashMap<String, BTreeSet<String>>,
    of_role: HashMap<String, BTreeSet<String>>,
    of_developer: HashMap<String, BTreeSet<String>>,
    of_team: HashMap<String, BTreeSet<String>>,
    includes: Includes,
    users: UserIndex,
    uids: HashMap<String, String>,
}

fn add(index: &mut HashMap<String, BTreeSet<String>>, keys: &[String], value: &str) {
    for key in keys {
        index.entry(key.clone()).or_default().insert(value.to_owned());
    }
}

fn take(index: &mut HashMap<String, BTreeSet<String>>, keys: &[String], value: &str) {
    for key in keys {
        let emptied = index.get_mut(key).is_some_and(|values| {
            values.remove(value);
            values.is_empty()
        });
        if emptied {
            index.remove(key);
        }
    }
}

/// Whether an object is being deleted.
pub fn deleting(object: &impl ResourceExt) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// Whether an Environment says something else than before: its status is written every second while people come.
pub fn redrawn(old: Option<&Environment>, new: Option<&Environment>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => old.spec != new.spec || deleting(old) != deleting(new),
        (None, None) => false,
        (Some(_), None) | (None, Some(_)) => true,
    }
}

impl World {
    /// Takes in a Developer as she is now, or her going.
    pub fn set_developer(&mut self, name: &str, developer: Option<Arc<Developer>>) -> Option<Arc<Developer>> {
        let old = match developer.clone() {
            Some(new) => self.developers.insert(name.to_owned(), new),
            None => self.developers.remove(name),
        };
        if let Some(old) = &old {
            take(&mut self.teams, &old.spec.teams, name);
            old.uid().and_then(|uid| self.uids.remove(&uid));
        }
        if let Some(new) = &developer {
            add(&mut self.teams, &new.spec.teams, name);
            self.uids.extend(new.uid().map(|uid| (uid, name.to_owned())));
        }
        self.users.replace(old.as_deref(), developer.as_deref(), self.environments.values());
        match developer.as_deref().map(Person::own) {
            Some(person) => self.persons.insert(name.to_owned(), person),
            None => self.persons.remove(name),
        };
        old
    }

    /// Who a Developer is if nothing was made for that name before: as [`Person::own`], which is not cheap.
    pub fn own_person(&self, developer: &Developer) -> Person {
        let name = developer.metadata.name.as_deref().unwrap_or_default();
        let same = |kept: &&Arc<Developer>| kept.metadata.uid == developer.metadata.uid && kept.spec.person_id == developer.spec.person_id;
        let known = self.developers.get(name).filter(same).and_then(|_| self.persons.get(name));
        known.cloned().unwrap_or_else(|| Person::own(developer))
    }

    /// Takes in a Role as it is now, or its going.
    pub fn set_role(&mut self, name: &str, role: Option<Arc<Role>>) -> Option<Arc<Role>> {
        let old = match role {
            Some(new) => self.roles.insert(name.to_owned(), new),
            None => self.roles.remove(name),
        };
        self.includes = Includes::of(self.roles.values().filter(|role| !deleting(role.as_ref())));
        old
    }

    /// Takes in a Binding as it is now, or its going.
    pub fn set_binding(&mut self, name: &str, binding: Option<Arc<Binding>>) -> Option<Arc<Binding>> {
        let old = match binding.clone() {
            Some(new) => self.bindings.insert(name.to_owned(), new),
            None => self.bindings.remove(name),
        };
        if let Some(old) = &old {
            take(&mut self.of_role, std::slice::from_ref(&old.spec.role), name);
            take(&mut self.of_developer, &old.spec.developers, name);
            take(&mut self.of_team, &old.spec.teams, name);
        }
        if let Some(new) = &binding {
            add(&mut self.of_role, std::slice::from_ref(&new.spec.role), name);
            add(&mut self.of_developer, &new.spec.developers, name);
            add(&mut self.of_team, &new.spec.teams, name);
        }
        old
    }

    /// Takes in an Environment as it is now, or its going.
    pub fn set_environment(&mut self, name: &str, environment: Option<Arc<Environment>>) -> Option<Arc<Environment>> {
        let old = match environment.clone() {
            Some(new) => self.environments.insert(name.to_owned(), new),
            None => self.environments.remove(name),
        };
        if redrawn(old.as_deref(), environment.as_deref()) {
            self.users = UserIndex::of(self.developers.values(), self.environments.values());
        }
        old
    }

    /// Takes in a Provider as it is now, or its going.
    pub fn set_provider(&mut self, name: &str, provider: Option<Arc<Provider>>) -> Option<Arc<Provider>> {
        match provider {
            Some(new) => self.providers.insert(name.to_owned(), new),
            None => self.providers.remove(name),
        }
    }

    /// A Provider by name, also while it is being deleted.
    pub fn provider(&self, name: &str) -> Option<&Arc<Provider>> {
        self.providers.get(name)
    }

    /// All Providers.
    pub fn providers(&self) -> impl Iterator<Item = (&String, &Arc<Provider>)> {
        self.providers.iter()
    }

    /// The Providers that are not being deleted.
    pub fn live_providers(&self) -> impl Iterator<Item = (&String, &Arc<Provider>)> {
        self.providers.iter().filter(|(_, provider)| !deleting(provider.as_ref()))
    }

    /// Takes in a Source as it is now, or its going.
    pub fn set_source(&mut self, name: &str, source: Option<Arc<Source>>) -> Option<Arc<Source>> {
        match source {
            Some(new) => self.sources.insert(name.to_owned(), new),
            None => self.sources.remove(name),
        }
    }

    /// A Source by name.
    pub fn source(&self, name: &str) -> Option<&Arc<Source>> {
        self.sources.get(name)
    }

    /// All Sources.
    pub fn sources(&self) -> impl Iterator<Item = (&String, &Arc<Source>)> {
        self.sources.iter()
    }

    /// Takes in a Lock as it is now, or its going.
    pub fn set_lock(&mut self, name: &str, lock: Option<Arc<Lock>>) -> Option<Arc<Lock>> {
        let old = match lock.clone() {
            Some(new) => self.locks.insert(name.to_owned(), new),
            None => self.locks.remove(name),
        };
        if let Some(old) = &old {
            take(&mut self.locks_of, std::slice::from_ref(&old.spec.developer), name);
        }
        if let Some(new) = &lock {
            add(&mut self.locks_of, std::slice::from_ref(&new.spec.developer), name);
        }
        old
    }

    /// Takes in whether Locks are read, and whether their kind is going away or missing, each if known. Returns whether that changes what may be done.
    pub fn set_locks_readable(&mut self, read: Option<bool>, going: Option<bool>) -> bool {
        let before = self.locks_readable();
        self.locks_unread = read.map_or(self.locks_unread, |read| !read);
        self.locks_going = going.unwrap_or(self.locks_going);
        before != self.locks_readable()
    }

    /// Whether Locks can be read. While they cannot, nothing is added to anybody: somebody might be locked.
    pub fn locks_readable(&self) -> bool {
        !(self.locks_unread || self.locks_going)
    }

    /// Whether the kind Lock was last seen to be going away or missing.
    pub fn locks_going(&self) -> bool {
        self.locks_going
    }

    /// A Lock by name.
    pub fn lock(&self, name: &str) -> Option<&Arc<Lock>> {
        self.locks.get(name)
    }

    /// All Locks.
    pub fn locks(&self) -> impl Iterator<Item = (&String, &Arc<Lock>)> {
        self.locks.iter()
    }

    /// The Locks of a Developer of that name, whether they hold or not.
    pub fn locks_of<'a>(&'a self, developer: &str) -> impl Iterator<Item = &'a Arc<Lock>> + use<'a> {
        self.locks_of.get(developer).into_iter().flatten().filter_map(|name| self.locks.get(name))
    }

    /// Takes in a Departure as it is now, or its going.
    pub fn set_departure(&mut self, name: &str, departure: Option<Arc<Departure>>) -> Option<Arc<Departure>> {
        self.departures.set(name, departure)
    }

    /// The receipts.
    pub fn departures(&self) -> &Departures {
        &self.departures
    }

    /// The teams of a Developer by name; none of somebody who does not exist.
    pub fn teams_of(&self, name: &str) -> &[String] {
        self.developers.get(name).map(|developer| developer.spec.teams.as_slice()).unwrap_or_default()
    }

    /// A Developer by name.
    pub fn developer(&self, name: &str) -> Option<&Arc<Developer>> {
        self.developers.get(name)
    }

    /// Whether what bears a mark belongs to a Developer: a mark that was made for another one who is there is not hers, whatever its labels say.
    pub fn owns(&self, developer: &Developer, mark: &Mark) -> bool {
        let name = developer.metadata.name.as_deref().unwrap_or_default();
        let left = self.departures.of_name(name).any(|departure| departure.spec.developer.uid == mark.uid && lasts(departure));
        mark.belongs_to(&self.own_person(developer), developer.metadata.uid.as_deref(), left)
            && self.uids.get(&mark.uid).is_none_or(|owner| owner == name)
    }

    /// All Developers.
    pub fn developers(&self) -> impl Iterator<Item = (&String, &Arc<Developer>)> {
        self.developers.iter()
    }

    /// A Role by name, also while it is being deleted.
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(name)
    }

    /// A Role by name, unless it is being deleted: then it gives nothing any more.
    pub fn live_role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(name).filter(|role| !deleting(role.as_ref()))
    }

    /// All Roles.
    pub fn roles(&self) -> impl Iterator<Item = (&String, &Arc<Role>)> {
        self.roles.iter()
    }

    /// A Binding by name.
    pub fn binding(&self, name: &str) -> Option<&Arc<Binding>> {
        self.bindings.get(name)
    }

    /// All Bindings.
    pub fn bindings(&self) -> impl Iterator<Item = (&String, &Arc<Binding>)> {
        self.bindings.iter()
    }

    /// The Bindings that name a Role.
    pub fn bindings_of_role<'a>(&'a self, role: &str) -> impl Iterator<Item = (&'a String, &'a Arc<Binding>)> {
        self.of_role.get(role).into_iter().flatten().filter_map(|name| self.bindings.get_key_value(name))
    }

    /// The Bindings that name a Developer or one of her teams, each once.
    pub fn bindings_of_developer(&self, name: &str, developer: &Developer) -> BTreeSet<String> {
        let mut bindings = self.of_developer.get(name).cloned().unwrap_or_default();
        bindings.extend(developer.spec.teams.iter().filter_map(|team| self.of_team.get(team)).flatten().cloned());
        bindings
    }

    /// The Developers that a Binding names, by themselves or by team, each once; those that do not exist are left out.
    pub fn people_of<'a>(&'a self, binding: &'a Binding) -> BTreeSet<&'a str> {
        self.named_by(binding).map(|(name, _)| name).collect()
    }

    /// The Developers that a Binding names, somebody perhaps more than once.
    pub fn named_by<'a>(&'a self, binding: &'a Binding) -> impl Iterator<Item = (&'a str, &'a Arc<Developer>)> {
        let by_team = binding.spec.teams.iter().filter_map(|team| self.teams.get(team)).flatten();
        let names = binding.spec.developers.iter().chain(by_team);
        names.filter_map(|name| self.developers.get_key_value(name)).map(|(name, developer)| (name.as_str(), developer))
    }

    /// An Environment by name, also while it is being deleted.
    pub fn environment(&self, name: &str) -> Option<&Arc<Environment>> {
        self.environments.get(name)
    }

    /// The Environments that are not being deleted.
    pub fn live_environments(&self) -> impl Iterator<Item = (&String, &Arc<Environment>)> {
        self.environments.iter().filter(|(_, environment)| !deleting(environment.as_ref()))
    }

    /// All Environments.
    pub fn environments(&self) -> impl Iterator<Item = (&String, &Arc<Environment>)> {
        self.environments.iter()
    }

    /// Which Roles give which.
    pub fn includes(&self) -> &Includes {
        &self.includes
    }

    /// Who has which user name.
    pub fn users(&self) -> &UserIndex {
        &self.users
    }
}
