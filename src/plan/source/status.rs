//! What is told of a Source.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::api::source::{LastRead, PendingPeople, PersonProblem, ProviderBrake, RecentRemovals, SourceState, SourceSummary};
use crate::api::{ConditionType, Mode, Reason, Source, SourceStatus};

use super::super::access::paused;
use super::super::developer::whole_second;
use super::super::finding::Finding;
use super::super::status::conditions;
use super::belief::Remembered;
use super::claim::Effect;
use super::{Read, SourcePlan};

/// The conditions of a Source.
pub const SOURCE_CONDITIONS: [ConditionType; 2] = [ConditionType::Accepted, ConditionType::Connected];
/// So many problems are told.
const MOST_PROBLEMS: usize = 10;
/// That it goes on being read is told anew after this.
const TOLD_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// What came of the last try to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was complete and is believed.
    Complete,
    /// It was complete, and is not believed.
    Doubted(String),
    /// It was not complete.
    Failed(Reason, String),
}

/// What was done by a read that is believed.
#[derive(Debug, Default)]
pub struct Done {
    /// How many people it told of.
    pub people: usize,
    /// How many Developers were made.
    pub created: usize,
    /// How many were changed.
    pub changed: usize,
    /// How many Developers of the Source it did not tell of.
    pub missing: usize,
    /// What is wrong with whom.
    pub problems: Vec<PersonProblem>,
    /// What is told besides.
    pub findings: Vec<Finding>,
    /// What was not carried out.
    pub pending: Option<PendingPeople>,
    /// What failed.
    pub errors: Vec<(Reason, String)>,
}

/// What there is to tell.
#[derive(Debug)]
pub struct Told<'a> {
    /// What came of the last try to read.
    pub outcome: Outcome,
    /// The last read that was believed, and what was done by it.
    pub done: Option<(&'a Read, Done)>,
    /// Whether it is held.
    pub brake: Option<ProviderBrake>,
    /// What the brake remembers.
    pub removals: Option<RecentRemovals>,
    /// What is remembered of reads.
    pub remembered: Remembered,
}

/// What would be done by a plan.
pub fn pending(plan: &SourcePlan) -> PendingPeople {
    let count = |which: &dyn Fn(Effect) -> bool| size(plan.writes.iter().filter(|write| which(write.effect)).count());
    PendingPeople {
        create: count(&|effect| effect == Effect::Makes),
        change: count(&|effect| effect != Effect::Makes && !effect.loses()),
        remove: count(&|effect| effect.loses() && effect != Effect::Misses),
        missing: size(plan.missing.len()),
        sample: plan.writes.iter().take(MOST_PROBLEMS).map(|write| format!("{} dev/{}", write.effect.words(), write.name)).collect(),
    }
}

/// The status of a Source that nothing was read of yet.
pub fn first_status(source: &Source, now: Timestamp) -> SourceStatus {
    let previous = source.status.clone().unwrap_or_default();
    let reading = Finding::new(ConditionType::Connected, Reason::Progressing, "it is being read");
    let findings: Vec<Finding> = paused_finding(source).into_iter().chain([reading]).collect();
    let conditions =
        conditions(&SOURCE_CONDITIONS, &findings, (Reason::AsPlanned, ""), source.metadata.generation, (&previous.conditions, now));
    SourceStatus {
        observed_generation: source.metadata.generation,
        state: Some(SourceState::Reading),
        summary: Some(summary(source, previous.last_read.as_ref(), String::new())),
        conditions,
        ..remember(previous, Remembered { returned: None, ..Remembered::of(source) })
    }
}

/// The status of a Source.
pub fn source_status(source: &Source, told: Told<'_>, now: Timestamp) -> SourceStatus {
    let previous = source.status.clone().unwrap_or_default();
    let observes = source.spec.mode == Mode::Observe;
    let findings = findings(source, &told);
    let ready = if observes {
        (Reason::Observing, "nothing is changed; set mode: Enforce when the pending changes are what you want")
    } else {
        (Reason::AsPlanned, "")
    };
    let conditions = conditions(&SOURCE_CONDITIONS, &findings, ready, source.metadata.generation, (&previous.conditions, now));
    let message = conditions.first().filter(|it| it.status != "True").map(|it| it.message.clone()).unwrap_or_default();
    let state = state(&told, observes);
    let complete = told.outcome == Outcome::Complete;
    let (last_read, pending, problems) = match told.done {
        Some((read, done)) => {
            let last = last_read(read, &done, previous.last_read.as_ref());
            (Some(last), done.pending, done.problems.into_iter().take(MOST_PROBLEMS).collect())
        }
        None => (previous.last_read.map(|last| LastRead { complete, ..last }), previous.pending, previous.problems),
    };
    SourceStatus {
        observed_generation: source.metadata.generation,
        state: Some(state),
        summary: Some(summary(source, last_read.as_ref(), message)),
        conditions,
        last_read,
        pending,
        problems,
        brake: told.brake,
        removals: told.removals,
        ..remember(SourceStatus::default(), told.remembered)
    }
}

/// A status with what is remembered of reads.
fn remember(status: SourceStatus, remembered: Remembered) -> SourceStatus {
    let Remembered { states, returned, reads, newest, emptied } = remembered;
    SourceStatus { states, returned, reads, newest, emptied, ..status }
}

fn summary(source: &Source, last_read: Option<&LastRead>, message: String) -> SourceSummary {
    SourceSummary {
        kind: source.spec.origin().map(|origin| origin.name().to_owned()).unwrap_or_default(),
        people: last_read.map(|last| last.people.to_string()).unwrap_or_default(),
        message,
    }
}

/// A settled source is told anew only so often that one sees that it is read.
fn last_read(read: &Read, done: &Done, previous: Option<&LastRead>) -> LastRead {
    let new = LastRead {
        at: Some(whole_second(read.at)),
        people: size(done.people),
        complete: true,
        created: size(done.created),
        changed: size(done.changed),
        missing: size(done.missing),
        conflicts: size(done.problems.len()),
    };
    let at = |last: &LastRead| last.at.as_ref().map(|at: &Time| at.0);
    let same = |old: &&LastRead| {
        let recent = at(old).is_some_and(|at| read.at.duration_since(at) < TOLD_AGAIN);
        recent && LastRead { at: old.at.clone(), ..new.clone() } == **old
    };
    previous.filter(same).cloned().unwrap_or(new)
}

fn state(told: &Told<'_>, observes: bool) -> SourceState {
    match told.outcome {
        Outcome::Doubted(_) | Outcome::Failed(..) => SourceState::Incomplete,
        Outcome::Complete if told.brake.is_some() => SourceState::Braked,
        Outcome::Complete if observes => SourceState::Observing,
        Outcome::Complete if doubts(told) => SourceState::Incomplete,
        Outcome::Complete => SourceState::InSync,
    }
}

/// Whether something of what was read is not believed.
fn doubts(told: &Told<'_>) -> bool {
    told.done.iter().flat_map(|(_, done)| &done.findings).any(|finding| finding.reason == Reason::Incomplete)
}

fn paused_finding(source: &Source) -> Option<Finding> {
    let message = || format!("usource/{} is paused; remove the annotation usher.dev/paused to go on", source.name_any());
    paused(source).then(|| Finding::new(ConditionType::Ready, Reason::Paused, message()))
}

fn findings(source: &Source, told: &Told<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |condition, reason, message: String| findings.push(Finding::new(condition, reason, message));
    match &told.outcome {
        Outcome::Complete => {}
        Outcome::Doubted(why) => add(ConditionType::Ready, Reason::Incomplete, format!("nothing was changed: {why}")),
        // What contradicts itself is no matter of the connection.
        Outcome::Failed(Reason::InvalidSpec, message) => add(ConditionType::Accepted, Reason::InvalidSpec, message.clone()),
        Outcome::Failed(reason, message) => add(ConditionType::Connected, *reason, format!("{message}; nobody loses anything meanwhile")),
    }
    if let Some(brake) = &told.brake {
        let message = format!(
            "{} of {} people would lose something by what is read, so nothing of it is carried out; annotate usher.dev/release={} if that is meant",
            brake.removals, brake.population, brake.digest
        );
        add(ConditionType::Ready, Reason::Braked, message);
    }
    for (reason, message) in told.done.iter().flat_map(|(_, done)| &done.errors) {
        add(ConditionType::Ready, *reason, message.clone());
    }
    for problem in told.done.iter().flat_map(|(_, done)| &done.problems) {
        let reason = if problem.reason == Reason::Conflict.as_str() { Reason::Conflict } else { Reason::InvalidPerson };
        add(ConditionType::Ready, reason, format!("person {}: {}", problem.person, problem.message));
    }
    findings.extend(told.done.iter().flat_map(|(_, done)| &done.findings).cloned());
    findings.extend(paused_finding(source));
    findings
}

fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
