//! Roles and Bindings for who has what.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::role::{Access, AccountEntitlement, NamespaceChoice};
use crate::api::{Binding, BindingSpec, Role, RoleSpec};
use crate::plan::name::digest;

use super::grant::{Grant, access_rules, environments_of};
use super::groups::{Group, groups};
use super::words::{label, label_with};
use super::{Holdings, Inputs, Reach};

/// What the schema takes: the longest name of a Role or an entry, and how much of each there may be.
const LONGEST: usize = 40;
const ENTRIES: usize = 32;
const CLUSTER_ROLES: usize = 16;
const PROVIDERS: usize = 32;
const GROUPS: usize = 64;
const NAMES: usize = 100;
const PEOPLE: usize = 1_000;
/// What the Role is, and why people have it.
const DESCRIPTION: &str = "Access that people had before usher, as usher import found it.";
const REASON: &str = "Had it before usher, by bindings that usher import found";

/// The Roles and Bindings that give people just what they have.
pub(super) fn objects(inputs: Inputs<'_>, holdings: &Holdings) -> (Vec<Role>, Vec<Binding>) {
    let mut groups = groups(holdings);
    groups.sort_by(|one, other| one.1.cmp(&other.1));
    let (mut roles, mut bindings) = (BTreeMap::new(), BTreeMap::new());
    let names: Vec<String> = groups.iter().map(|(_, grants)| name(grants)).collect();
    let twice: BTreeSet<&String> = names.iter().filter(|name| names.iter().filter(|other| other == name).count() > 1).collect();
    for ((people, grants), name) in groups.iter().zip(&names) {
        for (number, (access, accounts)) in parts(inputs, grants).into_iter().enumerate() {
            let group = (people.clone(), grants.clone());
            let spec = RoleSpec { description: Some(DESCRIPTION.to_owned()), access, accounts, ..RoleSpec::default() };
            let name = free(inputs, name, twice.contains(name), &group, &spec, number);
            roles.insert(name.clone(), Role::new(&name, spec));
            for (number, people) in people.iter().collect::<Vec<_>>().chunks(PEOPLE).enumerate() {
                let binding = if number == 0 { name.clone() } else { format!("{name}-{}", number + 1) };
                let developers = people.iter().map(|name| (*name).clone()).collect();
                bindings.insert(binding.clone(), Binding::new(&binding, binding_spec(&name, developers)));
            }
        }
    }
    (roles.into_values().collect(), bindings.into_values().collect())
}

/// What Roles give that together give these things: one Role, if that may hold as much.
fn parts(inputs: Inputs<'_>, grants: &BTreeSet<Grant>) -> Vec<(Vec<Access>, Vec<AccountEntitlement>)> {
    let (entries, accounts) = (entries(inputs, grants), accounts(grants));
    let mut access = entries.chunks(ENTRIES).map(<[Access]>::to_vec);
    let mut accounts = accounts.into_iter();
    let next = |_| match (access.next(), accounts.next()) {
        (None, None) => None,
        (access, accounts) => Some((access.unwrap_or_default(), accounts.unwrap_or_default())),
    };
    (0..).map_while(next).collect()
}

fn binding_spec(role: &str, developers: Vec<String>) -> BindingSpec {
    BindingSpec { role: role.to_owned(), developers, reason: Some(REASON.to_owned()), ..BindingSpec::default() }
}

/// A name for a Role and its Binding that is nothing else's.
fn free(inputs: Inputs<'_>, name: &str, twice: bool, group: &Group, spec: &RoleSpec, number: usize) -> String {
    let world = inputs.scene.world;
    // A Binding of whom others hold, too, would be taken from them.
    let ours = |binding: &BindingSpec, name: &str| {
        let all = binding.developers.iter().all(|developer| group.0.contains(developer));
        *binding == BindingSpec { developers: binding.developers.clone(), ..binding_spec(name, Vec::new()) } && all
    };
    let taken = |name: &str| {
        world.role(name).is_some_and(|role| role.spec != *spec) || world.binding(name).is_some_and(|binding| !ours(&binding.spec, name))
    };
    if !twice && number == 0 && !taken(name) {
        return name.to_owned();
    }
    let things = group.1.iter().map(|grant| format!("{grant:?}"));
    let parts: Vec<String> = things.chain(group.0.iter().cloned()).chain([number.to_string()]).collect();
    let end: String = digest(&parts.iter().map(String::as_str).collect::<Vec<_>>()).chars().take(6).collect();
    label_with(name, &end, LONGEST)
}

/// What a Role is called: by what it gives, and where.
fn name(grants: &BTreeSet<Grant>) -> String {
    let (mut cluster_roles, mut providers) = (BTreeSet::new(), BTreeSet::new());
    let (mut namespaces, mut environments) = (BTreeSet::new(), BTreeSet::new());
    for grant in grants {
        match grant {
            Grant::Inside { environment, namespace, cluster_role } => {
                cluster_roles.insert(cluster_role.as_str());
                namespaces.insert(namespace.as_str());
                environments.insert(environment.as_str());
            }
            Grant::Wide { cluster_role, .. } => drop(cluster_roles.insert(cluster_role.as_str())),
            Grant::Account { provider } | Grant::Group { provider, .. } => drop(providers.insert(provider.as_str())),
        }
    }
    if cluster_roles.is_empty() {
        return label(&format!("accounts-{}", providers.into_iter().collect::<Vec<_>>().join("-")), LONGEST);
    }
    let what = cluster_roles.into_iter().collect::<Vec<_>>().join("-");
    let place = place(&namespaces).unwrap_or_else(|| environments.into_iter().collect::<Vec<_>>().join("-"));
    let name = if place.is_empty() { format!("{what}-everywhere") } else { format!("{what}-{place}") };
    label(&name, LONGEST)
}

/// How namespaces are called together: by the words with which all their names begin, else by the first word of most of them.
fn place(namespaces: &BTreeSet<&str>) -> Option<String> {
    let first: Vec<&str> = namespaces.first()?.split('-').collect();
    let begins = |count: usize| namespaces.iter().all(|name| name.split('-').take(count).eq(first.iter().take(count).copied()));
    if let Some(most) = (1..=first.len()).rev().find(|count| begins(*count)) {
        return Some(first.into_iter().take(most).collect::<Vec<_>>().join("-"));
    }
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    for word in namespaces.iter().filter_map(|name| name.split('-').next()) {
        *count.entry(word).or_default() += 1;
    }
    let most = count.into_iter().max_by_key(|(word, count)| (*count, std::cmp::Reverse(*word)));
    most.filter(|(_, count)| *count > 1).map(|(word, _)| word.to_owned())
}

type Words<'a> = BTreeSet<&'a str>;
/// ClusterRoles, and the namespaces in which they are given; none: all of them.
type Chosen<'a> = (Words<'a>, Option<Words<'a>>);

/// The access entries that give just these things.
fn entries(inputs: Inputs<'_>, grants: &BTreeSet<Grant>) -> Vec<Access> {
    let mut inside: BTreeMap<&str, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    let mut entries = Vec::new();
    for grant in grants {
        match grant {
            Grant::Inside { environment, namespace, cluster_role } => {
                inside.entry(environment).or_default().entry(namespace).or_default().insert(cluster_role);
            }
            Grant::Wide { cluster, cluster_role } => entries.push(Access {
                name: label(&format!("{cluster_role} everywhere"), LONGEST),
                environments: environments_of(inputs, cluster),
                rules: access_rules(inputs, cluster, cluster_role).unwrap_or_default(),
                cluster: true,
                ..Access::default()
            }),
            Grant::Account { .. } | Grant::Group { .. } => {}
        }
    }
    // The same namespaces, by name, of several Environments are those of several clusters.
    let mut alike: BTreeMap<Chosen<'_>, Words<'_>> = BTreeMap::new();
    for (environment, namespaces) in inside {
        let mut by_roles: BTreeMap<BTreeSet<&str>, BTreeSet<&str>> = BTreeMap::new();
        for (namespace, roles) in namespaces {
            by_roles.entry(roles).or_default().insert(namespace);
        }
        for (roles, names) in by_roles {
            let names = Some(names).filter(|names| inputs.reach == Reach::Named || !whole(inputs, environment, names));
            alike.entry((roles, names)).or_default().insert(environment);
        }
    }
    for ((roles, names), environments) in alike {
        entries.extend(inside_entries(&roles, names, &environments));
    }
    rename(&mut entries);
    entries
}

/// The accounts that give just these, as much of them together as a Role may hold.
fn accounts(grants: &BTreeSet<Grant>) -> Vec<Vec<AccountEntitlement>> {
    let mut of: BTreeMap<&str, Option<Vec<String>>> = BTreeMap::new();
    for grant in grants {
        match grant {
            Grant::Account { provider } => drop(of.entry(provider).or_default()),
            Grant::Group { provider, group } => of.entry(provider).or_default().get_or_insert_default().push(group.clone()),
            Grant::Inside { .. } | Grant::Wide { .. } => {}
        }
    }
    let mut parts: Vec<Vec<AccountEntitlement>> = Vec::new();
    for (provider, groups) in of {
        let groups: Vec<Option<Vec<String>>> = match groups {
            Some(groups) => groups.chunks(GROUPS).map(|some| Some(some.to_vec())).collect(),
            None => vec![None],
        };
        for groups in groups {
            let account = AccountEntitlement { provider: provider.to_owned(), groups };
            let fits = |part: &&mut Vec<AccountEntitlement>| part.len() < PROVIDERS && part.iter().all(|it| it.provider != provider);
            match parts.iter_mut().find(fits) {
                Some(part) => part.push(account),
                None => parts.push(vec![account]),
            }
        }
    }
    parts
}

/// Whether these are all shared namespaces of an Environment.
fn whole(inputs: Inputs<'_>, environment: &str, names: &BTreeSet<&str>) -> bool {
    let state = inputs.scene.world.environment(environment).and_then(|it| inputs.scene.cluster_of(it));
    state.is_some_and(|state| state.territory.shared(environment).all(|name| names.contains(name.as_str())))
}

fn inside_entries(roles: &BTreeSet<&str>, names: Option<BTreeSet<&str>>, environments: &BTreeSet<&str>) -> Vec<Access> {
    let owned = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (roles, environments) = (roles.iter().copied().collect::<Vec<_>>(), environments.iter().copied().collect::<Vec<_>>());
    let entry = |roles: &[&str], names: Option<Vec<String>>| Access {
        name: label(&roles.join("-"), LONGEST),
        environments: owned(&environments),
        namespaces: names.map(|names| NamespaceChoice { names: Some(names), ..NamespaceChoice::default() }),
        cluster_roles: owned(roles),
        ..Access::default()
    };
    let names: Vec<Option<Vec<String>>> = match names {
        None => vec![None],
        Some(names) => names.into_iter().collect::<Vec<_>>().chunks(NAMES).map(|names| Some(owned(names))).collect(),
    };
    let of_roles = |roles: &[&str]| names.iter().map(|names| entry(roles, names.clone())).collect::<Vec<_>>();
    roles.chunks(CLUSTER_ROLES).flat_map(of_roles).collect()
}

/// Gives entries of one name numbers.
fn rename(entries: &mut [Access]) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    for entry in entries {
        let numbered = (2..).map(|number: usize| label_with(&entry.name, &number.to_string(), LONGEST));
        let free = std::iter::once(entry.name.clone()).chain(numbered).find(|name| !taken.contains(name));
        entry.name = free.unwrap_or_default();
        taken.insert(entry.name.clone());
    }
}
