//! What metrics tell of Scorecards.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfScorecard {
    scorecard: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Percentile {
    scorecard: String,
    percentile: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfKind {
    scorecard: String,
    kind: &'static str,
}

/// The figures of a Scorecard.
#[derive(Clone, Debug, Default)]
pub struct ScorecardCensus {
    /// Its name.
    pub name: String,
    /// How many people.
    pub people: i64,
    /// Seconds until everything was in place, by percentile.
    pub access: Vec<(&'static str, f64)>,
    /// Seconds until the first push, by percentile.
    pub commit: Vec<(&'static str, f64)>,
    /// The share of cells in error, from 0 to 1, if there is any cell.
    pub errors: Option<f64>,
    /// How many requests were wrongly denied.
    pub denied: i64,
    /// How many touchpoints of each kind.
    pub touchpoints: Vec<(&'static str, i64)>,
    /// The consistency index from 0 to 1, if there is any cell.
    pub consistency: Option<f64>,
}

/// What is told of Scorecards.
#[derive(Debug, Default)]
pub(super) struct Scorecards {
    pub(super) people: Family<OfScorecard, Gauge>,
    pub(super) access: Family<Percentile, Gauge<f64, AtomicU64>>,
    pub(super) commit: Family<Percentile, Gauge<f64, AtomicU64>>,
    pub(super) errors: Family<OfScorecard, Gauge<f64, AtomicU64>>,
    pub(super) denied: Family<OfScorecard, Gauge>,
    pub(super) touchpoints: Family<OfKind, Gauge>,
    pub(super) consistency: Family<OfScorecard, Gauge<f64, AtomicU64>>,
}

impl Scorecards {
    /// Takes in what was told last; what is told no more has no series.
    pub(super) fn take_in(&self, all: Vec<ScorecardCensus>) {
        self.people.clear();
        self.access.clear();
        self.commit.clear();
        self.errors.clear();
        self.denied.clear();
        self.touchpoints.clear();
        self.consistency.clear();
        for card in all {
            let named = || OfScorecard { scorecard: card.name.clone() };
            self.people.get_or_create(&named()).set(card.people);
            self.denied.get_or_create(&named()).set(card.denied);
            for (family, times) in [(&self.access, &card.access), (&self.commit, &card.commit)] {
                for (percentile, seconds) in times {
                    family.get_or_create(&Percentile { scorecard: card.name.clone(), percentile }).set(*seconds);
                }
            }
            for (family, share) in [(&self.errors, card.errors), (&self.consistency, card.consistency)] {
                if let Some(share) = share {
                    family.get_or_create(&named()).set(share);
                }
            }
            for (kind, count) in &card.touchpoints {
                self.touchpoints.get_or_create(&OfKind { scorecard: card.name.clone(), kind }).set(*count);
            }
        }
    }
}
