//! The consistency index: do people have in Environments that are named together what their Roles give them there, and nothing more?
//!
//! A cell is a person, a Role and an Environment. What counts is what was seen in the clusters, whatever was intended: where work is paused, only observed, or
//! waits for a cluster that does not answer, cells are wrong until it is done. [`cells`] compares; [`Tally`] and [`Figure`] sum up.

mod compare;

use std::collections::BTreeMap;
use std::fmt;

use crate::api::environment::Difference;

pub use self::compare::{AllCells, Cells, Fault, all_cells, cells};

/// At most this many cells are named in a status.
const MOST_TOLD: usize = 10;

/// How many cells are right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// The right ones.
    pub right: usize,
    /// All of them.
    pub cells: usize,
}

impl Tally {
    /// Counts cells by what is wrong with them.
    pub fn of<'a>(cells: impl IntoIterator<Item = &'a Option<Fault>>) -> Self {
        cells.into_iter().fold(Self::default(), |sum, fault| sum.plus(Self { right: usize::from(fault.is_none()), cells: 1 }))
    }

    /// The sum of two.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { right: self.right + other.right, cells: self.cells + other.cells }
    }

    /// The right ones in thousandths of all, rounded down; nothing if there are none. So only what is wholly right is a thousand.
    pub fn permille(self) -> Option<usize> {
        (self.right * 1000).checked_div(self.cells)
    }

    /// The index in percent, as it is told.
    pub fn percent(self) -> Option<String> {
        let permille = self.permille()?;
        let (whole, tenth) = (permille / 10, permille % 10);
        Some(if tenth == 0 { format!("{whole}%") } else { format!("{whole}.{tenth}%") })
    }

    /// The index as a number from 0 to 1.
    pub fn ratio(self) -> Option<f64> {
        let number = |count: usize| u32::try_from(count).map_or(f64::from(u32::MAX), f64::from);
        (self.cells > 0).then(|| number(self.right) / number(self.cells))
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.right, self.cells)
    }
}

/// What is told of an Environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figure {
    /// How many cells are right.
    pub tally: Tally,
    /// The worst of those that are not.
    pub worst: Vec<Difference>,
    /// How many cells of each team are right.
    pub teams: BTreeMap<String, Tally>,
}

impl Figure {
    /// What is told of a Role's cells in one Environment.
    pub fn of<'a>(role: &str, cells: &BTreeMap<String, Option<Fault>>, teams_of: impl Fn(&str) -> &'a [String]) -> Self {
        let faults = cells.iter().filter_map(|(developer, fault)| Some(difference(role, developer, fault.as_ref()?)));
        let mut teams: BTreeMap<String, Tally> = BTreeMap::new();
        for (developer, fault) in cells {
            for team in teams_of(developer) {
                let tally = teams.entry(team.clone()).or_default();
                *tally = tally.plus(Tally::of([fault]));
            }
        }
        Self { tally: Tally::of(cells.values()), worst: worst(faults.collect()), teams }
    }

    /// Those of two Roles together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let all = self.worst.iter().chain(&other.worst).cloned().collect();
        let mut teams = self.teams.clone();
        for (team, tally) in &other.teams {
            let sum = teams.entry(team.clone()).or_default();
            *sum = sum.plus(*tally);
        }
        Self { tally: self.tally.plus(other.tally), worst: worst(all), teams }
    }
}

fn worst(mut all: Vec<Difference>) -> Vec<Difference> {
    all.sort();
    all.truncate(MOST_TOLD);
    all
}

/// What is told of a cell that is not right.
pub fn difference(role: &str, developer: &str, fault: &Fault) -> Difference {
    Difference { kind: fault.kind, developer: developer.to_owned(), role: role.to_owned(), message: fault.message.to_string() }
}

#[cfg(test)]
mod tests {
    use crate::api::environment::DifferenceKind;

    use super::*;

    fn percent(right: usize, cells: usize) -> Option<String> {
        Tally { right, cells }.percent()
    }

    #[test]
    fn nothing_but_all_is_a_hundred_percent_and_nothing_at_all_is_no_figure() {
        assert_eq!(percent(0, 0), None);
        assert_eq!(percent(0, 3).as_deref(), Some("0%"));
        assert_eq!(percent(11, 12).as_deref(), Some("91.6%"));
        assert_eq!(percent(99_999, 100_000).as_deref(), Some("99.9%"));
        assert_eq!(percent(12, 12).as_deref(), Some("100%"));
        assert_eq!((Tally { right: 1, cells: 4 }.ratio(), Tally::default().ratio()), (Some(0.25), None));
    }

    #[test]
    fn the_worst_ten_are_told_whatever_role_they_are_of() {
        let payments = ["payments".to_owned()];
        let teams = |name: &str| if ["p00", "p11"].contains(&name) { payments.as_slice() } else { &[] };
        let cells = |kind, count: usize| -> BTreeMap<String, Option<Fault>> {
            let fault = Fault { kind, message: "why".into() };
            (0..count).map(|number| (format!("p{number:02}"), Some(fault.clone()))).collect()
        };
        let (one, two) =
            (Figure::of("a", &cells(DifferenceKind::Missing, 12), teams), Figure::of("b", &cells(DifferenceKind::More, 3), teams));
        let sum = one.plus(&two);
        assert_eq!(sum, two.plus(&one));
        assert_eq!((sum.tally, sum.worst.len()), (Tally { right: 0, cells: 15 }, 10));
        assert_eq!(sum.teams, BTreeMap::from([("payments".to_owned(), Tally { right: 0, cells: 3 })]));
        let told: Vec<&str> = sum.worst.iter().map(|it| it.role.as_str()).collect();
        assert_eq!(told, ["b", "b", "b", "a", "a", "a", "a", "a", "a", "a"]);
    }
}
