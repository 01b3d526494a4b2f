//! Which person a user is: a Developer who is there, or one to be made.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;

use crate::api::developer::WorkspacePin;
use crate::api::{Developer, DeveloperSpec, Environment};
use crate::plan::cluster::ClusterKey;
use crate::plan::identity::user_is;
use crate::plan::name::digest;
use crate::plan::spelling::is_email;

use super::accounts::addresses;
use super::left::Left;
use super::owners::Workspaces;
use super::seen::Held;
use super::words::{bare, in_cluster, label, label_with, local};
use super::{Holdings, Inputs};

/// The longest name of a Developer.
const LONGEST: usize = 38;

/// A user of a cluster.
type User = (ClusterKey, String);

/// Who is who.
#[derive(Debug, Default)]
pub(super) struct People {
    names: BTreeMap<User, String>,
    /// Those who are no Developers yet.
    new: BTreeMap<String, Developer>,
}

/// What a user name tells of a person.
#[derive(Clone, Debug, Default)]
struct Told {
    email: String,
    name: Option<String>,
    username: Option<String>,
    person_id: Option<String>,
}

impl People {
    /// The Developer who a user is.
    pub fn of(&self, cluster: &ClusterKey, user: &str) -> Option<&str> {
        self.names.get(&(cluster.clone(), user.to_owned())).map(String::as_str)
    }

    /// The users who are Developers, with their names.
    pub fn users(&self) -> impl Iterator<Item = (&ClusterKey, &str, &str)> {
        self.names.iter().map(|((cluster, user), name)| (cluster, user.as_str(), name.as_str()))
    }

    /// A Developer who is to be made.
    pub fn new_one(&self, name: &str) -> Option<&Developer> {
        self.new.get(name)
    }

    /// The same, to be told more of.
    pub fn new_one_mut(&mut self, name: &str) -> Option<&mut Developer> {
        self.new.get_mut(name)
    }

    /// All who are to be made.
    pub fn new_ones(&self) -> impl Iterator<Item = &Developer> {
        self.new.values()
    }

    /// Pins the namespaces that become workspaces.
    pub fn pin(&mut self, workspaces: &Workspaces) {
        for ((_, namespace), workspace) in workspaces {
            if let Some(developer) = self.new.get_mut(&workspace.developer) {
                developer.spec.workspaces.push(WorkspacePin { environment: workspace.environment.clone(), namespace: namespace.clone() });
            }
        }
        for developer in self.new.values_mut() {
            developer.spec.workspaces.sort_by(|one, other| one.environment.cmp(&other.environment));
        }
    }

    /// Those new Developers who have something. Of the others all is left.
    pub fn needed(self, holdings: &Holdings) -> Vec<Developer> {
        let has = |developer: &Developer| !developer.spec.workspaces.is_empty() || holdings.contains_key(&developer.name_any());
        self.new.into_values().filter(has).collect()
    }
}

/// Finds out who the users are.
pub(super) fn people(inputs: Inputs<'_>, held: &BTreeSet<Held>, left: &mut BTreeSet<Left>) -> People {
    let mut people = People::default();
    let mut persons: BTreeMap<String, (Told, BTreeSet<User>)> = BTreeMap::new();
    for held in held {
        let known = (held.cluster.clone(), held.user.clone());
        if let Some(name) = inputs.scene.world.users().holder(&known.0, &known.1) {
            people.names.insert(known, name.to_owned());
            continue;
        }
        match told(inputs, &known) {
            Ok(told) => {
                let person = persons.entry(told.email.to_lowercase()).or_insert_with(|| (told, BTreeSet::new()));
                person.1.insert(known);
            }
            Err(why) => drop(left.insert(Left::people(in_cluster(&format!("User {}", known.1), &known.0), "", why))),
        }
    }
    for email in addresses(inputs) {
        let told = || Told { email: email.to_owned(), ..Told::default() };
        persons.entry(email.to_lowercase()).or_insert_with(|| (told(), BTreeSet::new()));
    }
    let names = names(inputs, &persons);
    for (email, (told, users)) in persons {
        let name = names.get(&email).cloned().unwrap_or_default();
        match declared(inputs, &name, &told, &users) {
            Ok(spec) => {
                let mut developer = Developer::new(&name, spec);
                developer.spec.username = told.username.filter(|username| *username != name);
                people.names.extend(users.into_iter().map(|known| (known, name.clone())));
                people.new.insert(name, developer);
            }
            Err(why) => left.extend(
                users.into_iter().map(|(cluster, user)| Left::people(in_cluster(&format!("User {user}"), &cluster), "", why.clone())),
            ),
        }
    }
    people
}

type Why = (String, String);

/// What a user name tells of a person: by the pattern of an Environment of its cluster, else by itself, else by the pattern that was given.
fn told(inputs: Inputs<'_>, (cluster, user): &User) -> Result<Told, Why> {
    let read = environments(inputs, cluster).filter_map(|environment| reversed(environment.spec.identity.as_ref()?.user.as_deref()?, user));
    let mut told = Told::default();
    for (key, value) in read {
        match key {
            "email" if is_email(value) => value.clone_into(&mut told.email),
            "username" if value.len() <= 64 => told.username = Some(value.to_owned()),
            "name" if label(value, LONGEST) == value => told.name = Some(value.to_owned()),
            "personId" if value.len() <= 128 => told.person_id = Some(value.to_owned()),
            _ => {}
        }
    }
    let asked = || inputs.email.map(|pattern| pattern.replace("{user}", bare(user)));
    let candidates = [Some(told.email.clone()), Some(bare(user).to_owned()), asked()];
    match candidates.into_iter().flatten().find(|email| is_email(email)) {
        Some(email) => Ok(Told { email, ..told }),
        None => Err((
            "a Developer needs an e-mail address, and this name is none".to_owned(),
            "say what hers is like, for example --email \"{user}@example.com\"".to_owned(),
        )),
    }
}

fn environments<'a>(inputs: Inputs<'a>, cluster: &'a ClusterKey) -> impl Iterator<Item = &'a Environment> {
    inputs.scene.world.live_environments().map(|(_, environment)| environment.as_ref()).filter(|it| ClusterKey::of(it) == *cluster)
}

/// What stands in a user name for the one placeholder of a pattern.
fn reversed<'a>(pattern: &'a str, user: &'a str) -> Option<(&'a str, &'a str)> {
    let (before, rest) = pattern.split_once('{')?;
    let (key, after) = rest.split_once('}')?;
    let value = user.strip_prefix(before)?.strip_suffix(after)?;
    (!value.is_empty() && !after.contains('{')).then_some((key, value))
}

/// The names of the Developers to be made, by e-mail address. Those that would be called alike are told apart.
fn names(inputs: Inputs<'_>, persons: &BTreeMap<String, (Told, BTreeSet<User>)>) -> BTreeMap<String, String> {
    let plain = |email: &String, told: &Told| told.name.clone().unwrap_or_else(|| label(local(email), LONGEST));
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    persons.iter().for_each(|(email, (told, _))| *count.entry(plain(email, told)).or_default() += 1);
    let named = persons.iter().map(|(email, (told, _))| {
        let name = plain(email, told);
        let taken = name.is_empty() || count.get(&name) != Some(&1) || inputs.scene.world.developer(&name).is_some();
        let own = || label_with(local(email), &digest(&[email]).chars().take(5).collect::<String>(), LONGEST);
        (email.clone(), if taken { own() } else { name })
    });
    named.collect()
}

/// The Developer of a person, known to every cluster as she is known now.
fn declared(inputs: Inputs<'_>, name: &str, told: &Told, users: &BTreeSet<User>) -> Result<DeveloperSpec, Why> {
    let email = &told.email;
    let mut same = inputs.scene.world.developers().filter(|(_, developer)| developer.spec.email.eq_ignore_ascii_case(email));
    if let Some((name, _)) = same.next() {
        return Err((
            format!("dev/{name} has this e-mail address, and is known by another name"),
            format!("make dev/{name} anew with kubernetesUser, or give her this access by a Binding"),
        ));
    }
    let spec = DeveloperSpec {
        email: told.email.clone(),
        username: told.username.clone(),
        person_id: told.person_id.clone(),
        ..DeveloperSpec::default()
    };
    let alike = |spec: &DeveloperSpec| {
        let developer = Developer::new(name, spec.clone());
        users.iter().all(|(cluster, user)| {
            let mut here = environments(inputs, cluster).peekable();
            here.peek().is_some() && here.all(|environment| user_is(&developer, environment, user))
        })
    };
    if alike(&spec) {
        return Ok(spec);
    }
    let all: BTreeSet<&String> = users.iter().map(|(_, user)| user).collect();
    match (all.first(), all.len()) {
        (Some(user), 1) if user.len() <= 254 => Ok(DeveloperSpec { kubernetes_user: Some((*user).clone()), ..spec }),
        _ => Err((
            format!(
                "{email} has several user names, and usher knows a person by one: {}",
                all.into_iter().cloned().collect::<Vec<_>>().join(", ")
            ),
            "set identity.user of the Environments to what their clusters make of people's names".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_read_backwards() {
        assert_eq!(reversed("oidc:{email}", "oidc:ada@x"), Some(("email", "ada@x")));
        assert_eq!(reversed("{name}@corp", "ada@corp"), Some(("name", "ada")));
        for (pattern, user) in [("oidc:{email}", "ada@x"), ("oidc:{email}", "oidc:"), ("{name}.{username}", "a.b"), ("{name", "a")] {
            assert_eq!(reversed(pattern, user), None, "{pattern} {user}");
        }
    }
}
