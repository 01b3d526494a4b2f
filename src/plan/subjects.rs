//! By which names a Role's holders are known where it gives something, and who is behind a name that was found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::metadata::IDENTITIES_NAMESPACE;
use crate::api::{Developer, Environment};

use super::access::standing;
use super::cluster::{Account, ClusterKey};
use super::identity::{Known, Unknown, developer_of_service_account, known};
use super::person::{Person, person};
use super::placement::Scene;
use super::world::World;

/// Who a Developer is, by the marks in every cluster.
pub fn person_of(scene: Scene<'_>, developer: &Developer) -> Person {
    let name = developer.metadata.name.as_deref().unwrap_or_default();
    let marks = scene.clusters.values().flat_map(|state| state.marks_of(name));
    person(scene.world.own_person(developer), marks.filter(|mark| scene.world.owns(developer, mark)))
}

/// How an Environment knows a Developer.
pub fn known_in(scene: Scene<'_>, developer: &Developer, environment: &Environment) -> Result<Known, Unknown> {
    known_as(scene, developer, &person_of(scene, developer), environment)
}

/// How an Environment knows a person: never by a ServiceAccount that somebody else made.
pub fn known_as(scene: Scene<'_>, developer: &Developer, person: &Person, environment: &Environment) -> Result<Known, Unknown> {
    let known = known(developer, person, environment, scene.world.users())?;
    let stranger = |account: &str| scene.cluster_of(environment).is_some_and(|state| state.is_stranger(account));
    match &known {
        Known::ServiceAccount(account) if stranger(account) => Err(Unknown::Stranger),
        _ => Ok(known),
    }
}

/// Who is behind a name that was found in a binding.
pub fn behind<'a>(scene: Scene<'a>, cluster: &ClusterKey, found: &Known) -> Option<&'a Arc<Developer>> {
    match found {
        Known::ServiceAccount(name) => {
            let developer = scene.world.developer(developer_of_service_account(name)?)?;
            let key = (IDENTITIES_NAMESPACE.to_owned(), name.to_string());
            // A ServiceAccount that is not there is one that she had before, or is about to get.
            let hers = match scene.clusters.get(cluster)?.account_of(&developer.name_any(), &key) {
                Account::Missing => true,
                Account::Marked(mark) => scene.world.owns(developer, mark),
                Account::Unmarked => false,
            };
            hers.then_some(developer)
        }
        Known::User(user) => scene.world.developer(scene.world.users().holder(cluster, user)?),
    }
}

/// Why a name that was found in a binding may go, or must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Nobody whom usher knows.
    Nobody,
    /// Somebody who is leaving: everything goes, now.
    Leaving,
    /// Somebody who stays.
    Staying,
}

/// Whose name it is, by who is behind it.
pub fn owner(world: &World, behind: Option<&Arc<Developer>>, now: Timestamp) -> Owner {
    match behind {
        None => Owner::Nobody,
        Some(developer) if standing(world, developer, now).leaves() => Owner::Leaving,
        Some(_) => Owner::Staying,
    }
}

/// The names of people in each Environment, with their Developers.
pub type Names<'a> = BTreeMap<&'a str, BTreeMap<Known, &'a str>>;

/// Collects the names of some Developers who are Active, in those Environments in which `covered` wants them.
pub fn names<'a>(
    scene: Scene<'_>,
    people: impl Iterator<Item = (&'a str, &'a Developer)>,
    environments: &BTreeSet<&'a str>,
    covered: impl Fn(&str, &str) -> bool,
) -> Names<'a> {
    let environments: Vec<_> = environments.iter().filter_map(|name| Some((*name, scene.world.environment(name)?))).collect();
    let mut names: Vec<Vec<(Known, &str)>> = vec![Vec::new(); environments.len()];
    for (name, developer) in people {
        let person = person_of(scene, developer);
        for ((environment, object), names) in environments.iter().zip(&mut names) {
            if covered(name, environment) {
                names.extend(known_as(scene, developer, &person, object).ok().map(|known| (known, name)));
            }
        }
    }
    environments.iter().zip(names).map(|((environment, _), names)| (*environment, names.into_iter().collect())).collect()
}
