//! Who of the people of a source is which Developer. A clash is a conflict, never a merge.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use kube::ResourceExt;

use crate::api::metadata::SOURCE;
use crate::api::source::PersonProblem;
use crate::api::{DesiredState, Developer, Reason, Source};

use super::super::world::{World, deleting};
use super::claim::missing_since;
use super::mapping::{Mapping, Wanted};
use super::teams::Assigned;
use super::{End, Person, Read, is_of};

/// Who is who.
#[derive(Default)]
pub(super) struct Matched {
    /// Those who are Developers, with what they are to be.
    pub there: Vec<(Arc<Developer>, Wanted)>,
    /// Those who are Developers and may have nothing, whatever else is wrong with them.
    pub off: Vec<Arc<Developer>>,
    /// Those who are Developers and have left.
    pub gone: Vec<Arc<Developer>>,
    /// Those who become Developers, by name.
    pub new: BTreeMap<String, Wanted>,
    /// Everybody whom the source tells of, by personId, also those with whom something is wrong: they are not missing.
    pub told: BTreeSet<String>,
    /// Developers who may be somebody whom the source tells of without a personId: they are not missing either.
    pub alike: BTreeSet<String>,
}

impl Matched {
    /// Whether the source may tell of a Developer.
    pub fn tells_of(&self, developer: &Developer) -> bool {
        let known = developer.spec.person_id.as_ref().is_some_and(|id| self.told.contains(id));
        known || self.alike.contains(&developer.name_any())
    }
}

/// Matches people with Developers: by personId, whatever their names are by now.
pub(super) fn match_up(
    (source, mapping, assigned): (&Source, &Mapping, &Assigned),
    world: &World,
    read: &Read,
    problems: &mut Vec<PersonProblem>,
) -> Matched {
    let mut matched = Matched::default();
    let by_id = developers_by_id(source, world);
    let mut newcomers: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
    let (persons_by_id, unknown) = by_person_id(mapping, &read.found.people);
    matched.take_unknown((source, mapping), world, &unknown, problems);
    for (id, persons) in persons_by_id {
        matched.told.insert(id.clone());
        let developer = by_id.get(id.as_str()).copied();
        if let Some((developer, other)) = developer.and_then(|developer| Some((developer, other_source(source, world, developer)?))) {
            let message = format!("dev/{} is of usource/{other}; let one of the two Sources leave her out", developer.name_any());
            problems.push(conflict(&id, message));
            continue;
        }
        if persons.iter().all(|person| person.gone) {
            matched.gone.extend(developer.filter(|it| !deleting(it.as_ref())).cloned());
            continue;
        }
        let [person] = persons.as_slice() else {
            let message = "people of the source have this personId; set spec.people.personId to what is somebody's own";
            problems.push(conflict(&id, format!("{} {message}", persons.len())));
            // Whichever of them she is.
            matched.off.extend(
                developer.filter(|it| !deleting(it.as_ref()) && persons.iter().all(|person| person.active == Some(false))).cloned(),
            );
            continue;
        };
        match (mapping.wanted(person, &id, assigned), developer) {
            (_, Some(developer)) if deleting(developer.as_ref()) => {}
            (Err(problem), _) => {
                problems.push(problem);
                matched.off.extend(developer.filter(|_| person.active == Some(false)).cloned());
            }
            (Ok(wanted), Some(developer)) => matched.there.push((developer.clone(), wanted)),
            // Who may have nothing and never had is not made; and whoever was there when it was read, or was made by it, and is gone since was deleted.
            (Ok(wanted), None) if wanted.active != Some(false) && !read.known.contains(&id) => {
                newcomers.entry(wanted.name.clone()).or_default().push(wanted);
            }
            (Ok(_), None) => {}
        }
    }
    matched.take_ended(source, &by_id, read);
    for (name, wanted) in newcomers {
        admit(world, &name, wanted, &mut matched, problems);
    }
    matched
}

impl Matched {
    /// Who has nothing by what she was called before, and nobody is called by now, is still this Source's Developer.
    fn take_ended(&mut self, source: &Source, by_id: &HashMap<&str, &Arc<Developer>>, read: &Read) {
        for (id, end) in &read.found.ended {
            let developer = by_id.get(id.as_str()).filter(|it| is_of(it, source) && !deleting(it.as_ref()));
            let Some(developer) = developer.filter(|_| !self.told.contains(id)) else { continue };
            self.told.insert(id.clone());
            match end {
                End::Off => self.off.push((*developer).clone()),
                End::Gone => self.gone.push((*developer).clone()),
            }
        }
    }

    /// People without a personId are nobody's Developer. Whoever may be one of them is not missing.
    fn take_unknown(
        &mut self,
        (source, mapping): (&Source, &Mapping),
        world: &World,
        unknown: &[&Person],
        problems: &mut Vec<PersonProblem>,
    ) {
        if unknown.is_empty() {
            return;
        }
        problems.extend(unknown.iter().map(|person| {
            PersonProblem {
                person: person.id.clone(),
                reason: Reason::InvalidPerson.as_str(),
                message:
                    "has nothing that spec.people.personId names (of 128 characters at most); let usher read it, or name what everybody has"
                        .to_owned(),
            }
        }));
        let (names, addresses): (BTreeSet<_>, BTreeSet<_>) = unknown.iter().map(|person| mapping.likeness(person)).unzip();
        let alike = world.developers().filter(|(name, developer)| {
            is_of(developer, source) && (names.contains(&Some((*name).clone())) || addresses.contains(&Some(developer.spec.email.clone())))
        });
        self.alike = alike.map(|(name, _)| name.clone()).collect();
    }
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

/// Another Source that a Developer is of, if it is still there and has not missed her: whom one does not tell of any more and another one does has moved.
fn other_source<'a>(source: &Source, world: &World, developer: &'a Developer) -> Option<&'a String> {
    let other = developer.labels().get(SOURCE).filter(|of| **of != source.name_any() && world.source(of).is_some());
    other.filter(|_| missing_since(developer).is_none())
}

/// People by personId, in its order; and those without one.
fn by_person_id<'a>(mapping: &Mapping, people: &'a [Person]) -> (BTreeMap<String, Vec<&'a Person>>, Vec<&'a Person>) {
    let (mut by_id, mut unknown): (BTreeMap<String, Vec<&Person>>, Vec<&Person>) = Default::default();
    for person in people {
        match mapping.person_id(person) {
            Some(id) => by_id.entry(id).or_default().push(person),
            None => unknown.push(person),
        }
    }
    (by_id, unknown)
}

/// Somebody who clashes with somebody else.
pub(super) fn conflict(id: &str, message: String) -> PersonProblem {
    PersonProblem { person: id.to_owned(), reason: Reason::Conflict.as_str(), message }
}
