//! Who of the people of a source is which Developer. A clash is a conflict, never a merge.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kube::ResourceExt;

use crate::api::metadata::SOURCE;
use crate::api::source::PersonProblem;
use crate::api::{DesiredState, Developer, Reason, Source};

use super::super::world::{World, deleting};
use super::mapping::{Mapping, Wanted};
use super::{Person, is_of};

/// Who is who.
#[derive(Default)]
pub(super) struct Matched {
    /// Those who are Developers, with what they are to be.
    pub there: Vec<(Arc<Developer>, Wanted)>,
    /// Those who are Developers and may have nothing, whatever else is wrong with them.
    pub off: Vec<Arc<Developer>>,
    /// Those who become Developers, by name.
    pub new: BTreeMap<String, Wanted>,
    /// Everybody whom the source tells of, by personId, also those with whom something is wrong: they are not missing.
    pub told: BTreeSet<String>,
}

/// Matches people with Developers: by personId, whatever their names are by now.
pub(super) fn match_up(source: &Source, world: &World, people: &[Person], problems: &mut Vec<PersonProblem>) -> Matched {
    let mapping = Mapping::of(&source.spec);
    let mut matched = Matched::default();
    let by_id = developers_by_id(source, world);
    let mut newcomers: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
    for (id, persons) in by_person_id(&mapping, people) {
        matched.told.insert(id.clone());
        let [person] = persons.as_slice() else {
            problems.push(conflict(
                &id,
                format!("{} people of the source have this personId; set spec.people.personId to what is somebody's own", persons.len()),
            ));
            continue;
        };
        let developer = by_id.get(id.as_str()).copied();
        if let Some((developer, other)) = developer.and_then(|developer| Some((developer, other_source(source, world, developer)?))) {
            let message = format!("dev/{} is of usource/{other}; let one of the two Sources leave her out", developer.name_any());
            problems.push(conflict(&id, message));
            continue;
        }
        match (mapping.wanted(person, &id), developer) {
            (_, Some(developer)) if deleting(developer.as_ref()) => {}
            (Err(problem), _) => {
                problems.push(problem);
                matched.off.extend(developer.filter(|_| !person.active).cloned());
            }
            (Ok(wanted), Some(developer)) => matched.there.push((developer.clone(), wanted)),
            // Who may have nothing and never had is not made.
            (Ok(wanted), None) if wanted.active => newcomers.entry(wanted.name.clone()).or_default().push(wanted),
            (Ok(_), None) => {}
        }
    }
    for (name, wanted) in newcomers {
        admit(world, &name, wanted, &mut matched, problems);
    }
    matched
}

/// A name that nobody has becomes somebody's, if only one wants it.
fn admit(world: &World, name: &str, wanted: Vec<Wanted>, matched: &mut Matched, problems: &mut Vec<PersonProblem>) {
    let ids: Vec<&str> = wanted.iter().map(|it| it.person_id.as_str()).collect();
    if ids.len() > 1 {
        problems.extend(ids.iter().map(|id| {
            let message = format!("{} people of the source would be dev/{name}; give them different logins, or set spec.people.name to what is somebody's own", ids.len());
            conflict(id, message)
        }));
    } else if let Some(developer) = world.developer(name) {
        problems.extend(ids.iter().map(|id| conflict(id, taken(developer, id))));
    } else {
        matched.new.extend(wanted.into_iter().map(|it| (name.to_owned(), it)));
    }
}

fn taken(developer: &Developer, id: &str) -> String {
    let name = developer.name_any();
    match &developer.spec.person_id {
        Some(other) => format!(
            "dev/{name} is somebody else, with personId {other}; give one of them another login, or delete dev/{name} if she has departed"
        ),
        None => format!(
            "dev/{name} is there already and has no personId; set spec.personId: {id} there if that is her, or give one of them another login"
        ),
    }
}

/// The Developer of each personId. Of several the one of this Source is meant, then one who has not departed.
fn developers_by_id<'a>(source: &Source, world: &'a World) -> HashMap<&'a str, &'a Arc<Developer>> {
    let rank = |developer: &Developer| (!is_of(developer, source), developer.spec.state == DesiredState::Departed, developer.name_any());
    let mut by_id: HashMap<&str, &Arc<Developer>> = HashMap::new();
    for (_, developer) in world.developers() {
        let Some(id) = developer.spec.person_id.as_deref() else { continue };
        let known = by_id.entry(id).or_insert(developer);
        if rank(developer) < rank(known) {
            *known = developer;
        }
    }
    by_id
}

/// Another Source that a Developer is of, if it is still there.
fn other_source<'a>(source: &Source, world: &World, developer: &'a Developer) -> Option<&'a String> {
    developer.labels().get(SOURCE).filter(|of| **of != source.name_any() && world.source(of).is_some())
}

/// People by personId, in its order. Those without one are told by [`super::belief`], which does not believe a read with any.
fn by_person_id<'a>(mapping: &Mapping, people: &'a [Person]) -> BTreeMap<String, Vec<&'a Person>> {
    let mut by_id: BTreeMap<String, Vec<&Person>> = BTreeMap::new();
    for person in people {
        let Some(id) = mapping.person_id(person) else { continue };
        by_id.entry(id).or_default().push(person);
    }
    by_id
}

fn conflict(id: &str, message: String) -> PersonProblem {
    PersonProblem { person: id.to_owned(), reason: Reason::Conflict.as_str(), message }
}
