//! Teams that nobody is told to be in any more. A group that tells of nobody is as doubtful as a directory that does: whoever was in it keeps the team until that
//! lasts, or until somebody says that it was meant. Where everybody has moved to another team the group has told enough.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::api::source::EmptiedTeam;
use crate::api::{ConditionType, Reason, Source};

use super::super::developer::seconds;
use super::super::finding::Finding;
use super::super::name::fingerprint;
use super::belief::is_pushed;
use super::claim::Claim;
use super::mapping::Mapping;
use super::match_up::Matched;

/// So many are remembered; others are held until one of them is done with.
const MOST: usize = 64;
/// So many are named.
const SAMPLE: usize = 10;

/// What is not believed of teams.
#[derive(Debug, Default)]
pub(super) struct Emptied {
    /// Teams that nobody loses now.
    pub held: BTreeSet<String>,
    /// Since when which team is empty: what is remembered.
    pub since: Vec<EmptiedTeam>,
}

impl Emptied {
    /// Looks for teams of a Source that have become empty.
    pub(super) fn find(
        (source, mapping): (&Source, &Mapping),
        matched: &Matched,
        remembered: &[EmptiedTeam],
        (at, word): (Timestamp, Option<&str>),
    ) -> Self {
        if is_pushed(&source.spec) {
            // Each member was taken out by a word of her own.
            return Self::default();
        }
        let emptied = emptied(source, mapping, matched);
        let since = |team: &String| {
            let known = remembered.iter().find(|it| it.team == *team).map(|it| it.since.clone());
            EmptiedTeam { team: team.clone(), since: known.unwrap_or_else(|| seconds(at)) }
        };
        let since: Vec<EmptiedTeam> = emptied.iter().take(MOST).map(since).collect();
        let after = source.spec.absence.after.duration();
        let lasts = |it: &EmptiedTeam| it.since.parse::<Timestamp>().is_ok_and(|since| at.duration_since(since) >= after);
        let meant = word == Some(spoken(&since).as_str());
        let done: BTreeSet<&String> = since.iter().filter(|it| meant || lasts(it)).map(|it| &it.team).collect();
        Self { held: emptied.iter().filter(|team| !done.contains(team)).cloned().collect(), since }
    }

    /// What is told of them.
    pub(super) fn finding(&self, source: &Source) -> Option<Finding> {
        let sample = self.held.iter().take(SAMPLE).cloned().collect::<Vec<_>>().join(", ");
        let message = format!(
            "nobody is told to be in {} teams any more: {sample}; look at their groups, and at what usher may read of them. Whoever was in one keeps it, until that lasts for {}, \
             or at once if you annotate usher.dev/release={}",
            self.held.len(),
            source.spec.absence.after,
            spoken(&self.since)
        );
        (!self.held.is_empty()).then(|| Finding::new(ConditionType::Ready, Reason::Incomplete, message))
    }
}

/// The word by which somebody says that these teams are meant to be empty.
fn spoken(since: &[EmptiedTeam]) -> String {
    let lines: String = since.iter().map(|it| format!("{}\n{}\n", it.team, it.since)).collect();
    format!("sha256:{}", fingerprint(lines.as_bytes()))
}

/// Teams that some have by the Source and that a group could be, but nobody is told to be in; unless all who were have come into another one.
fn emptied(source: &Source, mapping: &Mapping, matched: &Matched) -> BTreeSet<String> {
    let there = matched.there.iter().map(|(_, wanted)| wanted);
    let told: BTreeSet<&String> = there.chain(matched.new.values()).flat_map(|wanted| &wanted.teams).collect();
    let mut emptied = BTreeSet::new();
    for (developer, wanted) in &matched.there {
        let had = Claim::read(source, developer).teams;
        let moved = wanted.teams.iter().any(|team| !had.contains(team));
        let lost = had.into_iter().filter(|team| !told.contains(team) && mapping.teams.could_be(team));
        emptied.extend(lost.filter(|_| !moved && wanted.active != Some(false)));
    }
    emptied
}
