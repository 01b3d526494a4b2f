//! What people did by hand, and which of their requests were wrongly denied, by day. It is all that the figures need and nothing else remembers.
//!
//! It is kept small, whatever happens: in a flood the names of teams go first, then the oldest days.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use crate::api::scorecard::{Touchpoint, TouchpointKind, TouchpointKinds};

use super::super::developer::whole_second;

/// The last touchpoints that are kept with what they were about, each with so many teams at most.
const MOST_LATEST: usize = 20;
const MOST_TEAMS: usize = 16;
/// At most so many cells of one day are kept with what was denied.
const MOST_DENIED: usize = 100;
/// At most so many bytes are kept of counts, and as many of what was denied. An object may have no more than 100 KiB.
const MOST_BYTES: usize = 32 * 1024;
/// Longer than this nothing is kept, whatever the window of a Scorecard.
const MOST_DAYS: i64 = 100;
/// Words about one thing are cut to this many characters.
const LONGEST: usize = 200;

/// A day in UTC, as 2026-11-23.
type Day = String;

/// Something that was done by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// What it was.
    pub kind: TouchpointKind,
    /// The teams of the people whom it concerns.
    pub teams: Vec<String>,
    /// What it was about, in words.
    pub what: String,
}

/// A request that was denied although a Role allows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// The Developer.
    pub developer: String,
    /// environment/<name>.
    pub target: String,
    /// What she asked for, in words.
    pub what: String,
}

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// How many touchpoints of each kind there were in a day: of all, under the empty name, and by team.
    touches: BTreeMap<Day, BTreeMap<TouchpointKind, BTreeMap<String, u32>>>,
    /// The last touchpoints, the newest last.
    latest: Vec<Entry>,
    /// How many requests of somebody to a target were denied in a day, and the last of them.
    denied: BTreeMap<Day, BTreeMap<String, Denied>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    at: Time,
    kind: TouchpointKind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    teams: Vec<String>,
    what: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Denied {
    count: u32,
    what: String,
}

/// Of whom something is counted: everybody, or a team.
pub type Team<'a> = Option<&'a str>;

impl Ledger {
    /// Reads what was written by [`Self::text`]; what cannot be read is nothing.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// What is to be kept.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Takes in something that was done by hand.
    pub fn touch(&mut self, touch: Touch, now: Timestamp) {
        let counts = self.touches.entry(day(now)).or_default().entry(touch.kind).or_default();
        for team in std::iter::once("").chain(touch.teams.iter().map(String::as_str)) {
            let count = counts.entry(team.to_owned()).or_default();
            *count = count.saturating_add(1);
        }
        let teams = touch.teams.into_iter().take(MOST_TEAMS).collect();
        self.latest.push(Entry { at: whole_second(now), kind: touch.kind, teams, what: cut(touch.what) });
        self.shrink(now);
    }

    /// Takes in a request that was wrongly denied.
    pub fn deny(&mut self, denial: Denial, now: Timestamp) {
        let cells = self.denied.entry(day(now)).or_default();
        let key = format!("{} {}", denial.developer, denial.target);
        if cells.len() < MOST_DENIED || cells.contains_key(&key) {
            let cell = cells.entry(key).or_default();
            cell.count = cell.count.saturating_add(1);
            // Of many the first is told: each further one would be a write.
            if cell.what.is_empty() {
                cell.what = cut(denial.what);
            }
        }
        self.shrink(now);
    }

    /// How many touchpoints of each kind there were within a window.
    pub fn counts(&self, team: Team<'_>, window: SignedDuration, now: Timestamp) -> TouchpointKinds {
        let mut sum = TouchpointKinds::default();
        for (kind, counts) in self.touches.range(first(window, now)..).flat_map(|(_, kinds)| kinds) {
            let count = counts.get(team.unwrap_or_default()).copied().map_or(0, i64::from);
            *match kind {
                TouchpointKind::Waiver => &mut sum.waiver,
                TouchpointKind::Release => &mut sum.release,
                TouchpointKind::Conflict => &mut sum.conflict,
                TouchpointKind::HandRepair => &mut sum.hand_repair,
                TouchpointKind::HandMadeAccess => &mut sum.hand_made_access,
            } += count;
        }
        sum
    }

    /// The last touchpoints within a window, the newest first.
    pub fn latest(&self, team: Team<'_>, window: SignedDuration, now: Timestamp) -> impl Iterator<Item = Touchpoint> {
        let first = first(window, now);
        let concerns = move |entry: &&Entry| team.is_none_or(|team| entry.teams.iter().any(|other| other == team));
        let within = self.latest.iter().rev().filter(move |entry| day(entry.at.0) >= first);
        within.filter(concerns).map(|entry| Touchpoint { at: entry.at.clone(), kind: entry.kind, what: entry.what.clone() })
    }

    /// What was wrongly denied within a window: by person and target how often, and the first of it.
    pub fn denied(&self, window: SignedDuration, now: Timestamp) -> BTreeMap<(&str, &str), (i64, &str)> {
        let mut cells: BTreeMap<(&str, &str), (i64, &str)> = BTreeMap::new();
        for (key, denied) in self.denied.range(first(window, now)..).flat_map(|(_, cells)| cells) {
            let Some(cell) = key.split_once(' ') else { continue };
            cells.entry(cell).or_insert((0, &denied.what)).0 += i64::from(denied.count);
        }
        cells
    }

    /// Forgets what is too old, and in a flood more.
    fn shrink(&mut self, now: Timestamp) {
        let oldest = first(SignedDuration::from_hours(24 * MOST_DAYS), now);
        self.touches.retain(|day, _| *day >= oldest);
        self.denied.retain(|day, _| *day >= oldest);
        self.latest.drain(..self.latest.len().saturating_sub(MOST_LATEST));
        while size(&self.touches) > MOST_BYTES {
            let crowded = self.touches.values_mut().flat_map(BTreeMap::values_mut).find(|counts| counts.len() > 1);
            match crowded {
                Some(counts) => counts.retain(|team, _| team.is_empty()),
                None => drop(self.touches.pop_first()),
            }
        }
        while size(&self.denied) > MOST_BYTES {
            self.denied.pop_first();
        }
    }
}

fn size(part: &impl Serialize) -> usize {
    serde_json::to_string(part).map_or(0, |text| text.len())
}

fn day(at: Timestamp) -> Day {
    at.to_string().chars().take(10).collect()
}

/// The first day of a window.
fn first(window: SignedDuration, now: Timestamp) -> Day {
    day(now.checked_sub(window).unwrap_or(Timestamp::UNIX_EPOCH))
}

fn cut(words: String) -> String {
    if words.chars().count() <= LONGEST { words } else { words.chars().take(LONGEST - 1).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: SignedDuration = SignedDuration::from_hours(24 * 30);

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn touch(kind: TouchpointKind, teams: &[&str]) -> Touch {
        Touch { kind, teams: teams.iter().map(|team| (*team).to_owned()).collect(), what: "something".to_owned() }
    }

    #[test]
    fn what_was_done_counts_for_all_and_for_the_teams_that_it_concerns_until_the_window_is_over() {
        let mut ledger = Ledger::default();
        ledger.touch(touch(TouchpointKind::Waiver, &["payments"]), at("2026-11-01T08:00:00Z"));
        ledger.touch(touch(TouchpointKind::HandRepair, &[]), at("2026-11-20T08:00:00Z"));
        let counts = |team, now| {
            let counts = ledger.counts(team, WINDOW, at(now));
            (counts.waiver, counts.hand_repair)
        };
        assert_eq!(counts(None, "2026-11-20T09:00:00Z"), (1, 1));
        assert_eq!(counts(Some("payments"), "2026-11-20T09:00:00Z"), (1, 0));
        assert_eq!(counts(Some("search"), "2026-11-20T09:00:00Z"), (0, 0));
        assert_eq!(counts(None, "2026-12-01T23:00:00Z"), (1, 1), "the day of the thirtieth day before counts");
        assert_eq!(counts(None, "2026-12-02T00:00:00Z"), (0, 1));
        assert_eq!(ledger.latest(None, WINDOW, at("2026-12-02T00:00:00Z")).count(), 1);
    }

    #[test]
    fn what_is_kept_is_read_back_and_rubbish_is_nothing() {
        let mut ledger = Ledger::default();
        ledger.touch(touch(TouchpointKind::HandMadeAccess, &["payments"]), at("2026-11-01T08:00:00Z"));
        let denial = Denial { developer: "ada".to_owned(), target: "environment/dev".to_owned(), what: "get pods".to_owned() };
        ledger.deny(denial.clone(), at("2026-11-01T08:00:00Z"));
        ledger.deny(denial, at("2026-11-01T09:00:00Z"));
        assert_eq!(Ledger::read(&ledger.text()), Some(ledger.clone()));
        assert_eq!(ledger.denied(WINDOW, at("2026-11-02T00:00:00Z")), BTreeMap::from([(("ada", "environment/dev"), (2, "get pods"))]));
        assert_eq!(Ledger::read("{"), None);
    }

    #[test]
    fn no_flood_makes_it_large_and_the_sums_survive_it() {
        let (mut ledger, mut now) = (Ledger::default(), at("2026-01-01T00:00:00Z"));
        let teams: Vec<String> = (0..400).map(|team| format!("team-with-a-rather-long-name-{team}")).collect();
        for _ in 0..30 {
            now += SignedDuration::from_hours(24);
            ledger.touch(Touch { kind: TouchpointKind::HandRepair, teams: teams.clone(), what: "x".repeat(1_000) }, now);
            for person in 0..(2 * MOST_DENIED) {
                ledger.deny(Denial { developer: format!("p{person}"), target: "environment/dev".to_owned(), what: "x".repeat(1_000) }, now);
            }
            assert!(ledger.text().len() <= 96 * 1024);
        }
        assert_eq!(ledger.counts(None, SignedDuration::from_hours(24 * 29), now).hand_repair, 30);
    }
}
