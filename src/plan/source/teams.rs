//! Which group of a source is which team.

use std::collections::BTreeSet;

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

    /// The team that a group is. What would not be a team's name once its letters are small is none: nothing is replaced, so that no two groups become one.
    pub fn of_group(&self, group: &str) -> Option<String> {
        let (entry, part) = self.entries.iter().find_map(|entry| Some((entry, entry.part(group)?)))?;
        let team = entry.team.replacen(PART, &part.to_lowercase(), 1);
        is_label(&team).then_some(team)
    }

    /// The teams of somebody in these groups.
    pub fn of_groups(&self, groups: &BTreeSet<String>) -> BTreeSet<String> {
        groups.iter().filter_map(|group| self.of_group(group)).collect()
    }
}

impl Entry {
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
            assert_eq!(teams.of_group(group).as_deref(), team, "{group}");
        }
        assert!(teams.names("/engineering/Two Words") && !teams.names("/sales"));
    }
}
