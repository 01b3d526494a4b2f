//! Which group of a source is which team.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::source::TeamOfGroup;

/// What stands for a part of a group's name.
const PART: &str = "{team}";
/// The most that a team's name has.
const LONGEST: usize = 63;

/// Which group is which team: the first entry that names a group counts.
#[derive(Clone, Debug, Default)]
pub struct Teams {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// What the group's name begins and ends with around the part; the whole name if it has none.
    group: (String, Option<String>),
    team: String,
}

impl Teams {
    /// As a Source says.
    pub fn of(entries: &[TeamOfGroup]) -> Self {
        let entry = |entry: &TeamOfGroup| Entry {
            group: match entry.group.split_once(PART) {
                Some((before, after)) => (before.to_owned(), Some(after.to_owned())),
                None => (entry.group.clone(), None),
            },
            team: entry.team.clone(),
        };
        Self { entries: entries.iter().map(entry).collect() }
    }

    /// Whether no group is any team, so that none need be read.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a group is a team, or is at least named so.
    pub fn names(&self, group: &str) -> bool {
        self.entries.iter().any(|entry| entry.part(group).is_some())
    }

    /// Whether some group could be this team.
    pub fn could_be(&self, team: &str) -> bool {
        self.entries.iter().any(|entry| match entry.team.split_once(PART) {
            Some((before, after)) => {
                team.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)).is_some_and(|part| !part.is_empty())
            }
            None => team == entry.team,
        })
    }

    /// Says of each group which team it is. `groups` has what the source calls each of them.
    pub fn assign(&self, groups: &BTreeMap<String, String>) -> Assigned {
        let mut same: BTreeMap<(usize, String), Vec<&String>> = BTreeMap::new();
        for (id, group) in groups {
            let Some((place, part)) = self.first(group) else { continue };
            same.entry((place, part.to_lowercase())).or_default().push(id);
        }
        let mut assigned = Assigned::default();
        for ((place, part), ids) in same {
            let Some(team) = self.entries.get(place).and_then(|entry| entry.team_of(&part)) else { continue };
            match ids.as_slice() {
                [only] => drop(assigned.by_group.insert((*only).clone(), team)),
                several => assigned.twice.entry(team).or_default().extend(several.iter().map(|id| (*id).clone())),
            }
        }
        assigned
    }

    fn first<'a>(&self, group: &'a str) -> Option<(usize, &'a str)> {
        self.entries.iter().enumerate().find_map(|(place, entry)| Some((place, entry.part(group)?)))
    }
}

/// Which groups are which teams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assigned {
    by_group: BTreeMap<String, String>,
    /// Teams that several groups would be which are called the same: nobody knows which of them is meant, so nobody comes into one by them, nor loses it.
    pub twice: BTreeMap<String, Vec<String>>,
}

impl Assigned {
    /// The teams of somebody in these groups.
    pub fn of_groups(&self, groups: &BTreeSet<String>) -> BTreeSet<String> {
        groups.iter().filter_map(|group| self.by_group.get(group).cloned()).collect()
    }
}

impl Entry {
    /// The team that a group with this part is. What would not be a team's name once its letters are small is none.
    fn team_of(&self, part: &str) -> Option<String> {
        let team = self.team.replacen(PART, part, 1);
        is_label(&team).then_some(team)
    }

    /// The part of a group's name that is open here; empty where none is, and nothing if that is another group.
    fn part<'a>(&self, group: &'a str) -> Option<&'a str> {
        match &self.group {
            (whole, None) => (group == whole).then_some(""),
            (before, Some(after)) => {
                let part = group.strip_prefix(before.as_str())?.strip_suffix(after.as_str())?;
                (!part.is_empty() && !part.contains('/')).then_some(part)
            }
        }
    }
}

fn is_label(text: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    !text.is_empty()
        && text.len() <= LONGEST
        && text.chars().all(|letter| inner(letter) || letter == '-')
        && text.starts_with(inner)
        && text.ends_with(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn teams(entries: &[(&str, &str)]) -> Teams {
        let entries: Vec<TeamOfGroup> =
            entries.iter().map(|(group, team)| TeamOfGroup { group: (*group).to_owned(), team: (*team).to_owned() }).collect();
        Teams::of(&entries)
    }

    #[test]
    fn the_first_entry_that_names_a_group_counts() {
        let teams = teams(&[("/engineering/payments", "pay"), ("/engineering/{team}", "{team}"), ("/ops-{team}-x", "ops-{team}")]);
        for (group, team) in [
            ("/engineering/payments", Some("pay")),
            ("/engineering/Search", Some("search")),
            ("/engineering/search/inner", None),
            ("/engineering/", None),
            ("/engineering", None),
            ("/ops-db-x", Some("ops-db")),
            ("/ops--x", None),
            ("/engineering/Two Words", None),
            ("/sales", None),
        ] {
            let group = group.to_owned();
            let assigned = teams.assign(&BTreeMap::from([(group.clone(), group.clone())]));
            assert_eq!(assigned.of_groups(&BTreeSet::from([group.clone()])), team.iter().map(|it| (*it).to_owned()).collect(), "{group}");
        }
        assert!(teams.names("/engineering/Two Words") && !teams.names("/sales"));
        for (team, could) in [("pay", true), ("anything", true), ("ops-", true), ("", false)] {
            assert_eq!(teams.could_be(team), could, "{team}");
        }
    }

    #[test]
    fn two_groups_of_one_name_are_no_team_and_several_that_are_meant_are() {
        let teams = teams(&[("staff", "staff"), ("{team}-team", "{team}"), ("all-{team}", "all")]);
        let groups =
            [("1", "staff"), ("2", "staff"), ("3", "Pay-team"), ("4", "pay-team"), ("5", "ops-team"), ("6", "all-a"), ("7", "all-b")];
        let assigned = teams.assign(&groups.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect());
        let of = |ids: &[&str]| assigned.of_groups(&ids.iter().map(|id| (*id).to_owned()).collect()).into_iter().collect::<Vec<_>>();
        assert_eq!(of(&["1", "2", "3", "4"]), Vec::<String>::new());
        assert_eq!(of(&["5", "6", "7"]), ["all", "ops"]);
        assert_eq!(assigned.twice.keys().collect::<Vec<_>>(), ["pay", "staff"]);
    }
}
