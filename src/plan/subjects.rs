//! By which names a Role's holders are known where it gives something, and who is behind a name that was found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::metadata::IDENTITIES_NAMESPACE;
use crate::api::{Developer, Environment};

use super::access::{Standing, standing};
use super::cluster::ClusterKey;
use super::identity::{Known, Unknown, developer_of_service_account, known};
use super::person::{Mark, Person, person};
use super::placement::Scene;
use super::world::World;

/// Who a Developer is, by the marks in every cluster.
pub fn person_of(scene: Scene<'_>, developer: &Developer) -> Person {
    let name = developer.name_any();
    let marks = scene.clusters.values().flat_map(|state| state.marks_of(&name));
    let marks: Vec<_> = marks.filter(|mark| scene.world.owns(developer, mark)).collect();
    person(developer, &marks)
}

/// How an Environment knows a Developer.
pub fn known_in(scene: Scene<'_>, developer: &Developer, environment: &Environment) -> Result<Known, Unknown> {
    known_as(scene, developer, &person_of(scene, developer), environment)
}

/// How an Environment knows a person: never by a ServiceAccount that somebody else made.
pub fn known_as(scene: Scene<'_>, developer: &Developer, person: &Person, environment: &Environment) -> Result<Known, Unknown> {
    let known = known(developer, person, environment, scene.world.users())?;
    let stranger = |account: &String| {
        let state = scene.clusters.get(&ClusterKey::of(environment))?;
        let account = state.service_accounts.get(&(IDENTITIES_NAMESPACE.to_owned(), account.clone()))?;
        Some(!state.ours(account.as_ref()))
    };
    match &known {
        Known::ServiceAccount(account) if stranger(account) == Some(true) => Err(Unknown::Stranger),
        _ => Ok(known),
    }
}

/// Who is behind a name that was found in a binding.
pub fn behind<'a>(scene: Scene<'a>, cluster: &ClusterKey, found: &Known) -> Option<&'a Arc<Developer>> {
    match found {
        Known::ServiceAccount(name) => {
            let developer = scene.world.developer(developer_of_service_account(name)?)?;
            let key = (IDENTITIES_NAMESPACE.to_owned(), name.clone());
            // A ServiceAccount that is not there is one that she had before, or is about to get.
            let hers = scene.clusters.get(cluster)?.service_accounts.get(&key).is_none_or(|account| {
                Mark::read(account.labels(), account.annotations()).is_some_and(|mark| scene.world.owns(developer, &mark))
            });
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

/// The names of holders in each Environment, with their Developers.
pub type Names = BTreeMap<String, BTreeMap<Known, String>>;

/// Collects the names of some Developers, in the Environments that are asked for.
pub fn names<'a>(scene: Scene<'_>, people: impl Iterator<Item = (&'a String, BTreeSet<&'a str>)>, now: Timestamp) -> Names {
    let mut names = Names::new();
    for (name, environments) in people {
        let Some(developer) = scene.world.developer(name).filter(|developer| standing(scene.world, developer, now) == Standing::Active)
        else {
            continue;
        };
        let person = person_of(scene, developer);
        for environment in environments {
            let Some(object) = scene.world.environment(environment) else { continue };
            if let Ok(known) = known_as(scene, developer, &person, object) {
                names.entry(environment.to_owned()).or_default().insert(known, name.clone());
            }
        }
    }
    names
}
