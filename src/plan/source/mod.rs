//! What follows from a complete read of a Source: Developers that are made, changed, missing; who is held by the brake; who clashes.
//!
//! [`plan_source`] is the entry point. `belief` says whether a read is to be believed at all, `emptied` whether a team is, `mapping` and `teams` what a person is as
//! a Developer, `claim` what the Source owns of one, `status` what is told, `address` that nobody gets another one's address.

mod address;
pub mod belief;
pub mod claim;
mod emptied;
pub mod mapping;
mod match_up;
pub mod status;
pub mod teams;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use sha2::{Digest, Sha256};

use crate::api::source::{AbsenceAction, BrakeLimits, EmptiedTeam, PersonProblem};
use crate::api::{ConditionType, DesiredState, Developer, Reason, Source};

use super::access::paused;
use super::finding::Finding;
use super::world::{World, deleting};

use self::claim::{Claim, Effect, Write};
use self::emptied::Emptied;
use self::mapping::Mapping;
use self::match_up::{Matched, match_up};
use self::teams::Assigned;

/// A read is of no use after this: what was true then may not be true any more, and the next one is due or does not succeed.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// So many groups are named.
const SAMPLE: usize = 3;
/// The shortest token by which a sender is let in: nobody guesses one of that length.
pub const SHORTEST_TOKEN: usize = 32;

/// Somebody as a source tells of her, in neutral terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// What the source knows her by, for messages where she has no personId.
    pub id: String,
    /// What it tells of her, as far as it was asked for; never a secret.
    pub attributes: BTreeMap<String, String>,
    /// The groups that she is in, by their ids, of those that were asked for.
    pub groups: BTreeSet<String>,
    /// Whether she may log in, if the source says so.
    pub active: Option<bool>,
    /// Whether the source says that she has left. Who is not told of at all is only missing.
    pub gone: bool,
    /// When the source recorded her, if it says so.
    pub recorded_at: Option<Timestamp>,
}

/// All that a source tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Everybody.
    pub people: Vec<Person>,
    /// The groups that were asked for, by what is each one's own: what the source calls them. Two may be called the same.
    pub groups: BTreeMap<String, String>,
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
    /// Who was a Developer when it began, or was made by it, by personId: whoever is none any more was deleted meanwhile, and it makes nobody twice.
    pub known: BTreeSet<String>,
}

impl Read {
    /// A read that was complete at a time.
    pub fn new(at: Timestamp, found: Found, known: BTreeSet<String>) -> Self {
        let digest = digest(&found.people);
        Self { at, found, digest, known }
    }

    /// Whether it may still be acted on.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) <= FRESH
    }
}

/// Everybody who is a Developer, by personId.
pub fn known(world: &World) -> BTreeSet<String> {
    world.developers().filter_map(|(_, developer)| developer.spec.person_id.clone()).collect()
}

/// Whether nothing follows from a Source now: it is paused, or going.
pub fn rests(source: &Source) -> bool {
    deleting(source) || paused(source)
}

/// Whether what was planned for a Source is still meant, given what it is now: not if it is gone, is another one, rests or is only observed, or says something else.
pub fn still_means(planned: &Source, now: Option<&Source>) -> bool {
    now.is_some_and(|now| now.uid() == planned.uid() && now.spec == planned.spec && !rests(now))
}

fn digest(people: &[Person]) -> String {
    let lines: BTreeSet<String> =
        people.iter().map(|it| format!("{:?}", (&it.id, &it.attributes, &it.groups, it.active, it.gone))).collect();
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
    /// Whether it tells of none of them, who are several, as another directory would: then nobody loses anything without a word, however few they are.
    pub strange: bool,
    /// Who does not become a Developer, or not by all that is told, and why.
    pub problems: Vec<PersonProblem>,
    /// What is told besides.
    pub findings: Vec<Finding>,
    /// Since when which team is empty, to be remembered.
    pub emptied: Vec<EmptiedTeam>,
    /// Whether something of it is not believed, so that it is no past which could come back.
    pub doubts: bool,
}

/// Plans what follows from a read that is believed. `emptied` is what is remembered of teams, `word` what somebody released.
pub fn plan_source(source: &Source, world: &World, read: &Read, (emptied, word): (&[EmptiedTeam], Option<&str>)) -> SourcePlan {
    let mut plan = SourcePlan { population: population(source, world), ..SourcePlan::default() };
    let mapping = Mapping::of(&source.spec);
    let assigned = mapping.teams.assign(&read.found.groups);
    let mut matched = match_up((source, &mapping, &assigned), world, read, &mut plan.problems);
    address::keep_apart(world, &mut matched, &mut plan.problems);
    plan.hold_teams((source, &mapping, &assigned), &mut matched, emptied, (read.at, word));
    for (developer, wanted) in &matched.there {
        plan.adopt(Claim::diff(source, developer, wanted), developer);
    }
    for developer in matched.off.iter().filter(|developer| developer.spec.state == DesiredState::Active) {
        plan.adopt(Some(Claim::end(source, developer, DesiredState::Suspended)), developer);
    }
    let lasting = matched.gone.iter().filter(|it| is_of(it, source) && it.spec.state != DesiredState::Departed);
    for developer in lasting {
        plan.adopt(Some(Claim::end(source, developer, DesiredState::Departed)), developer);
    }
    plan.writes.extend(matched.new.iter().map(|(name, wanted)| Claim::make(name, wanted)));
    plan.look_for_missing(source, world, &matched, read.at);
    plan.find_again(source, world, &matched);
    // Leaving goes first; the rest by name, so that a plan is the same whatever the source's order.
    plan.writes.sort_by(|one, other| (one.effect != Effect::Ends, &one.name).cmp(&(other.effect != Effect::Ends, &other.name)));
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
        if write.effect.loses() {
            self.losing.insert(developer.name_any());
        }
        self.writes.push(write);
    }

    /// Of teams that became empty, or that two groups would be, nobody loses one now.
    fn hold_teams(
        &mut self,
        (source, mapping, assigned): (&Source, &Mapping, &Assigned),
        matched: &mut Matched,
        remembered: &[EmptiedTeam],
        now: (Timestamp, Option<&str>),
    ) {
        let emptied = Emptied::find((source, mapping), matched, remembered, now);
        let held = |team: &String| emptied.held.contains(team) || assigned.twice.contains_key(team);
        for (developer, wanted) in &mut matched.there {
            wanted.teams.extend(Claim::read(source, developer).teams.into_iter().filter(held));
        }
        self.findings.extend(assigned.twice.iter().map(|(team, groups)| {
            let message = format!(
                "{} groups would be team {team}, so none of them is: {}; rename all but one, or name in spec.teams what is one's own",
                groups.len(),
                groups.iter().take(SAMPLE).cloned().collect::<Vec<_>>().join(" and ")
            );
            Finding::new(ConditionType::Ready, Reason::Conflict, message)
        }));
        self.findings.extend(emptied.finding(source));
        self.doubts = !emptied.held.is_empty() || !assigned.twice.is_empty();
        self.emptied = emptied.since;
    }

    /// Who was missing and is told of is not missing any more, whatever else is wrong with her.
    fn find_again(&mut self, source: &Source, world: &World, matched: &Matched) {
        let written: BTreeSet<&str> = self.writes.iter().map(|write| write.name.as_str()).collect();
        let found = world.developers().filter(|(name, developer)| {
            let missing = is_of(developer, source) && claim::missing_since(developer).is_some();
            missing && matched.tells_of(developer) && !written.contains(name.as_str())
        });
        let found: Vec<Write> =
            found.filter(|(_, developer)| !deleting(developer.as_ref())).map(|(_, it)| Claim::found_again(source, it)).collect();
        self.writes.extend(found);
    }

    /// Looks for those whom the source does not tell of.
    fn look_for_missing(&mut self, source: &Source, world: &World, matched: &Matched, at: Timestamp) {
        let lasts = |developer: &Developer| !deleting(developer) && developer.spec.state != DesiredState::Departed;
        let hers = world.developers().map(|(_, developer)| developer).filter(|it| is_of(it, source) && lasts(it));
        let (told, missing): (Vec<_>, Vec<_>) = hers.partition(|developer| matched.tells_of(developer));
        let newly = missing.iter().filter(|developer| claim::missing_since(developer).is_none()).count();
        self.strange = told.is_empty() && newly > 1;
        for developer in missing {
            self.miss(source, developer, at);
        }
    }

    /// How many may lose something by it, where the Source has these limits.
    pub fn limits(&self, limits: BrakeLimits) -> BrakeLimits {
        if self.strange { BrakeLimits { max_removals: 0, max_percent: 0 } } else { limits }
    }

    /// Somebody whom the source does not tell of.
    fn miss(&mut self, source: &Source, developer: &Developer, at: Timestamp) {
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
