//! The four figures, over all and for each team, as the Scorecards have them.

use kube::ResourceExt;
use serde::Serialize;

use crate::api::{Scorecard, ScorecardStatus};

/// The Scorecards.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// That of everybody first, then by team.
    pub scorecards: Vec<Card>,
}

/// A Scorecard.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Card {
    /// The Scorecard.
    pub name: String,
    /// The team; empty for everybody.
    pub team: String,
    /// What happened longer ago does not count.
    pub window: String,
    /// The figures; nothing before they were told.
    pub figures: Option<ScorecardStatus>,
}

/// The figures as they were last told.
pub fn figures<'a>(scorecards: impl IntoIterator<Item = &'a Scorecard>) -> Figures {
    let card = |scorecard: &Scorecard| Card {
        name: scorecard.name_any(),
        team: scorecard.spec.team.clone().unwrap_or_default(),
        window: scorecard.spec.window.to_string(),
        figures: scorecard.status.clone(),
    };
    let mut scorecards: Vec<Card> = scorecards.into_iter().map(card).collect();
    scorecards.sort_by(|one, other| (&one.team, &one.name).cmp(&(&other.team, &other.name)));
    Figures { scorecards }
}
