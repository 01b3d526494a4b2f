//! What people did by hand, and which of their requests were wrongly denied, by day. It is all that the figures need and nothing else remembers.
//!
//! It is written small, whatever happens: in a flood the names of teams go first, and words; then what was denied is a number by day, the oldest days first.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};

use crate::api::scorecard::{Touchpoint, TouchpointKind, TouchpointKinds};

use super::super::developer::whole_second;

/// The last touchpoints that are kept with what they were about, each with so many teams at most.
const MOST_LATEST: usize = 20;
const MOST_TEAMS: usize = 16;
/// At most so many cells of one day are kept with what was denied; what comes beyond is counted under [`BESIDES`].
const MOST_DENIED: usize = 100;
/// At most so many bytes are kept of counts, and as many of what was denied. An object may have no more than 100 KiB.
const MOST_BYTES: usize = 32 * 1024;
/// Longer than this nothing is kept, whatever the window of a Scorecard.
const MOST_DAYS: i64 = 100;
/// Words about one thing are cut to this many characters.
const LONGEST: usize = 200;

/// Of what was denied to somebody, or in a target, that is not named any more.
const BESIDES: &str = "";

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
    /// How often.
    pub times: u32,
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
    denied: BTreeMap<Day, Cells>,
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
        self.latest.drain(..self.latest.len().saturating_sub(MOST_LATEST));
    }

    /// Takes in a request that was wrongly denied.
    pub fn deny(&mut self, denial: Denial, now: Timestamp) {
        let cells = self.denied.entry(day(now)).or_default();
        let key = format!("{} {}", denial.developer, denial.target);
        let named = cells.len() < MOST_DENIED || cells.contains_key(&key);
        let cell = cells.entry(if named { key } else { BESIDES.to_owned() }).or_default();
        cell.count = cell.count.saturating_add(denial.times);
        // Of many the first is told: each further one would be a write.
        if named && cell.what.is_empty() {
            cell.what = cut(denial.what);
        }
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

    /// How many requests were wrongly denied within a window of which it is not kept to whom.
    pub fn denied_besides(&self, window: SignedDuration, now: Timestamp) -> i64 {
        let days = self.denied.range(first(window, now)..);
        days.filter_map(|(_, cells)| cells.get(BESIDES)).map(|denied| i64::from(denied.count)).sum()
    }

    /// Forgets what is too old, and in a flood more. It takes as long as writing everything down, so it is done before that and at no other time.
    pub fn shrink(&mut self, now: Timestamp) {
        let oldest = first(SignedDuration::from_hours(24 * MOST_DAYS), now);
        self.touches.retain(|day, _| *day >= oldest);
        self.denied.retain(|day, _| *day >= oldest);
        let surplus = size(&self.touches).saturating_sub(MOST_BYTES);
        shorten(surplus, self.touches.values_mut().flat_map(BTreeMap::values_mut), |counts| counts.retain(|team, _| team.is_empty()));
        let surplus = size(&self.denied).saturating_sub(MOST_BYTES);
        let surplus = shorten(surplus, self.denied.values_mut(), without_words);
        shorten(surplus, self.denied.values_mut(), without_names);
    }
}

/// The cells of a day, by person and target.
type Cells = BTreeMap<String, Denied>;

fn without_words(cells: &mut Cells) {
    cells.values_mut().for_each(|cell| cell.what.clear());
}

/// Only how many there were.
fn without_names(cells: &mut Cells) {
    let count = cells.values().fold(0, |sum: u32, cell| sum.saturating_add(cell.count));
    *cells = Cells::from([(BESIDES.to_owned(), Denied { count, what: String::new() })]);
}

/// Makes one part after another shorter, until as many bytes are saved as there are too many. Returns how many still are.
fn shorten<'a, T: Serialize + 'a>(mut surplus: usize, parts: impl Iterator<Item = &'a mut T>, shorter: impl Fn(&mut T)) -> usize {
    for part in parts {
        if surplus == 0 {
            break;
        }
        let before = size(part);
        shorter(part);
        surplus = surplus.saturating_sub(before.saturating_sub(size(part)));
    }
    surplus
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
        let denial = Denial { developer: "ada".to_owned(), target: "environment/dev".to_owned(), what: "get pods".to_owned(), times: 1 };
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
                let (developer, target) = (format!("p{person}"), "environment/dev".to_owned());
                ledger.deny(Denial { developer, target, what: "x".repeat(1_000), times: 1 }, now);
            }
            ledger.shrink(now);
            assert!(ledger.text().len() <= 96 * 1024);
        }
        assert_eq!(ledger.counts(None, SignedDuration::from_hours(24 * 29), now).hand_repair, 30);
    }

    #[test]
    fn a_day_of_many_denials_leaves_the_days_before_it() {
        let (mut ledger, mut now) = (Ledger::default(), at("2026-11-01T08:00:00Z"));
        let name = |person: usize| format!("somebody-whose-name-is-rather-long-p{person}");
        let target = || "environment/dev".to_owned();
        let denial = |person| Denial { developer: name(person), target: target(), what: "ü".repeat(LONGEST), times: 1 };
        for _ in 0..20 {
            ledger.deny(denial(0), now);
            now += SignedDuration::from_hours(24);
        }
        (0..2 * MOST_DENIED).for_each(|person| ledger.deny(denial(person), now));
        ledger.shrink(now);
        let text = ledger.text();
        assert!(text.len() <= 2 * MOST_BYTES, "{}", text.len());
        let ledger = Ledger::read(&text).expect("what was written");
        let denied = ledger.denied(WINDOW, now);
        assert_eq!(denied.get(&(name(0).as_str(), "environment/dev")).map(|(count, _)| *count), Some(21));
        let cells: i64 = denied.values().map(|(count, _)| count).sum();
        assert_eq!((cells, ledger.denied_besides(WINDOW, now)), (20 + 100, 100), "those beyond the first hundred of a day have no names");
    }

    #[test]
    fn of_many_days_of_many_denials_the_oldest_are_numbers() {
        let (mut ledger, mut now) = (Ledger::default(), at("2026-11-01T08:00:00Z"));
        for _ in 0..25 {
            now += SignedDuration::from_hours(24);
            for person in 0..MOST_DENIED {
                let (developer, target) = (format!("somebody-whose-name-is-rather-long-p{person}"), "environment/dev".to_owned());
                ledger.deny(Denial { developer, target, what: "x".repeat(LONGEST), times: 3 }, now);
            }
            ledger.shrink(now);
            assert!(ledger.text().len() <= 2 * MOST_BYTES);
        }
        let named: i64 = ledger.denied(WINDOW, now).values().map(|(count, _)| count).sum();
        assert_eq!(named + ledger.denied_besides(WINDOW, now), 25 * 300, "none is forgotten");
        assert!(named >= 300, "the last day has names");
    }
}
