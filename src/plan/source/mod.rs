//! What follows from a complete read of a Source: Developers that are made, changed, missing; who is held by the brake; who clashes.
//!
//! [`plan_source`] is the entry point. `belief` says whether a read is to be believed at all, `mapping` and `teams` what a person is as a Developer, `claim` what
//! the Source owns of one, `status` what is told.

pub mod belief;
pub mod claim;
pub mod mapping;
mod match_up;
pub mod status;
pub mod teams;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use crate::api::source::{AbsenceAction, PersonProblem};
use crate::api::{DesiredState, Developer, Source};

use super::world::{World, deleting};

use self::claim::{Claim, Write};
use self::match_up::match_up;

/// Somebody as a source tells of her, in neutral terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// What the source knows her by, for messages where she has no personId.
    pub id: String,
    /// What it tells of her, as far as it was asked for; never a secret.
    pub attributes: BTreeMap<String, String>,
    /// The groups that she is in, of those that were asked for.
    pub groups: BTreeSet<String>,
    /// Whether she may log in.
    pub active: bool,
}

/// All that a source tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Everybody.
    pub people: Vec<Person>,
    /// The version of each entry by its id, where the source has versions that only grow.
    pub versions: BTreeMap<String, String>,
}

/// A complete read.
#[derive(Clone, Debug)]
pub struct Read {
    /// When it was complete.
    pub at: Timestamp,
    /// What was told.
    pub found: Found,
    /// A digest of the people, whatever their order.
    pub digest: String,
}

impl Read {
    /// A read that was complete at a time.
    pub fn new(at: Timestamp, found: Found) -> Self {
        let digest = digest(&found.people);
        Self { at, found, digest }
    }
}

fn digest(people: &[Person]) -> String {
    let lines: BTreeSet<String> = people.iter().map(|it| format!("{:?}", (&it.id, &it.attributes, &it.groups, it.active))).collect();
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(line.len().to_be_bytes());
        hash.update(line.as_bytes());
    }
    format!("sha256:{}", data_encoding::HEXLOWER.encode(&hash.finalize()))
}

/// What follows from a read.
#[derive(Debug, Default)]
pub struct SourcePlan {
    /// What is written, who loses something first.
    pub writes: Vec<Write>,
    /// Who would lose something by it that she did not lose before: taken together they pass the brake, or nobody does.
    pub losing: BTreeSet<String>,
    /// Developers of the Source whom it does not tell of, as long as they have not departed.
    pub missing: BTreeSet<String>,
    /// When the next of them is acted on, if the source does not tell of her until then.
    pub due: Option<Timestamp>,
    /// How many Developers the Source has that have not departed.
    pub population: usize,
    /// Who does not become a Developer, or not by all that is told, and why.
    pub problems: Vec<PersonProblem>,
}

/// Plans what follows from a read that is believed.
pub fn plan_source(source: &Source, world: &World, read: &Read) -> SourcePlan {
    let mut plan = SourcePlan { population: population(source, world), ..SourcePlan::default() };
    let matched = match_up(source, world, &read.found.people, &mut plan.problems);
    for (developer, wanted) in &matched.there {
        plan.adopt(Claim::diff(source, developer, wanted), developer);
    }
    for developer in matched.off.iter().filter(|developer| developer.spec.state == DesiredState::Active) {
        plan.adopt(Some(Claim::end(source, developer, DesiredState::Suspended)), developer);
    }
    plan.writes.extend(matched.new.iter().map(|(name, wanted)| Claim::make(name, wanted)));
    for (_, developer) in world.developers().filter(|(_, developer)| is_of(developer, source) && !deleting(developer.as_ref())) {
        if !matched.told.contains(developer.spec.person_id.as_deref().unwrap_or_default()) {
            plan.miss(source, developer, read.at);
        }
    }
    plan.find_again(source, world, &matched.told);
    // Leaving goes first; the rest by name, so that a plan is the same whatever the source's order.
    plan.writes.sort_by(|one, other| (!one.tightens, &one.name).cmp(&(!other.tightens, &other.name)));
    plan.problems.sort();
    plan
}

/// How many Developers a Source has that have not departed.
pub fn population(source: &Source, world: &World) -> usize {
    world.developers().filter(|(_, developer)| is_of(developer, source) && developer.spec.state != DesiredState::Departed).count()
}

/// Whether a Developer was made or claimed by a Source.
pub fn is_of(developer: &Developer, source: &Source) -> bool {
    developer.labels().get(crate::api::metadata::SOURCE) == Some(&source.name_any())
}

impl SourcePlan {
    fn adopt(&mut self, write: Option<Write>, developer: &Developer) {
        let Some(write) = write else { return };
        if write.loses {
            self.losing.insert(developer.name_any());
        }
        self.writes.push(write);
    }

    /// Who was missing and is told of is not missing any more, whatever else is wrong with her.
    fn find_again(&mut self, source: &Source, world: &World, told: &BTreeSet<String>) {
        let written: BTreeSet<&str> = self.writes.iter().map(|write| write.name.as_str()).collect();
        let found = world.developers().filter(|(name, developer)| {
            let told = developer.spec.person_id.as_ref().is_some_and(|id| told.contains(id));
            told && is_of(developer, source) && claim::missing_since(developer).is_some() && !written.contains(name.as_str())
        });
        let found: Vec<Write> =
            found.filter(|(_, developer)| !deleting(developer.as_ref())).map(|(_, it)| Claim::found_again(source, it)).collect();
        self.writes.extend(found);
    }

    /// Somebody whom the source does not tell of.
    fn miss(&mut self, source: &Source, developer: &Developer, at: Timestamp) {
        if developer.spec.state == DesiredState::Departed {
            return;
        }
        let name = developer.name_any();
        self.missing.insert(name.clone());
        let absence = &source.spec.absence;
        let Some(since) = claim::missing_since(developer) else {
            self.losing.insert(name);
            self.writes.push(Claim::mark_missing(source, developer, at));
            return;
        };
        let Ok(due) = since.checked_add(absence.after.duration()) else { return };
        let state = match absence.action {
            AbsenceAction::Report => return,
            AbsenceAction::Suspend => DesiredState::Suspended,
            AbsenceAction::Depart => DesiredState::Departed,
        };
        if developer.spec.state == state {
            return;
        }
        if at < due {
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
            return;
        }
        self.losing.insert(name);
        self.writes.push(Claim::end(source, developer, state));
    }
}
