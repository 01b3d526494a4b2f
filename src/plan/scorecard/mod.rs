//! The four figures: what was seen of people, accounts and hands goes in, what a Scorecard tells comes out.
//!
//! Each fact stands where it outlives a start: when somebody came, could work and pushed in her timeline; what fails, and since when, in her conditions; what was
//! done by hand, or wrongly denied, in the [`ledger`]. What is right is compared anew. [`figures`] is the entry point.

pub mod cells;
pub mod denied;
pub mod events;
pub mod ledger;
pub mod times;
pub mod touch;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use crate::api::developer::Timeline;
use crate::api::scorecard::{ConsistencyIndex, Touchpoints};
use crate::api::{Developer, Scorecard, ScorecardSpec, ScorecardStatus, Span};

use self::cells::{Failing, Wrong, error_rate, expected, failing};
use self::ledger::Ledger;
use self::times::Took;
use super::access::{Standing, standing};
use super::consistency::{Figure, Tally};
use super::developer::whole_second;
use super::world::World;

/// The Scorecard of everybody.
pub const ALL: &str = "all";
/// What begins the name of a team's Scorecard.
const TEAM: &str = "team-";
/// So many teams have a Scorecard at most, by their names.
const MOST_TEAMS: usize = 200;
/// So many touchpoints, or Environments, are named.
const MOST_NAMED: usize = 10;

/// What is known of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The Developer.
    pub name: String,
    /// Her teams.
    pub teams: Vec<String>,
    /// Whether she is still there, whatever she has.
    pub stays: bool,
    /// When she was declared.
    pub declared: Timestamp,
    /// Since when usher could make anything for her: her Source may have known her long before.
    pub made: Timestamp,
    /// When everything first was in place.
    pub ready: Option<Timestamp>,
    /// When she first pushed.
    pub pushed: Option<Timestamp>,
    /// The targets in which she is to have something.
    pub expected: BTreeSet<String>,
    /// What fails.
    pub failing: Vec<Failing>,
}

impl Person {
    /// What her Developer tells.
    pub fn of(world: &World, developer: &Developer, now: Timestamp) -> Self {
        let timeline = developer.status.as_ref().and_then(|status| status.timeline.as_ref());
        let moment = |of: fn(&Timeline) -> &Option<Time>| timeline.and_then(|timeline| of(timeline).as_ref()).map(|time| time.0);
        let created = developer.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
        let starts = developer.spec.starts_at.as_ref().map_or(created, |time| time.0);
        let standing = standing(world, developer, now);
        let expected = if standing == Standing::Active { expected(developer) } else { BTreeSet::new() };
        let failing = if standing == Standing::Active { failing(developer, &expected) } else { Vec::new() };
        Self {
            name: developer.name_any(),
            teams: developer.spec.teams.clone(),
            stays: !standing.departs(),
            declared: moment(|timeline| &timeline.declared_at).unwrap_or(created),
            made: created.max(starts),
            ready: moment(|timeline| &timeline.ready_at),
            pushed: moment(|timeline| &timeline.first_commit_at),
            expected,
            failing,
        }
    }

    /// Whether not everything was in place yet.
    pub const fn newcomer(&self) -> bool {
        self.ready.is_none()
    }
}

/// The people whom a Scorecard is about.
#[derive(Debug)]
pub struct Crowd<'a> {
    team: Option<&'a str>,
    people: BTreeMap<&'a str, &'a Person>,
}

impl<'a> Crowd<'a> {
    fn of(team: Option<&'a str>, all: &'a [Person]) -> Self {
        let concerned = |person: &&Person| team.is_none_or(|team| person.teams.iter().any(|other| other == team));
        Self { team, people: all.iter().filter(concerned).map(|person| (person.name.as_str(), person)).collect() }
    }

    fn people(&self) -> impl Iterator<Item = &'a Person> {
        self.people.values().copied()
    }

    fn person(&self, name: &str) -> Option<&'a Person> {
        self.people.get(name).copied()
    }

    /// Whether it is of everybody.
    const fn everybody(&self) -> bool {
        self.team.is_none()
    }

    /// Whether something that is told of a name is told of this crowd. A name that nobody is known by concerns everybody.
    fn concerns(&self, name: &str) -> bool {
        self.team.is_none() || self.people.contains_key(name)
    }
}

/// What the figures follow from.
#[derive(Debug)]
pub struct Facts<'a> {
    /// Everybody.
    pub people: &'a [Person],
    /// The cells that were found wrong in clusters.
    pub wrong: &'a [Wrong],
    /// How alike each Environment was found.
    pub alike: &'a BTreeMap<String, Figure>,
    /// What was done by hand, and what was denied.
    pub ledger: &'a Ledger,
    /// The present.
    pub now: Timestamp,
}

/// The figures of a Scorecard, for its status and for measuring.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// What is told.
    pub status: ScorecardStatus,
    /// The time until everything was in place.
    pub access: Took,
    /// The time until the first push.
    pub commit: Took,
    /// How many cells are right, of those that are compared.
    pub alike: Tally,
}

/// The figures that a Scorecard is about.
pub fn figures(spec: &ScorecardSpec, facts: &Facts<'_>) -> Figures {
    let (crowd, window, now) = (Crowd::of(spec.team.as_deref(), facts.people), spec.window.duration(), facts.now);
    let since = now.checked_sub(window).unwrap_or(Timestamp::UNIX_EPOCH);
    let came: Vec<&Person> = crowd.people().filter(|person| person.declared >= since).collect();
    let access = Took::of(came.iter().filter_map(|person| Some(person.ready?.duration_since(person.declared))));
    // Who pushed before she was declared is no newcomer.
    let pushed = || came.iter().filter_map(|person| Some((person, person.pushed?))).filter(|(person, at)| *at >= person.declared);
    let commit = Took::of(pushed().map(|(person, at)| at.duration_since(person.declared)));
    let push = Took::of(pushed().filter_map(|(person, at)| Some(at.duration_since(person.ready?))));
    let people = crowd.people().filter(|person| person.stays).count();
    let (consistency, alike) = consistency(spec.team.as_deref(), facts.alike);
    let status = ScorecardStatus {
        people: i64::try_from(people).unwrap_or(i64::MAX),
        time_to_access: access.told(),
        time_to_first_push: push.told(),
        time_to_first_commit: commit.told(),
        access_error_rate: error_rate(&crowd, facts.wrong, facts.ledger, (window, now)),
        manual_touchpoints: touchpoints(spec.team.as_deref(), people, facts.ledger, (window, now)),
        consistency,
        observed_at: None,
    };
    Figures { status, access, commit, alike }
}

/// The status to write: the same as before while no figure changed, whenever it was looked at and in whatever words its cells are told.
pub fn observed(previous: Option<&ScorecardStatus>, mut status: ScorecardStatus, now: Timestamp) -> ScorecardStatus {
    let told = previous.filter(|previous| previous.observed_at.is_some() && bare(previous) == bare(&status));
    if let Some(told) = told {
        return told.clone();
    }
    status.observed_at = Some(whole_second(now));
    status
}

/// The figures alone.
fn bare(status: &ScorecardStatus) -> ScorecardStatus {
    let mut status = ScorecardStatus { observed_at: None, ..status.clone() };
    status.access_error_rate.worst.iter_mut().for_each(|cell| cell.message.clear());
    status
}

fn touchpoints(team: Option<&str>, people: usize, ledger: &Ledger, (window, now): (SignedDuration, Timestamp)) -> Touchpoints {
    let by_kind = ledger.counts(team, window, now);
    let total = by_kind.waiver + by_kind.release + by_kind.conflict + by_kind.hand_repair + by_kind.hand_made_access;
    Touchpoints {
        per_person: per_person(total, people),
        total,
        by_kind,
        latest: ledger.latest(team, window, now).take(MOST_NAMED).collect(),
    }
}

fn consistency(team: Option<&str>, alike: &BTreeMap<String, Figure>) -> (ConsistencyIndex, Tally) {
    let tallies = alike.iter().map(|(environment, figure)| {
        let tally = team.map_or(figure.tally, |team| figure.teams.get(team).copied().unwrap_or_default());
        (environment, tally)
    });
    let compared: Vec<(&String, Tally)> = tallies.filter(|(_, tally)| tally.cells > 0).collect();
    let sum = compared.iter().fold(Tally::default(), |sum, (_, tally)| sum.plus(*tally));
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let environments = compared.iter().take(MOST_NAMED).map(|(environment, _)| (*environment).clone()).collect();
    (ConsistencyIndex { value: sum.percent(), right: count(sum.right), cells: count(sum.cells), environments }, sum)
}

/// A share in percent with two decimals at most, rounded up: only nothing at all is 0%.
fn share(part: usize, whole: usize) -> Option<String> {
    let hundredths = (part * 10_000).checked_add(whole.saturating_sub(1))?.checked_div(whole)?;
    let (percent, rest) = (hundredths / 100, hundredths % 100);
    let decimals = format!("{rest:02}");
    let decimals = decimals.trim_end_matches('0');
    Some(if decimals.is_empty() { format!("{percent}%") } else { format!("{percent}.{decimals}%") })
}

/// A number per person with two decimals at most, rounded up: only nothing at all is 0.
fn per_person(total: i64, people: usize) -> Option<String> {
    let (total, people) = (usize::try_from(total).ok()?, people);
    let text = share(total, people.checked_mul(100)?)?;
    let number = text.trim_end_matches('%');
    Some(number.to_owned())
}

/// What is to be done about Scorecards before they tell anything.
#[derive(Debug, Default)]
pub struct Upkeep {
    /// To be made.
    pub make: Vec<Scorecard>,
    /// Those of another window than is asked for.
    pub correct: Vec<Arc<Scorecard>>,
    /// Those of teams that nobody is in, nor was until her Developer went.
    pub remove: Vec<Arc<Scorecard>>,
}

/// The Scorecards are one of everybody, and one of each team that somebody is in.
pub fn upkeep<'a>(people: &[Person], window: &Span, there: impl Iterator<Item = &'a Arc<Scorecard>>) -> Upkeep {
    let all_teams: BTreeSet<&String> = people.iter().flat_map(|person| &person.teams).collect();
    let teams: BTreeSet<&String> = people.iter().filter(|person| person.stays).flat_map(|person| &person.teams).collect();
    let (kept, remove): (Vec<_>, Vec<_>) =
        there.cloned().partition(|scorecard| scorecard.spec.team.as_ref().is_none_or(|team| all_teams.contains(team)));
    let names: BTreeSet<String> = kept.iter().map(|scorecard| scorecard.name_any()).collect();
    let room = MOST_TEAMS.saturating_sub(kept.iter().filter(|scorecard| scorecard.spec.team.is_some()).count());
    let of_teams = teams.into_iter().map(|team| (format!("{TEAM}{team}"), Some(team.clone())));
    let of_teams = of_teams.filter(|(name, _)| !names.contains(name)).take(room);
    let all = Some((ALL.to_owned(), None)).filter(|(name, _)| !names.contains(name));
    let make = all.into_iter().chain(of_teams);
    let make = make.map(|(name, team)| Scorecard::new(&name, ScorecardSpec { window: window.clone(), team })).collect();
    Upkeep { make, correct: kept.into_iter().filter(|scorecard| scorecard.spec.window != *window).collect(), remove }
}

/// When a figure changes by itself: something that fails becomes an error, somebody is no newcomer any more, a day is over.
pub fn next_change(people: &[Person], windows: &BTreeSet<SignedDuration>, now: Timestamp) -> Option<Timestamp> {
    let leaves = people.iter().flat_map(|person| windows.iter().filter_map(|window| person.declared.checked_add(*window).ok()));
    let day = (now.as_second().div_euclid(86_400) + 1) * 86_400;
    let midnight = Timestamp::from_second(day).ok();
    leaves.filter(|at| *at > now).chain(cells::next_error(people.iter(), now)).chain(midnight).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nothing_at_all_is_nothing() {
        let shares = [(0, 10), (1, 10), (1, 3), (3, 15_006), (1, 1_000_000), (10, 10), (0, 0)].map(|(part, whole)| share(part, whole));
        let expected = [Some("0%"), Some("10%"), Some("33.34%"), Some("0.02%"), Some("0.01%"), Some("100%"), None];
        assert_eq!(shares.each_ref().map(Option::as_deref), expected);
        let numbers = [(0, 5), (4, 40), (1, 3), (6, 3), (1, 100_000), (1, 0)].map(|(total, people)| per_person(total, people));
        assert_eq!(numbers.each_ref().map(Option::as_deref), [Some("0"), Some("0.1"), Some("0.34"), Some("2"), Some("0.01"), None]);
    }

    #[test]
    fn what_is_observed_again_was_observed_before() {
        let (first, later) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1));
        let one = observed(None, ScorecardStatus { people: 1, ..ScorecardStatus::default() }, first);
        assert_eq!(observed(Some(&one), ScorecardStatus { people: 1, ..ScorecardStatus::default() }, later), one);
        let two = observed(Some(&one), ScorecardStatus { people: 2, ..ScorecardStatus::default() }, later);
        assert_eq!(two.observed_at, Some(whole_second(later)));
    }
}
